// Weight blocks in NEON registers: what the leaves with sdot and with smmla share.
#pragma once

#include <arm_neon.h>
#include <string.h>

#include "internal.h"

/// Bytes of one block of a packed panel: 16 rows of 32 bytes, in the order that the leaf wants,
/// then 16 f32 scales.
#define CSIMD_NEON_BLOCK_BYTES (512 + CSIMD_PANEL * sizeof(float))

/// The 32 values of a block, element 0 ... 15 and 16 ... 31, and its scale.
static inline float unpack(csimd_type type, const char* block, int8x16_t* first,
                           int8x16_t* second) {
    __fp16 d;
    memcpy(&d, block, 2);
    if (type == CSIMD_Q4_0) {
        uint8x16_t bytes = vld1q_u8((const uint8_t*)block + 2);
        const int8x16_t eight = vdupq_n_s8(8);
        *first = vsubq_s8(vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15))), eight);
        *second = vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4)), eight);
    } else {
        *first = vld1q_s8((const int8_t*)block + 2);
        *second = vld1q_s8((const int8_t*)block + 18);
    }
    return (float)d;
}

static size_t stride_of(csimd_type type) {
    return type == CSIMD_Q4_0 ? sizeof(csimd_block_q4_0) : sizeof(csimd_block_q8_0);
}
