// Attention without a score matrix: keys pass in tiles, every query keeps a running maximum, sum
// and output. A query's result is a function of the query and the keys alone: tiles stand at fixed
// positions, and each number in a tile has its own chain of operations. So neither the threads nor
// the split of a prefill into calls shows in a result.
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum {
    // Keys of a tile. At head_dim 128 its packed keys and values take 128 KB, which with the
    // queries fits a second-level cache of 1 MB (tuned on Zen 4).
    KEY_TILE = 128,
    // Queries whose scores against a tile are held at a time: 24 KB. A multiple of the register
    // blocks of gemm_f32 (6 and 12 rows).
    QUERY_BLOCK = 48,
    // The same where a tile is seen in part. One register block of AVX-512, two of AVX2.
    DIAGONAL_ROWS = 12,
    // Query rows (heads of a group x positions) of a task: they share the packing of each tile. At
    // head_dim 128 they take 650 KB, which fits that cache too.
    TASK_ROWS = 640,
    // Keys of a task when decoding; fixed, so that the threads do not show in the sum.
    DECODE_KEYS = 512,
    // Positions that are taken at a time when decoding, and most key heads of a task: 16 KB of keys
    // at head_dim 128, which leave room in the first-level cache for those that come next.
    DECODE_ROWS = 4,
    DECODE_HEADS = 16,
    // Rows between a prefetch and the use of what it brought in a prefill.
    AHEAD = 12,
};

static size_t element_bytes(csimd_type type) {
    return type == CSIMD_F32 ? 4 : 2;
}

static const char* kv_row(const csimd_kv* kv, size_t sequence, size_t position, size_t head) {
    size_t at =
        sequence * kv->sequence_stride + position * kv->position_stride + head * kv->head_stride;
    return (const char*)kv->data + at * element_bytes(kv->type);
}

/// Asks for a row that comes soon: rows of one head may lie pages apart, out of the hardware
/// prefetcher's reach.
static inline void prefetch_row(const csimd_kv* kv, size_t sequence, size_t position, size_t head,
                                size_t head_dim) {
    csimd_ask_for(kv_row(kv, sequence, position, head), head_dim * element_bytes(kv->type));
}

/// 64-byte aligned room for `floats`, or NULL.
static float* allocate(size_t floats) {
    size_t bytes;
    if (__builtin_mul_overflow(floats, sizeof(float), &bytes) || bytes > SIZE_MAX - 64) {
        return NULL;
    }
    return aligned_alloc(64, round_up(bytes, 64));
}

// --- prefill -----------------------------------------------------------------------------------

typedef struct prefill {
    const csimd_kernels* kernels;
    csimd_attention_args a;
    size_t padded;      // head_dim, rounded up to 16
    size_t group;       // query heads that share a key head
    bool pairs;         // products of pairs of bf16: a word of 32 bits holds two numbers
    size_t task_tokens; // positions of a task
    size_t task_blocks; // tasks that one (sequence, key head) is cut into
    _Atomic bool failed;
} prefill;

/// Scratch of one task. Row r of q, sum, max belongs to head r / tokens of the group and position
/// r % tokens of the task.
typedef struct tile {
    float* q;      // [group * tokens, padded], scaled
    float* out;    // [group * tokens, padded], not yet divided by sum
    float* max;    // [group * tokens]
    float* sum;    // [group * tokens]
    float* keys;   // [KEY_TILE / 16, padded, 16]: panels of gemm_f32
    float* values; // [padded / 16, KEY_TILE, 16]
    float* scores; // [QUERY_BLOCK, KEY_TILE]
    // Of pairs: q, keys and values hold pairs in half as many words (of channels, channels and
    // keys), and so do the scores' e^x:
    float* weights; // [QUERY_BLOCK, KEY_TILE / 2]
} tile;

/// Words that n numbers take as factors of a product.
static size_t words(const prefill* p, size_t n) {
    return p->pairs ? n / 2 : n;
}

