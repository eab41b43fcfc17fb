// Private to CSIMD: the table of leaf kernels that each instruction set fills.
// A leaf is single-threaded and touches only what its arguments name.
#pragma once

#include "csimd.h"

/// Rows of one packed weight panel: one 64-byte register holds four k of 16 rows.
#define CSIMD_PANEL 16

/// Int8 activations: see csimd_quantize_activations. Rows of one token are contiguous.
typedef struct csimd_q8_rows {
    const int8_t* q;     // [tokens, cols], rows `stride` bytes apart
    const float* scales; // [tokens, cols / 32]
    const int32_t* sums; // [tokens, cols / 32], made from the sum of the 32 q; private to the ISA
    size_t cols;
    size_t stride;
    const void* few; // the same once more for tiles of few tokens, or NULL: csimd_interleave_block
} csimd_q8_rows;

/// Most tokens that are laid out once more for tiles of few tokens; one alone never is.
#define CSIMD_FEW 64
/// Tokens of such a tile. The last tile of a call has what is left.
#define CSIMD_FEW_TILE 8
/// Bytes that a token's block takes in that layout: 32 q, the scale, the sum.
#define CSIMD_FEW_BYTES 40

/// Writes block `block` of x's tokens [0, tokens) to `few`: tile after tile, in a tile block after
/// block, in a block eight words of four q [8, tile tokens], then the scales, then the sums. So a
/// tile reads one stream, whatever its number of tokens.
void csimd_interleave_block(const csimd_q8_rows* x, size_t tokens, size_t block, void* few);

typedef struct csimd_kernels {
    const char* name;

    // Quantized products.
    void (*quantize_i8)(const float* x, size_t cols, int8_t* q, float* scales, int32_t* sums);
    /// Bytes of a packed panel of 16 rows × cols, scales included.
    size_t (*panel_bytes)(csimd_type type, size_t cols);
    /// Packs `rows` <= 16 rows; missing rows are packed as zeros.
    void (*pack_panel)(csimd_type type, const void* w, size_t row_bytes, size_t rows, size_t cols,
                       void* panel);
    /// out[t * out_stride + r] (+)= product of blocks [block0, block0 + blocks) for `tokens` tokens
    /// from `first`, 16 rows r. Overwrites where block0 == 0, else adds.
    void (*panel_product)(csimd_type type, const void* panel, const csimd_q8_rows* x, size_t first,
                          size_t tokens, size_t block0, size_t blocks, float* out,
                          size_t out_stride);
    /// y[t * y_stride + r] for rows [row0, row1) straight from the file's blocks, any token count.
    void (*row_product)(csimd_type type, const void* w, size_t row_bytes, size_t row0, size_t row1,
                        const csimd_q8_rows* x, size_t tokens, float* y, size_t y_stride);

    // f32 products (floats.inc).
    /// c[m, n] = (accumulate ? c : 0) + a[m, k] b[k, n]: one fused multiply-add per k, ascending.
    /// n is a multiple of 16; b and its rows are 64-byte aligned.
    void (*gemm_f32)(const float* a, size_t lda, const float* b, size_t ldb, float* c, size_t ldc,
                     size_t m, size_t n, size_t k, bool accumulate);
    /// sum_k w[k] x[k] with w F32, F16 or BF16.
    float (*dot)(csimd_type type, const void* w, const float* x, size_t n);
    /// y[k] += a * x[k] with x F32, F16 or BF16.
    void (*axpy)(csimd_type type, float a, const void* x, float* y, size_t n);
    /// F32, F16 or BF16 to f32.
    void (*to_f32)(csimd_type type, const void* x, float* y, size_t n);

    // Rows (floats.inc).
    void (*rms_norm_row)(const float* x, const float* weight, float eps, float* y, size_t n);
    void (*layer_norm_row)(const float* x, const float* weight, const float* bias, float eps,
                           float* y, size_t n);
    void (*add)(float* x, const float* y, size_t n);
    void (*scale)(float* x, float a, size_t n);
    float (*max)(const float* x, size_t n); // -inf if n == 0
    /// x = exp(x - shift) in place; returns the sum. exp(-inf) is 0.
    float (*exp_sum)(float* x, float shift, size_t n);
    void (*rope_row)(float* x, const float* cos_sin, size_t heads, size_t head_dim);
    /// One token's activations x[0 ..< n] in place; up may be NULL (no product); mask, counts,
    /// sums may be NULL.
    void (*activate_row)(csimd_activation kind, float* x, const float* up, size_t n,
                         const uint8_t* mask, int64_t* counts, double* sums);
} csimd_kernels;

// The int8 leaves of each instruction set (scalar_int8.c, avx2_int8.c, avxvnni_int8.c,
// avx512_int8.c, neon_int8.c); its table and its f32 leaves stand in scalar.c, avx2.c, avx512.c,
// neon.c.
#define CSIMD_INT8_LEAVES(isa)                                                                     \
    void csimd_##isa##_quantize_i8(const float* x, size_t cols, int8_t* q, float* scales,          \
                                   int32_t* sums);                                                 \
    size_t csimd_##isa##_panel_bytes(csimd_type type, size_t cols);                                \
    void csimd_##isa##_pack_panel(csimd_type type, const void* w, size_t row_bytes, size_t rows,   \
                                  size_t cols, void* panel);                                       \
    void csimd_##isa##_panel_product(csimd_type type, const void* panel, const csimd_q8_rows* x,   \
                                     size_t first, size_t tokens, size_t block0, size_t blocks,    \
                                     float* out, size_t out_stride);                               \
    void csimd_##isa##_row_product(csimd_type type, const void* w, size_t row_bytes, size_t row0,  \
                                   size_t row1, const csimd_q8_rows* x, size_t tokens, float* y,   \
                                   size_t y_stride);
CSIMD_INT8_LEAVES(scalar)
#if defined(__x86_64__)
CSIMD_INT8_LEAVES(avx2)
CSIMD_INT8_LEAVES(avxvnni)
CSIMD_INT8_LEAVES(avx512)
#elif defined(__aarch64__)
CSIMD_INT8_LEAVES(neon)
void csimd_i8mm_pack_panel(csimd_type type, const void* w, size_t row_bytes, size_t rows,
                           size_t cols, void* panel);
void csimd_i8mm_panel_product(csimd_type type, const void* panel, const csimd_q8_rows* x,
                              size_t first, size_t tokens, size_t block0, size_t blocks, float* out,
                              size_t out_stride);
#endif

extern const csimd_kernels csimd_scalar_kernels;
#if defined(__x86_64__)
extern const csimd_kernels csimd_avx2_kernels;
extern const csimd_kernels csimd_avxvnni_kernels;
extern const csimd_kernels csimd_avx512_kernels;
#elif defined(__aarch64__)
extern const csimd_kernels csimd_neon_kernels;
extern const csimd_kernels csimd_i8mm_kernels;
#endif

/// The table in use.
const csimd_kernels* csimd_active(void);
