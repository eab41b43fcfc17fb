// Products with weights: cuts the work into tasks and walks the caches; the leaves do the sums.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum {
    // Tokens that one pass over a packed panel takes before the next panel: their rows of integers
    // stay in the second-level cache. A multiple of every leaf's tile (4, 6, 8, 12).
    TOKEN_BLOCK = 48,
    // 32-value blocks of a panel per pass at the most, after which the sums go to memory and come
    // back. They stream from the second-level cache; a chunk that stays in the first gains less
    // than that.
    PANEL_CHUNK = 352,
    // Packed panels that share one walk over the tokens, so that tokens are read from far caches
    // once for this many bytes of panel.
    PANEL_GROUP_BYTES = 384 * 1024,
    // f32 products: rows of a task, and k per pass: each pass is a chain of its own, and their
    // packed columns stay in the near caches while all tokens pass over them.
    FLOAT_ROWS = 128,
    FLOAT_K = 128,
    FLOAT_PANEL = FLOAT_K * CSIMD_GEMM_PANEL,
    FLOAT_TOKENS = 96,
    // Tokens that lie whole pages apart fall on a few sets of the caches, all of them. If they have
    // to be asked for ahead, since there are more bytes of them than a cache may have, they would
    // drive each other out: so many at a time are copied to lines that do not.
    FLOAT_LINE = FLOAT_K + 16,
    FLOAT_COPIED = 48,
    FLOAT_NEAR = 4 * 1024 * 1024,
    // Few rows are cut by tokens as well, for so many tasks of a thread, into parts of about this
    // many at the least.
    FLOAT_TASKS = 4,
    LEAST_FLOAT_TOKENS = 4 * FLOAT_TOKENS,
    // Quantized weights with fewer columns take f32 activations: such products are too small for
    // integers to save time that anyone would notice, and rounding activations costs the narrow
    // layers of small models most.
    INTEGER_COLUMNS = 1024,
    // Decoding: rows of a task, small enough to share out evenly, large enough to stream.
    LEAST_MATVEC_ROWS = 64,
    MOST_MATVEC_ROWS = 256,
    MATVEC_TASKS = 16, // of a thread, at the least
    // The same where a thread reads streams of its own from its first task to its last, and nothing
    // is lost between two: rows of each, and tasks.
    LEAST_STREAM_ROWS = 8,
    STREAM_TASKS = 64,
    // Streams keep so many bytes of a page from each other's place in it, if for that no more rows
    // of each are left over, of so many, for a task behind them.
    PAGE = 4096,
    LEAST_STAGGER = 512,
    MOST_LEFT_OVER = 3,
    LEFT_OVER_SHARE = 128,
    // Rows of floats that share the loads of a token.
    FEW_ROWS = 4,
};

_Static_assert(FLOAT_PANEL <= FLOAT_COPIED * FLOAT_LINE, "sixteen rows of weights fit as well");

/// One scratch block per thread, kept until the thread ends: a prefill would ask for it thousands
/// of times. NULL if memory is out.
static void* scratch(size_t bytes) {
    static _Thread_local void* block = NULL;
    static _Thread_local size_t size = 0;
    if (size < bytes) {
        free(block);
        size = round_up(bytes, 64);
        block = aligned_alloc(64, size);
        size = block ? size : 0;
    }
    return block;
}

typedef struct product {
    const csimd_kernels* kernels;
    const csimd_matrix* w;
    const float* bias;
    const csimd_input* input;
    csimd_output out;
    size_t row_bytes;
    size_t task_rows, task_tokens;
    // Of one token:
    const void* row_input;
    size_t side;           // streams of a thread: csimd_row_reading
    size_t streams, apart; // of all threads, and rows from one to the next
    // What it is cut into: task(this, i) for i in 0 ..< tasks.
    void (*task)(void* context, int64_t index);
    size_t tasks;
} product;

static void add_bias(const product* p, size_t row0, size_t rows) {
    if (!p->bias) {
        return;
    }
    for (size_t t = 0; t < p->input->tokens; t++) {
        p->kernels->add(csimd_output_at(p->out, t, row0).y, p->bias + row0, rows);
    }
}

