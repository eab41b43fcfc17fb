// Weight types and their blocks, as they lie in a GGUF file. Sizes and layouts are ggml's.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Element types of weights, numbered as in GGUF.
typedef enum csimd_type {
    CSIMD_F32 = 0,
    CSIMD_F16 = 1,
    CSIMD_Q4_0 = 2,
    CSIMD_Q8_0 = 8,
    CSIMD_IQ4_NL = 20,
    CSIMD_BF16 = 30,
} csimd_type;

/// Elements in one block of a quantized type. Rows must be a multiple of this.
#define CSIMD_BLOCK 32

/// Q8_0: value[j] = d * qs[j], qs in [-127, 127] as every quantizer writes them.
typedef struct csimd_block_q8_0 {
    uint16_t d; // f16 scale
    int8_t qs[32];
} csimd_block_q8_0;
_Static_assert(sizeof(csimd_block_q8_0) == 34, "Q8_0 block is 34 bytes in GGUF");

/// Q4_0: value[j] = d * (nibble[j] - 8); byte j holds element j (low) and j + 16 (high nibble).
typedef struct csimd_block_q4_0 {
    uint16_t d; // f16 scale
    uint8_t qs[16];
} csimd_block_q4_0;
_Static_assert(sizeof(csimd_block_q4_0) == 18, "Q4_0 block is 18 bytes in GGUF");

/// IQ4_NL: value[j] = d * level[nibble[j]], laid out as Q4_0. The sixteen levels lie closer near
/// zero, where most weights are: -127 -104 -83 -65 -49 -35 -22 -10 1 13 25 38 53 69 89 113.
typedef csimd_block_q4_0 csimd_block_iq4_nl;

/// Bytes that one row of `cols` elements takes (weights.c); 0 if `type` is unknown or `cols` does
/// not fit it.
size_t csimd_row_bytes(csimd_type type, size_t cols);

// --- scalar_weights.c: exact conversions; f32 to f16 rounds to nearest even ---------------------

float csimd_f16_to_f32_one(uint16_t h);
uint16_t csimd_f32_to_f16_one(float x);

// --- weights.c: rows of weights. Every instruction set gives the same bits -----------------------

/// n half floats to f32 (exact) and back (to nearest even).
void csimd_f16_to_f32(const uint16_t* x, float* y, size_t n);
void csimd_f32_to_f16(const float* x, uint16_t* y, size_t n);
void csimd_bf16_to_f32(const uint16_t* x, float* y, size_t n);
void csimd_f32_to_bf16(const float* x, uint16_t* y, size_t n);

/// Quantizes one row of `cols` f32 to `type` (any csimd_type): Q8_0, and Q4_0 without importance,
/// as ggml's reference quantizers do, bit for bit; IQ4_NL, and Q4_0 with importance, with the scale
/// that leaves the least error. False if cols does not fit the type.
/// `importance` [cols]: how much the squared error of each value counts, finite and not negative;
/// NULL: all alike.
bool csimd_quantize_row(csimd_type type, const float* x, const float* importance, void* y,
                        size_t cols);
/// Dequantizes one row to f32. False if cols does not fit the type.
bool csimd_dequantize_row(csimd_type type, const void* x, float* y, size_t cols);
/// Index of the first of n elements that `type` cannot store: NaN, infinity, or so large that the
/// stored value or block scale would become infinite. n if all are fine.
size_t csimd_first_unstorable(csimd_type type, const float* x, size_t n);
