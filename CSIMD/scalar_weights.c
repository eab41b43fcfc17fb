// Weights to f32 and back in plain C: what every other instruction set equals bit for bit. Half
// floats convert exactly or round to nearest even; for blocks the judge is ggml's reference
// quantizer as the `gguf` Python package computes it.
#include <math.h>
#include <string.h>

#include "internal.h"

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

// --- half floats --------------------------------------------------------------------------------

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

static uint16_t f32_to_bf16_one(float x) {
    const uint32_t bits = bits_of(x);
    const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return (uint16_t)((nan ? bits | 0x400000u : rounded) >> 16);
}

// --- blocks -------------------------------------------------------------------------------------

#include "search.inc"
#include "search_bytes.inc"
#include "search_levels.inc"

/// 1 / d, and 0 for a block of zeros.
static inline float inverse(float d) {
    return d != 0.0f ? 1.0f / d : 0.0f;
}

static void quantize_q8_0(const float* x, csimd_block_q8_0* y) {
    float amax = 0.0f;
    for (int j = 0; j < CSIMD_BLOCK; j++) {
        amax = fmaxf(amax, fabsf(x[j]));
    }
    const float d = amax / 127.0f;
    const float id = inverse(d);
    y->d = csimd_f32_to_f16_one(d);
    for (int j = 0; j < CSIMD_BLOCK; j++) {
        // Half away from zero. A scale so small that 1 / d overflows stores 0, as d itself does.
        const float scaled = x[j] * id;
        y->qs[j] = fabsf(scaled) < 128.0f ? (int8_t)roundf(scaled) : 0;
    }
}

static void quantize_q4_0(const float* x, csimd_block_q4_0* y) {
    // The element of greatest magnitude, the first of equals, with its sign: it becomes -8.
    float amax = fabsf(x[0]);
    float extreme = x[0];
    for (int j = 1; j < CSIMD_BLOCK; j++) {
        if (fabsf(x[j]) > amax) {
            amax = fabsf(x[j]);
            extreme = x[j];
        }
    }
    const float d = extreme / -8.0f;
    const float id = inverse(d);
    y->d = csimd_f32_to_f16_one(d);
    uint8_t q[CSIMD_BLOCK];
    for (int j = 0; j < CSIMD_BLOCK; j++) {
        const float scaled = x[j] * id;
        const float shifted = scaled + 8.5f;
        const int level = shifted >= 0.0f && shifted < 256.0f ? (int)shifted : 0;
        q[j] = (uint8_t)(level < 15 ? level : 15);
    }
    for (int j = 0; j < CSIMD_BLOCK / 2; j++) {
        y->qs[j] = (uint8_t)(q[j] | q[j + CSIMD_BLOCK / 2] << 4);
    }
}

float csimd_scalar_unpack(csimd_type type, const void* block, int8_t* values) {
    if (type == CSIMD_Q8_0) {
        const csimd_block_q8_0* b = block;
        memcpy(values, b->qs, CSIMD_BLOCK);
        return csimd_f16_to_f32_one(b->d);
    }
    const csimd_block_q4_0* b = block;
    for (int i = 0; i < CSIMD_BLOCK / 2; i++) {
        values[i] = level_of(type, b->qs[i] & 15);
        values[i + CSIMD_BLOCK / 2] = level_of(type, b->qs[i] >> 4);
    }
    return csimd_f16_to_f32_one(b->d);
}

/// The levels of 32 values of Q5_0 and Q5_1, or, without the fifth bits, of Q4_1.
static void small_levels(const uint8_t* qs, const uint8_t* qh, uint8_t* levels) {
    for (int i = 0; i < CSIMD_BLOCK / 2; i++) {
        levels[i] = qs[i] & 15;
        levels[i + CSIMD_BLOCK / 2] = qs[i] >> 4;
    }
    for (int i = 0; qh && i < CSIMD_BLOCK; i++) {
        levels[i] |= (uint8_t)((qh[i / 8] >> (i % 8) & 1) << 4);
    }
}

/// Scale and minimum of part `part` of Q4_K and Q5_K.
static void six_bits(const uint8_t* scales, size_t part, int* scale, int* minimum) {
    if (part < 4) {
        *scale = scales[part] & 63;
        *minimum = scales[part + 4] & 63;
    } else {
        *scale = (scales[part + 4] & 15) | (scales[part - 4] >> 6) << 4;
        *minimum = (scales[part + 4] >> 4) | (scales[part] >> 6) << 4;
    }
}

/// Part `part` of a block of Q4_K (qh NULL) or Q5_K.
static void k_levels(uint16_t d, uint16_t dmin, const uint8_t* scales, const uint8_t* qs,
                     const uint8_t* qh, size_t part, csimd_levels* out) {
    int scale, minimum;
    six_bits(scales, part, &scale, &minimum);
    out->scales[0] = csimd_f16_to_f32_one(d) * (float)scale;
    out->offsets[0] = -(csimd_f16_to_f32_one(dmin) * (float)minimum);
    for (size_t i = 0; i < CSIMD_BLOCK; i++) {
        const int low = qs[part / 2 * CSIMD_BLOCK + i] >> part % 2 * 4 & 15;
        out->levels[i] = (uint8_t)(low | (qh ? (qh[i] >> part & 1) << 4 : 0));
    }
}

