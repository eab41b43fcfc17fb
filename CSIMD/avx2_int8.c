// int8 products for AVX2 + FMA + F16C: the laptop floor, tuned on Zen 4 with AVX-512 hidden.
//
// There is no byte dot product with 32-bit sums here, so four-bit factors are used: a product of a
// nibble (0 ... 15) and an int8 (-127 ... 127), summed over the 16 products that one 16-bit lane
// takes of a block, is at most 30,480 in magnitude and needs no widening inside the block. Q8_0
// weights + 128 are split into two nibbles; that costs twice the products of Q4_0.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "internal.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

/// Stored as the "sum" of a block: -4 x its sum in both halves of 32 bits. As the start of the
/// 16-bit lanes it takes the nibbles' offset of 8 out: two lanes make one sum of four products.
/// In range: 16 products 15 * 127 - 4 * (their x) - 4 * (the other 16 x) stay within +-30,480.
static int32_t sum_word(int32_t sum) {
    uint32_t half = (uint32_t)(uint16_t)(int16_t)(-4 * sum);
    return (int32_t)(half << 16 | half);
}

void csimd_avx2_quantize_i8(const float* x, size_t cols, int8_t* q, float* scales, int32_t* sums) {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
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
        int32_t max_bits = _mm_cvtsi128_si32(max4);
        float max = _mm_cvtss_f32(_mm_castsi128_ps(max4));
        bool finite = max_bits < 0x7f800000, zero = max < 0x1p-100f;
        scales[b] = !finite ? NAN : zero ? 0 : max / 127.0f;
        if (!finite || zero) {
            memset(q + b * CSIMD_BLOCK, 0, CSIMD_BLOCK);
            sums[b] = 0;
            continue;
        }
        __m256 inverse = _mm256_set1_ps(127.0f / max);
        __m256i n[4];
        for (int i = 0; i < 4; i++) {
            n[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));
        }
        __m256i sum8 = _mm256_add_epi32(_mm256_add_epi32(n[0], n[1]), _mm256_add_epi32(n[2], n[3]));
        __m128i sum4 =
            _mm_add_epi32(_mm256_castsi256_si128(sum8), _mm256_extracti128_si256(sum8, 1));
        sum4 = _mm_add_epi32(sum4, _mm_shuffle_epi32(sum4, 0x4e));
        sum4 = _mm_add_epi32(sum4, _mm_shuffle_epi32(sum4, 0xb1));
        sums[b] = sum_word(_mm_cvtsi128_si32(sum4));
        // Packing works on 128-bit halves: the last step puts the 32-bit groups in order.
        __m256i bytes =
            _mm256_packs_epi16(_mm256_packs_epi32(n[0], n[1]), _mm256_packs_epi32(n[2], n[3]));
        bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        _mm256_storeu_si256((__m256i*)(q + b * CSIMD_BLOCK), bytes);
    }
}

static inline __m256i tile_step(__m256i sums, __m256i w, __m256i x) {
    return _mm256_add_epi16(sums, _mm256_maddubs_epi16(w, x));
}

static inline __m256i tile_sum(__m256i sums) {
    return _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
}

#include "panels_ymm.inc"

size_t csimd_avx2_panel_bytes(csimd_type type, size_t cols) {
    return cols / CSIMD_BLOCK * ymm_block_bytes(type == CSIMD_Q8_0);
}

void csimd_avx2_pack_panel(csimd_type type, const void* w, size_t row_bytes, size_t rows,
                           size_t cols, void* panel) {
    pack_ymm(type, type == CSIMD_Q8_0, w, row_bytes, rows, cols, panel);
}

