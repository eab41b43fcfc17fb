// int8 products for AVX-512 with VNNI: vpdpbusd multiplies unsigned weight bytes with signed
// activation bytes and adds four products to each 32-bit sum. Tile sizes for 32 zmm registers.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "internal.h"

#pragma clang attribute push(                                                                      \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))),        \
    apply_to = function)

void csimd_avx512_quantize_i8(const float* x, size_t cols, int8_t* q, float* scales,
                              int32_t* sums) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    for (size_t b = 0; b < cols / CSIMD_BLOCK; b++) {
        __m512 v0 = _mm512_loadu_ps(x + b * CSIMD_BLOCK);
        __m512 v1 = _mm512_loadu_ps(x + b * CSIMD_BLOCK + 16);
        int32_t max_bits = _mm512_reduce_max_epi32(
            _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(v0), magnitude),
                             _mm512_and_si512(_mm512_castps_si512(v1), magnitude)));
        float max;
        memcpy(&max, &max_bits, 4);
        bool finite = max_bits < 0x7f800000, zero = max < 0x1p-100f;
        scales[b] = !finite ? NAN : zero ? 0 : max / 127.0f;
        if (!finite || zero) {
            memset(q + b * CSIMD_BLOCK, 0, CSIMD_BLOCK);
            sums[b] = 0;
            continue;
        }
        __m512 inverse = _mm512_set1_ps(127.0f / max);
        __m512i n0 = _mm512_cvtps_epi32(_mm512_mul_ps(v0, inverse));
        __m512i n1 = _mm512_cvtps_epi32(_mm512_mul_ps(v1, inverse));
        _mm_storeu_si128((__m128i*)(q + b * CSIMD_BLOCK), _mm512_cvtepi32_epi8(n0));
        _mm_storeu_si128((__m128i*)(q + b * CSIMD_BLOCK + 16), _mm512_cvtepi32_epi8(n1));
        // Stored as -8 x the sum: the start of a Q4_0 product (Q8_0 shifts it to -128 x).
        sums[b] = -8 * _mm512_reduce_add_epi32(_mm512_add_epi32(n0, n1));
    }
}

// A packed panel, block after block: eight steps of 64 bytes (16 rows x four k, unsigned: a Q4_0
// nibble, or a Q8_0 value + 128), then 16 f32 scales.
enum { BLOCK_BYTES = 512 + CSIMD_PANEL * sizeof(float) };

size_t csimd_avx512_panel_bytes(csimd_type type, size_t cols) {
    (void)type;
    return cols / CSIMD_BLOCK * BLOCK_BYTES;
}

void csimd_avx512_pack_panel(csimd_type type, const void* w, size_t row_bytes, size_t rows,
                             size_t cols, void* panel) {
    const size_t stride = type == CSIMD_Q4_0 ? sizeof(csimd_block_q4_0) : sizeof(csimd_block_q8_0);
    // One 32-bit group of each of 16 rows: row r of the unpacked block is 32 bytes, at 32 r.
    const __m512i row_offsets =
        _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                           _mm512_set1_epi32(32));
    for (size_t b = 0; b < cols / CSIMD_BLOCK; b++) {
        uint8_t* out = (uint8_t*)panel + b * BLOCK_BYTES;
        float* scales = (float*)(out + 512);
        _Alignas(64) uint8_t bytes[CSIMD_PANEL][32];
        for (size_t r = 0; r < CSIMD_PANEL; r++) {
            const char* block = (const char*)w + r * row_bytes + b * stride;
            __m256i row = _mm256_setzero_si256();
            scales[r] = 0;
            if (r < rows) {
                uint16_t d;
                memcpy(&d, block, 2);
                scales[r] = _cvtsh_ss(d);
                if (type == CSIMD_Q4_0) {
                    __m128i q = _mm_loadu_si128((const __m128i*)(block + 2));
                    row = _mm256_and_si256(
                        _mm256_inserti128_si256(_mm256_castsi128_si256(q), _mm_srli_epi16(q, 4), 1),
                        _mm256_set1_epi8(15));
                } else {
                    row = _mm256_xor_si256(_mm256_loadu_si256((const __m256i*)(block + 2)),
                                           _mm256_set1_epi8((char)0x80));
                }
            }
            _mm256_store_si256((__m256i*)bytes[r], row);
        }
        for (int step = 0; step < 8; step++) {
            _mm512_store_si512(out + step * 64,
                               _mm512_i32gather_epi32(row_offsets, bytes[0] + step * 4, 1));
        }
    }
}

