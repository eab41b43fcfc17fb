// Prefill products for Arm with the int8 matrix extension (Apple M2 and later, Graviton 3 and
// later): smmla multiplies two rows with two tokens over eight k at once, twice the products of
// sdot. All other leaves are NEON's.
#if defined(__aarch64__)
#include "neon_blocks.h"

#pragma clang attribute push(__attribute__((target("dotprod,i8mm"))), apply_to = function)

// A panel's block: four steps of eight k, in each step eight pairs of rows, 8 bytes of the one and
// 8 of the other.
void csimd_i8mm_pack_panel(csimd_type type, const void* w, size_t row_bytes, size_t rows,
                           size_t cols, void* panel) {
    for (size_t b = 0; b < cols / CSIMD_BLOCK; b++) {
        int8_t* out = (int8_t*)panel + b * CSIMD_NEON_BLOCK_BYTES;
        float* scales = (float*)(out + 512);
        for (size_t r = 0; r < CSIMD_PANEL; r++) {
            int8x16_t first = vdupq_n_s8(0), second = first;
            scales[r] = 0;
            if (r < rows) {
                scales[r] = unpack(type, (const char*)w + r * row_bytes + b * stride_of(type),
                                   &first, &second);
            }
            int8_t* to = out + r * 8; // two rows to a register, so rows follow each other
            vst1_s8(to, vget_low_s8(first));
            vst1_s8(to + 128, vget_high_s8(first));
            vst1_s8(to + 256, vget_low_s8(second));
            vst1_s8(to + 384, vget_high_s8(second));
        }
    }
}

enum { TILE = 4, PAIRS = CSIMD_PANEL / 2 }; // tokens at once: 16 sums of 2 x 2

/// 16 rows x `tokens` <= TILE tokens over `blocks` blocks; a missing token of a pair is zeros.
static inline __attribute__((always_inline)) void
tile(const int8_t* panel, const int8_t* q, size_t q_stride, const float* scales, size_t all_blocks,
     const int tokens, size_t blocks, bool overwrite, float* out, size_t out_stride) {
    for (size_t b = 0; b < blocks; b++) {
        int32x4_t acc[TILE / 2][PAIRS];
        for (int p = 0; p < (tokens + 1) / 2; p++) {
            for (int i = 0; i < PAIRS; i++) {
                acc[p][i] = vdupq_n_s32(0);
            }
        }
        for (int step = 0; step < 4; step++) {
            int8x16_t x[TILE / 2];
            for (int p = 0; p < (tokens + 1) / 2; p++) {
                const int8_t* from = q + (size_t)(2 * p) * q_stride + step * 8;
                int8x8_t other = 2 * p + 1 < tokens ? vld1_s8(from + q_stride) : vdup_n_s8(0);
                x[p] = vcombine_s8(vld1_s8(from), other);
            }
            for (int i = 0; i < PAIRS; i++) {
                int8x16_t w = vld1q_s8(panel + step * 128 + i * 16);
                for (int p = 0; p < (tokens + 1) / 2; p++) {
                    // Lanes: token 0 with both rows, token 1 with both rows.
                    acc[p][i] = vmmlaq_s32(acc[p][i], x[p], w);
                }
            }
        }
        const float* s = (const float*)(panel + 512);
        for (int t = 0; t < tokens; t++) {
            for (int i = 0; i < PAIRS; i += 2) {
                int32x4_t one = acc[t / 2][i], two = acc[t / 2][i + 1];
                int32x4_t four = t % 2 ? vcombine_s32(vget_high_s32(one), vget_high_s32(two))
                                       : vcombine_s32(vget_low_s32(one), vget_low_s32(two));
                float* to = out + (size_t)t * out_stride + i * 2;
                float32x4_t sum = overwrite && b == 0 ? vdupq_n_f32(0) : vld1q_f32(to);
                float32x4_t scale =
                    vmulq_n_f32(vld1q_f32(s + i * 2), scales[(size_t)t * all_blocks + b]);
                vst1q_f32(to, vfmaq_f32(sum, vcvtq_f32_s32(four), scale));
            }
        }
        panel += CSIMD_NEON_BLOCK_BYTES;
        q += CSIMD_BLOCK;
    }
}

void csimd_i8mm_panel_product(csimd_type type, const void* panel, const csimd_q8_rows* x,
                              size_t first, size_t tokens, size_t block0, size_t blocks, float* out,
                              size_t out_stride) {
    (void)type;
    const size_t all = x->cols / CSIMD_BLOCK;
    const int8_t* from = (const int8_t*)panel + block0 * CSIMD_NEON_BLOCK_BYTES;
    for (size_t t = 0; t < tokens;) {
        const int8_t* q = x->q + (first + t) * x->stride + block0 * CSIMD_BLOCK;
        const float* scales = x->scales + (first + t) * all + block0;
        float* to = out + t * out_stride;
        const size_t left = tokens - t, count = left >= TILE ? TILE : left >= 2 ? 2 : 1;
#define TILE_OF(n) tile(from, q, x->stride, scales, all, n, blocks, block0 == 0, to, out_stride)
        if (count == TILE) {
            TILE_OF(TILE);
        } else if (count == 2) {
            TILE_OF(2);
        } else {
            TILE_OF(1);
        }
#undef TILE_OF
        t += count;
    }
}

#pragma clang attribute pop
#endif
