// Private to CSIMD: the views that leaf kernels take and the table of leaves that each instruction
// set fills. A leaf is single-threaded and touches only what its arguments name.
#pragma once

#include "csimd.h"

// Kernels are functions of their parts, which the compiler must put together. Under the address
// sanitizer, whose checks of every load a whole kernel would take it ten minutes to see through, it
// may leave them apart.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define INLINE static inline
#endif
#endif
#ifndef INLINE
#define INLINE static inline __attribute__((always_inline))
#endif

/// Asks for the lines of `bytes` that lie there.
INLINE void csimd_ask_for(const char* p, size_t bytes) {
    for (size_t line = 0; line < bytes; line += 64) {
        __builtin_prefetch(p + line);
    }
}

/// Whether this CPU reads rows of Q4_0, IQ4_NL and Q8_0 from memory fastest, with 512-bit
/// registers, where what comes is asked for once, into the first-level cache: Zen 5 does. Other
/// types and registers gain nothing for certain, so they ask twice everywhere.
bool csimd_asks_once(void);

/// While `bytes` of a row of weights are read at p: asks for as many of this row, or the next ones
/// of its stream, twice. Into the second-level cache early, for a stream's way from memory is long,
/// and what is asked for there sets the hardware running on; into the first one late, for it keeps
/// few lines on their way, and few bytes of each of several streams (of a whole row of Q8_0 with
/// 11,008 columns each they are 47 KB). `once`: into the first one alone, see csimd_asks_once.
INLINE void csimd_read_on(const char* p, size_t bytes, const bool once) {
    enum { SECOND_LEVEL = 4096, FIRST_LEVEL = 1536 };
    csimd_ask_for(p + FIRST_LEVEL, bytes);
    for (size_t line = 0; !once && line < bytes; line += 64) {
        __builtin_prefetch(p + SECOND_LEVEL + line, 0, 2);
    }
}

static inline size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}
/// How many `unit`s hold n.
static inline size_t units(size_t n, size_t unit) {
    return (n + unit - 1) / unit;
}
static inline size_t round_up(size_t n, size_t unit) {
    return units(n, unit) * unit;
}

// --- weights ------------------------------------------------------------------------------------

/// Whether the type's blocks are levels above an offset, value = scale * level + offset, that
/// levels.inc unpacks into one form; the other quantized types have signed values.
static inline bool csimd_has_levels(csimd_type type) {
    switch (type) {
    case CSIMD_Q4_1:
    case CSIMD_Q5_0:
    case CSIMD_Q5_1:
    case CSIMD_Q4_K:
    case CSIMD_Q5_K:
    case CSIMD_Q6_K:
        return true;
    default:
        return false;
    }
}

static inline bool csimd_is_quantized(csimd_type type) {
    return type == CSIMD_Q8_0 || type == CSIMD_Q4_0 || type == CSIMD_IQ4_NL ||
           csimd_has_levels(type);
}

/// Elements of a block of a quantized type.
static inline size_t csimd_block_elements(csimd_type type) {
    return type == CSIMD_Q4_K || type == CSIMD_Q5_K || type == CSIMD_Q6_K ? CSIMD_SUPER_BLOCK
                                                                          : CSIMD_BLOCK;
}

/// Bytes of a block of a quantized type.
static inline size_t csimd_block_bytes(csimd_type type) {
    switch (type) {
    case CSIMD_Q8_0:
        return sizeof(csimd_block_q8_0);
    case CSIMD_Q4_1:
        return sizeof(csimd_block_q4_1);
    case CSIMD_Q5_0:
        return sizeof(csimd_block_q5_0);
    case CSIMD_Q5_1:
        return sizeof(csimd_block_q5_1);
    case CSIMD_Q4_K:
        return sizeof(csimd_block_q4_k);
    case CSIMD_Q5_K:
        return sizeof(csimd_block_q5_k);
    case CSIMD_Q6_K:
        return sizeof(csimd_block_q6_k);
    default:
        return sizeof(csimd_block_q4_0);
    }
}

/// Of a type with levels: the one that stands for zero, whatever the scale; 0 where an offset of
/// its own is stored.
static inline int csimd_center(csimd_type type) {
    return type == CSIMD_Q5_0 ? 16 : type == CSIMD_Q6_K ? 32 : 0;
}

/// Of a type with levels: whether each sixteen values have a scale and an offset, else each 32.
static inline bool csimd_has_halves(csimd_type type) {
    return type == CSIMD_Q6_K;
}

