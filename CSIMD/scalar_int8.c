// The specification of the int8 products: plain C, never fast. The SIMD leaves equal it bit for
// bit in quantize_i8 and panel_product (integer block sums, one fused multiply-add per block in
// ascending order); row_product differs only in the order in which the f32 block values are added.
#include <math.h>
#include <string.h>

#include "internal.h"

void csimd_scalar_quantize_i8(const float* x, size_t cols, int8_t* q, float* scales,
                              int32_t* sums) {
    for (size_t b = 0; b < cols / CSIMD_BLOCK; b++) {
        const float* v = x + b * CSIMD_BLOCK;
        // The greatest magnitude by its bits: orders like the value and lets NaN win.
        uint32_t max_bits = 0;
        for (int i = 0; i < CSIMD_BLOCK; i++) {
            uint32_t bits;
            memcpy(&bits, &v[i], 4);
            bits &= 0x7fffffff;
            max_bits = bits > max_bits ? bits : max_bits;
        }
        float max;
        memcpy(&max, &max_bits, 4);
        // Below 2^-100 the reciprocal could overflow: such a block is zero. Infinity and NaN give
        // a NaN scale, so that they show in the result.
        bool finite = max_bits < 0x7f800000;
        bool zero = max < 0x1p-100f;
        float inverse = zero || !finite ? 0 : 127.0f / max;
        scales[b] = !finite ? NAN : zero ? 0 : max / 127.0f;
        int32_t sum = 0;
        for (int i = 0; i < CSIMD_BLOCK; i++) {
            int value = finite ? (int)rintf(v[i] * inverse) : 0;
            q[b * CSIMD_BLOCK + i] = (int8_t)value;
            sum += value;
        }
        sums[b] = sum;
    }
}

/// The integer values of one block and its scale.
static float unpack_block(csimd_type type, const void* row, size_t block, int8_t* values) {
    if (type == CSIMD_Q8_0) {
        const csimd_block_q8_0* b = (const csimd_block_q8_0*)row + block;
        memcpy(values, b->qs, CSIMD_BLOCK);
        return csimd_f16_to_f32_one(b->d);
    }
    const csimd_block_q4_0* b = (const csimd_block_q4_0*)row + block;
    for (int i = 0; i < 16; i++) {
        values[i] = (int8_t)((b->qs[i] & 15) - 8);
        values[i + 16] = (int8_t)((b->qs[i] >> 4) - 8);
    }
    return csimd_f16_to_f32_one(b->d);
}

// A scalar panel: scales [blocks, 16] f32, then values [16, cols] int8.
size_t csimd_scalar_panel_bytes(csimd_type type, size_t cols) {
    (void)type;
    return CSIMD_PANEL * (cols + cols / CSIMD_BLOCK * sizeof(float));
}

void csimd_scalar_pack_panel(csimd_type type, const void* w, size_t row_bytes, size_t rows,
                             size_t cols, void* panel) {
    size_t blocks = cols / CSIMD_BLOCK;
    float* scales = panel;
    int8_t* values = (int8_t*)(scales + blocks * CSIMD_PANEL);
    memset(panel, 0, csimd_scalar_panel_bytes(type, cols));
    for (size_t r = 0; r < rows; r++) {
        for (size_t b = 0; b < blocks; b++) {
            scales[b * CSIMD_PANEL + r] = unpack_block(type, (const char*)w + r * row_bytes, b,
                                                       values + r * cols + b * CSIMD_BLOCK);
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

void csimd_scalar_panel_product(csimd_type type, const void* panel, const csimd_q8_rows* x,
                                size_t first, size_t tokens, size_t block0, size_t blocks,
                                float* out, size_t out_stride) {
    (void)type;
    size_t all = x->cols / CSIMD_BLOCK;
    const float* scales = panel;
    const int8_t* values = (const int8_t*)(scales + all * CSIMD_PANEL);
    for (size_t t = 0; t < tokens; t++) {
        const int8_t* q = x->q + (first + t) * x->stride;
        const float* token_scales = x->scales + (first + t) * all;
        for (size_t r = 0; r < CSIMD_PANEL; r++) {
            float sum = block0 == 0 ? 0 : out[t * out_stride + r];
            for (size_t b = block0; b < block0 + blocks; b++) {
                int32_t dot =
                    dot_block(values + r * x->cols + b * CSIMD_BLOCK, q + b * CSIMD_BLOCK);
                sum = fmaf((float)dot, scales[b * CSIMD_PANEL + r] * token_scales[b], sum);
            }
            out[t * out_stride + r] = sum;
        }
    }
}

void csimd_scalar_row_product(csimd_type type, const void* w, size_t row_bytes, size_t row0,
                              size_t row1, const csimd_q8_rows* x, size_t tokens, float* y,
                              size_t y_stride) {
    size_t blocks = x->cols / CSIMD_BLOCK;
    for (size_t r = row0; r < row1; r++) {
        const char* row = (const char*)w + r * row_bytes;
        for (size_t t = 0; t < tokens; t++) {
            y[t * y_stride + r] = 0;
        }
        for (size_t b = 0; b < blocks; b++) {
            int8_t values[CSIMD_BLOCK];
            float scale = unpack_block(type, row, b, values);
            for (size_t t = 0; t < tokens; t++) {
                int32_t dot = dot_block(values, x->q + t * x->stride + b * CSIMD_BLOCK);
                float* sum = &y[t * y_stride + r];
                *sum = fmaf((float)dot, scale * x->scales[t * blocks + b], *sum);
            }
        }
    }
}