/// A row of keys or values as f32, rounded if all are, and zeros up to the padded head; zeros if
/// there is none.
static void load_row(const prefill* p, const csimd_kv* kv, size_t sequence, size_t position,
                     size_t head, bool is_there, float* to) {
    const size_t filled = is_there ? p->a.head_dim : 0;
    memset(to + filled, 0, (p->padded - filled) * sizeof(float));
    if (!is_there) {
        return;
    }
    p->kernels->to_f32(kv->type, kv_row(kv, sequence, position, head), to, p->a.head_dim);
    if (p->a.rounded && !p->pairs) {
        p->kernels->round_bf16(to, p->a.head_dim);
    }
}

/// Keys first ... first + count - 1 in panels as gemm_f32 or gemm_pairs takes them. Everything
/// behind them, up to whole tiles and the padded head, is 0.
static void pack_keys(const prefill* p, const tile* t, size_t sequence, size_t head, size_t first,
                      size_t count) {
    const size_t n = p->padded, panel = CSIMD_GEMM_PANEL;
    float* lines = t->scores; // [panel, padded], free until the tile is taken
    for (size_t j = 0; j < KEY_TILE; j += panel) {
        for (size_t r = 0; r < panel; r++) {
            float* to = lines + r * n;
            const size_t key = j + r;
            if (key + AHEAD < count) {
                prefetch_row(&p->a.k, sequence, first + key + AHEAD, head, p->a.head_dim);
            }
            load_row(p, &p->a.k, sequence, first + key, head, key < count, to);
            if (p->pairs) {
                p->kernels->pair_columns(to, n, (uint32_t*)to);
            }
        }
        p->kernels->turn_floats(lines, n, words(p, n), t->keys + j * words(p, n));
    }
}

/// The same of values, whose rows are already as the panels' are.
static void pack_values(const prefill* p, const tile* t, size_t sequence, size_t head, size_t first,
                        size_t count) {
    const size_t n = p->padded, panel = CSIMD_GEMM_PANEL;
    float* lines = t->scores; // two rows
    const size_t together = p->pairs ? 2 : 1;
    for (size_t j = 0; j < count; j += together) {
        for (size_t r = 0; r < together; r++) {
            if (j + r + AHEAD < count) {
                prefetch_row(&p->a.v, sequence, first + j + r + AHEAD, head, p->a.head_dim);
            }
            load_row(p, &p->a.v, sequence, first + j + r, head, j + r < count, lines + r * n);
        }
        if (p->pairs) {
            p->kernels->pair_rows(lines, lines + n, n, (uint32_t*)lines);
        }
        for (size_t i = 0; i < n; i += panel) {
            memcpy(t->values + i * words(p, KEY_TILE) + j / together * panel, lines + i,
                   panel * sizeof(float));
        }
    }
}

/// The scores of rows, `seen` of each computed, to e^x; what masked ones would weigh is 0. A step
/// of all rows after the other: rows do not wait for each other, but a row's steps do.
static void weigh(const prefill* p, const tile* t, size_t row, size_t rows, const size_t* visible,
                  size_t seen) {
    float shift[QUERY_BLOCK];
    for (size_t r = 0; r < rows; r++) {
        float highest = p->kernels->max(t->scores + r * KEY_TILE, visible[r]);
        shift[r] = highest > t->max[row + r] ? highest : t->max[row + r];
    }
    for (size_t r = 0; r < rows; r++) {
        float *max = t->max + row + r, *sum = t->sum + row + r;
        if (shift[r] != *max) {
            float shrink = expf(*max - shift[r]); // 0 at the first tile
            *sum *= shrink;
            p->kernels->scale(t->out + (row + r) * p->padded, shrink, p->padded);
            *max = shift[r];
        }
    }
    for (size_t r = 0; r < rows; r++) {
        // No finite score yet: e^-inf is 0 for any finite shift.
        float by = shift[r] == -INFINITY ? 0.0f : shift[r];
        t->sum[row + r] += p->kernels->exp_sum(t->scores + r * KEY_TILE, by, visible[r]);
    }
    for (size_t r = 0; r < rows; r++) {
        float* scores = t->scores + r * KEY_TILE;
        memset(scores + visible[r], 0, (seen - visible[r]) * sizeof(float));
        if (p->pairs) {
            p->kernels->pair_columns(scores, seen,
                                     (uint32_t*)(t->weights + r * words(p, KEY_TILE)));
        } else if (p->a.rounded) {
            p->kernels->round_bf16(scores, visible[r]);
        }
    }
}

