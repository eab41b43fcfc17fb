// AVX-512: 24 sums and 2 columns in 32 registers, a straight from memory.
#if defined(__x86_64__)
#include <immintrin.h>

#define VW 16
#define GEMM_ROWS 12
#define GEMM_VECTORS 2
#define SPLIT_ROWS 4
#define SPLIT_COLS 4

#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))),        \
    apply_to = function)
#include "vectors.inc"

#include "floats.inc"
#include "weights.inc"
#pragma clang attribute pop

// Both tables with the leaves of AVX-512 but for the products of pairs.
#define TABLE(isa, symbol, pairs)                                                                  \
    const csimd_kernels csimd_##symbol##_kernels = {                                               \
        .name = isa,                                                                               \
        .quantize_row = csimd_avx512_quantize_row,                                                 \
        .panel_bytes = csimd_avx512_panel_bytes,                                                   \
        .pack_panel = csimd_avx512_pack_panel,                                                     \
        .panels_at_once = 2,                                                                       \
        .tiled = true,                                                                             \
        .panel_product = csimd_avx512_panel_product,                                               \
        .row_product = csimd_avx512_row_product,                                                   \
        .row_reading = &csimd_avx512_row_reading,                                                  \
        .gemm_pairs = pairs,                                                                       \
        FLOAT_LEAVES,                                                                              \
        WEIGHT_LEAVES,                                                                             \
    }

TABLE("avx512vnni", avx512, NULL);
TABLE("avx512bf16", avx512bf16, csimd_avx512_gemm_pairs);
#endif
