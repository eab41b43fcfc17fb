// AVX2 with FMA and F16C, with and without AVX-VNNI: 12 sums, 2 columns and 1 value of a fill the
// 16 registers.
#if defined(__x86_64__)
#define VW 8
#define GEMM_ROWS 6
#define GEMM_VECTORS 2
#define SPLIT_ROWS 2
#define SPLIT_COLS 2

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "vectors.inc"

#include "floats.inc"
#include "weights.inc"
#pragma clang attribute pop

// Both tables with the leaves of this file.
#define TABLE(isa, panel_bytes_of_isa)                                                             \
    const csimd_kernels csimd_##isa##_kernels = {                                                  \
        .name = #isa,                                                                              \
        .quantize_row = csimd_##isa##_quantize_row,                                                \
        .panel_bytes = panel_bytes_of_isa,                                                         \
        .pack_panel = csimd_##isa##_pack_panel,                                                    \
        .panels_at_once = 1,                                                                       \
        .panel_product = csimd_##isa##_panel_product,                                              \
        .row_product = csimd_##isa##_row_product,                                                  \
        .row_reading = &csimd_##isa##_row_reading,                                                 \
        FLOAT_LEAVES,                                                                              \
        WEIGHT_LEAVES,                                                                             \
    }

TABLE(avx2, csimd_avx2_panel_bytes);
TABLE(avxvnni, csimd_panel_bytes);
#endif
