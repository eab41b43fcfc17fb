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

/// One of turned_values, nibbles' `half`, as wide_weights.
INLINE __m512i unpack_word(csimd_type type, __m512i word, size_t half) {
    if (type != CSIMD_Q8_0) {
        word = half ? _mm512_srli_epi16(word, 4) : word;
        word = _mm512_and_si512(word, _mm512_set1_epi8(15));
    }
    return wide_weights(type, word);
}

#include "avx512_turned.inc"

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

/// A block, the `second` of its pair or the first, that begins in word `start` of the ring.
INLINE void pack_block(csimd_type type, const bool second, const __m512i ring[RING], size_t start,
                       const char** next, lifted_block* out) {
    const bool nibbles = type != CSIMD_Q8_0;
    const size_t words = nibbles ? CSIMD_STEPS / 2 : CSIMD_STEPS;
    __m512i before = ring[start % RING];
    const __m512 scales = turned_scales(second, before);
#pragma clang loop unroll(full)
    for (size_t i = 0; i < words; i++) {
        const __m512i word = ring[(start + 1 + i) % RING];
        const __m512i values = turned_values(second, before, word);
        before = word;
        ask_on(next, i % 2, true);
        for (size_t half = 0; half < (nibbles ? 2 : 1); half++) {
            const __m512i bytes = unpack_word(type, values, half);
            // All types with the same offset: a nibble is too large by 8.
            const __m512i off = _mm512_set1_epi8(128 - 8);
            _mm512_store_si512(out->rows.steps[half * words + i],
                               type == CSIMD_Q4_0 ? _mm512_add_epi8(bytes, off) : bytes);
        }
    }
    _mm512_store_ps(out->rows.scales, scales);
    _mm512_store_ps(out->lifts, lifts_of(scales));
}

/// The next panel's rows are asked for meanwhile: of the sixteen lines of a turn nine here, the
/// others in between, for many at once would be dropped. The first panel of a task has its own rows
/// for that, a few lines ahead.
INLINE void pack_as(csimd_type type, const int count, const csimd_weight_rows w,
                    lifted_block* out) {
    enum { LINES = 9, AHEAD = 4 * TURNED_BYTES };
    const size_t block_bytes = csimd_block_bytes(type), bytes = w.blocks * block_bytes;
    const char* next = w.data + CSIMD_PANEL * w.row_bytes;
    __m512i ring[RING];
    size_t done = 0; // bytes of each row
    for (size_t pair = 0; pair < w.blocks; pair += PAIR) {
        for (; done < min_size(bytes, (pair + 2 * PAIR) * block_bytes); done += TURNED_BYTES) {
            const turning rows = {w.data + done, w.row_bytes, bytes - done, count};
            turn_rows(rows, &next, LINES, AHEAD, true, ring + done / 4 % RING);
        }
        pack_block(type, false, ring, turned_start(type, pair, false), &next, out++);
        if (pair + 1 < w.blocks) {
            pack_block(type, true, ring, turned_start(type, pair, true), &next, out++);
        }
    }
}

/// The same of sixteen rows, or fewer.
INLINE void pack_rows(csimd_type type, const csimd_weight_rows w, lifted_block* out) {
    if (w.count == CSIMD_PANEL) {
        pack_as(type, CSIMD_PANEL, w, out);
    } else {
        pack_as(type, (int)w.count, w, out);
    }
}

void csimd_avx512_pack_panel(const csimd_weight_rows* w, void* panel) {
    if (csimd_has_levels(w->type)) {
        pack_levels(w, panel);
    } else if (w->type == CSIMD_Q4_0) {
        pack_rows(CSIMD_Q4_0, *w, panel);
    } else if (w->type == CSIMD_IQ4_NL) {
        pack_rows(CSIMD_IQ4_NL, *w, panel);
    } else {
        pack_rows(CSIMD_Q8_0, *w, panel);
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
INLINE void add_block(const int planes, const int panels, const int tokens,
                      const __m512i* const steps[PANELS], const __m512 scales[PANELS],
                      const float* const lifts[PANELS], const csimd_block_input x,
                      __m512 (*total)[PANELS]) {
    __m512i acc[TILE][PANELS];
    for (int plane = 0; plane < planes; plane++) {
        begin_sums(planes, plane, panels, tokens, false, &x, acc);
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
        add_block(planes, panels, tokens, steps, scales, lifts, block, total);
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

#include "avx512_few.inc"

enum { ROW_STREAMS = 4 }; // Intel reads a sixth more from two, and some more from four
#define ASKS_ONCE csimd_asks_once()
#define ROW_PRODUCT csimd_avx512_row_product
#define ROW_READING csimd_avx512_row_reading
#define WIDE_ROWS "avx512_byte_rows.inc"
#define LAY_OUT_LEVELS(type, x, to) lay_out_k(type, x, to)
#include "x86_rows_int8.inc"

#pragma clang attribute pop
#endif
