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
    CSIMD_Q4_1 = 3,
    CSIMD_Q5_0 = 6,
    CSIMD_Q5_1 = 7,
    CSIMD_Q8_0 = 8,
    CSIMD_Q4_K = 12,
    CSIMD_Q5_K = 13,
    CSIMD_Q6_K = 14,
    CSIMD_IQ4_NL = 20,
    CSIMD_BF16 = 30,
} csimd_type;

/// Elements in one block of a quantized type: rows must be a multiple of this, or, of the k-quants
/// (Q4_K, Q5_K, Q6_K), of CSIMD_SUPER_BLOCK. Activations have blocks of this.
#define CSIMD_BLOCK 32
#define CSIMD_SUPER_BLOCK 256

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

/// Q4_1: value[j] = d * nibble[j] + m, laid out as Q4_0.
typedef struct csimd_block_q4_1 {
    uint16_t d, m; // f16
    uint8_t qs[16];
} csimd_block_q4_1;
_Static_assert(sizeof(csimd_block_q4_1) == 20, "Q4_1 block is 20 bytes in GGUF");

/// Q5_0: value[j] = d * (level[j] - 16): four bits as in Q4_0, the fifth is bit j of qh.
typedef struct csimd_block_q5_0 {
    uint16_t d;
    uint8_t qh[4];
    uint8_t qs[16];
} csimd_block_q5_0;
_Static_assert(sizeof(csimd_block_q5_0) == 22, "Q5_0 block is 22 bytes in GGUF");

/// Q5_1: value[j] = d * level[j] + m, levels as in Q5_0.
typedef struct csimd_block_q5_1 {
    uint16_t d, m;
    uint8_t qh[4];
    uint8_t qs[16];
} csimd_block_q5_1;
_Static_assert(sizeof(csimd_block_q5_1) == 24, "Q5_1 block is 24 bytes in GGUF");

/// Q4_K: eight parts of 32: value = (d * scale) * nibble - dmin * minimum, a scale and a minimum of
/// six bits to a part. Bytes 0 ... 3 of `scales` hold the scales of parts 0 ... 3 in their lower
/// six bits, bytes 4 ... 7 their minima; bytes 8 ... 11 the lower four bits of scale (low nibble)
/// and minimum of parts 4 ... 7, whose upper two are the uppermost of the bytes before. The nibbles
/// of parts 2 i and 2 i + 1 are the low and the high ones of qs[32 i ...].
typedef struct csimd_block_q4_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qs[128];
} csimd_block_q4_k;
_Static_assert(sizeof(csimd_block_q4_k) == 144, "Q4_K block is 144 bytes in GGUF");

/// Q5_K: as Q4_K, with a fifth bit: bit i of qh[j] for element j of part i.
typedef struct csimd_block_q5_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
} csimd_block_q5_k;
_Static_assert(sizeof(csimd_block_q5_k) == 176, "Q5_K block is 176 bytes in GGUF");

/// Q6_K: sixteen parts of 16: value = (d * scale) * (level - 32). In each half of 128 elements,
/// element 32 i + j has its lower four bits in ql[j + 32 (i % 2)], the low nibble for i < 2, and
/// its upper two in bits 2 i and 2 i + 1 of qh[j].
typedef struct csimd_block_q6_k {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d;
} csimd_block_q6_k;
_Static_assert(sizeof(csimd_block_q6_k) == 210, "Q6_K block is 210 bytes in GGUF");

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

/// Quantizes one row of `cols` f32 to `type` (any csimd_type): Q8_0 and Q4_0 without importance as
/// ggml's reference quantizers do, bit for bit; all others, and these with importance, with the
/// scales and offsets that a search finds to leave the least error. False if cols does not fit the
/// type. `importance` [cols]: how much the squared error of each value counts, finite and not
/// negative; NULL: all alike.
bool csimd_quantize_row(csimd_type type, const float* x, const float* importance, void* y,
                        size_t cols);
/// Dequantizes one row to f32. False if cols does not fit the type.
bool csimd_dequantize_row(csimd_type type, const void* x, float* y, size_t cols);
/// Index of the first of n elements that `type` cannot store: NaN, infinity, or so large that the
/// stored value or block scale would become infinite. n if all are fine.
size_t csimd_first_unstorable(csimd_type type, const float* x, size_t n);
