// int8 products for AVX-512 with VNNI: vpdpbusd multiplies unsigned weight bytes with signed
// activation bytes and adds four products to each 32-bit sum. Tile sizes for 32 zmm registers.
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "internal.h"

#pragma clang attribute push(                                                                      \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))),        \
    apply_to = function)

#define LEVEL_LANES 16
#include "levels.inc"
#include "x86_blocks.inc"

#define DOT_BYTES _mm256_dpbusd_epi32
#include "x86_vnni_ymm.inc"

#include "avx512_round.inc"

/// The word at p in every lane. Written out, for compilers turn it into vbroadcastss, which on Zen
/// 4 takes the ports of the products as well as that of the load, or into an operand in memory of
/// each product, which loads it anew.
static inline __m512i broadcast_word_16(const void* p) {
    __m512i word;
    __asm__("vpbroadcastd %1, %0" : "=v"(word) : "m"(*(const char(*)[4])p));
    return word;
}

static inline level_i level_word(const int8_t* x) {
    return (level_i)broadcast_word_16(x);
}

static inline level_i level_step(level_i sums, const uint8_t* w, level_i word) {
    return (level_i)_mm512_dpbusd_epi32((__m512i)sums, _mm512_load_si512(w), (__m512i)word);
}

static inline group_i level_dot(level_block w, const int8_t* x) {
    return (group_i)_mm256_dpbusd_epi32(_mm256_setzero_si256(), (__m256i)w,
                                        _mm256_loadu_si256((const __m256i*)x));
}

/// Most panels and tokens of a tile: 16 integer sums, two registers of weights, one of a token's
/// word. The f32 sums stay in memory, where a block's products are added between those of others.
enum { PANELS = 2, TILE = CSIMD_TILE, PART = 4, TILED = 1 };

enum { LEVEL_PANELS = PANELS, LEVEL_TILE = TILE, LEVEL_TILED = TILED, LEVEL_LIFTED = 1 };
#define LEVEL_ROWS rows_of_k
static bool rows_of_k(const csimd_weight_rows* w, const csimd_q8_rows* x, csimd_output out);
#include "level_products.inc"

#include "avx512_k_rows.inc"

/// few_weights of 64 bytes.
static inline __m512i wide_weights(csimd_type type, __m512i values) {
    const __m512i high_bit = _mm512_set1_epi8((char)0x80);
    if (type == CSIMD_IQ4_NL) {
        const __m128i levels = _mm_load_si128((const __m128i*)csimd_iq4_nl_levels);
        const __m512i table = _mm512_xor_si512(_mm512_broadcast_i32x4(levels), high_bit);
        return _mm512_shuffle_epi8(table, values);
    }
    return type == CSIMD_Q4_0 ? values : _mm512_xor_si512(values, high_bit);
}

/// Sixteen rows whose blocks are read side by side.
typedef struct sixteen_rows {
    const char* data; // the first one's block
    size_t bytes;     // from one row to the next
} sixteen_rows;

/// Words of 32 bits of the 16 bytes at `offset` of each row: out[i] holds word i of all.
INLINE void load_words(const sixteen_rows* rows, size_t offset, __m512i out[4]) {
    sixteen_words four[4], words[4];
    const size_t bytes = rows->bytes;
    for (size_t i = 0; i < 4; i++) {
        const char* p = rows->data + offset + i * bytes;
#define QUARTER(n) _mm_loadu_si128((const __m128i*)(p + 4 * (n)*bytes))
        // Turned words would do; these merge on two ports, where inserts have one.
        __m512i all = _mm512_castsi128_si512(QUARTER(0));
        all = _mm512_mask_broadcast_i32x4(all, 0x00f0, QUARTER(1));
        all = _mm512_mask_broadcast_i32x4(all, 0x0f00, QUARTER(2));
        all = _mm512_mask_broadcast_i32x4(all, 0xf000, QUARTER(3));
#undef QUARTER
        four[i] = (sixteen_words)all;
    }
    turn_four(four, words);
    for (int i = 0; i < 4; i++) {
        out[i] = (__m512i)words[i];
    }
}

