// f32 rows to blocks and back. The judge is ggml's reference quantizer as the `gguf` Python package
// computes it; every path here gives the same bytes.

#include "csimd_blocks.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define CSIMD_AVX2 __attribute__((target("avx2,f16c")))
#endif

size_t csimd_row_bytes(csimd_type type, size_t cols) {
    switch (type) {
    case CSIMD_F32:
        return cols <= SIZE_MAX / 4 ? cols * 4 : 0;
    case CSIMD_F16:
    case CSIMD_BF16:
        return cols <= SIZE_MAX / 2 ? cols * 2 : 0;
    case CSIMD_Q8_0:
        if (cols % CSIMD_BLOCK != 0 || cols / CSIMD_BLOCK > SIZE_MAX / sizeof(csimd_block_q8_0)) {
            return 0;
        }
        return cols / CSIMD_BLOCK * sizeof(csimd_block_q8_0);
    case CSIMD_Q4_0:
        if (cols % CSIMD_BLOCK != 0) {
            return 0;
        }
        return cols / CSIMD_BLOCK * sizeof(csimd_block_q4_0);
    }
    return 0;
}

// --- scalar: the specification ------------------------------------------------------------------

/// 1 / d, and 0 for a block of zeros.
static inline float inverse(float d) {
    return d != 0.0f ? 1.0f / d : 0.0f;
}

static void quantize_q8_0_block(const float* x, csimd_block_q8_0* y) {
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

static void quantize_q4_0_block(const float* x, csimd_block_q4_0* y) {
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

static void quantize_q8_0(const float* x, csimd_block_q8_0* y, size_t blocks) {
    for (size_t i = 0; i < blocks; i++) {
        quantize_q8_0_block(x + i * CSIMD_BLOCK, y + i);
    }
}

static void quantize_q4_0(const float* x, csimd_block_q4_0* y, size_t blocks) {
    for (size_t i = 0; i < blocks; i++) {
        quantize_q4_0_block(x + i * CSIMD_BLOCK, y + i);
    }
}

bool csimd_quantize_row_scalar(csimd_type type, const float* x, void* y, size_t cols) {
    if (cols != 0 && csimd_row_bytes(type, cols) == 0) {
        return false;
    }
    switch (type) {
    case CSIMD_F32:
        if (cols != 0) {
            memcpy(y, x, cols * sizeof(float));
        }
        return true;
    case CSIMD_F16:
        csimd_f32_to_f16_scalar(x, y, cols);
        return true;
    case CSIMD_BF16:
        csimd_f32_to_bf16(x, y, cols);
        return true;
    case CSIMD_Q8_0:
        quantize_q8_0(x, y, cols / CSIMD_BLOCK);
        return true;
    case CSIMD_Q4_0:
        quantize_q4_0(x, y, cols / CSIMD_BLOCK);
        return true;
    }
    return false;
}

// --- AVX2
// -----------------------------------------------------------------------------------------

#if defined(__x86_64__)

CSIMD_AVX2 static inline float greatest(__m256 v) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    m = _mm_max_ss(m, _mm_movehdup_ps(m));
    return _mm_cvtss_f32(m);
}

/// 32 integers in four registers to 32 signed bytes in order.
CSIMD_AVX2 static inline __m256i pack_bytes(__m256i a, __m256i b, __m256i c, __m256i d) {
    const __m256i words0 = _mm256_packs_epi32(a, b);
    const __m256i words1 = _mm256_packs_epi32(c, d);
    const __m256i bytes = _mm256_packs_epi16(words0, words1);
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

CSIMD_AVX2 static void quantize_q8_0_avx2(const float* x, csimd_block_q8_0* y, size_t blocks) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    // Adding the float below one half and cutting off is rounding half away from zero.
    const __m256 half = _mm256_set1_ps(0x1.fffffep-2f);
    for (size_t i = 0; i < blocks; i++, x += CSIMD_BLOCK) {
        __m256 v[4];
        __m256 largest = _mm256_setzero_ps();
        for (int k = 0; k < 4; k++) {
            v[k] = _mm256_loadu_ps(x + 8 * k);
            largest = _mm256_max_ps(largest, _mm256_andnot_ps(sign, v[k]));
        }
        const float d = greatest(largest) / 127.0f;
        const float id = inverse(d);
        if (!(id <= FLT_MAX)) {
            quantize_q8_0_block(x, y + i);
            continue;
        }
        const __m256 factor = _mm256_set1_ps(id);
        __m256i q[4];
        for (int k = 0; k < 4; k++) {
            const __m256 scaled = _mm256_mul_ps(v[k], factor);
            const __m256 away = _mm256_or_ps(half, _mm256_and_ps(sign, scaled));
            q[k] = _mm256_cvttps_epi32(_mm256_add_ps(scaled, away));
        }
        y[i].d = csimd_f32_to_f16_one(d);
        _mm256_storeu_si256((__m256i*)y[i].qs, pack_bytes(q[0], q[1], q[2], q[3]));
    }
}

CSIMD_AVX2 static void quantize_q4_0_avx2(const float* x, csimd_block_q4_0* y, size_t blocks) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    const __m256 shift = _mm256_set1_ps(8.5f);
    const __m256i top = _mm256_set1_epi8(15);
    for (size_t i = 0; i < blocks; i++, x += CSIMD_BLOCK) {
        __m256 v[4];
        __m256 largest = _mm256_setzero_ps();
        for (int k = 0; k < 4; k++) {
            v[k] = _mm256_loadu_ps(x + 8 * k);
            largest = _mm256_max_ps(largest, _mm256_andnot_ps(sign, v[k]));
        }
        const __m256 amax = _mm256_set1_ps(greatest(largest));
        uint32_t where = 0;
        for (int k = 0; k < 4; k++) {
            const __m256 equal = _mm256_cmp_ps(_mm256_andnot_ps(sign, v[k]), amax, _CMP_EQ_OQ);
            where |= (uint32_t)_mm256_movemask_ps(equal) << 8 * k;
        }
        const float d = where != 0 ? x[(size_t)__builtin_ctz(where)] / -8.0f : 0.0f;
        const float id = inverse(d);
        if (where == 0 || !(fabsf(id) <= FLT_MAX)) {
            quantize_q4_0_block(x, y + i);
            continue;
        }
        const __m256 factor = _mm256_set1_ps(id);
        __m256i q[4];
        for (int k = 0; k < 4; k++) {
            const __m256 scaled = _mm256_mul_ps(v[k], factor);
            q[k] = _mm256_cvttps_epi32(_mm256_add_ps(scaled, shift));
        }
        const __m256i levels = _mm256_min_epi8(pack_bytes(q[0], q[1], q[2], q[3]), top);
        const __m128i low = _mm256_castsi256_si128(levels);
        const __m128i high = _mm_slli_epi16(_mm256_extracti128_si256(levels, 1), 4);
        y[i].d = csimd_f32_to_f16_one(d);
        _mm_storeu_si128((__m128i*)y[i].qs, _mm_or_si128(low, high));
    }
}

