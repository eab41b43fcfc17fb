// int8 products for AVX2 + FMA + F16C: the laptop floor, tuned on Zen 4 with AVX-512 hidden.
//
// There is no byte dot product with 32-bit sums here, so four-bit factors are used: a product of a
// nibble (0 ... 15) and an int8 (-127 ... 127), summed over the 16 products that one 16-bit lane
// takes of a block, is at most 30,480 in magnitude and needs no widening inside the block. Q8_0
// weights + 128, and IQ4_NL's levels + 128, are split into two nibbles; that costs twice the
// products of Q4_0.
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "internal.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

#define LEVEL_LANES 8
#include "levels.inc"
#include "x86_blocks.inc"

/// Stored as the "sum" of a block: -4 x its sum in both halves of 32 bits. As the start of the
/// 16-bit lanes it takes the nibbles' offset of 8 out: two lanes make one sum of four products.
/// In range: 16 products 15 * 127 - 4 * (their x) - 4 * (the other 16 x) stay within +-30,480.
static int32_t block_start(int32_t sum) {
    uint32_t half = (uint32_t)(uint16_t)(int16_t)(-4 * sum);
    return (int32_t)(half << 16 | half);
}

/// Block b of a plane from 32 integers.
INLINE void store_plane(const csimd_q8_output* to, int plane, size_t b, const __m256i n[4]) {
    to->sums[plane][b] = block_start(
        sum_words(_mm256_add_epi32(_mm256_add_epi32(n[0], n[1]), _mm256_add_epi32(n[2], n[3]))));
    // Packing works on 128-bit halves: the last step puts the 32-bit groups in order.
    __m256i bytes =
        _mm256_packs_epi16(_mm256_packs_epi32(n[0], n[1]), _mm256_packs_epi32(n[2], n[3]));
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i*)(to->q[plane] + b * CSIMD_BLOCK), bytes);
}

void csimd_avx2_quantize_row(const float* x, size_t cols, const csimd_q8_output* to) {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff), half = _mm256_set1_epi32(64);
    const bool wide = to->q[1];
    for (size_t b = 0; b < cols / CSIMD_BLOCK; b++) {
        __m256 v[4];
        __m256i max8 = _mm256_setzero_si256();
        for (int i = 0; i < 4; i++) {
            v[i] = _mm256_loadu_ps(x + b * CSIMD_BLOCK + (size_t)i * 8);
            max8 = _mm256_max_epi32(max8, _mm256_and_si256(_mm256_castps_si256(v[i]), magnitude));
        }
        __m128i max4 =
            _mm_max_epi32(_mm256_castsi256_si128(max8), _mm256_extracti128_si256(max8, 1));
        max4 = _mm_max_epi32(max4, _mm_shuffle_epi32(max4, 0x4e));
        max4 = _mm_max_epi32(max4, _mm_shuffle_epi32(max4, 0xb1));
        float factor;
        __m256i n[4], high[4];
        const bool any = csimd_q8_scale(_mm_cvtss_f32(_mm_castsi128_ps(max4)),
                                        csimd_greatest_q(wide), &to->scales[b], &factor);
        __m256 inverse = _mm256_set1_ps(any ? factor : 0);
        for (int i = 0; i < 4; i++) {
            n[i] = any ? _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse)) : _mm256_setzero_si256();
        }
        if (!wide) {
            store_plane(to, 0, b, n);
            to->sums[1][b] = 0;
            continue;
        }
        for (int i = 0; i < 4; i++) {
            high[i] = _mm256_srai_epi32(_mm256_add_epi32(n[i], half), CSIMD_PLANE_SHIFT);
            n[i] = _mm256_sub_epi32(n[i], _mm256_slli_epi32(high[i], CSIMD_PLANE_SHIFT));
        }
        store_plane(to, 0, b, high);
        store_plane(to, 1, b, n);
    }
    csimd_total_blocks(to, 0, cols / CSIMD_BLOCK);
}

/// The sign of the weight moves to the activation, since unsigned x signed pairs would pass 16
/// bits; |w| <= 128 and |x| <= 127 do not.
static inline __m256i signed_dot(__m256i w, __m256i x) {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)),
                             _mm256_set1_epi16(1));
}

/// Q4_0's nibbles in lanes of 16 bits, or signed bytes in lanes of 32.
static inline __m256i tile_step(csimd_type type, __m256i sums, __m256i w, __m256i x) {
    return type == CSIMD_Q4_0 ? _mm256_add_epi16(sums, _mm256_maddubs_epi16(w, x))
                              : _mm256_add_epi32(sums, signed_dot(w, x));
}