/// Takes one packed tile (keys first ... first + count - 1) into rows row ... row + rows - 1, which
/// are one head's consecutive positions, the first of them `position`.
static void take_tile(const prefill* p, const tile* t, size_t row, size_t rows, size_t position,
                      size_t first, size_t count) {
    const size_t n = p->padded, line = words(p, n);
    // The last row sees the most keys; columns behind them are not computed.
    size_t seen = p->a.causal ? min_size(count, position + rows - first) : count;
    seen = p->pairs ? round_up(seen, 2) : seen;
    void (*const gemm)(const csimd_gemm*) =
        p->pairs ? p->kernels->gemm_pairs : p->kernels->gemm_f32;
    gemm(&(csimd_gemm){.a = t->q + row * line,
                       .a_stride = line,
                       .b = t->keys,
                       .b_stride = line * CSIMD_GEMM_PANEL,
                       .c = t->scores,
                       .c_stride = KEY_TILE,
                       .m = rows,
                       .n = round_up(seen, 16),
                       .k = words(p, round_up(p->a.head_dim, 2))});
    size_t visible[QUERY_BLOCK];
    for (size_t r = 0; r < rows; r++) {
        visible[r] = p->a.causal ? min_size(count, position + r + 1 - first) : count;
    }
    weigh(p, t, row, rows, visible, seen);
    const size_t line_of_keys = words(p, KEY_TILE);
    gemm(&(csimd_gemm){.a = p->pairs ? t->weights : t->scores,
                       .a_stride = line_of_keys,
                       .b = t->values,
                       .b_stride = line_of_keys * CSIMD_GEMM_PANEL,
                       .c = t->out + row * n,
                       .c_stride = n,
                       .m = rows,
                       .n = n,
                       .k = words(p, seen),
                       .accumulate = true});
}

/// The scaled queries of a task, as the products take them.
static void pack_queries(const prefill* p, const tile* t, size_t sequence, size_t kv_head,
                         size_t token0, size_t tokens) {
    const size_t n = p->padded;
    float* line = t->scores; // free until a tile is taken
    memset(line, 0, n * sizeof(float));
    for (size_t r = 0; r < p->group * tokens; r++) {
        size_t head = kv_head * p->group + r / tokens, token = token0 + r % tokens;
        memcpy(line,
               p->a.q + (sequence * p->a.tokens + token) * p->a.q_stride + head * p->a.head_dim,
               p->a.head_dim * sizeof(float));
        p->kernels->scale(line, p->a.scale, p->a.head_dim);
        float* to = t->q + r * words(p, n);
        if (p->pairs) {
            p->kernels->pair_columns(line, n, (uint32_t*)to);
            continue;
        }
        if (p->a.rounded) {
            p->kernels->round_bf16(line, p->a.head_dim);
        }
        memcpy(to, line, n * sizeof(float));
    }
}