bool csimd_quantize_row(csimd_type type, const float* x, void* y, size_t cols) {
    if (type == CSIMD_F16) {
        csimd_f32_to_f16(x, y, cols);
        return true;
    }
    const bool blocks = type == CSIMD_Q8_0 || type == CSIMD_Q4_0;
    if (!blocks || cols % CSIMD_BLOCK != 0 || !__builtin_cpu_supports("avx2")) {
        return csimd_quantize_row_scalar(type, x, y, cols);
    }
    if (type == CSIMD_Q8_0) {
        quantize_q8_0_avx2(x, y, cols / CSIMD_BLOCK);
    } else {
        quantize_q4_0_avx2(x, y, cols / CSIMD_BLOCK);
    }
    return true;
}

#else

bool csimd_quantize_row(csimd_type type, const float* x, void* y, size_t cols) {
    return csimd_quantize_row_scalar(type, x, y, cols);
}

#endif

// --- back to f32
// ----------------------------------------------------------------------------------

static void dequantize_q8_0(const csimd_block_q8_0* x, float* y, size_t blocks) {
    for (size_t i = 0; i < blocks; i++, y += CSIMD_BLOCK) {
        const float d = csimd_f16_to_f32_one(x[i].d);
        for (int j = 0; j < CSIMD_BLOCK; j++) {
            y[j] = (float)x[i].qs[j] * d;
        }
    }
}

static void dequantize_q4_0(const csimd_block_q4_0* x, float* y, size_t blocks) {
    for (size_t i = 0; i < blocks; i++, y += CSIMD_BLOCK) {
        const float d = csimd_f16_to_f32_one(x[i].d);
        for (int j = 0; j < CSIMD_BLOCK / 2; j++) {
            y[j] = (float)((x[i].qs[j] & 15) - 8) * d;
            y[j + CSIMD_BLOCK / 2] = (float)((x[i].qs[j] >> 4) - 8) * d;
        }
    }
}

bool csimd_dequantize_row(csimd_type type, const void* x, float* y, size_t cols) {
    if (cols != 0 && csimd_row_bytes(type, cols) == 0) {
        return false;
    }
    switch (type) {
    case CSIMD_F32:
        if (cols != 0) {
            memcpy(y, x, cols * sizeof(float));
        }
        return true;
    case CSIMD_F16:
        csimd_f16_to_f32(x, y, cols);
        return true;
    case CSIMD_BF16:
        csimd_bf16_to_f32(x, y, cols);
        return true;
    case CSIMD_Q8_0:
        dequantize_q8_0(x, y, cols / CSIMD_BLOCK);
        return true;
    case CSIMD_Q4_0:
        dequantize_q4_0(x, y, cols / CSIMD_BLOCK);
        return true;
    }
    return false;
}

// --- values that no block can hold ------------------------------------------------------------

size_t csimd_first_unstorable(csimd_type type, const float* x, size_t n) {
    float limit = INFINITY;
    switch (type) {
    case CSIMD_F32:
        break;
    case CSIMD_F16:
        limit = 65520.0f; // rounds to infinity from here on
        break;
    case CSIMD_BF16:
        limit = 0x1.ffp127f;
        break;
    case CSIMD_Q8_0:
        limit = 65504.0f * 127.0f; // the scale is |x| / 127, an f16
        break;
    case CSIMD_Q4_0:
        limit = 65520.0f * 8.0f;
        break;
    }
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