/// The least magnitude that a type with levels does not take, smaller than some of them could.
#define CSIMD_LEVEL_LIMIT 65504.0f

/// 32 values of a type with levels: value i = scales[i / 16] * levels[i] + offsets[i / 16].
typedef struct csimd_levels {
    uint8_t levels[CSIMD_BLOCK]; // 63 at most
    float scales[2], offsets[2];
} csimd_levels;

/// What the sixteen nibbles of IQ4_NL stand for.
static const _Alignas(16) int8_t csimd_iq4_nl_levels[16] = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/// The least magnitude that Q8_0 does not take: its scale, a half, is that over 127.
#define CSIMD_BYTE_LIMIT (65504.0f * 127.0f)

/// The least magnitude that a four-bit type cannot store: its scale is a half, 65,504 at most.
static inline float csimd_four_bit_limit(csimd_type type) {
    return type == CSIMD_Q4_0 ? 65520.0f * 8 : 65504.0f * 113;
}

/// Where the values begin, behind the scale, in the blocks of all types.
enum { CSIMD_BLOCK_VALUES = offsetof(csimd_block_q4_0, qs) };
_Static_assert(CSIMD_BLOCK_VALUES == offsetof(csimd_block_q8_0, qs), "one scale leads a block");

/// Rows of a quantized weight matrix as they lie in the file.
typedef struct csimd_weight_rows {
    csimd_type type;  // quantized
    const char* data; // the first row
    size_t row_bytes; // from one row to the next
    size_t blocks;    // of a row
    size_t count;     // rows
    // 0: rows that follow each other. Else an equal part of the count in each of the streams of
    // csimd_row_reading, which begins so many rows behind that of the stream before.
    size_t apart;
} csimd_weight_rows;

// --- packed panels ------------------------------------------------------------------------------

enum {
    /// Rows of one packed weight panel: one 64-byte register holds four k of 16 rows.
    CSIMD_PANEL = 16,
    /// Such registers that a block takes.
    CSIMD_STEPS = CSIMD_BLOCK / 4,
};

/// One block of a panel's rows: four consecutive k of every row side by side in each step. What a
/// byte holds is up to the leaf, which packs a panel as its product wants it.
typedef struct csimd_panel_block {
    _Alignas(64) uint8_t steps[CSIMD_STEPS][CSIMD_PANEL * 4];
    float scales[CSIMD_PANEL];
} csimd_panel_block;
_Static_assert(sizeof(csimd_panel_block) == 576, "eight registers of bytes and one of scales");

/// The same of a type with levels.
typedef struct csimd_level_panel_block {
    _Alignas(64) uint8_t steps[CSIMD_STEPS][CSIMD_PANEL * 4];
    // Of the first and the last sixteen k; of all 32: [0], and [1] is these times CSIMD_LIFTED,
    // where a leaf's sums begin with CSIMD_LIFT.
    float scales[2][CSIMD_PANEL];
    float offsets[2][CSIMD_PANEL];
} csimd_level_panel_block;
_Static_assert(sizeof(csimd_level_panel_block) == 768, "eight registers of bytes and four of f32");

/// Blocks [first, first + count) of a panel, packed, or of several that follow each other.
typedef struct csimd_panel_part {
    csimd_type type;
    const void* panel; // block `first`; 64-byte aligned
    size_t first, count;
    int panels;    // csimd_kernels.panels_at_once at most
    size_t stride; // bytes from one to the next
} csimd_panel_part;

/// Where a product goes: the element of token t and row r to y[t * stride + r].
typedef struct csimd_output {
    float* y;
    size_t stride;
} csimd_output;

static inline csimd_output csimd_output_at(csimd_output out, size_t token, size_t row) {
    return (csimd_output){out.y + token * out.stride + row, out.stride};
}

/// Asks for where the sums of `rows` rows of `tokens` tokens go, to be written: each token's lie
/// pages from the next one's, and the last tile's loads would wait for all of them, or its stores.
INLINE void csimd_ask_for_output(csimd_output out, int tokens, int rows) {
    for (int t = 0; t < tokens; t++) {
        for (int r = 0; r < rows; r += 64 / (int)sizeof(float)) {
            __builtin_prefetch(out.y + (size_t)t * out.stride + r, 1);
        }
    }
}

// --- activations in integers --------------------------------------------------------------------

