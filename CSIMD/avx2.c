// AVX2 with FMA and F16C, with and without AVX-VNNI: 12 sums, 2 columns and 1 value of a fill the
// 16 registers.
#if defined(__x86_64__)
#include "internal.h"

#define VW 8
#define GEMM_ROWS 6
#define GEMM_VECTORS 2

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "floats.inc"
#pragma clang attribute pop

// Both tables with the f32 leaves of this file.
#define TABLE(isa)                                                                                 \
    const csimd_kernels csimd_##isa##_kernels = {                                                  \
        .name = #isa,                                                                              \
        .quantize_i8 = csimd_##isa##_quantize_i8,                                                  \
        .panel_bytes = csimd_##isa##_panel_bytes,                                                  \
        .pack_panel = csimd_##isa##_pack_panel,                                                    \
        .panel_product = csimd_##isa##_panel_product,                                              \
        .row_product = csimd_##isa##_row_product,                                                  \
        FLOAT_LEAVES,                                                                              \
    }

TABLE(avx2);
TABLE(avxvnni);
#endif
