// Arm NEON with the dot product extension, with and without the int8 matrix extension: 24 sums, 4
// columns and 1 value of a fit 32 registers.
#if defined(__aarch64__)
#define VW 4
#define GEMM_ROWS 6
#define GEMM_VECTORS 4
#define SPLIT_ROWS 2
#define SPLIT_COLS 2

#include "vectors.inc"

#include "floats.inc"
#include "weights.inc"

// Both tables with the leaves of NEON but for the products of panels.
#define TABLE(isa)                                                                                 \
    const csimd_kernels csimd_##isa##_kernels = {                                                  \
        .name = #isa,                                                                              \
        .quantize_row = csimd_neon_quantize_row,                                                   \
        .panel_bytes = csimd_panel_bytes,                                                          \
        .pack_panel = csimd_##isa##_pack_panel,                                                    \
        .panels_at_once = 1,                                                                       \
        .panel_product = csimd_##isa##_panel_product,                                              \
        .row_product = csimd_neon_row_product,                                                     \
        FLOAT_LEAVES,                                                                              \
        WEIGHT_LEAVES,                                                                             \
    }

TABLE(neon);
TABLE(i8mm);
#endif