/// The scales that lead the block at `offset` of each row. (A gather takes twice as long on Zen 4.)
INLINE __m512 load_row_scales(const sixteen_rows* rows, size_t offset) {
    const char* p = rows->data + offset;
    const size_t bytes = rows->bytes;
    const __m256 first = load_scales(p, bytes);
    const __m256 last = load_scales(p + CSIMD_PANEL / 2 * bytes, bytes);
    return _mm512_insertf32x8(_mm512_castps256_ps512(first), last, 1);
}

/// The words of half of the block at `offset` of sixteen rows, as they lie there; of nibbles those
/// of both halves.
INLINE void load_half_words(csimd_type type, const sixteen_rows* rows, size_t offset, size_t half,
                            __m512i words[4]) {
    const size_t at = type == CSIMD_Q8_0 ? half * (CSIMD_BLOCK / 2) : 0;
    load_words(rows, offset + CSIMD_BLOCK_VALUES + at, words);
}

/// One of these words as wide_weights.
INLINE __m512i unpack_word(csimd_type type, __m512i word, size_t half) {
    if (type != CSIMD_Q8_0) {
        word = half ? _mm512_srli_epi16(word, 4) : word;
        word = _mm512_and_si512(word, _mm512_set1_epi8(15));
    }
    return wide_weights(type, word);
}

/// The block at `offset` of sixteen rows, as wide_weights.
INLINE void unpack_rows(csimd_type type, const sixteen_rows* rows, size_t offset,
                        __m512i steps[CSIMD_STEPS]) {
    __m512i words[4];
    for (size_t half = 0; half < 2; half++) {
        if (half == 0 || type == CSIMD_Q8_0) {
            load_half_words(type, rows, offset, half, words);
        }
        for (size_t i = 0; i < 4; i++) {
            steps[half * 4 + i] = unpack_word(type, words[i], half);
        }
    }
}

/// A panel's block, and its scales times CSIMD_LIFTED: else every tile would multiply them.
typedef struct lifted_block {
    csimd_panel_block rows;
    float lifts[CSIMD_PANEL];
} lifted_block;

INLINE __m512 lifts_of(__m512 scales) {
    return _mm512_mul_ps(scales, _mm512_set1_ps(CSIMD_LIFTED));
}

size_t csimd_avx512_panel_bytes(csimd_type type, size_t cols) {
    return csimd_has_levels(type) ? csimd_panel_bytes(type, cols)
                                  : cols / CSIMD_BLOCK * sizeof(lifted_block);
}

INLINE void pack_as(csimd_type type, const csimd_weight_rows w, lifted_block* out) {
    const size_t bytes = csimd_block_bytes(type);
    for (size_t b = 0; b < w.blocks; b++, out++) {
        char blocks[CSIMD_PANEL][sizeof(csimd_block_q8_0)] = {0};
        sixteen_rows rows = {w.data + b * bytes, w.row_bytes};
        if (w.count < CSIMD_PANEL) {
            for (size_t r = 0; r < w.count; r++) {
                memcpy(blocks[r], rows.data + r * w.row_bytes, bytes);
            }
            rows = (sixteen_rows){blocks[0], sizeof blocks[0]};
        }
        __m512i steps[CSIMD_STEPS];
        unpack_rows(type, &rows, 0, steps);
        for (int step = 0; step < CSIMD_STEPS; step++) {
            // All types with the same offset: a nibble is too large by 8.
            const __m512i bytes_128 = type == CSIMD_Q4_0
                                          ? _mm512_add_epi8(steps[step], _mm512_set1_epi8(128 - 8))
                                          : steps[step];
            _mm512_store_si512(out->rows.steps[step], bytes_128);
        }
        const __m512 scales = load_row_scales(&rows, 0);
        _mm512_store_ps(out->rows.scales, scales);
        _mm512_store_ps(out->lifts, lifts_of(scales));
    }
}

