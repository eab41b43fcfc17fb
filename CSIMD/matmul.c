// Products with weights: cuts the work into tasks and walks the caches; the leaves do the sums.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum {
    // Tokens that one pass over a packed panel takes before the next panel: their int8 rows stay in
    // the second-level cache. A multiple of every leaf's tile (4, 6, 12).
    TOKEN_BLOCK = 48,
    // 32-value blocks of a panel per pass: 16 rows x 1024 values stay in the first-level cache.
    PANEL_CHUNK = 32,
    // Packed panels that share one walk over the tokens, so that tokens are read from far caches
    // once for this many bytes of panel.
    PANEL_GROUP_BYTES = 384 * 1024,
    // f32 products: rows of a packed panel, and k per pass: each pass is a chain of its own, and
    // the panel's columns stay in the first-level cache while all tokens pass over them.
    FLOAT_ROWS = 64,
    FLOAT_K = 128,
    FLOAT_TOKENS = 96,
    // Quantized weights with fewer columns take f32 activations: such products are too small for
    // int8 to save time that anyone would notice, and rounding activations costs the narrow layers
    // of small models most.
    INT8_COLUMNS = 1024,
    // Decoding: rows per task, small enough to share out evenly, large enough to stream.
    MATVEC_ROWS = 64,
};

static size_t round_up(size_t n, size_t unit) {
    return (n + unit - 1) / unit * unit;
}

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

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

/// Bytes from one token's int8 row to the next. Rows a power of two apart would all fall on the
/// same few sets of the first-level cache: a tile's rows start 17 lines apart there instead.
static size_t q_stride(size_t cols) {
    const size_t page = 4096, offset = 17 * 64;
    return cols + (page + offset - cols % page) % page;
}

// The int8 form of activations: q, then scales, then sums, each part 64-byte aligned; then, for few
// tokens, all of it once more as their tiles take it.
static size_t q_bytes(size_t tokens, size_t cols) {
    return round_up(tokens * q_stride(cols), 64);
}

static size_t scale_bytes(size_t tokens, size_t cols) {
    return round_up(tokens * (cols / CSIMD_BLOCK) * sizeof(float), 64);
}

static size_t few_bytes(size_t tokens, size_t cols) {
    return tokens > 1 && tokens <= CSIMD_FEW ? tokens * (cols / CSIMD_BLOCK) * CSIMD_FEW_BYTES : 0;
}

size_t csimd_quantized_bytes(size_t tokens, size_t cols) {
    return cols % CSIMD_BLOCK
               ? 0
               : q_bytes(tokens, cols) + 2 * scale_bytes(tokens, cols) + few_bytes(tokens, cols);
}

static csimd_q8_rows quantized_rows(const csimd_input* input) {
    const char* base = input->quantized;
    size_t q = q_bytes(input->tokens, input->cols);
    size_t scales = scale_bytes(input->tokens, input->cols);
    return (csimd_q8_rows){
        .q = (const int8_t*)base,
        .scales = (const float*)(base + q),
        .sums = (const int32_t*)(base + q + scales),
        .cols = input->cols,
        .stride = q_stride(input->cols),
        .few = few_bytes(input->tokens, input->cols) ? base + q + 2 * scales : NULL,
    };
}

static void quantize_task(void* context, int64_t token) {
    const csimd_input* input = context;
    csimd_q8_rows rows = quantized_rows(input);
    size_t t = (size_t)token, blocks = input->cols / CSIMD_BLOCK;
    csimd_active()->quantize_i8(input->x + t * input->stride, input->cols,
                                (int8_t*)rows.q + t * rows.stride, (float*)rows.scales + t * blocks,
                                (int32_t*)rows.sums + t * blocks);
}

void csimd_interleave_block(const csimd_q8_rows* x, size_t tokens, size_t block, void* few) {
    const size_t blocks = x->cols / CSIMD_BLOCK;
    for (size_t first = 0; first < tokens; first += CSIMD_FEW_TILE) {
        size_t count = min_size(tokens - first, CSIMD_FEW_TILE);
        char* to = (char*)few + (first * blocks + block * count) * CSIMD_FEW_BYTES;
        for (size_t t = 0; t < count; t++) {
            const int8_t* q = x->q + (first + t) * x->stride + block * CSIMD_BLOCK;
            for (size_t word = 0; word < CSIMD_BLOCK / 4; word++) {
                memcpy(to + (word * count + t) * 4, q + word * 4, 4);
            }
            size_t at = (first + t) * blocks + block;
            memcpy(to + CSIMD_BLOCK * count + t * 4, x->scales + at, 4);
            memcpy(to + (CSIMD_BLOCK + 4) * count + t * 4, x->sums + at, 4);
        }
    }
}

static void interleave_task(void* context, int64_t block) {
    const csimd_input* input = context;
    csimd_q8_rows rows = quantized_rows(input);
    csimd_interleave_block(&rows, input->tokens, (size_t)block, (void*)rows.few);
}

