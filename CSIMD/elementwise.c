// Work on activations element by element or row by row: cuts it into tasks, the leaves compute.
#include "internal.h"

enum {
    // Elements that make a task worth handing to a thread.
    TASK_ELEMENTS = 16 * 1024,
    // Columns of an activation task: its counts and sums (16 bytes a neuron) and a row's piece stay
    // in the first-level cache while all tokens pass.
    ACTIVATION_COLUMNS = 512,
};

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

/// Arguments of all row-wise operations; each uses those it needs.
typedef struct rows {
    const csimd_kernels* kernels;
    const float* x;
    const float* weight;
    const float* bias;
    float* y;
    float eps;
    size_t count, n, stride, task_rows;
    size_t heads, head_dim;
} rows;

/// Runs `task` over r->count rows of n, as many rows at a time as make a worthwhile task.
static void for_rows(rows* r, void (*task)(void* context, int64_t index)) {
    if (r->count == 0 || r->n == 0) {
        return;
    }
    r->kernels = csimd_active();
    r->task_rows = r->n >= TASK_ELEMENTS ? 1 : TASK_ELEMENTS / r->n;
    csimd_parallel(task, r, (int64_t)((r->count + r->task_rows - 1) / r->task_rows));
}

/// One past the last row of a task that starts at `first`.
static size_t last_row(const rows* r, size_t first) {
    return first + min_size(r->task_rows, r->count - first);
}

static void rms_norm_task(void* context, int64_t index) {
    const rows* r = context;
    size_t first = (size_t)index * r->task_rows, end = last_row(r, first);
    for (size_t t = first; t < end; t++) {
        r->kernels->rms_norm_row(r->x + t * r->n, r->weight, r->eps, r->y + t * r->n, r->n);
    }
}

void csimd_rms_norm(const float* x, const float* weight, float eps, float* y, size_t tokens,
                    size_t n) {
    rows r = {.x = x, .weight = weight, .eps = eps, .y = y, .count = tokens, .n = n};
    for_rows(&r, rms_norm_task);
}

static void layer_norm_task(void* context, int64_t index) {
    const rows* r = context;
    size_t first = (size_t)index * r->task_rows, end = last_row(r, first);
    for (size_t t = first; t < end; t++) {
        r->kernels->layer_norm_row(r->x + t * r->n, r->weight, r->bias, r->eps, r->y + t * r->n,
                                   r->n);
    }
}

void csimd_layer_norm(const float* x, const float* weight, const float* bias, float eps, float* y,
                      size_t tokens, size_t n) {
    rows r = {.x = x, .weight = weight, .bias = bias, .eps = eps, .y = y, .count = tokens, .n = n};
    for_rows(&r, layer_norm_task);
}

static void add_task(void* context, int64_t index) {
    const rows* r = context;
    size_t first = (size_t)index * TASK_ELEMENTS;
    r->kernels->add(r->y + first, r->x + first, min_size(TASK_ELEMENTS, r->n - first));
}

void csimd_add(float* x, const float* y, size_t n) {
    rows r = {.kernels = csimd_active(), .x = y, .y = x, .n = n};
    csimd_parallel(add_task, &r, (int64_t)((n + TASK_ELEMENTS - 1) / TASK_ELEMENTS));
}

static void add_row_task(void* context, int64_t index) {
    const rows* r = context;
    size_t first = (size_t)index * r->task_rows, end = last_row(r, first);
    for (size_t t = first; t < end; t++) {
        r->kernels->add(r->y + t * r->n, r->x, r->n);
    }
}

void csimd_add_row(float* x, const float* row, size_t tokens, size_t n) {
    rows r = {.x = row, .y = x, .count = tokens, .n = n};
    for_rows(&r, add_row_task);
}

