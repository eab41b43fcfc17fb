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

#include "vnni_ymm.inc"

#include "panels_ymm.inc"

void csimd_avxvnni_quantize_i8(const float* x, size_t cols, int8_t* q, float* scales,
                               int32_t* sums) {
    csimd_avx2_quantize_i8(x, cols, q, scales, sums);
    for (size_t b = 0; b < cols / CSIMD_BLOCK; b++) {
        sums[b] = 2 * (int16_t)sums[b]; // AVX2 stores -4 x the sum in each half; -8 x is wanted
    }
}

size_t csimd_avxvnni_panel_bytes(csimd_type type, size_t cols) {
    (void)type;
    return cols / CSIMD_BLOCK * ymm_block_bytes(false);
}

void csimd_avxvnni_pack_panel(csimd_type type, const void* w, size_t row_bytes, size_t rows,
                              size_t cols, void* panel) {
    pack_ymm(type, false, w, row_bytes, rows, cols, panel);
}

void csimd_avxvnni_panel_product(csimd_type type, const void* panel, const csimd_q8_rows* x,
                                 size_t first, size_t tokens, size_t block0, size_t blocks,
                                 float* out, size_t out_stride) {
    const size_t all = x->cols / CSIMD_BLOCK;
    const uint8_t* from = (const uint8_t*)panel + block0 * ymm_block_bytes(false);
    for (size_t t = 0; t < tokens;) {
        size_t left = tokens - t;
        const int8_t* q = x->q + (first + t) * x->stride + block0 * CSIMD_BLOCK;
        const float* scales = x->scales + (first + t) * all + block0;
        const int32_t* sums = x->sums + (first + t) * all + block0;
        float* to = out + t * out_stride;
        const int count = left >= TILE ? TILE : left >= 2 ? 2 : 1;
        // A block's start is -8 x its sum for a nibble's offset, -128 x for a byte's.
#define TILE_OF(n)                                                                                 \
    if (type == CSIMD_Q4_0) {                                                                      \
        tile_16(from, q, x->stride, scales, sums, all, n, 0, blocks, block0 == 0, to, out_stride); \
    } else {                                                                                       \
        tile_16(from, q, x->stride, scales, sums, all, n, 4, blocks, block0 == 0, to, out_stride); \
    }
        if (count == TILE) {
            TILE_OF(TILE)
        } else if (count == 2) {
            TILE_OF(2)
        } else {
            TILE_OF(1)
        }
#undef TILE_OF
        t += (size_t)count;
    }
}

#define ROW_PRODUCT csimd_avxvnni_row_product
#include "rows_int8.inc"

#pragma clang attribute pop
#endif