void csimd_quantize_activations(const csimd_input* input) {
    csimd_parallel(quantize_task, (void*)input, (int64_t)input->tokens);
    if (few_bytes(input->tokens, input->cols)) {
        csimd_parallel(interleave_task, (void*)input, (int64_t)(input->cols / CSIMD_BLOCK));
    }
}

typedef struct product {
    const csimd_kernels* kernels;
    const csimd_matrix* w;
    const float* bias;
    const csimd_input* input;
    float* y;
    size_t y_stride;
    size_t row_bytes;
    size_t task_rows;
} product;

static void add_bias(const product* p, size_t row0, size_t rows, size_t first, size_t tokens) {
    if (!p->bias) {
        return;
    }
    for (size_t t = first; t < first + tokens; t++) {
        p->kernels->add(p->y + t * p->y_stride + row0, p->bias + row0, rows);
    }
}

/// Copies a tile computed beside y, because it was wider than the rows that are left.
static void copy_tile(const product* p, const float* tile, size_t tile_stride, size_t row0,
                      size_t rows, size_t first, size_t tokens) {
    for (size_t t = 0; t < tokens; t++) {
        memcpy(p->y + (first + t) * p->y_stride + row0, tile + t * tile_stride,
               rows * sizeof(float));
    }
}

static bool is_quantized(csimd_type type) {
    return type == CSIMD_Q8_0 || type == CSIMD_Q4_0;
}

bool csimd_takes_int8(const csimd_matrix* w) {
    return is_quantized(w->type) && w->cols >= INT8_COLUMNS;
}

/// Columns [k0, k0 + count) of a row as f32. k0 and count are multiples of 32 where the type has
/// blocks.
static void row_to_f32(const product* p, size_t row, size_t k0, float* y, size_t count) {
    csimd_type type = p->w->type;
    const char* from = (const char*)p->w->data + row * p->row_bytes + csimd_row_bytes(type, k0);
    if (is_quantized(type)) {
        csimd_dequantize_row(type, from, y, count);
    } else {
        p->kernels->to_f32(type, from, y, count);
    }
}

/// Rows straight from the file, without scratch memory: decoding, and what is left to a prefill
/// that cannot have any.
static void direct_rows(const product* p, size_t row0, size_t rows) {
    if (csimd_takes_int8(p->w)) {
        csimd_q8_rows x = quantized_rows(p->input);
        p->kernels->row_product(p->w->type, p->w->data, p->row_bytes, row0, row0 + rows, &x,
                                p->input->tokens, p->y, p->y_stride);
    } else if (is_quantized(p->w->type)) {
        float row[INT8_COLUMNS];
        for (size_t r = row0; r < row0 + rows; r++) {
            row_to_f32(p, r, 0, row, p->w->cols);
            for (size_t t = 0; t < p->input->tokens; t++) {
                p->y[t * p->y_stride + r] =
                    p->kernels->dot(CSIMD_F32, row, p->input->x + t * p->input->stride, p->w->cols);
            }
        }
    } else {
        for (size_t r = row0; r < row0 + rows; r++) {
            for (size_t t = 0; t < p->input->tokens; t++) {
                p->y[t * p->y_stride + r] =
                    p->kernels->dot(p->w->type, (const char*)p->w->data + r * p->row_bytes,
                                    p->input->x + t * p->input->stride, p->w->cols);
            }
        }
    }
    add_bias(p, row0, rows, 0, p->input->tokens);
}

static void int8_task(void* context, int64_t index) {
    const product* p = context;
    const csimd_kernels* kernels = p->kernels;
    csimd_type type = p->w->type;
    size_t cols = p->w->cols, blocks = cols / CSIMD_BLOCK, tokens = p->input->tokens;
    size_t row0 = (size_t)index * p->task_rows;
    size_t rows = min_size(p->w->rows - row0, p->task_rows);
    size_t panels = round_up(rows, CSIMD_PANEL) / CSIMD_PANEL;
    size_t panel_bytes = round_up(kernels->panel_bytes(type, cols), 64);
    csimd_q8_rows x = quantized_rows(p->input);
    char* packed = scratch(panels * panel_bytes + TOKEN_BLOCK * CSIMD_PANEL * sizeof(float));
    if (!packed) {
        direct_rows(p, row0, rows);
        return;
    }
    float* tile = (float*)(packed + panels * panel_bytes);

    for (size_t n = 0; n < panels; n++) {
        size_t row = row0 + n * CSIMD_PANEL;
        kernels->pack_panel(type, (const char*)p->w->data + row * p->row_bytes, p->row_bytes,
                            min_size(p->w->rows - row, CSIMD_PANEL), cols,
                            packed + n * panel_bytes);
    }
    for (size_t first = 0; first < tokens; first += TOKEN_BLOCK) {
        size_t count = min_size(tokens - first, TOKEN_BLOCK);
        for (size_t n = 0; n < panels; n++) {
            size_t row = row0 + n * CSIMD_PANEL;
            size_t panel_rows = min_size(p->w->rows - row, CSIMD_PANEL);
            bool whole = panel_rows == CSIMD_PANEL;
            float* out = whole ? p->y + first * p->y_stride + row : tile;
            size_t stride = whole ? p->y_stride : CSIMD_PANEL;
            for (size_t b = 0; b < blocks; b += PANEL_CHUNK) {
                kernels->panel_product(type, packed + n * panel_bytes, &x, first, count, b,
                                       min_size(blocks - b, PANEL_CHUNK), out, stride);
            }
            if (!whole) {
                copy_tile(p, tile, CSIMD_PANEL, row, panel_rows, first, count);
            }
            add_bias(p, row, panel_rows, first, count);
        }
    }
}