/// One plane of integer activations: all of int8, the high or the low part of int16.
typedef struct csimd_plane {
    const int8_t* q;     // [tokens, blocks * 32], rows `stride` bytes apart
    const int32_t* sums; // [tokens, blocks], made from the sums of the q; private to the ISA
} csimd_plane;

enum {
    /// A product of int16 is 2^this times that of the high plane, and that of the low one.
    CSIMD_PLANE_SHIFT = 7,
    CSIMD_PLANES = 2,
};

/// Activations in int8 or int16: see csimd_quantize_activations.
typedef struct csimd_q8_rows {
    csimd_plane plane[CSIMD_PLANES]; // the high one first; of int8 only that, but both sums
    int planes;
    const float* scales;   // [tokens, blocks]
    const float* totals;   // [tokens, blocks], the sum of the 32 integers times the scale
    const float* halves;   // [tokens, blocks, 2], the same of each sixteen
    const void* tiles;     // q, scales and sums once more, or NULL: csimd_tile_layout
    const void* row_input; // of one token, or NULL: csimd_row_reading
    size_t tokens;
    size_t blocks; // of a token: a token's scales lie this far from the next one's
    size_t stride;
} csimd_q8_rows;

/// How a leaf reads rows of weights for one token.
typedef struct csimd_row_reading {
    size_t input_bytes; // of a csimd_q8_rows.row_input
    /// Makes one: x as rows of that type take it, once for all of them. Returns how many streams of
    /// rows that follow each other are read side by side; 0: rows of that type or width take none,
    /// and are read in one.
    size_t (*lay_out)(csimd_type type, const csimd_q8_rows* x, void* row_input);
} csimd_row_reading;

/// `tokens` tokens from `first` on, from block `block` on. Without tiles: csimd_whole_tiles.
static inline csimd_q8_rows csimd_q8_part(const csimd_q8_rows* x, size_t first, size_t tokens,
                                          size_t block) {
    csimd_q8_rows part = *x;
    for (int p = 0; p < CSIMD_PLANES; p++) {
        if (p < x->planes) {
            part.plane[p].q += first * x->stride + block * CSIMD_BLOCK;
        }
        part.plane[p].sums += first * x->blocks + block;
    }
    part.scales += first * x->blocks + block;
    part.totals += first * x->blocks + block;
    part.halves += (first * x->blocks + block) * 2;
    part.tiles = NULL;
    part.tokens = tokens;
    return part;
}

/// Where one token's integers go.
typedef struct csimd_q8_output {
    int8_t* q[CSIMD_PLANES];     // the high plane first; [1] NULL: int8
    int32_t* sums[CSIMD_PLANES]; // [blocks], both of int8 too
    float* scales;               // [blocks]
    float* totals;               // [blocks]
    float* halves;               // [blocks, 2]
} csimd_q8_output;

/// Sums of 32 bits that begin with this are, as the bits of a float, CSIMD_LIFTED + the sum, below
/// 2^22 in magnitude: no conversion is needed, for (CSIMD_LIFTED + sum) * scale - CSIMD_LIFTED *
/// scale is one instruction, and exact up to its last rounding where the scale has 22 bits (halves
/// have 11, a k-quant's two scales together 19).
#define CSIMD_LIFT 0x4b400000
#define CSIMD_LIFTED 0x1.8p23f

/// Where the parts of csimd_input.quantized lie, filled or not.
csimd_q8_rows csimd_quantized_rows(const csimd_input* input);

/// Fills totals and halves of blocks `first` and up to `count` from their integers and scales, for
/// leaves that do not do so as they round.
void csimd_total_blocks(const csimd_q8_output* to, size_t first, size_t count);

/// The greatest integer of a plane, and of two together: 127 * 128 + 63.
static inline float csimd_greatest_q(bool wide) {
    return wide ? 16319.0f : 127.0f;
}

/// The scale of 32 activations of greatest magnitude `max` (NaN if there is one), and what takes
/// them to [-most, most]. False, and no such factor, if all q are 0: below 2^-100 the reciprocal
/// could overflow, so that such a block is zero; infinity and NaN give a NaN scale, so that they
/// show in the result.
static inline bool csimd_q8_scale(float max, float most, float* scale, float* inverse) {
    if (!(max >= 0x1p-100f && max < __builtin_inff())) {
        *scale = max < 0x1p-100f ? 0.0f : __builtin_nanf("");
        return false;
    }
    *scale = max / most;
    *inverse = most / max;
    return true;
}
/// The same where the bits of the greatest magnitude are in an integer.
static inline bool csimd_q8_scale_of_bits(uint32_t max_bits, float most, float* scale,
                                          float* inverse) {
    float max;
    __builtin_memcpy(&max, &max_bits, sizeof max);
    return csimd_q8_scale(max, most, scale, inverse);
}

