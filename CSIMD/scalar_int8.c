// The specification of the int8 products: plain C, never fast. The SIMD leaves equal it bit for
// bit in quantize_row and panel_product (integer block sums, times the weights' scale, then one
// fused multiply-add with the token's per block, in ascending order); row_product differs only in
// the order in which the f32 block values are added, and of types with levels in that both scales
// are multiplied first.
#include <math.h>
#include <string.h>

#include "internal.h"

void csimd_scalar_quantize_row(const float* x, size_t cols, const csimd_q8_output* to) {
    const bool wide = to->q[1];
    for (size_t b = 0; b < cols / CSIMD_BLOCK; b++, x += CSIMD_BLOCK) {
        // The greatest magnitude by its bits: orders like the value and lets NaN win.
        uint32_t max_bits = 0;
        for (int i = 0; i < CSIMD_BLOCK; i++) {
            uint32_t bits;
            memcpy(&bits, &x[i], sizeof bits);
            bits &= 0x7fffffff;
            max_bits = bits > max_bits ? bits : max_bits;
        }
        float inverse;
        const bool any =
            csimd_q8_scale_of_bits(max_bits, csimd_greatest_q(wide), &to->scales[b], &inverse);
        int32_t sums[CSIMD_PLANES] = {0};
        for (size_t i = 0; i < CSIMD_BLOCK; i++) {
            const int32_t q = any ? (int32_t)rintf(x[i] * inverse) : 0;
            // The low part of two is the remainder next to zero: -64 ... 63.
            const int32_t high = wide ? (q + 64) >> CSIMD_PLANE_SHIFT : q;
            const int32_t low = q - high * (1 << CSIMD_PLANE_SHIFT);
            to->q[0][b * CSIMD_BLOCK + i] = (int8_t)high;
            sums[0] += high;
            if (wide) {
                to->q[1][b * CSIMD_BLOCK + i] = (int8_t)low;
                sums[1] += low;
            }
        }
        to->sums[0][b] = sums[0];
        to->sums[1][b] = sums[1];
    }
    csimd_total_blocks(to, 0, cols / CSIMD_BLOCK);
}

size_t csimd_panel_bytes(csimd_type type, size_t cols) {
    return cols / CSIMD_BLOCK *
           (csimd_has_levels(type) ? sizeof(csimd_level_panel_block) : sizeof(csimd_panel_block));
}

/// csimd_panel_block as these leaves fill it: whole rows, one after the other.
typedef struct scalar_block {
    int8_t values[CSIMD_PANEL][CSIMD_BLOCK];
    float scales[CSIMD_PANEL];
} scalar_block;
_Static_assert(sizeof(scalar_block) == sizeof(csimd_panel_block), "another order of the same");

/// csimd_level_panel_block likewise.
typedef struct scalar_levels {
    csimd_levels rows[CSIMD_PANEL];
} scalar_levels;
_Static_assert(sizeof(scalar_levels) == sizeof(csimd_level_panel_block), "the same in other order");

void csimd_scalar_pack_panel(const csimd_weight_rows* w, void* panel) {
    if (csimd_has_levels(w->type)) {
        scalar_levels* out = panel;
        memset(out, 0, w->blocks * sizeof *out);
        for (size_t r = 0; r < w->count; r++) {
            for (size_t b = 0; b < w->blocks; b++) {
                csimd_scalar_levels(w->type, w->data + r * w->row_bytes, b, &out[b].rows[r]);
            }
        }
        return;
    }
    scalar_block* blocks = panel;
    memset(blocks, 0, w->blocks * sizeof *blocks);
    for (size_t r = 0; r < w->count; r++) {
        const char* row = w->data + r * w->row_bytes;
        for (size_t b = 0; b < w->blocks; b++) {
            blocks[b].scales[r] = csimd_scalar_unpack(w->type, row + b * csimd_block_bytes(w->type),
                                                      blocks[b].values[r]);
        }
    }
}