/// Copies what was computed beside y, because it was wider than the rows that are left.
static void copy_tile(csimd_output to, csimd_output tile, size_t rows, size_t tokens) {
    for (size_t t = 0; t < tokens; t++) {
        memcpy(to.y + t * to.stride, tile.y + t * tile.stride, rows * sizeof(float));
    }
}

static size_t integer_columns = INTEGER_COLUMNS;

void csimd_set_integer_columns(size_t columns) {
    integer_columns = min_size(columns, INTEGER_COLUMNS);
}

bool csimd_takes_integers(const csimd_matrix* w) {
    return csimd_is_quantized(w->type) && w->cols >= integer_columns;
}

/// Columns [k0, k0 + count) of a row as f32. k0 and count are multiples of 32 where the type has
/// blocks.
static void row_to_f32(const product* p, size_t row, size_t k0, float* y, size_t count) {
    const csimd_type type = p->w->type;
    const char* from = (const char*)p->w->data + row * p->row_bytes;
    if (csimd_is_quantized(type) && csimd_block_elements(type) == CSIMD_SUPER_BLOCK) {
        // A part of a block cannot be had alone.
        for (size_t done = 0; done < count;) {
            float block[CSIMD_SUPER_BLOCK];
            const size_t k = k0 + done, at = k % CSIMD_SUPER_BLOCK;
            const size_t some = min_size(count - done, CSIMD_SUPER_BLOCK - at);
            p->kernels->to_f32(type, from + csimd_row_bytes(type, k - at), block,
                               CSIMD_SUPER_BLOCK);
            memcpy(y + done, block + at, some * sizeof(float));
            done += some;
        }
        return;
    }
    p->kernels->to_f32(type, from + csimd_row_bytes(type, k0), y, count);
}

/// Rows of a quantized weight as a leaf takes them.
static csimd_weight_rows weight_rows(const product* p, size_t row0, size_t rows) {
    return (csimd_weight_rows){
        .type = p->w->type,
        .data = (const char*)p->w->data + row0 * p->row_bytes,
        .row_bytes = p->row_bytes,
        .blocks = p->w->cols / CSIMD_BLOCK,
        .count = rows,
    };
}

/// `rows` rows from row0 on, of the given type and row_bytes apart, times every token in f32.
static void dot_rows(const product* p, csimd_type type, const char* w, size_t row_bytes,
                     size_t row0, size_t rows) {
    for (size_t r = 0; r < rows; r += FEW_ROWS) {
        for (size_t t = 0; t < p->input->tokens; t++) {
            const float* x = p->input->x + t * p->input->stride;
            p->kernels->dots(type, w + r * row_bytes, row_bytes, min_size(rows - r, FEW_ROWS), x,
                             p->w->cols, csimd_output_at(p->out, t, row0 + r).y);
        }
    }
}

/// The activations as row_product takes them.
static csimd_q8_rows activation_rows(const product* p) {
    csimd_q8_rows x = csimd_quantized_rows(p->input);
    x.row_input = p->row_input;
    return x;
}

/// Rows straight from the file, without scratch memory: decoding, and what is left to a prefill
/// that cannot have any.
static void direct_rows(const product* p, size_t row0, size_t rows) {
    if (csimd_takes_integers(p->w)) {
        const csimd_weight_rows w = weight_rows(p, row0, rows);
        const csimd_q8_rows x = activation_rows(p);
        p->kernels->row_product(&w, &x, csimd_output_at(p->out, 0, row0));
    } else if (csimd_is_quantized(p->w->type)) {
        float row[INTEGER_COLUMNS];
        for (size_t r = row0; r < row0 + rows; r++) {
            row_to_f32(p, r, 0, row, p->w->cols);
            dot_rows(p, CSIMD_F32, (const char*)row, 0, r, 1);
        }
    } else {
        dot_rows(p, p->w->type, (const char*)p->w->data + row0 * p->row_bytes, p->row_bytes, row0,
                 rows);
    }
    add_bias(p, row0, rows);
}

