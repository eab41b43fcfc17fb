// Work on activations element by element or row by row: cuts it into tasks, the leaves compute.
#include "internal.h"

#include <string.h>

enum {
    // Elements that make a task worth handing to a thread.
    TASK_ELEMENTS = 16 * 1024,
    // Columns of an activation task: what is counted (28 bytes a neuron), the intervention (8) and
    // the activations that wait stay in the first-level cache while all tokens pass.
    ACTIVATION_COLUMNS = 512,
    // Tokens whose activations wait until it is noted which are the strongest.
    MOMENT_TOKENS = 8,
};

// Activation functions end at -0.28, 0 is where a neuron fires, and its values lie over several
// powers of two.
const float csimd_edges[CSIMD_EDGES] = {-0.0625f, 0.0f, 0.0625f, 0.125f, 0.25f, 0.5f,
                                        1.0f,     2.0f, 4.0f,    8.0f,   16.0f, 32.0f};

/// Arguments of all row-wise operations; each uses those it needs.
typedef struct rows {
    const csimd_kernels* kernels;
    void (*one)(const struct rows* r, size_t row);
    const float* x;
    const float* weight;
    const float* bias;
    float* y;
    float eps;
    size_t count, n, stride, task_rows;
    size_t heads, head_dim;
} rows;

static void rows_task(void* context, int64_t index) {
    const rows* r = context;
    const size_t first = (size_t)index * r->task_rows;
    const size_t end = first + min_size(r->task_rows, r->count - first);
    for (size_t t = first; t < end; t++) {
        r->one(r, t);
    }
}

/// Runs `one` over r->count rows of n, as many rows at a time as make a worthwhile task.
static void for_rows(rows* r) {
    if (r->count == 0 || r->n == 0) {
        return;
    }
    r->kernels = csimd_active();
    r->task_rows = r->n >= TASK_ELEMENTS ? 1 : TASK_ELEMENTS / r->n;
    csimd_parallel(rows_task, r, (int64_t)units(r->count, r->task_rows));
}

static void rms_norm_one(const rows* r, size_t t) {
    r->kernels->rms_norm_row(r->x + t * r->n, r->weight, r->eps, r->y + t * r->n, r->n);
}

void csimd_rms_norm(const float* x, const float* weight, float eps, float* y, size_t tokens,
                    size_t n) {
    rows r = {
        .one = rms_norm_one, .x = x, .weight = weight, .eps = eps, .y = y, .count = tokens, .n = n};
    for_rows(&r);
}

static void layer_norm_one(const rows* r, size_t t) {
    r->kernels->layer_norm_row(r->x + t * r->n, r->weight, r->bias, r->eps, r->y + t * r->n, r->n);
}

void csimd_layer_norm(const float* x, const float* weight, const float* bias, float eps, float* y,
                      size_t tokens, size_t n) {
    rows r = {.one = layer_norm_one,
              .x = x,
              .weight = weight,
              .bias = bias,
              .eps = eps,
              .y = y,
              .count = tokens,
              .n = n};
    for_rows(&r);
}

static void add_task(void* context, int64_t index) {
    const rows* r = context;
    size_t first = (size_t)index * TASK_ELEMENTS;
    r->kernels->add(r->y + first, r->x + first, min_size(TASK_ELEMENTS, r->n - first));
}

void csimd_add(float* x, const float* y, size_t n) {
    rows r = {.kernels = csimd_active(), .x = y, .y = x, .n = n};
    csimd_parallel(add_task, &r, (int64_t)units(n, TASK_ELEMENTS));
}

typedef struct halves {
    const csimd_kernels* kernels;
    const float* x;
    uint16_t* y;
    size_t n;
} halves;

static void halves_task(void* context, int64_t index) {
    const halves* h = context;
    const size_t first = (size_t)index * TASK_ELEMENTS;
    const size_t count = min_size(h->n - first, TASK_ELEMENTS);
    h->kernels->from_f32(CSIMD_F16, h->x + first, NULL, h->y + first, count);
}

void csimd_to_halves(const float* x, uint16_t* y, size_t n) {
    halves h = {csimd_active(), x, y, n};
    csimd_parallel(halves_task, &h, (int64_t)units(n, TASK_ELEMENTS));
}

static void add_row_one(const rows* r, size_t t) {
    r->kernels->add(r->y + t * r->n, r->x, r->n);
}

void csimd_add_row(float* x, const float* row, size_t tokens, size_t n) {
    rows r = {.one = add_row_one, .x = row, .y = x, .count = tokens, .n = n};
    for_rows(&r);
}

static void softmax_one(const rows* r, size_t t) {
    float* x = r->y + t * r->n;
    float max = r->kernels->max(x, r->n);
    // Only -inf (or NaN): shifting by it would make NaN of -inf - -inf.
    float sum = r->kernels->exp_sum(x, max == -__builtin_inff() ? 0.0f : max, r->n);
    if (sum != 0) {
        r->kernels->scale(x, 1.0f / sum, r->n);
    }
}

void csimd_softmax(float* x, size_t count, size_t n) {
    rows r = {.one = softmax_one, .y = x, .count = count, .n = n};
    for_rows(&r);
}

static void rope_one(const rows* r, size_t t) {
    r->kernels->rope_row(r->y + t * r->stride, r->x + t * r->head_dim, r->heads, r->head_dim);
}