static inline int tile_start(int plane) {
    return plane;
}

static inline __m256i tile_sum(csimd_type type, __m256i sums) {
    return type == CSIMD_Q4_0 ? _mm256_madd_epi16(sums, _mm256_set1_epi16(1)) : sums;
}

enum { LIFTED = 0 }; // eight sums become f32 by a conversion, as their four-bit halves widen
#include "x86_panels_ymm.inc"

/// A panel's block of eight-bit values: csimd_panel_block, but each step in two registers, low
/// nibbles and high ones.
typedef struct split_block {
    _Alignas(64) uint8_t steps[CSIMD_STEPS][2][CSIMD_PANEL * 4];
    float scales[CSIMD_PANEL];
} split_block;
_Static_assert(sizeof(split_block) == 1088, "sixteen registers of nibbles and one of scales");

/// Of unsigned w of at most 63: pairs of products fit 16 bits.
static inline __m256i unsigned_dot(__m256i w, __m256i x) {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1));
}

#define LEVEL_SIXTEEN
static inline level_i level_word(const int8_t* x) {
    return (level_i)broadcast_word(x);
}

static inline level_i level_step(level_i sums, const uint8_t* w, level_i word) {
    return (level_i)_mm256_add_epi16(
        (__m256i)sums, _mm256_maddubs_epi16(_mm256_load_si256((const __m256i*)w), (__m256i)word));
}

static inline level_i level_widen(level_i sums) {
    return (level_i)_mm256_madd_epi16((__m256i)sums, _mm256_set1_epi16(1));
}

static inline group_i level_dot(level_block w, const int8_t* x) {
    return (group_i)unsigned_dot((__m256i)w, _mm256_loadu_si256((const __m256i*)x));
}

// As the other tiles of 256 bits.
enum { LEVEL_PANELS = 1, LEVEL_TILE = 6, LEVEL_TILED = 0, LEVEL_LIFTED = 0 };
#include "level_products.inc"

size_t csimd_avx2_panel_bytes(csimd_type type, size_t cols) {
    return type == CSIMD_Q4_0 || csimd_has_levels(type) ? csimd_panel_bytes(type, cols)
                                                        : cols / CSIMD_BLOCK * sizeof(split_block);
}

static void pack_nibbles(const csimd_weight_rows w, split_block* panel) {
    const __m256i low = _mm256_set1_epi8(15);
    for (size_t b = 0; b < w.blocks; b++) {
        for (size_t half = 0; half < 2; half++) {
            __m256i groups[CSIMD_STEPS];
            load_half_panel(w, b, half, groups, panel[b].scales);
            for (size_t step = 0; step < CSIMD_STEPS; step++) {
                uint8_t(*to)[CSIMD_PANEL * 4] = panel[b].steps[step];
                _mm256_store_si256((__m256i*)(to[0] + half * 32),
                                   _mm256_and_si256(groups[step], low));
                _mm256_store_si256((__m256i*)(to[1] + half * 32),
                                   _mm256_and_si256(_mm256_srli_epi16(groups[step], 4), low));
            }
        }
    }
}

void csimd_avx2_pack_panel(const csimd_weight_rows* w, void* panel) {
    if (csimd_has_levels(w->type)) {
        pack_levels(w, panel);
    } else if (w->type == CSIMD_Q4_0) {
        pack_bytes(*w, 0, panel);
    } else {
        pack_nibbles(*w, panel);
    }
}