void csimd_scalar_levels(csimd_type type, const void* row, size_t block, csimd_levels* out) {
    const size_t parts = csimd_block_elements(type) / CSIMD_BLOCK;
    const size_t part = block % parts;
    const void* from = (const char*)row + block / parts * csimd_block_bytes(type);
    switch (type) {
    case CSIMD_Q4_1: {
        const csimd_block_q4_1* b = from;
        small_levels(b->qs, NULL, out->levels);
        out->scales[0] = csimd_f16_to_f32_one(b->d);
        out->offsets[0] = csimd_f16_to_f32_one(b->m);
        break;
    }
    case CSIMD_Q5_0: {
        const csimd_block_q5_0* b = from;
        small_levels(b->qs, b->qh, out->levels);
        out->scales[0] = csimd_f16_to_f32_one(b->d);
        out->offsets[0] = -16 * out->scales[0];
        break;
    }
    case CSIMD_Q5_1: {
        const csimd_block_q5_1* b = from;
        small_levels(b->qs, b->qh, out->levels);
        out->scales[0] = csimd_f16_to_f32_one(b->d);
        out->offsets[0] = csimd_f16_to_f32_one(b->m);
        break;
    }
    case CSIMD_Q4_K: {
        const csimd_block_q4_k* b = from;
        k_levels(b->d, b->dmin, b->scales, b->qs, NULL, part, out);
        break;
    }
    case CSIMD_Q5_K: {
        const csimd_block_q5_k* b = from;
        k_levels(b->d, b->dmin, b->scales, b->qs, b->qh, part, out);
        break;
    }
    default: { // Q6_K
        const csimd_block_q6_k* b = from;
        const size_t half = part / 4, i = part % 4;
        for (size_t j = 0; j < CSIMD_BLOCK; j++) {
            const int low = b->ql[half * 64 + i % 2 * 32 + j] >> i / 2 * 4 & 15;
            out->levels[j] = (uint8_t)(low | (b->qh[half * 32 + j] >> 2 * i & 3) << 4);
        }
        for (size_t j = 0; j < 2; j++) {
            out->scales[j] = csimd_f16_to_f32_one(b->d) * (float)b->scales[part * 2 + j];
            out->offsets[j] = -32 * out->scales[j];
        }
        return;
    }
    }
    out->scales[1] = out->scales[0];
    out->offsets[1] = out->offsets[0];
}

/// n values of a type with levels. Where there is a level for zero it is taken off first: exact,
/// and a zero keeps its scale's sign.
static void levels_to_f32(csimd_type type, const void* x, float* y, size_t n) {
    const int center = csimd_center(type);
    for (size_t b = 0; b < n / CSIMD_BLOCK; b++, y += CSIMD_BLOCK) {
        csimd_levels w;
        csimd_scalar_levels(type, x, b, &w);
        for (int i = 0; i < CSIMD_BLOCK; i++) {
            const float scaled = w.scales[i / 16] * (float)(w.levels[i] - center);
            y[i] = center ? scaled : scaled + w.offsets[i / 16];
        }
    }
}

// --- the leaves ---------------------------------------------------------------------------------

float csimd_scalar_element(csimd_type type, const void* x, size_t i) {
    if (type == CSIMD_F32) {
        return ((const float*)x)[i];
    }
    const uint16_t h = ((const uint16_t*)x)[i];
    return type == CSIMD_F16 ? csimd_f16_to_f32_one(h) : float_of((uint32_t)h << 16);
}

void csimd_scalar_to_f32(csimd_type type, const void* x, float* y, size_t n) {
    if (!csimd_is_quantized(type)) {
        for (size_t i = 0; i < n; i++) {
            y[i] = csimd_scalar_element(type, x, i);
        }
        return;
    }
    if (csimd_has_levels(type)) {
        levels_to_f32(type, x, y, n);
        return;
    }
    for (size_t b = 0; b < n / CSIMD_BLOCK; b++, y += CSIMD_BLOCK) {
        int8_t values[CSIMD_BLOCK];
        const float d =
            csimd_scalar_unpack(type, (const char*)x + b * csimd_block_bytes(type), values);
        for (int j = 0; j < CSIMD_BLOCK; j++) {
            y[j] = (float)values[j] * d;
        }
    }
}

void csimd_scalar_from_f32(csimd_type type, const float* x, const float* importance, void* y,
                           size_t n) {
    switch (type) {
    case CSIMD_F32:
        memcpy(y, x, n * sizeof(float));
        break;
    case CSIMD_F16:
        for (size_t i = 0; i < n; i++) {
            ((uint16_t*)y)[i] = csimd_f32_to_f16_one(x[i]);
        }
        break;
    case CSIMD_BF16:
        for (size_t i = 0; i < n; i++) {
            ((uint16_t*)y)[i] = f32_to_bf16_one(x[i]);
        }
        break;
    case CSIMD_Q8_0:
        if (importance) {
            search_q8_0(x, importance, y, n);
            break;
        }
        for (size_t b = 0; b < n / CSIMD_BLOCK; b++) {
            quantize_q8_0(x + b * CSIMD_BLOCK, (csimd_block_q8_0*)y + b);
        }
        break;
    case CSIMD_Q4_0:
        if (importance) {
            search_q4_0(x, importance, y, n);
            break;
        }
        for (size_t b = 0; b < n / CSIMD_BLOCK; b++) {
            quantize_q4_0(x + b * CSIMD_BLOCK, (csimd_block_q4_0*)y + b);
        }
        break;
    case CSIMD_IQ4_NL:
        search_iq4_nl(x, importance, y, n);
        break;
    default:
        search_level_blocks(type, x, importance, y, n);
        break;
    }
}