void csimd_avx512_pack_panel(const csimd_weight_rows* w, void* panel) {
    if (csimd_has_levels(w->type)) {
        pack_levels(w, panel);
    } else if (w->type == CSIMD_Q4_0) {
        pack_as(CSIMD_Q4_0, *w, panel);
    } else if (w->type == CSIMD_IQ4_NL) {
        pack_as(CSIMD_IQ4_NL, *w, panel);
    } else {
        pack_as(CSIMD_Q8_0, *w, panel);
    }
}

/// What the sums of a plane start from, or go on from: nothing, or the offset of the weights, which
/// `nibbles`, Q4_0's as they are, have another of.
INLINE void begin_sums(const int planes, const int plane, const int panels, const int tokens,
                       const bool nibbles, const csimd_block_input* x, __m512i (*acc)[PANELS]) {
    const int from = start_of(nibbles, planes, plane);
    for (int t = 0; t < tokens; t++) {
        __m512i start = _mm512_setzero_si512();
        if (from >= 0) {
            start = broadcast_word_16(x->sums[from] + (size_t)t * x->apart);
        }
        for (int p = 0; p < panels; p++) {
            if (plane == 0) {
                acc[t][p] = start;
                continue;
            }
            acc[t][p] = _mm512_slli_epi32(acc[t][p], CSIMD_PLANE_SHIFT);
            acc[t][p] = from < 0 ? acc[t][p] : _mm512_add_epi32(acc[t][p], start);
        }
    }
}

/// Adds the products of four k.
INLINE void add_step(const int plane, const int panels, const int tokens, size_t step,
                     const __m512i four[PANELS], const csimd_block_input* x,
                     __m512i (*acc)[PANELS]) {
    for (int t = 0; t < tokens; t++) {
        const int8_t* q = x->q[plane] + (size_t)t * x->token_bytes + step * x->word_bytes;
        const __m512i word = broadcast_word_16(q);
        for (int p = 0; p < panels; p++) {
            acc[t][p] = _mm512_dpbusd_epi32(acc[t][p], four[p], word);
        }
    }
}

/// Adds a block's sums times scales to total. lifts: lifts_of(scales), in memory, for the sums need
/// the registers.
INLINE void scale_block(const int planes, const int panels, const int tokens,
                        const __m512 scales[PANELS], const float* const lifts[PANELS],
                        const csimd_block_input* x, __m512i (*acc)[PANELS],
                        __m512 (*total)[PANELS]) {
    for (int t = 0; t < tokens; t++) {
        const __m512 s = _mm512_castsi512_ps(broadcast_word_16(x->scales + (size_t)t * x->apart));
        for (int p = 0; p < panels; p++) {
            const __m512 scaled = planes == 1
                                      ? _mm512_fmsub_ps(_mm512_castsi512_ps(acc[t][p]), scales[p],
                                                        _mm512_load_ps(lifts[p]))
                                      : _mm512_mul_ps(_mm512_cvtepi32_ps(acc[t][p]), scales[p]);
            total[t][p] = _mm512_fmadd_ps(scaled, s, total[t][p]);
        }
    }
}

/// Adds the products of a block of `panels` x 16 rows with `tokens` tokens to total.
INLINE void add_block(const int planes, const int panels, const int tokens, const bool nibbles,
                      const __m512i* const steps[PANELS], const __m512 scales[PANELS],
                      const float* const lifts[PANELS], const csimd_block_input x,
                      __m512 (*total)[PANELS]) {
    __m512i acc[TILE][PANELS];
    for (int plane = 0; plane < planes; plane++) {
        begin_sums(planes, plane, panels, tokens, nibbles, &x, acc);
#pragma clang loop unroll(disable)
        for (size_t step = 0; step < CSIMD_STEPS; step++) {
            __m512i four[PANELS];
            for (int p = 0; p < panels; p++) {
                four[p] = steps[p][step];
            }
            add_step(plane, panels, tokens, step, four, &x, acc);
        }
    }
    scale_block(planes, panels, tokens, scales, lifts, &x, acc, total);
}