/// Blocks of a chunk of a panel: the whole panel, or about even parts of it, of whole super-blocks.
static size_t chunk_blocks(const product* p) {
    const size_t blocks = p->w->cols / CSIMD_BLOCK;
    return round_up(units(blocks, units(blocks, PANEL_CHUNK)), CSIMD_SUPER_BLOCK / CSIMD_BLOCK);
}

/// Bytes of a packed chunk of a panel.
static size_t chunk_bytes(const product* p) {
    return p->kernels->panel_bytes(p->w->type, min_size(p->w->cols, chunk_blocks(p) * CSIMD_BLOCK));
}

static void int8_task(void* context, int64_t index) {
    const product* p = context;
    const csimd_kernels* kernels = p->kernels;
    const size_t tokens = p->input->tokens, blocks = p->w->cols / CSIMD_BLOCK;
    const size_t row0 = (size_t)index * p->task_rows;
    const size_t rows = min_size(p->w->rows - row0, p->task_rows);
    const size_t count = units(rows, CSIMD_PANEL), whole = rows / CSIMD_PANEL;
    const size_t panel_bytes = round_up(chunk_bytes(p), 64);
    const csimd_q8_rows x = csimd_quantized_rows(p->input);
    char* packed = scratch(count * panel_bytes + tokens * CSIMD_PANEL * sizeof(float));
    if (!packed) {
        direct_rows(p, row0, rows);
        return;
    }
    // A panel that is not whole goes alone, and beside y.
    const csimd_output beside = {(float*)(packed + count * panel_bytes), CSIMD_PANEL};
    const size_t chunk = chunk_blocks(p);
    for (size_t first = 0; first < blocks; first += chunk) {
        csimd_panel_part part = {.type = p->w->type,
                                 .first = first,
                                 .count = min_size(blocks - first, chunk),
                                 .stride = panel_bytes};
        for (size_t n = 0; n < count; n++) {
            const size_t row = n * CSIMD_PANEL;
            csimd_weight_rows w = weight_rows(p, row0 + row, min_size(rows - row, CSIMD_PANEL));
            w.data += csimd_row_bytes(w.type, first * CSIMD_BLOCK);
            w.blocks = part.count;
            kernels->pack_panel(&w, packed + n * panel_bytes);
        }
        for (size_t token = 0; token < tokens; token += TOKEN_BLOCK) {
            const csimd_q8_rows some =
                csimd_whole_tiles(&x, token, min_size(tokens - token, TOKEN_BLOCK));
            for (size_t n = 0; n < count; n += (size_t)part.panels) {
                part.panel = packed + n * panel_bytes;
                part.panels =
                    n < whole ? (int)min_size(whole - n, (size_t)kernels->panels_at_once) : 1;
                const csimd_output to = n < whole
                                            ? csimd_output_at(p->out, token, row0 + n * CSIMD_PANEL)
                                            : csimd_output_at(beside, token, 0);
                kernels->panel_product(&part, &some, to);
            }
        }
    }
    if (count > whole) {
        const size_t row = whole * CSIMD_PANEL;
        copy_tile(csimd_output_at(p->out, 0, row0 + row), beside, rows - row, tokens);
    }
    add_bias(p, row0, rows);
}

/// Asks for what a row has behind column k, as much as FLOAT_K of them, but not for the first-level
/// cache: it is wanted once all tokens are through with those before.
static void ask_for_columns(const product* p, size_t row, size_t k) {
    const size_t cols = p->w->cols, start = k * p->row_bytes / cols;
    const size_t end = min_size(k + FLOAT_K, cols) * p->row_bytes / cols;
    const char* from = (const char*)p->w->data + row * p->row_bytes;
    for (size_t at = start; at < end; at += 64) {
        __builtin_prefetch(from + at, 0, 2);
    }
}