void csimd_rope_interleaved(float* x, const float* cos_sin, size_t tokens, size_t heads,
                            size_t head_dim, size_t stride) {
    rows r = {.one = rope_one,
              .x = cos_sin,
              .y = x,
              .count = tokens,
              .n = heads * head_dim,
              .stride = stride,
              .heads = heads,
              .head_dim = head_dim};
    for_rows(&r);
}

typedef struct activation {
    const csimd_kernels* kernels;
    csimd_activation kind;
    float* x;
    const float* up;
    csimd_site site;
    size_t tokens, n;
} activation;

/// What a site does to neurons from `first` on, a multiple of 8.
static csimd_site site_from(const csimd_site* site, size_t first) {
    return (csimd_site){.scale = site->scale ? site->scale + first : NULL,
                        .shift = site->shift ? site->shift + first : NULL,
                        .counts = site->counts ? site->counts + first : NULL,
                        .sums = site->sums ? site->sums + first : NULL,
                        .squares = site->squares ? site->squares + first : NULL,
                        .maxima = site->maxima ? site->maxima + first : NULL,
                        .fired = site->fired ? site->fired + first / 8 : NULL,
                        .values = site->values ? site->values + first : NULL};
}

/// What is kept of neurons from `first` on.
static csimd_moments moments_from(const csimd_moments* m, size_t first) {
    return (csimd_moments){.keep = m->keep,
                           .stride = m->stride,
                           .token = m->token,
                           .floors = m->floors + first,
                           .values = m->values + first,
                           .tokens = m->tokens + first,
                           .above = m->above + first};
}

/// One token's range of neurons with its bits, `bits`. They are read off the counts of a row by
/// itself, so that a bit is set exactly where that kernel counts.
static void record_row(const activation* a, const csimd_site* site, uint8_t* bits, float* x,
                       const float* up, size_t columns) {
    int64_t row[ACTIVATION_COLUMNS] = {0};
    csimd_site counting = *site;
    counting.counts = row;
    a->kernels->activate_row(a->kind, x, up, columns, &counting);
    for (size_t i = 0; i < columns; i += 8) {
        uint8_t byte = 0;
        for (size_t k = i; k < min_size(i + 8, columns); k++) {
            byte |= (uint8_t)(row[k] << (k - i));
        }
        bits[i / 8] = byte;
    }
    for (size_t i = 0; site->counts && i < columns; i++) {
        site->counts[i] += row[i];
    }
}

/// All tokens of one range of neurons: their counts and sums have one writer, and sums are added up
/// in the order of the tokens whatever the number of threads.
static void activation_task(void* context, int64_t index) {
    const activation* a = context;
    const size_t first = (size_t)index * ACTIVATION_COLUMNS;
    const size_t columns = min_size(ACTIVATION_COLUMNS, a->n - first);
    csimd_site site = site_from(&a->site, first);
    csimd_moments moments = {0};
    float noted[MOMENT_TOKENS * ACTIVATION_COLUMNS];
    if (a->site.moments) {
        moments = moments_from(a->site.moments, first);
    }
    // Where activations of a token are kept, if they are, and what lies between two tokens.
    const size_t stride = a->site.values ? a->n : ACTIVATION_COLUMNS;
    for (size_t t = 0, count = 0; t < a->tokens; t += count, moments.token += (uint32_t)count) {
        count = min_size(MOMENT_TOKENS, a->tokens - t);
        float* values = a->site.values    ? a->site.values + t * a->n + first
                        : a->site.moments ? noted
                                          : NULL;
        for (size_t i = t; i < t + count; i++) {
            const float* up = a->up ? a->up + i * a->n + first : NULL;
            float* x = a->x + i * a->n + first;
            site.values = values ? values + (i - t) * stride : NULL;
            if (site.fired) {
                record_row(a, &site, site.fired + i * units(a->n, 8), x, up, columns);
            } else {
                a->kernels->activate_row(a->kind, x, up, columns, &site);
            }
        }
        if (a->site.moments) {
            a->kernels->note_moments(&moments, values, stride, count, columns);
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
    csimd_parallel(activation_task, &a, (int64_t)units(n, ACTIVATION_COLUMNS));
}

void csimd_activate(csimd_activation kind, float* x, size_t tokens, size_t n,
                    const csimd_site* site) {
    csimd_activate_gated(kind, x, NULL, tokens, n, site);
}

void csimd_add_strongest(const csimd_strongest* all, const float* values, const uint32_t* samples,
                         const uint32_t* tokens, size_t n) {
    csimd_active()->add_strongest(all, values, samples, tokens, n);
}

/// Arguments of csimd_add_squares.
typedef struct squares {
    const float* x;
    size_t tokens, n;
    double* sums;
} squares;

static void squares_task(void* context, int64_t index) {
    const squares* s = context;
    const size_t first = (size_t)index * ACTIVATION_COLUMNS;
    const size_t end = first + min_size(ACTIVATION_COLUMNS, s->n - first);
    for (size_t t = 0; t < s->tokens; t++) {
        const float* row = s->x + t * s->n;
        for (size_t i = first; i < end; i++) {
            s->sums[i] += (double)row[i] * (double)row[i];
        }
    }
}

void csimd_add_squares(const float* x, size_t tokens, size_t n, double* sums) {
    squares s = {x, tokens, n, sums};
    csimd_parallel(squares_task, &s, (int64_t)units(n, ACTIVATION_COLUMNS));
}