/// `panels` x 16 rows x `tokens` of `planes`. `tiled`: from x's tile.
INLINE void tile_of(csimd_panel_part part, csimd_q8_rows x, const int planes, const int panels,
                    const int tokens, const bool tiled, csimd_output out) {
    const lifted_block* w[PANELS];
    for (int p = 0; p < panels; p++) {
        const char* panel = (const char*)part.panel + (size_t)p * part.stride;
        w[p] = (const lifted_block*)panel;
    }
    csimd_ask_for_output(out, tokens, panels * CSIMD_PANEL);
    __m512 total[TILE][PANELS];
    for (int t = 0; t < tokens; t++) {
        for (int p = 0; p < panels; p++) {
            const float* y = out.y + (size_t)t * out.stride + p * CSIMD_PANEL;
            total[t][p] = part.first == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(y);
        }
    }
    const char* from = x.tiles;
    for (size_t b = 0; b < part.count; b++) {
        const __m512i* steps[PANELS];
        const float* lifts[PANELS];
        __m512 scales[PANELS];
        for (int p = 0; p < panels; p++) {
            steps[p] = (const __m512i*)w[p][b].rows.steps;
            scales[p] = _mm512_load_ps(w[p][b].rows.scales);
            lifts[p] = w[p][b].lifts;
        }
        csimd_block_input block = csimd_block_of_rows(x, planes, b);
        if (tiled) {
            const size_t bytes = csimd_tile_layout_of((size_t)tokens, planes).bytes;
            block = csimd_block_of_tile(from, planes, (size_t)tokens);
            csimd_ask_for_tiles(from, bytes);
            from += bytes;
        }
        add_block(planes, panels, tokens, false, steps, scales, lifts, block, total);
    }
    for (int t = 0; t < tokens; t++) {
        for (int p = 0; p < panels; p++) {
            _mm512_storeu_ps(out.y + (size_t)t * out.stride + p * CSIMD_PANEL, total[t][p]);
        }
    }
}

INLINE void tile(csimd_panel_part part, csimd_q8_rows x, const int planes, const int tokens,
                 csimd_output out) {
    const bool both = part.panels == PANELS;
    if (tokens == TILE && x.tiles) {
        if (both) {
            tile_of(part, x, planes, PANELS, tokens, true, out);
        } else {
            tile_of(part, x, planes, 1, tokens, true, out);
        }
    } else if (both) {
        tile_of(part, x, planes, PANELS, tokens, false, out);
    } else {
        tile_of(part, x, planes, 1, tokens, false, out);
    }
}

#define PANEL_PRODUCT csimd_avx512_panel_product
#define LEVEL_PRODUCT level_panel_product
#include "panel_product.inc"

enum { TILE_ROWS = PANELS * CSIMD_PANEL, TILES_AT_ONCE = 2 };

/// The same of rows straight from the file's blocks, for one tile of int8: weights pass from the
/// registers that they are unpacked in.
INLINE void add_file_block(csimd_type type, const int tokens, const sixteen_rows panels[PANELS],
                           const __m512 scales[PANELS], const float* const lifts[PANELS],
                           const csimd_block_input x, __m512 (*total)[PANELS]) {
    __m512i acc[TILE][PANELS], words[PANELS][4];
    begin_sums(1, 0, PANELS, tokens, type == CSIMD_Q4_0, &x, acc);
#pragma clang loop unroll(full)
    for (size_t half = 0; half < 2; half++) {
        for (int p = 0; p < PANELS && (half == 0 || type == CSIMD_Q8_0); p++) {
            load_half_words(type, &panels[p], 0, half, words[p]);
        }
#pragma clang loop unroll(full)
        for (size_t i = 0; i < 4; i++) {
            __m512i four[PANELS];
            for (int p = 0; p < PANELS; p++) {
                four[p] = unpack_word(type, words[p][i], half);
            }
            add_step(0, PANELS, tokens, half * 4 + i, four, &x, acc);
        }
    }
    scale_block(1, PANELS, tokens, scales, lifts, &x, acc, total);
}