/// Panels of sixteen rows of w each, k in [k0, k0 + k_count); missing rows are zeros. lines: room
/// for sixteen rows of FLOAT_K.
static void pack_float_panels(const product* p, size_t row0, size_t rows, size_t k0, size_t k_count,
                              float* b, float* lines) {
    for (size_t first = 0; first < rows; first += CSIMD_GEMM_PANEL, b += FLOAT_PANEL) {
        for (size_t r = 0; r < CSIMD_GEMM_PANEL; r++) {
            float* line = lines + r * FLOAT_K;
            if (first + r < rows) {
                row_to_f32(p, row0 + first + r, k0, line, k_count);
                ask_for_columns(p, row0 + first + r, k0 + k_count);
            } else {
                memset(line, 0, k_count * sizeof(float));
            }
        }
        p->kernels->turn_floats(lines, FLOAT_K, k_count, b);
    }
}

/// Columns [k, k + k_count) of activations for gemm_f32: those of some tokens from the `first` on,
/// and what is wanted after them. `lines`: room for FLOAT_COPIED of FLOAT_LINE.
static csimd_gemm float_tokens(const csimd_input* x, size_t first, size_t k, size_t k_count,
                               float* lines) {
    const float* from = x->x + first * x->stride + k;
    const bool paged = x->stride * sizeof(float) % PAGE == 0;
    const bool near = x->tokens * x->stride * sizeof(float) <= FLOAT_NEAR;
    const size_t left = x->tokens - first;
    csimd_gemm g = {.a = from,
                    .a_stride = x->stride,
                    .m = min_size(left, paged && !near ? FLOAT_COPIED : FLOAT_TOKENS),
                    .k = k_count};
    if (paged && near) {
        return g;
    }
    g.ahead = g.m < left ? from + g.m * x->stride : x->x + k + k_count;
    g.ahead_stride = x->stride;
    if (paged) {
        for (size_t t = 0; t < g.m; t++) {
            memcpy(lines + t * FLOAT_LINE, from + t * x->stride, k_count * sizeof(float));
        }
        g.a = lines;
        g.a_stride = FLOAT_LINE;
    }
    return g;
}

/// FLOAT_ROWS rows of w, from row0 on, times every token in f32.
static void float_rows(const product* p, size_t row0) {
    size_t cols = p->w->cols, tokens = p->input->tokens;
    size_t rows = min_size(p->w->rows - row0, FLOAT_ROWS);
    // A panel narrower than it is packed goes beside y: whole rounds of 16 only.
    size_t width = round_up(rows, CSIMD_GEMM_PANEL);
    bool whole = width == rows;
    float* b = scratch((FLOAT_K * FLOAT_ROWS + FLOAT_COPIED * FLOAT_LINE) * sizeof(float));
    float* beside = whole ? NULL : aligned_alloc(64, round_up(tokens * width * sizeof(float), 64));
    if (!b || (!whole && !beside)) {
        free(beside);
        direct_rows(p, row0, rows);
        return;
    }
    float* lines = b + FLOAT_K * FLOAT_ROWS; // of weights that are packed, then of tokens
    const csimd_output to = csimd_output_at(p->out, 0, row0);
    const csimd_output out = whole ? to : (csimd_output){beside, width};
    for (size_t k = 0; k < cols; k += FLOAT_K) {
        size_t k_count = min_size(cols - k, FLOAT_K);
        pack_float_panels(p, row0, rows, k, k_count, b, lines);
        for (size_t first = 0; first < tokens;) {
            csimd_gemm g = float_tokens(p->input, first, k, k_count, lines);
            g.b = b;
            g.b_stride = FLOAT_PANEL;
            g.c = csimd_output_at(out, first, 0).y;
            g.c_stride = out.stride;
            g.n = width;
            g.accumulate = k > 0;
            first += g.m;
            p->kernels->gemm_f32(&g);
        }
    }
    if (!whole) {
        copy_tile(to, out, rows, tokens);
    }
    free(beside);
    add_bias(p, row0, rows);
}

static void float_task(void* context, int64_t index) {
    const product* p = context;
    const size_t parts = units(p->input->tokens, p->task_tokens);
    const size_t first = (size_t)index % parts * p->task_tokens;
    product part = *p;
    csimd_input input = *p->input;
    input.tokens = min_size(input.tokens - first, p->task_tokens);
    input.x += first * input.stride;
    part.input = &input;
    part.out = csimd_output_at(p->out, first, 0);
    float_rows(&part, (size_t)index / parts * FLOAT_ROWS);
}

