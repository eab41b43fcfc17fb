// Activations in integers: rows, their sums and, where products take them, tiles.
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#include <string.h>

#include "internal.h"
#include "turn.inc"

// Activations of a part of a tile, but for its last: as many as take longer than threads take to
// begin and end together.
enum { PART_VALUES = 1 << 16 };

/// Bytes from one token's row of a plane to the next. Rows a power of two apart would all fall on
/// the same few sets of the first-level cache: a tile's rows start 17 lines apart there instead.
static size_t q_stride(size_t cols) {
    const size_t page = 4096, offset = 17 * 64;
    return cols + (page + offset - cols % page) % page;
}

// The integer form of activations: the planes of q, then scales, both sums, totals and
// halves, each part 64-byte aligned; then, where it has them, its tiles.
static int planes_of(csimd_integers integers) {
    return integers == CSIMD_INT16 ? 2 : 1;
}

static size_t q_bytes(size_t tokens, size_t cols) {
    return round_up(tokens * q_stride(cols), 64);
}

static size_t scale_bytes(size_t tokens, size_t cols) {
    return round_up(tokens * (cols / CSIMD_BLOCK) * sizeof(float), 64);
}

static size_t tiles_bytes(size_t tokens, size_t cols, int planes) {
    return tokens > 1 && (tokens <= CSIMD_FEW || csimd_active()->tiled)
               ? cols / CSIMD_BLOCK * csimd_tile_layout_of(tokens, planes).bytes
               : 0;
}

size_t csimd_quantized_bytes(size_t tokens, size_t cols, csimd_integers integers) {
    const int planes = planes_of(integers);
    return cols % CSIMD_BLOCK ? 0
                              : (size_t)planes * q_bytes(tokens, cols) +
                                    (size_t)(4 + CSIMD_PLANES) * scale_bytes(tokens, cols) +
                                    tiles_bytes(tokens, cols, planes);
}

csimd_q8_rows csimd_quantized_rows(const csimd_input* input) {
    const char* at = input->quantized;
    csimd_q8_rows rows = {
        .planes = planes_of(input->integers),
        .tokens = input->tokens,
        .blocks = input->cols / CSIMD_BLOCK,
        .stride = q_stride(input->cols),
    };
    for (int p = 0; p < rows.planes; p++) {
        rows.plane[p].q = (const int8_t*)at;
        at += q_bytes(input->tokens, input->cols);
    }
    const size_t scales = scale_bytes(input->tokens, input->cols);
    rows.scales = (const float*)at;
    at += scales;
    for (int p = 0; p < CSIMD_PLANES; p++) {
        rows.plane[p].sums = (const int32_t*)at;
        at += scales; // as many
    }
    rows.totals = (const float*)at;
    at += scales;
    rows.halves = (const float*)at;
    at += 2 * scales;
    rows.tiles = tiles_bytes(input->tokens, input->cols, rows.planes) ? at : NULL;
    return rows;
}

/// What the tasks of a quantization need.
typedef struct quantization {
    const csimd_kernels* kernels;
    const csimd_input* input;
    csimd_q8_rows rows;
    size_t part_blocks; // of a tile that one task takes
} quantization;

/// Blocks [first, first + count) of a token.
static void quantize_blocks(const quantization* work, size_t token, size_t first, size_t count) {
    const csimd_input* input = work->input;
    csimd_q8_rows one = csimd_q8_part(&work->rows, token, 1, first);
    csimd_q8_output to = {
        .scales = (float*)one.scales, .totals = (float*)one.totals, .halves = (float*)one.halves};
    for (int p = 0; p < CSIMD_PLANES; p++) {
        to.q[p] = (int8_t*)one.plane[p].q;
        to.sums[p] = (int32_t*)one.plane[p].sums;
    }
    const float* x = input->x + token * input->stride + first * CSIMD_BLOCK;
    work->kernels->quantize_row(x, count * CSIMD_BLOCK, &to);
}

/// The sum of sixteen bytes.
static inline int32_t sum_sixteen(const int8_t* q) {
#if defined(__SSE2__)
    // Sums of eight unsigned bytes each: of q + 128.
    const __m128i bytes = _mm_xor_si128(_mm_loadu_si128((const __m128i*)q), _mm_set1_epi8(-128));
    const __m128i eights = _mm_sad_epu8(bytes, _mm_setzero_si128());
    return _mm_cvtsi128_si32(_mm_add_epi32(eights, _mm_srli_si128(eights, 8))) - 16 * 128;
#else
    int32_t sum = 0;
    for (int i = 0; i < CSIMD_BLOCK / 2; i++) {
        sum += q[i];
    }
    return sum;
#endif
}