/// One query block of one (sequence, key head) against all keys it may see.
static void prefill_rows(const prefill* p, const tile* t, size_t sequence, size_t kv_head,
                         size_t token0, size_t tokens) {
    const size_t n = p->padded, rows = p->group * tokens;
    pack_queries(p, t, sequence, kv_head, token0, tokens);
    for (size_t r = 0; r < rows; r++) {
        t->max[r] = -INFINITY;
        t->sum[r] = 0;
    }
    memset(t->out, 0, rows * n * sizeof(float));

    const size_t position0 = p->a.first_position + token0;
    const size_t keys = p->a.causal ? min_size(p->a.keys, position0 + tokens) : p->a.keys;
    for (size_t first = 0; first < keys; first += KEY_TILE) {
        size_t count = min_size(keys - first, KEY_TILE);
        // Positions before the tile see none of it: leave them out, so that they are not touched.
        size_t skip = p->a.causal && first > position0 ? first - position0 : 0;
        pack_keys(p, t, sequence, kv_head, first, count);
        pack_values(p, t, sequence, kv_head, first, count);
        for (size_t head = 0; head < p->group; head++) {
            for (size_t b = skip, rows; b < tokens; b += rows) {
                // Few rows at a time where the diagonal passes: all compute what the last one sees.
                bool cut = p->a.causal && position0 + b < first + count;
                rows = min_size(tokens - b, cut ? DIAGONAL_ROWS : QUERY_BLOCK);
                take_tile(p, t, head * tokens + b, rows, position0 + b, first, count);
            }
        }
    }

    for (size_t r = 0; r < rows; r++) {
        size_t head = kv_head * p->group + r / tokens, token = token0 + r % tokens;
        float* to =
            p->a.out + (sequence * p->a.tokens + token) * p->a.out_stride + head * p->a.head_dim;
        const float *from = t->out + r * n, sum = t->sum[r];
        for (size_t i = 0; i < p->a.head_dim; i++) {
            // + 0: a -0 that a masked key's 0 x value may or may not have met becomes +0.
            to[i] = sum == 0 ? 0.0f : from[i] / sum + 0.0f;
        }
    }
}

static void prefill_task(void* context, int64_t index) {
    prefill* p = context;
    // Late blocks see more keys: they come first, so that no thread ends with a long one.
    const size_t pairs = (size_t)index % p->task_blocks;
    const size_t block = p->task_blocks - 1 - pairs, pair = (size_t)index / p->task_blocks;
    const size_t token0 = block * p->task_tokens;
    const size_t tokens = min_size(p->a.tokens - token0, p->task_tokens);
    const size_t rows = p->group * tokens, n = p->padded;
    const size_t lines = round_up(rows, 16);
    // Scores also hold the unpacked rows of a panel.
    const size_t unpacked = CSIMD_GEMM_PANEL * n;
    const size_t scores = QUERY_BLOCK * KEY_TILE > unpacked ? QUERY_BLOCK * KEY_TILE : unpacked;
    const size_t factors = words(p, n), weights = p->pairs ? QUERY_BLOCK * KEY_TILE / 2 : 0;
    float* memory =
        allocate(rows * factors + rows * n + 2 * lines + 2 * KEY_TILE * factors + scores + weights);
    if (!memory) {
        atomic_store(&p->failed, true);
        return;
    }
    tile t;
    t.keys = memory; // rows of keys and values are 64-byte aligned
    t.values = t.keys + KEY_TILE * factors;
    t.out = t.values + KEY_TILE * factors;
    t.scores = t.out + rows * n;
    t.weights = t.scores + scores;
    t.max = t.weights + weights;
    t.sum = t.max + lines;
    t.q = t.sum + lines;
    prefill_rows(p, &t, pair / p->a.kv_heads, pair % p->a.kv_heads, token0, tokens);
    free(memory);
}