INLINE void few_tile(csimd_type type, const int planes, const bool once, const csimd_weight_rows w,
                     const char* rows, const char* x, const int tokens, csimd_output out) {
    const int tiles = tokens > CSIMD_TILE ? TILES_AT_ONCE : 1, each = tokens / tiles;
    const size_t tile_bytes = csimd_tile_layout_of((size_t)each, planes).bytes;
    const size_t block_bytes = csimd_block_bytes(type);
    __m512 lanes[GROUP][TILES_AT_ONCE * CSIMD_TILE][PANELS];
    for (int lane = 0; lane < GROUP; lane++) {
        memset(lanes[lane], 0, (size_t)tokens * sizeof lanes[lane][0]);
    }
    sixteen_rows panels[PANELS];
    for (size_t p = 0; p < PANELS; p++) {
        panels[p] = (sixteen_rows){rows + p * CSIMD_PANEL * w.row_bytes, w.row_bytes};
    }
    for (size_t b = 0; b < w.blocks; b++) {
        prefetch_tile(rows + TILE_ROWS * (w.row_bytes + b * block_bytes), TILE_ROWS * block_bytes,
                      once);
        __m512 scales[PANELS], lifted[PANELS];
        for (int p = 0; p < PANELS; p++) {
            scales[p] = load_row_scales(&panels[p], 0);
            lifted[p] = lifts_of(scales[p]);
        }
        __asm__ volatile("" : "+m"(scales), "+m"(lifted));
        const float* const lifts[PANELS] = {(const float*)&lifted[0], (const float*)&lifted[1]};
        if (tiles == 1 && planes == 1) {
            const char* from = x + b * tile_bytes;
            add_file_block(type, tokens, panels, scales, lifts,
                           csimd_block_of_tile(from, 1, (size_t)tokens), lanes[b % GROUP]);
        } else {
            __m512i steps[PANELS][CSIMD_STEPS];
            for (int p = 0; p < PANELS; p++) {
                unpack_rows(type, &panels[p], 0, steps[p]);
            }
            // Into memory with it: the sums need the registers.
            __asm__ volatile("" : "+m"(steps));
            const __m512i* const all[PANELS] = {steps[0], steps[1]};
            for (int tile = 0; tile < tiles; tile++) {
                const char* from = x + ((size_t)tile * w.blocks + b) * tile_bytes;
                add_block(planes, PANELS, each, type == CSIMD_Q4_0, all, scales, lifts,
                          csimd_block_of_tile(from, planes, (size_t)each),
                          lanes[b % GROUP] + tile * each);
            }
        }
        for (int p = 0; p < PANELS; p++) {
            panels[p].data += block_bytes;
        }
    }
    for (int t = 0; t < tokens; t++) {
        for (int p = 0; p < PANELS; p++) {
            __m512 four[4];
            for (int i = 0; i < 4; i++) {
                four[i] = _mm512_add_ps(lanes[i][t][p], lanes[i + 4][t][p]);
            }
            _mm512_storeu_ps(
                out.y + (size_t)t * out.stride + p * CSIMD_PANEL,
                _mm512_add_ps(_mm512_add_ps(four[0], four[2]), _mm512_add_ps(four[1], four[3])));
        }
    }
}

enum { ROW_STREAMS = 4 }; // Intel reads a sixth more from two, and some more from four
#define ASKS_ONCE csimd_asks_once()
#define ROW_PRODUCT csimd_avx512_row_product
#define ROW_READING csimd_avx512_row_reading
#define NIBBLE_ROWS "avx512_nibble_rows.inc"
#define LAY_OUT_LEVELS(type, x, to) lay_out_k(type, x, to)
#include "x86_rows_int8.inc"

#pragma clang attribute pop
#endif