enum {
    /// Most tokens that have tiles whatever the instruction set; one alone never has.
    CSIMD_FEW = 64,
    /// Tokens of a tile. The last tile of a call has what is left.
    CSIMD_TILE = 8,
};

/// Where things lie in one block of a tile: first eight words of four q for each token,
/// [8, tokens], of each plane, then `scales` [tokens], both `sums` [tokens] and `totals` [tokens],
/// at these bytes. Tiles follow each other, and in a tile its blocks: so a product reads one stream
/// where rows would be one for each token, and three with their scales and sums.
typedef struct csimd_tile_layout {
    size_t scales, sums, totals, bytes;
} csimd_tile_layout;

static inline csimd_tile_layout csimd_tile_layout_of(size_t tokens, int planes) {
    const size_t scales = CSIMD_BLOCK * (size_t)planes * tokens;
    const size_t sums = scales + tokens * sizeof(float);
    const size_t totals = sums + CSIMD_PLANES * tokens * sizeof(int32_t);
    return (csimd_tile_layout){scales, sums, totals, totals + tokens * sizeof(float)};
}

/// Puts blocks [first, first + count) of a tile's tokens where x's tiles have them.
void csimd_lay_out_blocks(const csimd_q8_rows* x, size_t tile, size_t first, size_t count);

/// Block `block` of the tile that token `token` begins; NULL if x has no tiles.
static inline const void* csimd_tile_at(const csimd_q8_rows* x, size_t token, size_t block) {
    if (!x->tiles) {
        return NULL;
    }
    const size_t tokens = min_size(x->tokens - token, CSIMD_TILE);
    return (const char*)x->tiles + token * x->blocks * csimd_tile_layout_of(1, x->planes).bytes +
           block * csimd_tile_layout_of(tokens, x->planes).bytes;
}

/// csimd_q8_part from block 0 on with its tiles, where x has them: `first` begins one, and each is
/// whole or x's last one.
static inline csimd_q8_rows csimd_whole_tiles(const csimd_q8_rows* x, size_t first, size_t tokens) {
    csimd_q8_rows part = csimd_q8_part(x, first, tokens, 0);
    part.tiles = csimd_tile_at(x, first, 0);
    return part;
}

/// One block of some tokens, as rows or as a tile: word i of token t of a plane lies at
/// q + t * token_bytes + i * word_bytes, its sum at sums[t * apart], scale and total likewise.
typedef struct csimd_block_input {
    const int8_t* q[CSIMD_PLANES];
    size_t token_bytes, word_bytes;
    const int32_t* sums[CSIMD_PLANES];
    const float *scales, *totals;
    size_t apart;
} csimd_block_input;

INLINE csimd_block_input csimd_block_of_rows(csimd_q8_rows x, const int planes, size_t block) {
    csimd_block_input input = {.token_bytes = x.stride,
                               .word_bytes = 4,
                               .scales = x.scales + block,
                               .totals = x.totals + block,
                               .apart = x.blocks};
    for (int p = 0; p < CSIMD_PLANES; p++) {
        input.q[p] = p < planes ? x.plane[p].q + block * CSIMD_BLOCK : NULL;
        input.sums[p] = x.plane[p].sums + block;
    }
    return input;
}

/// What comes of the tiles some blocks after the one at `tile`, of so many bytes: tiles that other
/// panels have not read yet come from far away, and the hardware's reading ahead begins anew with
/// every 4 KB.
INLINE void csimd_ask_for_tiles(const void* tile, size_t bytes) {
    enum { AHEAD = 4096 };
    csimd_ask_for((const char*)tile + AHEAD, bytes);
}

/// The block of a tile of `tokens` that lies there.
INLINE csimd_block_input csimd_block_of_tile(const void* tile, const int planes, size_t tokens) {
    const char* from = tile;
    const csimd_tile_layout at = csimd_tile_layout_of(tokens, planes);
    csimd_block_input input = {.token_bytes = 4,
                               .word_bytes = tokens * 4,
                               .scales = (const float*)(from + at.scales),
                               .totals = (const float*)(from + at.totals),
                               .apart = 1};
    for (int p = 0; p < CSIMD_PLANES; p++) {
        input.q[p] = p < planes ? (const int8_t*)from + (size_t)p * tokens * CSIMD_BLOCK : NULL;
        input.sums[p] = (const int32_t*)(from + at.sums) + (size_t)p * tokens;
    }
    return input;
}