/// 8 rows (half 0 or 1 of the panel) x `tokens` <= TILE tokens, of eight-bit values.
INLINE void tile_bytes(csimd_panel_part part, const size_t half, csimd_q8_rows x, const int planes,
                       const int tokens, csimd_output out) {
    const __m256i ones = _mm256_set1_epi16(1), sixteens = _mm256_set1_epi16(16);
    const split_block* w = part.panel;
    out.y += half * 8;
    __m256 total[TILE];
    for (int t = 0; t < tokens; t++) {
        total[t] =
            part.first == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(out.y + (size_t)t * out.stride);
    }
    for (size_t b = 0; b < part.count; b++, w++) {
        __m256i sums[TILE];
        for (int plane = 0; plane < planes; plane++) {
            const int8_t* q = x.plane[plane].q + b * CSIMD_BLOCK;
            __m256i low[TILE], high[TILE]; // nibbles of the weights
            for (int t = 0; t < tokens; t++) {
                low[t] = _mm256_setzero_si256();
                high[t] = broadcast_word(x.plane[plane].sums + (size_t)t * x.blocks + b);
            }
#pragma clang loop unroll(disable)
            for (int step = 0; step < CSIMD_STEPS; step++) {
                __m256i w0 = _mm256_load_si256((const __m256i*)(w->steps[step][0] + half * 32));
                __m256i w1 = _mm256_load_si256((const __m256i*)(w->steps[step][1] + half * 32));
                for (int t = 0; t < tokens; t++) {
                    __m256i four = broadcast_word(q + (size_t)t * x.stride + step * 4);
                    low[t] = _mm256_add_epi16(low[t], _mm256_maddubs_epi16(w0, four));
                    high[t] = _mm256_add_epi16(high[t], _mm256_maddubs_epi16(w1, four));
                }
            }
            for (int t = 0; t < tokens; t++) {
                __m256i sum = _mm256_add_epi32(_mm256_madd_epi16(low[t], ones),
                                               _mm256_madd_epi16(high[t], sixteens));
                sums[t] =
                    plane == 0
                        ? sum
                        : _mm256_add_epi32(_mm256_slli_epi32(sums[t], CSIMD_PLANE_SHIFT), sum);
            }
        }
        __m256 weight_scales = _mm256_load_ps(w->scales + half * 8);
        for (int t = 0; t < tokens; t++) {
            __m256 s = _mm256_broadcast_ss(x.scales + (size_t)t * x.blocks + b);
            total[t] = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sums[t]), weight_scales), s,
                                       total[t]);
        }
    }
    for (int t = 0; t < tokens; t++) {
        _mm256_storeu_ps(out.y + (size_t)t * out.stride, total[t]);
    }
}

INLINE void tile(csimd_panel_part part, csimd_q8_rows x, const int planes, const int tokens,
                 csimd_output out) {
    if (part.type == CSIMD_Q4_0) {
        tile_16(part, x, planes, tokens, out);
    } else {
        tile_bytes(part, 0, x, planes, tokens, out);
        tile_bytes(part, 1, x, planes, tokens, out);
    }
}

#define PANEL_PRODUCT csimd_avx2_panel_product
#define LEVEL_PRODUCT level_panel_product
#include "panel_product.inc"

/// A Q4_0 nibble as it is, too large by offset_of, and signed bytes.
static inline __m256i few_weights(csimd_type type, __m256i values) {
    return type == CSIMD_IQ4_NL ? nonlinear_levels(values) : values;
}

static inline int32_t offset_of(csimd_type type) {
    return type == CSIMD_Q4_0 ? 8 : 0;
}

/// Stored is -4 x the sum of each plane, twice.
static inline int32_t sum_of(const csimd_q8_rows* x, size_t b) {
    int32_t sum = 0;
    for (int plane = 0; plane < x->planes; plane++) {
        sum = sum * (1 << CSIMD_PLANE_SHIFT) + (int16_t)x->plane[plane].sums[b] / -4;
    }
    return sum;
}

/// A block's start as it is stored takes out the offset of Q4_0.
static inline int few_start(csimd_type type, int planes, int plane) {
    (void)planes;
    return type == CSIMD_Q4_0 ? plane : -1;
}

static inline __m256i byte_dot(csimd_type type, __m256i w, __m256i x) {
    return type == CSIMD_Q4_0 ? _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1))
                              : signed_dot(w, x);
}

/// Four products of Q4_0 fit 16 bits.
static inline __m256i pair_dot(csimd_type type, __m256i w0, __m256i x0, __m256i w1, __m256i x1) {
    if (type != CSIMD_Q4_0) {
        return _mm256_add_epi32(signed_dot(w0, x0), signed_dot(w1, x1));
    }
    return _mm256_madd_epi16(
        _mm256_add_epi16(_mm256_maddubs_epi16(w0, x0), _mm256_maddubs_epi16(w1, x1)),
        _mm256_set1_epi16(1));
}

#include "x86_few_ymm.inc"

enum { ROW_STREAMS = 1 }; // two rows that follow each other read a third slower (Zen 4)
#define ASKS_ONCE false
#define ROW_PRODUCT csimd_avx2_row_product
#define ROW_READING csimd_avx2_row_reading
#define LAY_OUT_LEVELS(type, x, to) 0 // rows of these are read one by one
#include "x86_rows_int8.inc"

#pragma clang attribute pop
#endif
