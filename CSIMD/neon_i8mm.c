// Prefill products for Arm with the int8 matrix extension (Apple M2 and later, Graviton 3 and
// later): smmla multiplies two rows with two tokens over eight k at once, twice the products of
// sdot. All other leaves are NEON's.
#if defined(__aarch64__)
#include "neon_blocks.h"

#pragma clang attribute push(__attribute__((target("dotprod,i8mm"))), apply_to = function)

/// csimd_panel_block in another order: four steps of eight k, two rows to a register, so rows
/// follow each other.
typedef struct pairs_block {
    _Alignas(64) int8_t steps[CSIMD_BLOCK / 8][CSIMD_PANEL][8];
    float scales[CSIMD_PANEL];
} pairs_block;
_Static_assert(sizeof(pairs_block) == sizeof(csimd_panel_block), "another order of the same");

void csimd_i8mm_pack_panel(const csimd_weight_rows* w, void* panel) {
    if (csimd_has_levels(w->type)) {
        csimd_neon_pack_panel(w, panel);
        return;
    }
    pairs_block* out = panel;
    for (size_t b = 0; b < w->blocks; b++, out++) {
        for (size_t r = 0; r < CSIMD_PANEL; r++) {
            int8x16_t first, second;
            out->scales[r] = unpack_row(*w, r, b, &first, &second);
            vst1_s8(out->steps[0][r], vget_low_s8(first));
            vst1_s8(out->steps[1][r], vget_high_s8(first));
            vst1_s8(out->steps[2][r], vget_low_s8(second));
            vst1_s8(out->steps[3][r], vget_high_s8(second));
        }
    }
}

// Tokens at once: 16 sums of 2 x 2.
enum { TILE = 4, PART = 2, TILED = 0, PAIRS = CSIMD_PANEL / 2 };

/// 16 rows x `tokens` <= TILE tokens; a missing token of a pair is zeros.
INLINE void tile(csimd_panel_part part, csimd_q8_rows x, const int planes, const int tokens,
                 csimd_output out) {
    enum { PARTS = CSIMD_BLOCK / 8 }; // of eight k, in each plane
    const pairs_block* w = part.panel;
    for (size_t b = 0; b < part.count; b++, w++) {
        int32x4_t acc[TILE / 2][PAIRS];
        for (int p = 0; p < (tokens + 1) / 2; p++) {
            for (int i = 0; i < PAIRS; i++) {
                acc[p][i] = vdupq_n_s32(0);
            }
        }
        for (int part8 = 0; part8 < planes * PARTS; part8++) {
            const int plane = part8 / PARTS, step = part8 % PARTS;
            int8x16_t two[TILE / 2];
            for (int p = 0; p < (tokens + 1) / 2; p++) {
                for (int i = 0; plane == 1 && step == 0 && i < PAIRS; i++) {
                    acc[p][i] = vshlq_n_s32(acc[p][i], CSIMD_PLANE_SHIFT);
                }
                const int8_t* from =
                    x.plane[plane].q + (size_t)(2 * p) * x.stride + b * CSIMD_BLOCK + step * 8;
                int8x8_t other = 2 * p + 1 < tokens ? vld1_s8(from + x.stride) : vdup_n_s8(0);
                two[p] = vcombine_s8(vld1_s8(from), other);
            }
            for (int i = 0; i < PAIRS; i++) {
                int8x16_t rows = vld1q_s8(w->steps[step][2 * i]);
                for (int p = 0; p < (tokens + 1) / 2; p++) {
                    // Lanes: token 0 with both rows, token 1 with both rows.
                    acc[p][i] = vmmlaq_s32(acc[p][i], two[p], rows);
                }
            }
        }
        for (int t = 0; t < tokens; t++) {
            for (int i = 0; i < PAIRS; i += 2) {
                int32x4_t low = acc[t / 2][i], high = acc[t / 2][i + 1];
                int32x4_t four = t % 2 ? vcombine_s32(vget_high_s32(low), vget_high_s32(high))
                                       : vcombine_s32(vget_low_s32(low), vget_low_s32(high));
                add_scaled(csimd_output_at(out, (size_t)t, 0).y + i * 2, part.first + b == 0, four,
                           w->scales + i * 2, x.scales[(size_t)t * x.blocks + b]);
            }
        }
    }
}

#define PANEL_PRODUCT csimd_i8mm_panel_product
#define LEVEL_PRODUCT csimd_neon_panel_product
#include "panel_product.inc"

#pragma clang attribute pop
#endif