void csimd_total_blocks(const csimd_q8_output* to, size_t first, size_t count) {
    for (size_t b = first; b < first + count; b++) {
        int32_t sums[2];
        for (size_t half = 0; half < 2; half++) {
            const size_t from = b * CSIMD_BLOCK + half * (CSIMD_BLOCK / 2);
            sums[half] = sum_sixteen(to->q[0] + from);
            if (to->q[1]) {
                sums[half] = sums[half] * (1 << CSIMD_PLANE_SHIFT) + sum_sixteen(to->q[1] + from);
            }
            to->halves[b * 2 + half] = (float)sums[half] * to->scales[b];
        }
        to->totals[b] = (float)(sums[0] + sums[1]) * to->scales[b];
    }
}

/// A number of each token for each of `count` blocks, a token's `stride` bytes from the next one's,
/// into the blocks of their tile, `bytes` apart.
static void lay_out_numbers(const void* from, size_t stride, size_t tokens, size_t count, char* to,
                            size_t bytes) {
    const char* numbers = from;
    size_t b = 0;
    for (; tokens == CSIMD_TILE && b + 4 <= count; b += 4) {
        for (size_t t = 0; t < CSIMD_TILE; t += 4) {
            turn_words_of_four(numbers + t * stride + b * 4, stride, to + b * bytes + t * 4, bytes);
        }
    }
    for (; b < count; b++) {
        for (size_t t = 0; t < tokens; t++) {
            memcpy(to + b * bytes + t * 4, numbers + t * stride + b * 4, 4);
        }
    }
}

/// The words of four q each of `count` blocks likewise.
static void lay_out_words(const int8_t* q, size_t stride, size_t tokens, size_t count, char* to,
                          size_t bytes) {
    for (size_t b = 0; b < count; b++, q += CSIMD_BLOCK, to += bytes) {
        if (tokens < CSIMD_TILE) {
            lay_out_numbers(q, stride, tokens, CSIMD_STEPS, to, tokens * 4);
            continue;
        }
        for (size_t t = 0; t < CSIMD_TILE; t += 4) {
            for (size_t word = 0; word < CSIMD_STEPS; word += 4) {
                turn_words_of_four(q + t * stride + word * 4, stride,
                                   to + (word * CSIMD_TILE + t) * 4, CSIMD_TILE * 4);
            }
        }
    }
}

void csimd_lay_out_blocks(const csimd_q8_rows* x, size_t tile, size_t first, size_t count) {
    const size_t token = tile * CSIMD_TILE, tokens = min_size(x->tokens - token, CSIMD_TILE);
    const csimd_q8_rows from = csimd_q8_part(x, token, tokens, first);
    const csimd_tile_layout at = csimd_tile_layout_of(tokens, x->planes);
    char* to = (char*)csimd_tile_at(x, token, first);
    const size_t apart = x->blocks * 4, numbers = tokens * 4;
    for (int p = 0; p < x->planes; p++) {
        lay_out_words(from.plane[p].q, x->stride, tokens, count,
                      to + (size_t)p * tokens * CSIMD_BLOCK, at.bytes);
    }
    lay_out_numbers(from.scales, apart, tokens, count, to + at.scales, at.bytes);
    lay_out_numbers(from.plane[0].sums, apart, tokens, count, to + at.sums, at.bytes);
    lay_out_numbers(from.plane[1].sums, apart, tokens, count, to + at.sums + numbers, at.bytes);
    lay_out_numbers(from.totals, apart, tokens, count, to + at.totals, at.bytes);
}

static void token_task(void* context, int64_t index) {
    const quantization* work = context;
    quantize_blocks(work, (size_t)index, 0, work->rows.blocks);
}

/// A part of a tile: its tokens' blocks, and the tile while they are in the cache.
static void tile_task(void* context, int64_t index) {
    const quantization* work = context;
    const size_t parts = units(work->rows.blocks, work->part_blocks);
    const size_t tile = (size_t)index / parts;
    const size_t first = (size_t)index % parts * work->part_blocks;
    const size_t count = min_size(work->rows.blocks - first, work->part_blocks);
    const size_t end = min_size((tile + 1) * CSIMD_TILE, work->rows.tokens);
    for (size_t token = tile * CSIMD_TILE; token < end; token++) {
        quantize_blocks(work, token, first, count);
    }
    csimd_lay_out_blocks(&work->rows, tile, first, count);
}

void csimd_quantize_activations(const csimd_input* input) {
    quantization work = {
        .kernels = csimd_active(), .input = input, .rows = csimd_quantized_rows(input)};
    if (!work.rows.tiles) {
        csimd_parallel(token_task, &work, (int64_t)input->tokens);
        return;
    }
    // Many tiles are shared out whole, a few in parts.
    const size_t tokens = min_size(input->tokens, CSIMD_TILE), blocks = work.rows.blocks;
    const size_t least = PART_VALUES / (tokens * CSIMD_BLOCK);
    work.part_blocks = input->tokens > CSIMD_FEW ? blocks : min_size(least, blocks);
    const size_t parts = units(blocks, work.part_blocks);
    csimd_parallel(tile_task, &work, (int64_t)(units(input->tokens, CSIMD_TILE) * parts));
}