static product make_product(const csimd_product* of, const csimd_input* input) {
    return (product){.kernels = csimd_active(),
                     .w = of->w,
                     .bias = of->bias,
                     .input = input,
                     .out = {of->y, of->y_stride},
                     .row_bytes = csimd_row_bytes(of->w->type, of->w->cols)};
}

/// Products in one region.
typedef struct joined {
    const product* products;
    size_t count, threads;
} joined;

/// In the order of threads: what each begins with is its share of the first product, then that of
/// the next one, so that it reads on where it read before.
static void joined_task(void* context, int64_t index) {
    const joined* j = context;
    size_t left = (size_t)index;
    for (size_t t = 0; t < j->threads; t++) {
        for (size_t i = 0; i < j->count; i++) {
            const product* p = &j->products[i];
            const size_t first = p->tasks * t / j->threads;
            const size_t share = p->tasks * (t + 1) / j->threads - first;
            if (left < share) {
                p->task((void*)p, (int64_t)(first + left));
                return;
            }
            left -= share;
        }
    }
}

static void run_products(const product* products, size_t count) {
    const joined j = {products, count, (size_t)csimd_threads()};
    size_t tasks = 0;
    for (size_t i = 0; i < count; i++) {
        tasks += products[i].tasks;
    }
    csimd_parallel(joined_task, (void*)&j, (int64_t)tasks);
}

/// Panels of many tokens: as many to a task as the cache holds, but enough tasks to share out
/// evenly.
static void cut_many(product* p) {
    if (!csimd_takes_integers(p->w)) {
        const size_t tokens = p->input->tokens, tasks = units(p->w->rows, FLOAT_ROWS);
        const size_t wanted = units(FLOAT_TASKS * (size_t)csimd_threads(), tasks ? tasks : 1);
        const size_t parts = min_size(wanted, 1 + tokens / LEAST_FLOAT_TOKENS);
        p->task = float_task;
        p->task_tokens = round_up(1 + tokens / parts, FLOAT_TOKENS);
        p->tasks = tasks * units(tokens, p->task_tokens);
        return;
    }
    size_t panels = units(p->w->rows, CSIMD_PANEL), once = (size_t)p->kernels->panels_at_once;
    size_t group = PANEL_GROUP_BYTES / chunk_bytes(p);
    size_t even = panels / (4 * (size_t)csimd_threads());
    group = even >= 1 && group > even ? even : group;
    group = group < once ? once : group - group % once;
    p->task_rows = group * CSIMD_PANEL;
    p->task = int8_task;
    p->tasks = units(p->w->rows, p->task_rows);
}

void csimd_matmuls(const csimd_product* products, size_t count, const csimd_input* input) {
    product all[CSIMD_MOST_PRODUCTS];
    for (size_t i = 0; i < count; i++) {
        all[i] = make_product(&products[i], input);
        cut_many(&all[i]);
    }
    run_products(all, count);
}

void csimd_matmul(const csimd_matrix* w, const float* bias, const csimd_input* input, float* y,
                  size_t y_stride) {
    csimd_matmuls(&(csimd_product){w, bias, y, y_stride}, 1, input);
}

static void matvec_task(void* context, int64_t index) {
    const product* p = context;
    const size_t row0 = (size_t)index * p->task_rows;
    direct_rows(p, row0, min_size(p->w->rows - row0, p->task_rows));
}

/// A task of a thread's streams, a few rows of each; or, behind the last stream, the rows left
/// over.
static void stream_task(void* context, int64_t index) {
    const product* p = context;
    const size_t tasks = units(p->apart, p->task_rows), side = p->side;
    const size_t first = (size_t)index / tasks * side; // stream
    const size_t row = (size_t)index % tasks * p->task_rows, row0 = first * p->apart + row;
    if (first == p->streams) {
        direct_rows(p, row0, p->w->rows - row0);
        return;
    }
    const size_t rows = min_size(p->apart - row, p->task_rows);
    csimd_weight_rows w = weight_rows(p, row0, side * rows);
    w.apart = p->apart;
    const csimd_q8_rows x = activation_rows(p);
    p->kernels->row_product(&w, &x, csimd_output_at(p->out, 0, row0));
    for (size_t s = 0; s < side; s++) {
        add_bias(p, row0 + s * p->apart, rows);
    }
}

