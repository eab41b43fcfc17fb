// int8 products for Arm with the dot product extension (every Apple M, Graviton 2 and later,
// Raspberry Pi 5): sdot adds four products of signed bytes to each 32-bit sum, so weights are used
// as they are and nothing is to be corrected. Tile sizes for 32 registers of 128 bits.
#if defined(__aarch64__)
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "internal.h"
#include "neon_blocks.h"

#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)

void csimd_neon_quantize_i8(const float* x, size_t cols, int8_t* q, float* scales, int32_t* sums) {
    const uint32x4_t magnitude = vdupq_n_u32(0x7fffffff);
    for (size_t b = 0; b < cols / CSIMD_BLOCK; b++) {
        float32x4_t v[8];
        uint32x4_t max4 = vdupq_n_u32(0);
        for (int i = 0; i < 8; i++) {
            v[i] = vld1q_f32(x + b * CSIMD_BLOCK + (size_t)i * 4);
            max4 = vmaxq_u32(max4, vandq_u32(vreinterpretq_u32_f32(v[i]), magnitude));
        }
        uint32_t max_bits = vmaxvq_u32(max4);
        float max;
        memcpy(&max, &max_bits, 4);
        bool finite = max_bits < 0x7f800000, zero = max < 0x1p-100f;
        scales[b] = !finite ? NAN : zero ? 0 : max / 127.0f;
        if (!finite || zero) {
            memset(q + b * CSIMD_BLOCK, 0, CSIMD_BLOCK);
            sums[b] = 0;
            continue;
        }
        float inverse = 127.0f / max;
        int32x4_t total = vdupq_n_s32(0);
        for (int i = 0; i < 4; i++) {
            int32x4_t n0 = vcvtnq_s32_f32(vmulq_n_f32(v[2 * i], inverse));
            int32x4_t n1 = vcvtnq_s32_f32(vmulq_n_f32(v[2 * i + 1], inverse));
            total = vaddq_s32(total, vaddq_s32(n0, n1));
            vst1_s8(q + b * CSIMD_BLOCK + i * 8,
                    vmovn_s16(vcombine_s16(vmovn_s32(n0), vmovn_s32(n1))));
        }
        sums[b] = vaddvq_s32(total);
    }
}

// A packed panel, block after block: eight steps of 64 bytes (16 rows x four k), then 16 f32
// scales.
enum { BLOCK_BYTES = CSIMD_NEON_BLOCK_BYTES };

size_t csimd_neon_panel_bytes(csimd_type type, size_t cols) {
    (void)type;
    return cols / CSIMD_BLOCK * BLOCK_BYTES;
}

