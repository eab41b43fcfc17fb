// int8 products for Arm with the dot product extension (every Apple M, Graviton 2 and later,
// Raspberry Pi 5): sdot adds four products of signed bytes to each 32-bit sum, so weights are used
// as they are and nothing is to be corrected. Tile sizes for 32 registers of 128 bits.
#if defined(__aarch64__)
#define LEVEL_LANES 4
#include "neon_blocks.h"

#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)

#include "levels.inc"

/// Block b of a plane from 32 integers.
INLINE void store_plane(const csimd_q8_output* to, int plane, size_t b, const int32x4_t n[8]) {
    int8_t* q = to->q[plane] + b * CSIMD_BLOCK;
    int32x4_t total = vdupq_n_s32(0);
    for (int i = 0; i < 4; i++) {
        const int32x4_t n0 = n[2 * i], n1 = n[2 * i + 1];
        total = vaddq_s32(total, vaddq_s32(n0, n1));
        vst1_s8(q + i * 8, vmovn_s16(vcombine_s16(vmovn_s32(n0), vmovn_s32(n1))));
    }
    to->sums[plane][b] = vaddvq_s32(total);
}

void csimd_neon_quantize_row(const float* x, size_t cols, const csimd_q8_output* to) {
    const uint32x4_t magnitude = vdupq_n_u32(0x7fffffff);
    const bool wide = to->q[1];
    for (size_t b = 0; b < cols / CSIMD_BLOCK; b++) {
        float32x4_t v[8];
        uint32x4_t max4 = vdupq_n_u32(0);
        for (int i = 0; i < 8; i++) {
            v[i] = vld1q_f32(x + b * CSIMD_BLOCK + (size_t)i * 4);
            max4 = vmaxq_u32(max4, vandq_u32(vreinterpretq_u32_f32(v[i]), magnitude));
        }
        float inverse;
        int32x4_t n[8], high[8];
        const bool any = csimd_q8_scale_of_bits(vmaxvq_u32(max4), csimd_greatest_q(wide),
                                                &to->scales[b], &inverse);
        for (int i = 0; i < 8; i++) {
            n[i] = any ? vcvtnq_s32_f32(vmulq_n_f32(v[i], inverse)) : vdupq_n_s32(0);
        }
        if (!wide) {
            store_plane(to, 0, b, n);
            to->sums[1][b] = 0;
            continue;
        }
        for (int i = 0; i < 8; i++) {
            high[i] = vshrq_n_s32(vaddq_s32(n[i], vdupq_n_s32(64)), CSIMD_PLANE_SHIFT);
            n[i] = vsubq_s32(n[i], vshlq_n_s32(high[i], CSIMD_PLANE_SHIFT));
        }
        store_plane(to, 0, b, high);
        store_plane(to, 1, b, n);
    }
    csimd_total_blocks(to, 0, cols / CSIMD_BLOCK);
}

static inline level_i level_word(const int8_t* x) {
    int32_t word;
    memcpy(&word, x, sizeof word);
    return (level_i)vdupq_n_s32(word);
}

static inline level_i level_step(level_i sums, const uint8_t* w, level_i word) {
    return (level_i)vdotq_s32((int32x4_t)sums, vreinterpretq_s8_u8(vld1q_u8(w)),
                              vreinterpretq_s8_s32((int32x4_t)word));
}

static inline group_i level_dot(level_block w, const int8_t* x) {
    group_i sums;
    const int32x4_t zero = vdupq_n_s32(0);
    sums.lo = (__typeof__(sums.lo))vdotq_s32(zero, (int8x16_t)w.lo, vld1q_s8(x));
    sums.hi = (__typeof__(sums.hi))vdotq_s32(zero, (int8x16_t)w.hi, vld1q_s8(x + 16));
    return sums;
}

enum { LEVEL_PANELS = 1, LEVEL_TILE = 4, LEVEL_TILED = 0, LEVEL_LIFTED = 0 }; // as the tile below
#include "level_products.inc"

void csimd_neon_pack_panel(const csimd_weight_rows* w, void* panel) {
    if (csimd_has_levels(w->type)) {
        pack_levels(w, panel);
        return;
    }
    csimd_panel_block* out = panel;
    for (size_t b = 0; b < w->blocks; b++, out++) {
        for (size_t r = 0; r < CSIMD_PANEL; r++) {
            int8x16_t halves[2];
            out->scales[r] = unpack_row(*w, r, b, &halves[0], &halves[1]);
            for (int half = 0; half < 2; half++) {
                const int32x4_t words = vreinterpretq_s32_s8(halves[half]);
                uint8_t(*to)[CSIMD_PANEL * 4] = &out->steps[half * 4];
                vst1q_lane_s32((int32_t*)to[0] + r, words, 0);
                vst1q_lane_s32((int32_t*)to[1] + r, words, 1);
                vst1q_lane_s32((int32_t*)to[2] + r, words, 2);
                vst1q_lane_s32((int32_t*)to[3] + r, words, 3);
            }
        }
    }
}

// Tokens at once: 16 sums, the weights of a step and the tokens.
enum { TILE = 4, PART = 1, TILED = 0 };