bool csimd_attention(const csimd_attention_args* args) {
    if (args->sequences == 0 || args->tokens == 0 || args->heads == 0) {
        return true;
    }
    prefill p = {.kernels = csimd_active(),
                 .a = *args,
                 .padded = round_up(args->head_dim, 16),
                 .group = args->heads / args->kv_heads};
    p.pairs = args->rounded && p.kernels->gemm_pairs;
    // Tasks of about one size: a small last one would pack all keys for a few queries. An eighth
    // more than TASK_ROWS is better than another packing.
    const size_t most = TASK_ROWS / p.group, spare = most / 8;
    const size_t tasks = most == 0 || args->tokens <= spare ? 1 : units(args->tokens - spare, most);
    p.task_tokens = most == 0 ? QUERY_BLOCK : round_up(units(args->tokens, tasks), QUERY_BLOCK);
    p.task_blocks = units(args->tokens, p.task_tokens);
    csimd_parallel(prefill_task, &p, (int64_t)(args->sequences * args->kv_heads * p.task_blocks));
    return !atomic_load(&p.failed);
}

// --- decode ------------------------------------------------------------------------------------

typedef struct decode {
    const csimd_kernels* kernels;
    csimd_decode_args a;
    const csimd_sequence* sequences;
    float* parts;  // [sequences, splits, heads, part_floats]: output, max, sum of some keys
    size_t splits; // what the most keys of a sequence are cut into
    size_t wide;   // key heads of a task
    _Atomic bool failed;
} decode;

/// Outputs stay 64-byte aligned: they are read and written once per key.
static size_t part_floats(const decode* d) {
    return round_up(d->a.head_dim + 2, 16);
}

/// What a task of decoding works on: DECODE_KEYS keys of one sequence, and the query heads [heads]
/// of d->wide key heads.
typedef struct decode_part {
    const decode* d;
    size_t first, count; // keys
    size_t kv_head0, heads, group;
    const float* q; // [heads, head_dim]
    float* scores;  // [heads, DECODE_KEYS]
    float* sums;    // [heads, part_floats]
} decode_part;

/// Rows j ... j + rows - 1 of a part's keys or values, row_bytes apart, for one head of it.
typedef void decode_take(const decode_part* part, csimd_type type, const char* from,
                         size_t row_bytes, size_t head, size_t j, size_t rows);

static void take_keys(const decode_part* part, csimd_type type, const char* keys, size_t row_bytes,
                      size_t head, size_t j, size_t rows) {
    const csimd_kernels* kernels = part->d->kernels;
    const size_t n = part->d->a.head_dim;
    float* scores = part->scores + head * DECODE_KEYS + j;
    kernels->dots(type, keys, row_bytes, rows, part->q + head * n, n, scores);
    kernels->scale(scores, part->d->a.scale, rows);
}

static void take_values(const decode_part* part, csimd_type type, const char* values,
                        size_t row_bytes, size_t head, size_t j, size_t rows) {
    part->d->kernels->add_rows(type, values, row_bytes, rows, part->scores + head * DECODE_KEYS + j,
                               part->sums + head * part_floats(part->d), part->d->a.head_dim);
}

/// Hands a part's rows to `take`, a few positions of all heads at a time: what lies side by side in
/// memory is read so.
static void take_rows(const decode_part* part, const csimd_kv* kv, decode_take* take) {
    const size_t n = part->d->a.head_dim;
    const size_t row_bytes = kv->position_stride * element_bytes(kv->type);
    for (size_t j = 0, rows; j < part->count; j += rows) {
        rows = min_size(part->count - j, DECODE_ROWS);
        const size_t next = min_size(part->count - j - rows, DECODE_ROWS);
        for (size_t head = 0; head < part->heads; head++) {
            const size_t kv_head = part->kv_head0 + head / part->group;
            for (size_t r = 0; head % part->group == 0 && r < next; r++) {
                prefetch_row(kv, 0, part->first + j + rows + r, kv_head, n);
            }
            take(part, kv->type, kv_row(kv, 0, part->first + j, kv_head), row_bytes, head, j, rows);
        }
    }
}

