// 16-bit floats. Every conversion is exact or rounds to nearest even, on every CPU alike.

#include "csimd_blocks.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define CSIMD_F16C __attribute__((target("avx2,f16c")))
#endif

static inline uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

float csimd_f16_to_f32_one(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t exponent = (h >> 10) & 0x1f;
    const uint32_t mantissa = h & 0x3ff;
    if (exponent == 0) {
        // Zero or subnormal: mantissa * 2^-24, exact in f32.
        const float magnitude = (float)mantissa * 0x1p-24f;
        return float_of(bits_of(magnitude) | sign);
    }
    if (exponent == 31) {
        // Infinity, or NaN with its quiet bit set, as the hardware does.
        const uint32_t quiet = mantissa != 0 ? 0x400000u : 0u;
        return float_of(sign | 0x7f800000u | mantissa << 13 | quiet);
    }
    return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t csimd_f32_to_f16_one(float x) {
    const uint32_t bits = bits_of(x);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude >= 0x7f800000u) {
        if (magnitude == 0x7f800000u) {
            return sign | 0x7c00;
        }
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    }
    // 65520 is halfway between the largest half and 2^16, and rounds up to infinity.
    if (magnitude >= 0x477ff000u) {
        return sign | 0x7c00;
    }
    if (magnitude < 0x38800000u) {
        // Below 2^-14 the result is a multiple of 2^-24, the spacing of floats at 0.5: adding 0.5
        // makes the FPU round to it.
        return (uint16_t)(sign | (bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u));
    }
    const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
}

void csimd_f16_to_f32_scalar(const uint16_t* x, float* y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = csimd_f16_to_f32_one(x[i]);
    }
}

void csimd_f32_to_f16_scalar(const float* x, uint16_t* y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = csimd_f32_to_f16_one(x[i]);
    }
}

#if defined(__x86_64__)

static bool has_f16c(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
}

CSIMD_F16C static void f16_to_f32_f16c(const uint16_t* x, float* y, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m128i half = _mm_loadu_si128((const __m128i*)(x + i));
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(half));
    }
    csimd_f16_to_f32_scalar(x + i, y + i, n - i);
}

CSIMD_F16C static void f32_to_f16_f16c(const float* x, uint16_t* y, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 value = _mm256_loadu_ps(x + i);
        const __m128i half = _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128((__m128i*)(y + i), half);
    }
    csimd_f32_to_f16_scalar(x + i, y + i, n - i);
}

void csimd_f16_to_f32(const uint16_t* x, float* y, size_t n) {
    if (has_f16c()) {
        f16_to_f32_f16c(x, y, n);
    } else {
        csimd_f16_to_f32_scalar(x, y, n);
    }
}

void csimd_f32_to_f16(const float* x, uint16_t* y, size_t n) {
    if (has_f16c()) {
        f32_to_f16_f16c(x, y, n);
    } else {
        csimd_f32_to_f16_scalar(x, y, n);
    }
}

#else

void csimd_f16_to_f32(const uint16_t* x, float* y, size_t n) {
    csimd_f16_to_f32_scalar(x, y, n);
}
void csimd_f32_to_f16(const float* x, uint16_t* y, size_t n) {
    csimd_f32_to_f16_scalar(x, y, n);
}

#endif

void csimd_bf16_to_f32(const uint16_t* x, float* y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = float_of((uint32_t)x[i] << 16);
    }
}

void csimd_f32_to_bf16(const float* x, uint16_t* y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = bits_of(x[i]);
        const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
        const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
        y[i] = (uint16_t)((nan ? bits | 0x400000u : rounded) >> 16);
    }
}
