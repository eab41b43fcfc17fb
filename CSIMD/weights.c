// Rows of weights: their sizes, f32 to every type and back, and what a type cannot hold.
#include <math.h>

#include "internal.h"

size_t csimd_row_bytes(csimd_type type, size_t cols) {
    switch (type) {
    case CSIMD_F32:
        return cols <= SIZE_MAX / 4 ? cols * 4 : 0;
    case CSIMD_F16:
    case CSIMD_BF16:
        return cols <= SIZE_MAX / 2 ? cols * 2 : 0;
    default:
        break;
    }
    if (!csimd_is_quantized(type)) {
        return 0;
    }
    const size_t elements = csimd_block_elements(type);
    if (cols % elements != 0 || cols / elements > SIZE_MAX / csimd_block_bytes(type)) {
        return 0;
    }
    return cols / elements * csimd_block_bytes(type);
}

/// Whether there is such a type and `cols` values make whole blocks of it.
static bool fits(csimd_type type, size_t cols) {
    return csimd_row_bytes(type, cols == 0 ? CSIMD_SUPER_BLOCK : cols) != 0;
}

bool csimd_quantize_row(csimd_type type, const float* x, const float* importance, void* y,
                        size_t cols) {
    if (!fits(type, cols)) {
        return false;
    }
    if (cols != 0) {
        csimd_active()->from_f32(type, x, importance, y, cols);
    }
    return true;
}

bool csimd_dequantize_row(csimd_type type, const void* x, float* y, size_t cols) {
    if (!fits(type, cols)) {
        return false;
    }
    if (cols != 0) {
        csimd_active()->to_f32(type, x, y, cols);
    }
    return true;
}

void csimd_f16_to_f32(const uint16_t* x, float* y, size_t n) {
    csimd_active()->to_f32(CSIMD_F16, x, y, n);
}

void csimd_f32_to_f16(const float* x, uint16_t* y, size_t n) {
    csimd_active()->from_f32(CSIMD_F16, x, NULL, y, n);
}

void csimd_bf16_to_f32(const uint16_t* x, float* y, size_t n) {
    csimd_active()->to_f32(CSIMD_BF16, x, y, n);
}

void csimd_f32_to_bf16(const float* x, uint16_t* y, size_t n) {
    csimd_active()->from_f32(CSIMD_BF16, x, NULL, y, n);
}

/// The least magnitude that `type` cannot store.
static float limit_of(csimd_type type) {
    switch (type) {
    case CSIMD_F32:
        return INFINITY;
    case CSIMD_F16:
        return 65520.0f; // rounds to infinity from here on
    case CSIMD_BF16:
        return 0x1.ffp127f;
    case CSIMD_Q8_0:
        return CSIMD_BYTE_LIMIT;
    case CSIMD_Q4_0:
    case CSIMD_IQ4_NL:
        return csimd_four_bit_limit(type);
    default:
        return CSIMD_LEVEL_LIMIT;
    }
}

size_t csimd_first_unstorable(csimd_type type, const float* x, size_t n) {
    const float limit = limit_of(type);
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        int fine = 1;
        for (int j = 0; j < 64; j++) {
            fine &= fabsf(x[i + j]) < limit;
        }
        if (!fine) {
            break;
        }
    }
    for (; i < n; i++) {
        if (!(fabsf(x[i]) < limit)) {
            return i;
        }
    }
    return n;
}
