// int8 products for AVX-VNNI (laptops since Alder Lake and Zen 5): vpdpbusd on 256 bits, in AVX2's
// panels, but with whole bytes for Q8_0 too.
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "internal.h"

// tools/check/leaves/avx512.sh builds these leaves once more in AVX-512's encoding of the same
// instruction, which its emulated CPU knows.
#ifdef CSIMD_AVXVNNI_AS_AVX512
#define TARGET "avx2,fma,f16c,avx512f,avx512vl,avx512vnni"
#define DOT_BYTES _mm256_dpbusd_epi32
#else
#define TARGET "avx2,fma,f16c,avxvnni"
#define DOT_BYTES _mm256_dpbusd_avx_epi32
#endif

#pragma clang attribute push(__attribute__((target(TARGET))), apply_to = function)

#define LEVEL_LANES 8
#include "levels.inc"
#include "x86_blocks.inc"
#include "x86_vnni_ymm.inc"

static inline int few_start(csimd_type type, int planes, int plane) {
    return start_of(type == CSIMD_Q4_0, planes, plane);
}

static inline int tile_start(int plane) {
    return plane == 0 ? 0 : -1;
}

static inline __m256i tile_step(csimd_type type, __m256i sums, __m256i w, __m256i x) {
    (void)type;
    return DOT_BYTES(sums, w, x);
}

static inline __m256i tile_sum(csimd_type type, __m256i sums) {
    (void)type;
    return sums;
}

#include "x86_panels_ymm.inc"

void csimd_avxvnni_quantize_row(const float* x, size_t cols, const csimd_q8_output* to) {
    csimd_avx2_quantize_row(x, cols, to);
    for (size_t b = 0; b < cols / CSIMD_BLOCK; b++) {
        // AVX2 stores -4 x a plane's sum in each half.
        int32_t sum = (int16_t)to->sums[0][b] / -4;
        if (to->q[1]) {
            sum = sum * (1 << CSIMD_PLANE_SHIFT) + (int16_t)to->sums[1][b] / -4;
        }
        store_sum(to, b, sum);
    }
}

static inline level_i level_word(const int8_t* x) {
    return (level_i)broadcast_word(x);
}

static inline level_i level_step(level_i sums, const uint8_t* w, level_i word) {
    return (level_i)DOT_BYTES((__m256i)sums, _mm256_load_si256((const __m256i*)w), (__m256i)word);
}

static inline group_i level_dot(level_block w, const int8_t* x) {
    return (group_i)DOT_BYTES(_mm256_setzero_si256(), (__m256i)w,
                              _mm256_loadu_si256((const __m256i*)x));
}

// As the other tiles of 256 bits.
enum { LEVEL_PANELS = 1, LEVEL_TILE = 6, LEVEL_TILED = 0, LEVEL_LIFTED = 1 };
#include "level_products.inc"

void csimd_avxvnni_pack_panel(const csimd_weight_rows* w, void* panel) {
    if (csimd_has_levels(w->type)) {
        pack_levels(w, panel);
    } else {
        pack_bytes(*w, w->type == CSIMD_Q4_0 ? 128 - 8 : 0, panel);
    }
}

INLINE void tile(csimd_panel_part part, csimd_q8_rows x, const int planes, const int tokens,
                 csimd_output out) {
    tile_16(part, x, planes, tokens, out);
}

#define PANEL_PRODUCT csimd_avxvnni_panel_product
#define LEVEL_PRODUCT level_panel_product
#include "panel_product.inc"

#include "x86_few_ymm.inc"

enum { ROW_STREAMS = 2 }; // Intel reads an eighth more from two
#define ASKS_ONCE false
#define ROW_PRODUCT csimd_avxvnni_row_product
#define ROW_READING csimd_avxvnni_row_reading
#define LAY_OUT_LEVELS(type, x, to) 0 // rows of these are read one by one
#include "x86_rows_int8.inc"

#pragma clang attribute pop
#endif
