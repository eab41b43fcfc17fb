// Weight blocks in NEON registers: what the leaves with sdot and with smmla share.
#pragma once

#include <arm_neon.h>
#include <string.h>

#include "internal.h"

/// The 32 values of a block, element 0 ... 15 and 16 ... 31, and its scale.
static inline float unpack(csimd_type type, const char* block, int8x16_t* first,
                           int8x16_t* second) {
    __fp16 d;
    memcpy(&d, block, sizeof d);
    const int8_t* values = (const int8_t*)block + CSIMD_BLOCK_VALUES;
    if (type == CSIMD_Q8_0) {
        *first = vld1q_s8(values);
        *second = vld1q_s8(values + 16);
        return (float)d;
    }
    const uint8x16_t bytes = vreinterpretq_u8_s8(vld1q_s8(values));
    const uint8x16_t low = vandq_u8(bytes, vdupq_n_u8(15)), high = vshrq_n_u8(bytes, 4);
    if (type == CSIMD_Q4_0) {
        const int8x16_t eight = vdupq_n_s8(8);
        *first = vsubq_s8(vreinterpretq_s8_u8(low), eight);
        *second = vsubq_s8(vreinterpretq_s8_u8(high), eight);
    } else {
        const int8x16_t levels = vld1q_s8(csimd_iq4_nl_levels);
        *first = vqtbl1q_s8(levels, low);
        *second = vqtbl1q_s8(levels, high);
    }
    return (float)d;
}

/// The same of block `block` of row `row`; zeros where w has no such row.
static inline float unpack_row(const csimd_weight_rows w, size_t row, size_t block,
                               int8x16_t* first, int8x16_t* second) {
    if (row >= w.count) {
        *first = *second = vdupq_n_s8(0);
        return 0;
    }
    return unpack(w.type, w.data + row * w.row_bytes + block * csimd_block_bytes(w.type), first,
                  second);
}

/// out (+)= dots as f32 x weight scales x the token's scale, four rows.
static inline void add_scaled(float* out, bool overwrite, int32x4_t dots, const float* scales,
                              float token_scale) {
    float32x4_t sum = overwrite ? vdupq_n_f32(0) : vld1q_f32(out);
    float32x4_t scaled = vmulq_f32(vcvtq_f32_s32(dots), vld1q_f32(scales));
    vst1q_f32(out, vfmaq_n_f32(sum, scaled, token_scale));
}