/// 8 rows (half 0 or 1 of the panel) x `tokens` <= TILE tokens over `blocks` blocks, Q8_0.
static inline __attribute__((always_inline)) void
tile_q8(const uint8_t* panel, size_t half, const int8_t* q, size_t q_stride, const float* scales,
        const int32_t* sums, size_t all_blocks, const int tokens, size_t blocks, bool overwrite,
        float* out, size_t out_stride) {
    const __m256i ones = _mm256_set1_epi16(1), sixteens = _mm256_set1_epi16(16);
    panel += half * 32;
    out += half * 8;
    __m256 total[TILE];
    for (int t = 0; t < tokens; t++) {
        total[t] = overwrite ? _mm256_setzero_ps() : _mm256_loadu_ps(out + (size_t)t * out_stride);
    }
    for (size_t b = 0; b < blocks; b++) {
        __m256i low[TILE], high[TILE];
        for (int t = 0; t < tokens; t++) {
            low[t] = _mm256_setzero_si256();
            high[t] = broadcast_word(sums + (size_t)t * all_blocks + b);
        }
#pragma clang loop unroll(disable)
        for (int step = 0; step < 8; step++) {
            __m256i w0 = _mm256_load_si256((const __m256i*)(panel + step * 128));
            __m256i w1 = _mm256_load_si256((const __m256i*)(panel + step * 128 + 64));
            for (int t = 0; t < tokens; t++) {
                __m256i x = broadcast_word(q + (size_t)t * q_stride + step * 4);
                low[t] = _mm256_add_epi16(low[t], _mm256_maddubs_epi16(w0, x));
                high[t] = _mm256_add_epi16(high[t], _mm256_maddubs_epi16(w1, x));
            }
        }
        __m256 s = _mm256_load_ps((const float*)(panel - half * 32 + 1024) + half * 8);
        for (int t = 0; t < tokens; t++) {
            __m256 x = _mm256_broadcast_ss(scales + (size_t)t * all_blocks + b);
            __m256i sum = _mm256_add_epi32(_mm256_madd_epi16(low[t], ones),
                                           _mm256_madd_epi16(high[t], sixteens));
            total[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(s, x), total[t]);
        }
        panel += 1088;
        q += CSIMD_BLOCK;
    }
    for (int t = 0; t < tokens; t++) {
        _mm256_storeu_ps(out + (size_t)t * out_stride, total[t]);
    }
}

void csimd_avx2_panel_product(csimd_type type, const void* panel, const csimd_q8_rows* x,
                              size_t first, size_t tokens, size_t block0, size_t blocks, float* out,
                              size_t out_stride) {
    const size_t all = x->cols / CSIMD_BLOCK;
    const uint8_t* from = (const uint8_t*)panel + block0 * ymm_block_bytes(type == CSIMD_Q8_0);
    const bool overwrite = block0 == 0;
    for (size_t t = 0; t < tokens;) {
        size_t left = tokens - t;
        const int8_t* q = x->q + (first + t) * x->stride + block0 * CSIMD_BLOCK;
        const float* scales = x->scales + (first + t) * all + block0;
        const int32_t* sums = x->sums + (first + t) * all + block0;
        float* to = out + t * out_stride;
        const int count = left >= TILE ? TILE : left >= 2 ? 2 : 1;
#define Q4(n)                                                                                      \
    tile_16(from, q, x->stride, scales, sums, all, n, 0, blocks, overwrite, to, out_stride)
#define Q8(n)                                                                                      \
    for (size_t half = 0; half < 2; half++) {                                                      \
        tile_q8(from, half, q, x->stride, scales, sums, all, n, blocks, overwrite, to,             \
                out_stride);                                                                       \
    }
        if (type == CSIMD_Q4_0) {
            if (count == TILE) {
                Q4(TILE);
            } else if (count == 2) {
                Q4(2);
            } else {
                Q4(1);
            }
        } else {
            if (count == TILE) {
                Q8(TILE)
            } else if (count == 2) {
                Q8(2)
            } else {
                Q8(1)
            }
        }
#undef Q4
#undef Q8
        t += (size_t)count;
    }
}

/// Nibbles x int8 of a pair of half blocks: four products fit 16 bits.
static inline __m256i pair_dot(__m256i w0, __m256i x0, __m256i w1, __m256i x1) {
    return _mm256_madd_epi16(
        _mm256_add_epi16(_mm256_maddubs_epi16(w0, x0), _mm256_maddubs_epi16(w1, x1)),
        _mm256_set1_epi16(1));
}

/// The sign of the weight moves to the activation, since unsigned x signed pairs would pass 16
/// bits; |w| <= 128 and |x| <= 127 do not. Nothing to correct.
static inline __m256i block_dot(__m256i w, __m256i x, const __m256i* correction) {
    (void)correction;
    return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)),
                             _mm256_set1_epi16(1));
}

static inline void fill_corrections(__m256i* corrections, const csimd_q8_rows* x, size_t tokens) {
    (void)corrections;
    (void)x;
    (void)tokens;
}

#define ROW_PRODUCT csimd_avx2_row_product
#include "rows_int8.inc"

#pragma clang attribute pop
#endif