void csimd_neon_pack_panel(csimd_type type, const void* w, size_t row_bytes, size_t rows,
                           size_t cols, void* panel) {
    for (size_t b = 0; b < cols / CSIMD_BLOCK; b++) {
        char* out = (char*)panel + b * BLOCK_BYTES;
        float* scales = (float*)(out + 512);
        for (size_t r = 0; r < CSIMD_PANEL; r++) {
            int32x4_t words[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
            scales[r] = 0;
            if (r < rows) {
                int8x16_t first, second;
                scales[r] = unpack(type, (const char*)w + r * row_bytes + b * stride_of(type),
                                   &first, &second);
                words[0] = vreinterpretq_s32_s8(first);
                words[1] = vreinterpretq_s32_s8(second);
            }
            for (int half = 0; half < 2; half++) {
                int32_t* to = (int32_t*)(out + half * 256) + r;
                vst1q_lane_s32(to, words[half], 0);
                vst1q_lane_s32(to + 16, words[half], 1);
                vst1q_lane_s32(to + 32, words[half], 2);
                vst1q_lane_s32(to + 48, words[half], 3);
            }
        }
    }
}

enum { TILE = 4 }; // tokens at once: 16 sums, the weights of a step and the tokens

/// 16 rows x `tokens` <= TILE tokens over `blocks` blocks.
static inline __attribute__((always_inline)) void
tile(const char* panel, const int8_t* q, size_t q_stride, const float* scales, size_t all_blocks,
     const int tokens, size_t blocks, bool overwrite, float* out, size_t out_stride) {
    for (size_t b = 0; b < blocks; b++) {
        int32x4_t acc[TILE][4];
        for (int t = 0; t < tokens; t++) {
            for (int i = 0; i < 4; i++) {
                acc[t][i] = vdupq_n_s32(0);
            }
        }
        for (int half = 0; half < 2; half++) {
            int8x16_t x[TILE];
            for (int t = 0; t < tokens; t++) {
                x[t] = vld1q_s8(q + (size_t)t * q_stride + half * 16);
            }
#define STEP(step)                                                                                 \
    for (int i = 0; i < 4; i++) {                                                                  \
        int8x16_t w = vld1q_s8((const int8_t*)panel + half * 256 + (step)*64 + i * 16);            \
        for (int t = 0; t < tokens; t++) {                                                         \
            acc[t][i] = vdotq_laneq_s32(acc[t][i], w, x[t], step);                                 \
        }                                                                                          \
    }
            STEP(0)
            STEP(1)
            STEP(2)
            STEP(3)
#undef STEP
        }
        const float* s = (const float*)(panel + 512);
        for (int t = 0; t < tokens; t++) {
            for (int i = 0; i < 4; i++) {
                float* to = out + (size_t)t * out_stride + i * 4;
                float32x4_t sum = overwrite && b == 0 ? vdupq_n_f32(0) : vld1q_f32(to);
                float32x4_t scale =
                    vmulq_n_f32(vld1q_f32(s + i * 4), scales[(size_t)t * all_blocks + b]);
                vst1q_f32(to, vfmaq_f32(sum, vcvtq_f32_s32(acc[t][i]), scale));
            }
        }
        panel += BLOCK_BYTES;
        q += CSIMD_BLOCK;
    }
}

void csimd_neon_panel_product(csimd_type type, const void* panel, const csimd_q8_rows* x,
                              size_t first, size_t tokens, size_t block0, size_t blocks, float* out,
                              size_t out_stride) {
    (void)type;
    const size_t all = x->cols / CSIMD_BLOCK;
    const char* from = (const char*)panel + block0 * BLOCK_BYTES;
    for (size_t t = 0; t < tokens;) {
        const int8_t* q = x->q + (first + t) * x->stride + block0 * CSIMD_BLOCK;
        const float* scales = x->scales + (first + t) * all + block0;
        float* to = out + t * out_stride;
        if (tokens - t >= TILE) {
            tile(from, q, x->stride, scales, all, TILE, blocks, block0 == 0, to, out_stride);
            t += TILE;
        } else {
            tile(from, q, x->stride, scales, all, 1, blocks, block0 == 0, to, out_stride);
            t += 1;
        }
    }
}

/// Four blocks of a row, or fewer with zeros behind them, times the same blocks of each token,
/// added to sums [tokens]: a block to a lane, whatever the number of tokens.
static inline __attribute__((always_inline)) void add_blocks(csimd_type type, const char* w,
                                                             size_t blocks, const csimd_q8_rows* x,
                                                             size_t first, size_t tokens,
                                                             float32x4_t* sums) {
    const size_t all = x->cols / CSIMD_BLOCK;
    int8x16_t values[4][2];
    float weight_scales[4] = {0};
    for (size_t i = 0; i < 4; i++) {
        values[i][0] = values[i][1] = vdupq_n_s8(0);
        if (i < blocks) {
            weight_scales[i] = unpack(type, w + i * stride_of(type), &values[i][0], &values[i][1]);
        }
    }
    const float32x4_t s = vld1q_f32(weight_scales);
    for (size_t t = 0; t < tokens; t++) {
        const int8_t* q = x->q + t * x->stride + first * CSIMD_BLOCK;
        const float* scales = x->scales + t * all + first;
        float last[4] = {0};
        int32x4_t dots[4];
        for (size_t i = 0; i < 4; i++) {
            dots[i] = vdupq_n_s32(0);
            if (i < blocks) {
                dots[i] = vdotq_s32(dots[i], values[i][0], vld1q_s8(q + i * CSIMD_BLOCK));
                dots[i] = vdotq_s32(dots[i], values[i][1], vld1q_s8(q + i * CSIMD_BLOCK + 16));
                last[i] = scales[i];
            }
        }
        int32x4_t four = vpaddq_s32(vpaddq_s32(dots[0], dots[1]), vpaddq_s32(dots[2], dots[3]));
        sums[t] = vfmaq_f32(sums[t], vcvtq_f32_s32(four), vmulq_f32(s, vld1q_f32(last)));
    }
}

static inline __attribute__((always_inline)) void
rows_of(csimd_type type, const char* w, size_t row_bytes, size_t row0, size_t row1,
        const csimd_q8_rows* x, size_t tokens, float* y, size_t y_stride) {
    enum { TOGETHER = 8 };
    const size_t blocks = x->cols / CSIMD_BLOCK, whole = blocks / 4 * 4;
    for (size_t first = 0; first < tokens; first += TOGETHER) {
        size_t count = tokens - first < TOGETHER ? tokens - first : TOGETHER;
        csimd_q8_rows part = *x;
        part.q += first * x->stride;
        part.scales += first * blocks;
        for (size_t r = row0; r < row1; r++) {
            const char* row = w + r * row_bytes;
            float32x4_t sums[TOGETHER];
            for (size_t t = 0; t < count; t++) {
                sums[t] = vdupq_n_f32(0);
            }
            for (size_t b = 0; b < whole; b += 4) {
                add_blocks(type, row + b * stride_of(type), 4, &part, b, count, sums);
            }
            if (whole < blocks) {
                add_blocks(type, row + whole * stride_of(type), blocks - whole, &part, whole, count,
                           sums);
            }
            for (size_t t = 0; t < count; t++) {
                float lanes[4];
                vst1q_f32(lanes, sums[t]);
                y[(first + t) * y_stride + r] = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
            }
        }
    }
}

void csimd_neon_row_product(csimd_type type, const void* w, size_t row_bytes, size_t row0,
                            size_t row1, const csimd_q8_rows* x, size_t tokens, float* y,
                            size_t y_stride) {
    if (type == CSIMD_Q4_0) {
        rows_of(CSIMD_Q4_0, w, row_bytes, row0, row1, x, tokens, y, y_stride);
    } else {
        rows_of(CSIMD_Q8_0, w, row_bytes, row0, row1, x, tokens, y, y_stride);
    }
}

#pragma clang attribute pop
#endif
