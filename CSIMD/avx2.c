// AVX2 with FMA and F16C: 12 sums, 2 columns and 1 value of a fill the 16 registers.
#if defined(__x86_64__)
#include "internal.h"

#define VW 8
#define GEMM_ROWS 6
#define GEMM_VECTORS 2

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "floats.inc"
#pragma clang attribute pop

const csimd_kernels csimd_avx2_kernels = {
    .name = "avx2",
    .quantize_i8 = csimd_avx2_quantize_i8,
    .panel_bytes = csimd_avx2_panel_bytes,
    .pack_panel = csimd_avx2_pack_panel,
    .panel_product = csimd_avx2_panel_product,
    .row_product = csimd_avx2_row_product,
    .gemm_f32 = gemm_f32,
    .dot = dot,
    .axpy = axpy,
    .to_f32 = to_f32,
    .rms_norm_row = rms_norm_row,
    .layer_norm_row = layer_norm_row,
    .add = add,
    .scale = scale,
    .max = max,
    .exp_sum = exp_sum,
    .rope_row = rope_row,
    .activate_row = activate_row,
};
#endif