/// One token as the leaf's rows take it, in scratch memory, which no task that reads rows asks for,
/// and the streams of it. Products with one type share it.
static void lay_out_token(product* products, size_t count) {
    const csimd_row_reading* reading = products[0].kernels->row_reading;
    const csimd_input* input = products[0].input;
    if (input->tokens != 1 || !reading) {
        return;
    }
    const size_t bytes = round_up(reading->input_bytes, 64);
    char* room = scratch(count * bytes);
    for (size_t i = 0; room && i < count; i++) {
        product* p = &products[i];
        if (!csimd_takes_integers(p->w)) {
            continue;
        }
        for (size_t before = 0; before < i && !p->row_input; before++) {
            if (products[before].w->type == p->w->type) {
                p->side = products[before].side;
                p->row_input = products[before].row_input;
            }
        }
        if (!p->row_input) {
            const csimd_q8_rows x = csimd_quantized_rows(input);
            p->side = reading->lay_out(p->w->type, &x, room + i * bytes);
            p->row_input = p->side ? room + i * bytes : NULL;
        }
    }
}

/// Whether any two of `side` streams, `distance` bytes from one to the next, lie (almost) at the
/// same place of their pages: they then ask for the same sets of the first-level cache, and all
/// enter a new page, into which the hardware does not run ahead, at the same moment.
static bool in_step(size_t distance, size_t side) {
    for (size_t s = 1; s < side; s++) {
        const size_t at = s * distance % PAGE;
        if (min_size(at, PAGE - at) < LEAST_STAGGER) {
            return true;
        }
    }
    return false;
}

/// Rows of each stream: an equal share, or a little less, so that they do not go in step.
static size_t stream_rows(const product* p) {
    const size_t share = p->w->rows / p->streams;
    const size_t most = min_size(share / LEFT_OVER_SHARE, MOST_LEFT_OVER);
    for (size_t less = 0; less <= most; less++) {
        if (!in_step((share - less) * p->row_bytes, p->side)) {
            return share - less;
        }
    }
    return share;
}

/// Rows of few tokens, of one in streams where they are long enough.
static void cut_few(product* p) {
    const size_t threads = (size_t)csimd_threads(), rows = p->w->rows;
    if (p->side > 1) {
        p->streams = threads * p->side;
        p->apart = stream_rows(p);
    }
    if (p->apart >= LEAST_STREAM_ROWS) {
        const size_t even = p->apart / STREAM_TASKS;
        p->task_rows = even < LEAST_STREAM_ROWS ? LEAST_STREAM_ROWS : even;
        p->task = stream_task;
        p->tasks = threads * units(p->apart, p->task_rows) + (rows > p->streams * p->apart);
        return;
    }
    const size_t even = rows / (MATVEC_TASKS * threads);
    const size_t some = even - even % LEAST_MATVEC_ROWS;
    p->task_rows = some < LEAST_MATVEC_ROWS ? LEAST_MATVEC_ROWS : min_size(some, MOST_MATVEC_ROWS);
    p->task = matvec_task;
    p->tasks = units(rows, p->task_rows);
}

void csimd_matvecs(const csimd_product* products, size_t count, const csimd_input* input) {
    product all[CSIMD_MOST_PRODUCTS];
    for (size_t i = 0; i < count; i++) {
        all[i] = make_product(&products[i], input);
    }
    lay_out_token(all, count);
    for (size_t i = 0; i < count; i++) {
        cut_few(&all[i]);
    }
    run_products(all, count);
}

void csimd_matvec(const csimd_matrix* w, const float* bias, const csimd_input* input, float* y,
                  size_t y_stride) {
    csimd_matvecs(&(csimd_product){w, bias, y, y_stride}, 1, input);
}