/// 16 rows x `tokens` <= TILE tokens.
INLINE void tile(csimd_panel_part part, csimd_q8_rows x, const int planes, const int tokens,
                 csimd_output out) {
    const csimd_panel_block* w = part.panel;
    for (size_t b = 0; b < part.count; b++, w++) {
        int32x4_t acc[TILE][4];
        for (int t = 0; t < tokens; t++) {
            for (int i = 0; i < 4; i++) {
                acc[t][i] = vdupq_n_s32(0);
            }
        }
        for (int part16 = 0; part16 < 2 * planes; part16++) {
            const int plane = part16 / 2, half = part16 % 2;
            int8x16_t four[TILE];
            for (int t = 0; t < tokens; t++) {
                four[t] =
                    vld1q_s8(x.plane[plane].q + (size_t)t * x.stride + b * CSIMD_BLOCK + half * 16);
                for (int i = 0; plane == 1 && half == 0 && i < 4; i++) {
                    acc[t][i] = vshlq_n_s32(acc[t][i], CSIMD_PLANE_SHIFT);
                }
            }
#define STEP(step)                                                                                 \
    for (int i = 0; i < 4; i++) {                                                                  \
        int8x16_t rows = vld1q_s8((const int8_t*)w->steps[half * 4 + step] + i * 16);              \
        for (int t = 0; t < tokens; t++) {                                                         \
            acc[t][i] = vdotq_laneq_s32(acc[t][i], rows, four[t], step);                           \
        }                                                                                          \
    }
            STEP(0)
            STEP(1)
            STEP(2)
            STEP(3)
#undef STEP
        }
        for (int t = 0; t < tokens; t++) {
            for (int i = 0; i < 4; i++) {
                add_scaled(csimd_output_at(out, (size_t)t, 0).y + i * 4, part.first + b == 0,
                           acc[t][i], w->scales + i * 4, x.scales[(size_t)t * x.blocks + b]);
            }
        }
    }
}

#define PANEL_PRODUCT csimd_neon_panel_product
#define LEVEL_PRODUCT level_panel_product
#include "panel_product.inc"

/// Four blocks of a row, or fewer with zeros behind them, times the same blocks of each token of x,
/// added to sums [tokens]: a block to a lane, whatever the number of tokens.
INLINE void add_blocks(csimd_type type, const int planes, const char* w, size_t blocks,
                       csimd_q8_rows x, float32x4_t* sums) {
    int8x16_t values[4][2];
    float weight_scales[4] = {0};
    for (size_t i = 0; i < 4; i++) {
        values[i][0] = values[i][1] = vdupq_n_s8(0);
        if (i < blocks) {
            weight_scales[i] =
                unpack(type, w + i * csimd_block_bytes(type), &values[i][0], &values[i][1]);
        }
    }
    const float32x4_t s = vld1q_f32(weight_scales);
    for (size_t t = 0; t < x.tokens; t++) {
        const float* scales = x.scales + t * x.blocks;
        float last[4] = {0};
        int32x4_t dots[4];
        for (size_t i = 0; i < 4; i++) {
            dots[i] = vdupq_n_s32(0);
            for (int plane = 0; i < blocks && plane < planes; plane++) {
                const int8_t* q = x.plane[plane].q + t * x.stride + i * CSIMD_BLOCK;
                dots[i] = plane == 0 ? dots[i] : vshlq_n_s32(dots[i], CSIMD_PLANE_SHIFT);
                dots[i] = vdotq_s32(dots[i], values[i][0], vld1q_s8(q));
                dots[i] = vdotq_s32(dots[i], values[i][1], vld1q_s8(q + 16));
            }
            if (i < blocks) {
                last[i] = scales[i];
            }
        }
        int32x4_t four = vpaddq_s32(vpaddq_s32(dots[0], dots[1]), vpaddq_s32(dots[2], dots[3]));
        sums[t] = vfmaq_f32(sums[t], vmulq_f32(vcvtq_f32_s32(four), s), vld1q_f32(last));
    }
}

INLINE void rows_of(csimd_type type, const int planes, const csimd_weight_rows w,
                    const csimd_q8_rows* x, csimd_output out) {
    enum { TOGETHER = 8 };
    const size_t whole = x->blocks / 4 * 4;
    for (size_t first = 0; first < x->tokens; first += TOGETHER) {
        const size_t count = min_size(x->tokens - first, TOGETHER);
        for (size_t r = 0; r < w.count; r++) {
            const char* row = w.data + r * w.row_bytes;
            float32x4_t sums[TOGETHER];
            for (size_t t = 0; t < count; t++) {
                sums[t] = vdupq_n_f32(0);
            }
            for (size_t b = 0; b < whole; b += 4) {
                add_blocks(type, planes, row + b * csimd_block_bytes(type), 4,
                           csimd_q8_part(x, first, count, b), sums);
            }
            if (whole < x->blocks) {
                add_blocks(type, planes, row + whole * csimd_block_bytes(type), x->blocks - whole,
                           csimd_q8_part(x, first, count, whole), sums);
            }
            for (size_t t = 0; t < count; t++) {
                float lanes[4];
                vst1q_f32(lanes, sums[t]);
                *csimd_output_at(out, first + t, r).y =
                    (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
            }
        }
    }
}

INLINE void product(const int planes, const csimd_weight_rows* w, const csimd_q8_rows* x,
                    csimd_output out) {
    if (w->type == CSIMD_Q4_0) {
        rows_of(CSIMD_Q4_0, planes, *w, x, out);
    } else if (w->type == CSIMD_IQ4_NL) {
        rows_of(CSIMD_IQ4_NL, planes, *w, x, out);
    } else {
        rows_of(CSIMD_Q8_0, planes, *w, x, out);
    }
}

void csimd_neon_row_product(const csimd_weight_rows* w, const csimd_q8_rows* x, csimd_output out) {
    if (csimd_has_levels(w->type)) {
        level_row_product(w, x, out);
    } else if (x->planes == 1) {
        product(1, w, x, out);
    } else {
        product(2, w, x, out);
    }
}

#pragma clang attribute pop
#endif