// --- products in f32 ----------------------------------------------------------------------------

/// Columns of one packed panel of the second factor.
enum { CSIMD_GEMM_PANEL = 16 };

/// c[m, n] = (accumulate ? c : 0) + a[m, k] b[k, n]. Rows of a and c `a_stride` and `c_stride`
/// floats apart; b in panels of 16 columns, `b_stride` floats apart: column j of row p at
/// b[j / 16 * b_stride + p * 16 + j % 16], so that a block reads streams without gaps, which fall
/// on all sets of a cache. n is a multiple of 16; b is 64-byte aligned, and so is each panel.
/// `ahead`: m rows of k, `ahead_stride` floats apart, that are wanted next; memory is asked for
/// them meanwhile, a line at a time. They need not exist. NULL: none.
typedef struct csimd_gemm {
    const float* a;
    const float* b;
    float* c;
    size_t a_stride, b_stride, c_stride;
    size_t m, n, k;
    bool accumulate;
    const float* ahead;
    size_t ahead_stride;
} csimd_gemm;

// --- the table ----------------------------------------------------------------------------------

typedef struct csimd_kernels {
    const char* name;

    // Weights to f32 and back (weights.inc): every type of csimd_type, n values, whole blocks where
    // the type has blocks. All instruction sets give the same bits.
    void (*to_f32)(csimd_type type, const void* x, float* y, size_t n);
    /// importance [n] or NULL: see csimd_quantize_row.
    void (*from_f32)(csimd_type type, const float* x, const float* importance, void* y, size_t n);

    // Products in integers (..._int8.c).
    /// One token's activations to int8 or int16.
    void (*quantize_row)(const float* x, size_t cols, const csimd_q8_output* to);
    /// Bytes of a packed panel of 16 rows × cols, scales included.
    size_t (*panel_bytes)(csimd_type type, size_t cols);
    /// Packs at most 16 rows; missing rows are packed as zeros. `panel` is 64-byte aligned.
    void (*pack_panel)(const csimd_weight_rows* w, void* panel);
    /// Most panels that panel_product takes at once.
    int panels_at_once;
    /// Whether panel_product takes whole tiles of tokens from x's tiles: then any number of tokens
    /// has them.
    bool tiled;
    /// out (+)= the product of the panels' 16 rows each with all tokens of x over the part's
    /// blocks. Overwrites where they begin with block 0, else adds.
    void (*panel_product)(const csimd_panel_part* part, const csimd_q8_rows* x, csimd_output out);
    /// out = the product of the rows, straight from the file's blocks, with all tokens of x.
    void (*row_product)(const csimd_weight_rows* w, const csimd_q8_rows* x, csimd_output out);
    /// How row_product reads for one token; NULL: as for more.
    const csimd_row_reading* row_reading;

    // Products in f32 (floats.inc).
    /// One fused multiply-add per k, ascending.
    void (*gemm_f32)(const csimd_gemm* g);
    /// The same of pairs of bf16, each a word of 32 bits, the first of the two in its lower half: k
    /// counts pairs, and a step adds both products. NULL where that is no faster than gemm_f32 of
    /// rounded numbers.
    void (*gemm_pairs)(const csimd_gemm* g);
    /// x rounded to bf16, in place. Every instruction set gives the same bits, here and below.
    void (*round_bf16)(float* x, size_t n);
    /// to[i] = the pair of even[i] and odd[i], rounded. n is a multiple of 16.
    void (*pair_rows)(const float* even, const float* odd, size_t n, uint32_t* to);
    /// to[i] = the pair of x[2 i] and x[2 i + 1], rounded. n is even.
    void (*pair_columns)(const float* x, size_t n, uint32_t* to);
    /// A panel of gemm_f32 from sixteen rows of k values, `stride` floats apart:
    /// to[i * 16 + r] = rows[r * stride + i].
    void (*turn_floats)(const float* rows, size_t stride, size_t k, float* to);
    /// y[r] = sum_k w[r, k] x[k] of `rows` rows, row_bytes apart, F32, F16 or BF16. A row's sum
    /// does not depend on the others.
    void (*dots)(csimd_type type, const void* w, size_t row_bytes, size_t rows, const float* x,
                 size_t n, float* y);
    /// y[k] += sum_r a[r] w[r, k] of such rows: one fused multiply-add per row, ascending.
    void (*add_rows)(csimd_type type, const void* w, size_t row_bytes, size_t rows, const float* a,
                     float* y, size_t n);

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
    /// One token's activations x[0 ..< n] in place; up may be NULL (no product). Of the site, whose
    /// `values` are the token's, it knows nothing of `fired` and `moments`.
    void (*activate_row)(csimd_activation kind, float* x, const float* up, size_t n,
                         const csimd_site* site);
    /// What the activations of following tokens, values [tokens, n] in rows of `stride`, change.
    void (*note_moments)(const csimd_moments* m, const float* values, size_t stride, size_t tokens,
                         size_t n);
    /// csimd_add_strongest.
    void (*add_strongest)(const csimd_strongest* all, const float* values, const uint32_t* samples,
                          const uint32_t* tokens, size_t n);

    /// out[r][c] -= the sum of x[r][k] y[c][k] over k, all rows `n` apart: fused multiply-adds to
    /// eight sums, k % 8, which are added by halves, and to one of what is left behind the last
    /// eight. Every instruction set gives the same bits.
    void (*subtract_products)(const double* x, const double* y, size_t n, size_t depth, double* out,
                              size_t rows, size_t cols);
} csimd_kernels;