static void decode_task(void* context, int64_t index) {
    decode* d = context;
    const size_t bands = units(d->a.kv_heads, d->wide);
    const size_t band = (size_t)index % bands, pair = (size_t)index / bands;
    const size_t split = pair % d->splits, sequence = pair / d->splits;
    const csimd_sequence* seen = &d->sequences[sequence];
    const size_t first = split * DECODE_KEYS, n = d->a.head_dim;
    if (first >= seen->keys) {
        return;
    }
    const size_t group = d->a.heads / d->a.kv_heads, kv_head0 = band * d->wide;
    const size_t head0 = kv_head0 * group;
    decode_part part = {.d = d,
                        .first = first,
                        .count = min_size(seen->keys - first, DECODE_KEYS),
                        .kv_head0 = kv_head0,
                        .heads = min_size(d->a.kv_heads - kv_head0, d->wide) * group,
                        .group = group,
                        .q = d->a.q + sequence * d->a.q_stride + head0 * n};
    part.scores = allocate(part.heads * DECODE_KEYS);
    part.sums = d->parts + ((sequence * d->splits + split) * d->a.heads + head0) * part_floats(d);
    if (!part.scores) {
        atomic_store(&d->failed, true);
        return;
    }
    take_rows(&part, &seen->k, take_keys);
    for (size_t h = 0; h < part.heads; h++) {
        float *scores = part.scores + h * DECODE_KEYS, *sums = part.sums + h * part_floats(d);
        float max = d->kernels->max(scores, part.count);
        memset(sums, 0, n * sizeof(float));
        sums[n] = max;
        sums[n + 1] = d->kernels->exp_sum(scores, max == -INFINITY ? 0.0f : max, part.count);
    }
    take_rows(&part, &seen->v, take_values);
    free(part.scores);
}

/// Joins the splits of one head in ascending order of keys.
static void join_splits(const decode* d, size_t sequence, size_t head) {
    const size_t n = d->a.head_dim;
    const size_t splits = units(d->sequences[sequence].keys, DECODE_KEYS);
    const float* parts = d->parts + (sequence * d->splits * d->a.heads + head) * part_floats(d);
    const size_t stride = d->a.heads * part_floats(d);
    float* to = d->a.out + sequence * d->a.out_stride + head * n;
    float max = -INFINITY, sum = 0;
    for (size_t s = 0; s < splits; s++) {
        max = parts[s * stride + n] > max ? parts[s * stride + n] : max;
    }
    memset(to, 0, n * sizeof(float));
    for (size_t s = 0; s < splits; s++) {
        const float* part = parts + s * stride;
        float shrink = part[n] == max ? 1.0f : expf(part[n] - max);
        sum += part[n + 1] * shrink;
        d->kernels->add_rows(CSIMD_F32, part, 0, 1, &shrink, to, n);
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = sum == 0 ? 0.0f : to[i] / sum;
    }
}

bool csimd_attention_decode(const csimd_decode_args* args, const csimd_sequence* sequences) {
    size_t most = 0;
    for (size_t s = 0; s < args->sequences; s++) {
        most = sequences[s].keys > most ? sequences[s].keys : most;
    }
    if (args->heads == 0 || most == 0) {
        return true;
    }
    decode d = {.kernels = csimd_active(),
                .a = *args,
                .sequences = sequences,
                .splits = units(most, DECODE_KEYS)};
    d.parts = allocate(args->sequences * d.splits * args->heads * part_floats(&d));
    if (!d.parts) {
        return false;
    }
    // At least two tasks to a thread, as far as heads go.
    const size_t even = args->sequences * d.splits * args->kv_heads / (2 * (size_t)csimd_threads());
    d.wide = even < 1 ? 1 : min_size(even, DECODE_HEADS);
    csimd_parallel(decode_task, &d,
                   (int64_t)(args->sequences * d.splits * units(args->kv_heads, d.wide)));
    bool failed = atomic_load(&d.failed);
    for (size_t s = 0; !failed && s < args->sequences; s++) {
        for (size_t h = 0; h < args->heads; h++) {
            join_splits(&d, s, h);
        }
    }
    free(d.parts);
    return !failed;
}