static int32_t dot_block(const int8_t* a, const int8_t* b) {
    int32_t sum = 0;
    for (int i = 0; i < CSIMD_BLOCK; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/// sum + the product of levels with the first block of a token's integers: of each sixteen values,
/// or of all 32 at once, first the levels, then the offset.
static float add_levels(csimd_type type, const csimd_levels* w, const csimd_q8_rows* x, float sum) {
    const size_t halves = csimd_has_halves(type) ? 2 : 1, width = CSIMD_BLOCK / halves;
    for (size_t half = 0; half < halves; half++) {
        int32_t dot = 0;
        for (int plane = 0; plane < x->planes; plane++) {
            dot *= 1 << CSIMD_PLANE_SHIFT;
            for (size_t i = half * width; i < (half + 1) * width; i++) {
                dot += w->levels[i] * x->plane[plane].q[i];
            }
        }
        sum = fmaf((float)dot * w->scales[half], *x->scales, sum);
        sum = fmaf(w->offsets[half], halves == 2 ? x->halves[half] : *x->totals, sum);
    }
    return sum;
}

/// The same with a block of a token's integers, `at` bytes into its planes.
static int32_t dot_planes(const int8_t* a, const csimd_q8_rows* x, size_t at) {
    const int32_t high = dot_block(a, x->plane[0].q + at);
    return x->planes == 1 ? high
                          : high * (1 << CSIMD_PLANE_SHIFT) + dot_block(a, x->plane[1].q + at);
}

void csimd_scalar_panel_product(const csimd_panel_part* part, const csimd_q8_rows* x,
                                csimd_output out) {
    if (csimd_has_levels(part->type)) {
        const scalar_levels* w = part->panel;
        for (size_t t = 0; t < x->tokens; t++) {
            float* y = csimd_output_at(out, t, 0).y;
            for (size_t r = 0; r < CSIMD_PANEL; r++) {
                float sum = part->first == 0 ? 0 : y[r];
                for (size_t b = 0; b < part->count; b++) {
                    const csimd_q8_rows token = csimd_q8_part(x, t, 1, part->first + b);
                    sum = add_levels(part->type, &w[b].rows[r], &token, sum);
                }
                y[r] = sum;
            }
        }
        return;
    }
    const scalar_block* w = part->panel;
    for (size_t t = 0; t < x->tokens; t++) {
        const csimd_q8_rows token = csimd_q8_part(x, t, 1, part->first);
        float* y = csimd_output_at(out, t, 0).y;
        for (size_t r = 0; r < CSIMD_PANEL; r++) {
            float sum = part->first == 0 ? 0 : y[r];
            for (size_t b = 0; b < part->count; b++) {
                int32_t dot = dot_planes(w[b].values[r], &token, b * CSIMD_BLOCK);
                sum = fmaf((float)dot * w[b].scales[r], token.scales[b], sum);
            }
            y[r] = sum;
        }
    }
}

void csimd_scalar_row_product(const csimd_weight_rows* w, const csimd_q8_rows* x,
                              csimd_output out) {
    for (size_t r = 0; r < w->count; r++) {
        const char* row = w->data + r * w->row_bytes;
        for (size_t t = 0; t < x->tokens; t++) {
            *csimd_output_at(out, t, r).y = 0;
        }
        for (size_t b = 0; b < x->blocks; b++) {
            if (csimd_has_levels(w->type)) {
                csimd_levels levels;
                csimd_scalar_levels(w->type, row, b, &levels);
                for (size_t t = 0; t < x->tokens; t++) {
                    const csimd_q8_rows token = csimd_q8_part(x, t, 1, b);
                    float* sum = csimd_output_at(out, t, r).y;
                    *sum = add_levels(w->type, &levels, &token, *sum);
                }
                continue;
            }
            int8_t values[CSIMD_BLOCK];
            float scale =
                csimd_scalar_unpack(w->type, row + b * csimd_block_bytes(w->type), values);
            for (size_t t = 0; t < x->tokens; t++) {
                const csimd_q8_rows token = csimd_q8_part(x, t, 1, b);
                int32_t dot = dot_planes(values, &token, 0);
                float* sum = csimd_output_at(out, t, r).y;
                *sum = fmaf((float)dot * scale, *token.scales, *sum);
            }
        }
    }
}