// scalar_weights.c: the specification of to_f32 and from_f32.
void csimd_scalar_to_f32(csimd_type type, const void* x, float* y, size_t n);
void csimd_scalar_from_f32(csimd_type type, const float* x, const float* importance, void* y,
                           size_t n);
/// Element i of x (F32, F16 or BF16).
float csimd_scalar_element(csimd_type type, const void* x, size_t i);
/// Block `block` of 32 values of a row of a type with levels.
void csimd_scalar_levels(csimd_type type, const void* row, size_t block, csimd_levels* out);
/// The 32 integers of a block of another quantized type; returns its scale.
float csimd_scalar_unpack(csimd_type type, const void* block, int8_t* values);

// The int8 leaves of each instruction set (scalar_int8.c, avx2_int8.c, avxvnni_int8.c,
// avx512_int8.c, neon_int8.c); its table and its other leaves stand in scalar.c, avx2.c, avx512.c,
// neon.c.
#define CSIMD_INT8_LEAVES(isa)                                                                     \
    void csimd_##isa##_quantize_row(const float* x, size_t cols, const csimd_q8_output* to);       \
    void csimd_##isa##_pack_panel(const csimd_weight_rows* w, void* panel);                        \
    void csimd_##isa##_panel_product(const csimd_panel_part* part, const csimd_q8_rows* x,         \
                                     csimd_output out);                                            \
    void csimd_##isa##_row_product(const csimd_weight_rows* w, const csimd_q8_rows* x,             \
                                   csimd_output out);
CSIMD_INT8_LEAVES(scalar)
/// Of panels of csimd_panel_block and csimd_level_panel_block: all but AVX2's of eight-bit values.
size_t csimd_panel_bytes(csimd_type type, size_t cols);
#if defined(__x86_64__)
CSIMD_INT8_LEAVES(avx2)
extern const csimd_row_reading csimd_avx2_row_reading;
extern const csimd_row_reading csimd_avxvnni_row_reading;
extern const csimd_row_reading csimd_avx512_row_reading;
size_t csimd_avx2_panel_bytes(csimd_type type, size_t cols);
size_t csimd_avx512_panel_bytes(csimd_type type, size_t cols);
void csimd_avx512_gemm_pairs(const csimd_gemm* g);
CSIMD_INT8_LEAVES(avxvnni)
CSIMD_INT8_LEAVES(avx512)
#elif defined(__aarch64__)
CSIMD_INT8_LEAVES(neon)
void csimd_i8mm_pack_panel(const csimd_weight_rows* w, void* panel);
void csimd_i8mm_panel_product(const csimd_panel_part* part, const csimd_q8_rows* x,
                              csimd_output out);
#endif

extern const csimd_kernels csimd_scalar_kernels;
#if defined(__x86_64__)
extern const csimd_kernels csimd_avx2_kernels;
extern const csimd_kernels csimd_avxvnni_kernels;
extern const csimd_kernels csimd_avx512_kernels;
extern const csimd_kernels csimd_avx512bf16_kernels;
#elif defined(__aarch64__)
extern const csimd_kernels csimd_neon_kernels;
extern const csimd_kernels csimd_i8mm_kernels;
#endif

/// The table in use.
const csimd_kernels* csimd_active(void);