/// b[k, FLOAT_ROWS] from rows of w, k in [k0, k0 + k_count); missing rows are zeros.
static void pack_float_panel(const product* p, size_t row0, size_t rows, size_t k0, size_t k_count,
                             float* b, float* line) {
    for (size_t r = 0; r < FLOAT_ROWS; r++) {
        if (r < rows) {
            row_to_f32(p, row0 + r, k0, line, k_count);
        } else {
            memset(line, 0, k_count * sizeof(float));
        }
        for (size_t k = 0; k < k_count; k++) {
            b[k * FLOAT_ROWS + r] = line[k];
        }
    }
}

static void float_task(void* context, int64_t index) {
    const product* p = context;
    size_t cols = p->w->cols, tokens = p->input->tokens;
    size_t row0 = (size_t)index * FLOAT_ROWS;
    size_t rows = min_size(p->w->rows - row0, FLOAT_ROWS);
    // A panel narrower than it is packed goes beside y: whole rounds of 16 only.
    size_t width = round_up(rows, 16);
    bool whole = width == rows;
    float* b = scratch((FLOAT_K * FLOAT_ROWS + FLOAT_K) * sizeof(float));
    float* beside = whole ? NULL : aligned_alloc(64, round_up(tokens * width * sizeof(float), 64));
    if (!b || (!whole && !beside)) {
        free(beside);
        direct_rows(p, row0, rows);
        return;
    }
    float* line = b + FLOAT_K * FLOAT_ROWS;
    float* out = whole ? p->y + row0 : beside;
    size_t stride = whole ? p->y_stride : width;
    for (size_t k = 0; k < cols; k += FLOAT_K) {
        size_t k_count = min_size(cols - k, FLOAT_K);
        pack_float_panel(p, row0, rows, k, k_count, b, line);
        for (size_t first = 0; first < tokens; first += FLOAT_TOKENS) {
            p->kernels->gemm_f32(p->input->x + first * p->input->stride + k, p->input->stride, b,
                                 FLOAT_ROWS, out + first * stride, stride,
                                 min_size(tokens - first, FLOAT_TOKENS), width, k_count, k > 0);
        }
    }
    if (!whole) {
        copy_tile(p, beside, width, row0, rows, 0, tokens);
    }
    free(beside);
    add_bias(p, row0, rows, 0, tokens);
}

static product make_product(const csimd_matrix* w, const float* bias, const csimd_input* input,
                            float* y, size_t y_stride) {
    return (product){.kernels = csimd_active(),
                     .w = w,
                     .bias = bias,
                     .input = input,
                     .y = y,
                     .y_stride = y_stride,
                     .row_bytes = csimd_row_bytes(w->type, w->cols)};
}

void csimd_matmul(const csimd_matrix* w, const float* bias, const csimd_input* input, float* y,
                  size_t y_stride) {
    product p = make_product(w, bias, input, y, y_stride);
    if (!csimd_takes_int8(w)) {
        csimd_parallel(float_task, &p, (int64_t)(round_up(w->rows, FLOAT_ROWS) / FLOAT_ROWS));
        return;
    }
    // As many panels to a task as the cache holds, but enough tasks to share out evenly.
    size_t panels = round_up(w->rows, CSIMD_PANEL) / CSIMD_PANEL;
    size_t group = PANEL_GROUP_BYTES / p.kernels->panel_bytes(w->type, w->cols);
    size_t even = panels / (4 * (size_t)csimd_threads());
    group = group < 1 ? 1 : group;
    group = even >= 1 && group > even ? even : group;
    p.task_rows = group * CSIMD_PANEL;
    csimd_parallel(int8_task, &p, (int64_t)(round_up(w->rows, p.task_rows) / p.task_rows));
}

static void matvec_task(void* context, int64_t index) {
    const product* p = context;
    size_t row0 = (size_t)index * MATVEC_ROWS;
    direct_rows(p, row0, min_size(p->w->rows - row0, MATVEC_ROWS));
}

void csimd_matvec(const csimd_matrix* w, const float* bias, const csimd_input* input, float* y,
                  size_t y_stride) {
    product p = make_product(w, bias, input, y, y_stride);
    csimd_parallel(matvec_task, &p, (int64_t)(round_up(w->rows, MATVEC_ROWS) / MATVEC_ROWS));
}