static inline __m512i broadcast_word(const void* p) {
    int32_t word;
    memcpy(&word, p, 4);
    return _mm512_set1_epi32(word);
}

enum { TILE = 12 }; // tokens at once: 12 integer and 12 f32 sums, the weights and the scales

/// 16 rows x `tokens` <= TILE tokens over `blocks` blocks.
static inline __attribute__((always_inline)) void
tile(csimd_type type, const uint8_t* panel, const int8_t* q, size_t q_stride, const float* scales,
     const int32_t* sums, size_t all_blocks, const int tokens, size_t blocks, bool overwrite,
     float* out, size_t out_stride) {
    __m512 total[TILE];
    for (int t = 0; t < tokens; t++) {
        total[t] = overwrite ? _mm512_setzero_ps() : _mm512_loadu_ps(out + (size_t)t * out_stride);
    }
    for (size_t b = 0; b < blocks; b++) {
        __m512i acc[TILE];
        for (int t = 0; t < tokens; t++) {
            __m512i start = broadcast_word(sums + (size_t)t * all_blocks + b);
            acc[t] = type == CSIMD_Q4_0 ? start : _mm512_slli_epi32(start, 4);
        }
#pragma clang loop unroll(disable)
        for (int step = 0; step < 8; step++) {
            __m512i w = _mm512_load_si512(panel + step * 64);
            for (int t = 0; t < tokens; t++) {
                acc[t] = _mm512_dpbusd_epi32(acc[t], w,
                                             broadcast_word(q + (size_t)t * q_stride + step * 4));
            }
        }
        __m512 s = _mm512_load_ps(panel + 512);
        for (int t = 0; t < tokens; t++) {
            __m512 x = _mm512_set1_ps(scales[(size_t)t * all_blocks + b]);
            total[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[t]), _mm512_mul_ps(s, x), total[t]);
        }
        panel += BLOCK_BYTES;
        q += CSIMD_BLOCK;
    }
    for (int t = 0; t < tokens; t++) {
        _mm512_storeu_ps(out + (size_t)t * out_stride, total[t]);
    }
}

void csimd_avx512_panel_product(csimd_type type, const void* panel, const csimd_q8_rows* x,
                                size_t first, size_t tokens, size_t block0, size_t blocks,
                                float* out, size_t out_stride) {
    const size_t all = x->cols / CSIMD_BLOCK;
    const uint8_t* from = (const uint8_t*)panel + block0 * BLOCK_BYTES;
    for (size_t t = 0; t < tokens;) {
        size_t left = tokens - t;
        const int8_t* q = x->q + (first + t) * x->stride + block0 * CSIMD_BLOCK;
        const float* scales = x->scales + (first + t) * all + block0;
        const int32_t* sums = x->sums + (first + t) * all + block0;
        float* to = out + t * out_stride;
        size_t count = left >= TILE ? TILE : left >= 4 ? 4 : 1;
#define TILE_OF(type, n)                                                                           \
    tile(type, from, q, x->stride, scales, sums, all, n, blocks, block0 == 0, to, out_stride)
        if (type == CSIMD_Q4_0) {
            if (count == TILE) {
                TILE_OF(CSIMD_Q4_0, TILE);
            } else if (count == 4) {
                TILE_OF(CSIMD_Q4_0, 4);
            } else {
                TILE_OF(CSIMD_Q4_0, 1);
            }
        } else {
            if (count == TILE) {
                TILE_OF(CSIMD_Q8_0, TILE);
            } else if (count == 4) {
                TILE_OF(CSIMD_Q8_0, 4);
            } else {
                TILE_OF(CSIMD_Q8_0, 1);
            }
        }
#undef TILE_OF
        t += count;
    }
}

#define DOT_BYTES _mm256_dpbusd_epi32
#include "vnni_ymm.inc"

#define ROW_PRODUCT csimd_avx512_row_product
#include "rows_int8.inc"

#pragma clang attribute pop
#endif
