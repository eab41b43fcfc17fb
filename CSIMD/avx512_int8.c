// int8 products for AVX-512 with VNNI: vpdpbusd multiplies unsigned weight bytes with signed
// activation bytes and adds four products to each 32-bit sum. Tile sizes for 32 zmm registers.
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "internal.h"

#pragma clang attribute push(                                                                      \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))),        \
    apply_to = function)

#define LEVEL_LANES 16
#include "levels.inc"
#include "x86_blocks.inc"

/// Block b of a plane from 32 integers.
static inline void store_plane(const csimd_q8_output* to, int plane, size_t b, __m512i n0,
                               __m512i n1) {
    __m128i* q = (__m128i*)(to->q[plane] + b * CSIMD_BLOCK);
    _mm_storeu_si128(q, _mm512_cvtepi32_epi8(n0));
    _mm_storeu_si128(q + 1, _mm512_cvtepi32_epi8(n1));
    // Stored as -8 x the sum: the start of a Q4_0 product (the others shift it to -128 x).
    to->sums[plane][b] = -8 * _mm512_reduce_add_epi32(_mm512_add_epi32(n0, n1));
}

void csimd_avx512_quantize_row(const float* x, size_t cols, const csimd_q8_output* to) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff), half = _mm512_set1_epi32(64);
    const bool wide = to->q[1];
    for (size_t b = 0; b < cols / CSIMD_BLOCK; b++) {
        __m512 v0 = _mm512_loadu_ps(x + b * CSIMD_BLOCK);
        __m512 v1 = _mm512_loadu_ps(x + b * CSIMD_BLOCK + 16);
        int32_t max_bits = _mm512_reduce_max_epi32(
            _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(v0), magnitude),
                             _mm512_and_si512(_mm512_castps_si512(v1), magnitude)));
        float factor;
        __m512i n0 = _mm512_setzero_si512(), n1 = n0;
        if (csimd_q8_scale_of_bits((uint32_t)max_bits, csimd_greatest_q(wide), &to->scales[b],
                                   &factor)) {
            __m512 inverse = _mm512_set1_ps(factor);
            n0 = _mm512_cvtps_epi32(_mm512_mul_ps(v0, inverse));
            n1 = _mm512_cvtps_epi32(_mm512_mul_ps(v1, inverse));
        }
        if (!wide) {
            store_plane(to, 0, b, n0, n1);
            continue;
        }
        __m512i high0 = _mm512_srai_epi32(_mm512_add_epi32(n0, half), CSIMD_PLANE_SHIFT);
        __m512i high1 = _mm512_srai_epi32(_mm512_add_epi32(n1, half), CSIMD_PLANE_SHIFT);
        store_plane(to, 0, b, high0, high1);
        store_plane(to, 1, b, _mm512_sub_epi32(n0, _mm512_slli_epi32(high0, CSIMD_PLANE_SHIFT)),
                    _mm512_sub_epi32(n1, _mm512_slli_epi32(high1, CSIMD_PLANE_SHIFT)));
    }
}

static inline __m512i broadcast_word_16(const void* p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm512_set1_epi32(word);
}

enum {
    TILE = 12,
    PART = 4
}; // 12 integer and 12 f32 sums, the weights and the scales: 32 registers

static inline level_i level_step(level_i sums, const uint8_t* w, const int8_t* x) {
    return (level_i)_mm512_dpbusd_epi32((__m512i)sums, _mm512_load_si512(w), broadcast_word_16(x));
}

static inline group_i level_dot(level_block w, const int8_t* x) {
    return (group_i)_mm256_dpbusd_epi32(_mm256_setzero_si256(), (__m256i)w,
                                        _mm256_loadu_si256((const __m256i*)x));
}

enum { LEVEL_TILE = TILE };
#include "level_products.inc"

void csimd_avx512_pack_panel(const csimd_weight_rows* rows, void* panel) {
    if (csimd_has_levels(rows->type)) {
        pack_levels(rows, panel);
        return;
    }
    const csimd_weight_rows w = *rows; // what is stored below cannot change it
    // One 32-bit group of each of 16 rows: row r of the unpacked block is 32 bytes, at 32 r.
    const __m512i row_offsets =
        _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                           _mm512_set1_epi32(CSIMD_BLOCK));
    const size_t block_bytes = csimd_block_bytes(w.type);
    csimd_panel_block* out = panel;
    for (size_t b = 0; b < w.blocks; b++, out++) {
        _Alignas(64) uint8_t bytes[CSIMD_PANEL][CSIMD_BLOCK];
        for (size_t r = 0; r < CSIMD_PANEL; r++) {
            __m256i row = _mm256_setzero_si256();
            out->scales[r] = 0;
            if (r < w.count) {
                const char* block = w.data + r * w.row_bytes + b * block_bytes;
                out->scales[r] = load_scale(block);
                row = load_unsigned(w.type, block);
            }
            _mm256_store_si256((__m256i*)bytes[r], row);
        }
        for (int step = 0; step < CSIMD_STEPS; step++) {
            _mm512_store_si512(out->steps[step],
                               _mm512_i32gather_epi32(row_offsets, bytes[0] + step * 4, 1));
        }
    }
}

/// 16 rows x `tokens` <= TILE tokens of `planes`. `shift`: what makes a block's start of its stored
/// sum.
INLINE void tile_16(csimd_panel_part part, csimd_q8_rows x, const int planes, const int tokens,
                    const int shift, csimd_output out) {
    const csimd_panel_block* w = (const csimd_panel_block*)part.panel + part.first;
    __m512 total[TILE];
    for (int t = 0; t < tokens; t++) {
        total[t] =
            part.first == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(out.y + (size_t)t * out.stride);
    }
    for (size_t b = 0; b < part.count; b++, w++) {
        __m512i acc[TILE];
        for (int plane = 0; plane < planes; plane++) {
            const int8_t* q = x.plane[plane].q + b * CSIMD_BLOCK;
            for (int t = 0; t < tokens; t++) {
                const __m512i start = _mm512_slli_epi32(
                    broadcast_word_16(x.plane[plane].sums + (size_t)t * x.blocks + b), shift);
                acc[t] = plane == 0 ? start
                                    : _mm512_add_epi32(_mm512_slli_epi32(acc[t], CSIMD_PLANE_SHIFT),
                                                       start);
            }
#pragma clang loop unroll(disable)
            for (int step = 0; step < CSIMD_STEPS; step++) {
                __m512i four = _mm512_load_si512(w->steps[step]);
                for (int t = 0; t < tokens; t++) {
                    acc[t] = _mm512_dpbusd_epi32(
                        acc[t], four, broadcast_word_16(q + (size_t)t * x.stride + step * 4));
                }
            }
        }
        __m512 weight_scales = _mm512_load_ps(w->scales);
        for (int t = 0; t < tokens; t++) {
            __m512 s = _mm512_set1_ps(x.scales[(size_t)t * x.blocks + b]);
            total[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[t]), _mm512_mul_ps(weight_scales, s),
                                       total[t]);
        }
    }
    for (int t = 0; t < tokens; t++) {
        _mm512_storeu_ps(out.y + (size_t)t * out.stride, total[t]);
    }
}

#define PANEL_PRODUCT csimd_avx512_panel_product
#include "x86_vnni_product.inc"

#define DOT_BYTES _mm256_dpbusd_epi32
#include "x86_vnni_ymm.inc"

#define ROW_PRODUCT csimd_avx512_row_product
#include "x86_rows_int8.inc"

#pragma clang attribute pop
#endif