static void softmax_task(void* context, int64_t index) {
    const rows* r = context;
    size_t first = (size_t)index * r->task_rows, end = last_row(r, first);
    for (size_t t = first; t < end; t++) {
        float* x = r->y + t * r->n;
        float max = r->kernels->max(x, r->n);
        // Only -inf (or NaN): shifting by it would make NaN of -inf - -inf.
        float sum = r->kernels->exp_sum(x, max == -__builtin_inff() ? 0.0f : max, r->n);
        if (sum != 0) {
            r->kernels->scale(x, 1.0f / sum, r->n);
        }
    }
}

void csimd_softmax(float* x, size_t count, size_t n) {
    rows r = {.y = x, .count = count, .n = n};
    for_rows(&r, softmax_task);
}

static void rope_task(void* context, int64_t index) {
    const rows* r = context;
    size_t first = (size_t)index * r->task_rows, end = last_row(r, first);
    for (size_t t = first; t < end; t++) {
        r->kernels->rope_row(r->y + t * r->stride, r->x + t * r->head_dim, r->heads, r->head_dim);
    }
}

void csimd_rope_interleaved(float* x, const float* cos_sin, size_t tokens, size_t heads,
                            size_t head_dim, size_t stride) {
    rows r = {.x = cos_sin,
              .y = x,
              .count = tokens,
              .n = heads * head_dim,
              .stride = stride,
              .heads = heads,
              .head_dim = head_dim};
    for_rows(&r, rope_task);
}

typedef struct activation {
    const csimd_kernels* kernels;
    csimd_activation kind;
    float* x;
    const float* up;
    csimd_site site;
    size_t tokens, n;
} activation;

/// One token's range of neurons with its bits in site.fired. They are read off the counts of a row
/// by itself, so that a bit is set exactly where that kernel counts.
static void record_row(const activation* a, float* x, const float* up, size_t t, size_t first,
                       size_t columns, const uint8_t* mask, int64_t* counts, double* sums) {
    int64_t row[ACTIVATION_COLUMNS] = {0};
    a->kernels->activate_row(a->kind, x, up, columns, mask, row, sums);
    uint8_t* bits = a->site.fired + t * ((a->n + 7) / 8) + first / 8;
    for (size_t i = 0; i < columns; i += 8) {
        uint8_t byte = 0;
        for (size_t k = i; k < min_size(i + 8, columns); k++) {
            byte |= (uint8_t)(row[k] << (k - i));
        }
        bits[i / 8] = byte;
    }
    for (size_t i = 0; counts && i < columns; i++) {
        counts[i] += row[i];
    }
}

/// All tokens of one range of neurons: their counts and sums have one writer, and sums are added up
/// in the order of the tokens whatever the number of threads.
static void activation_task(void* context, int64_t index) {
    const activation* a = context;
    size_t first = (size_t)index * ACTIVATION_COLUMNS;
    size_t columns = min_size(ACTIVATION_COLUMNS, a->n - first);
    const uint8_t* mask = a->site.mask ? a->site.mask + first : NULL;
    int64_t* counts = a->site.counts ? a->site.counts + first : NULL;
    double* sums = a->site.sums ? a->site.sums + first : NULL;
    for (size_t t = 0; t < a->tokens; t++) {
        const float* up = a->up ? a->up + t * a->n + first : NULL;
        float* x = a->x + t * a->n + first;
        if (a->site.fired) {
            record_row(a, x, up, t, first, columns, mask, counts, sums);
        } else {
            a->kernels->activate_row(a->kind, x, up, columns, mask, counts, sums);
        }
    }
}

void csimd_activate_gated(csimd_activation kind, float* gate, const float* up, size_t tokens,
                          size_t n, const csimd_site* site) {
    activation a = {.kernels = csimd_active(),
                    .kind = kind,
                    .x = gate,
                    .up = up,
                    .site = site ? *site : (csimd_site){0},
                    .tokens = tokens,
                    .n = n};
    csimd_parallel(activation_task, &a,
                   (int64_t)((n + ACTIVATION_COLUMNS - 1) / ACTIVATION_COLUMNS));
}

void csimd_activate(csimd_activation kind, float* x, size_t tokens, size_t n,
                    const csimd_site* site) {
    csimd_activate_gated(kind, x, NULL, tokens, n, site);
}
