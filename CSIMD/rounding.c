// Second-order rounding: what a block's rounding spoils goes into what its neighbours are rounded
// from. The second moments of a product's inputs, H, are split into M D M^T, M upper triangular
// with ones on its diagonal: then the squared error of the product's outputs is the sum over
// columns k of D_k (target_k - rounded_k)^2, where target_k is the weight and what M carries over
// from the errors of the columns before it.
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "internal.h"

enum {
    PANEL = 64,  // columns that are split at a time
    DEPTH = 256, // of their products at a time: two panels of these stay in cache
};

typedef struct split_task {
    const csimd_kernels* kernels;
    double* h;
    size_t n, first, end; // the panel's columns
} split_task;

/// Rows PANEL * index ... of the panel less what the columns behind it say.
static void subtract_behind(void* context, int64_t index) {
    const split_task* t = context;
    const size_t row = (size_t)index * PANEL;
    const size_t rows = min_size(PANEL, t->end - row);
    for (size_t k = t->end; k < t->n; k += DEPTH) {
        t->kernels->subtract_products(t->h + row * t->n + k, t->h + t->first * t->n + k, t->n,
                                      min_size(DEPTH, t->n - k), t->h + row * t->n + t->first, rows,
                                      t->end - t->first);
    }
}

/// The panel's rows above its own, once those are split.
static void solve_above(void* context, int64_t index) {
    const split_task* t = context;
    const size_t row = (size_t)index * PANEL, end = min_size(row + PANEL, t->first);
    for (size_t i = row; i < end; i++) {
        double* r = t->h + i * t->n;
        for (size_t k = t->end; k-- > t->first;) {
            const double* pivot = t->h + k * t->n;
            for (size_t j = k + 1; j < t->end; j++) {
                r[k] -= r[j] * pivot[j];
            }
            r[k] /= pivot[k];
        }
    }
}

/// The panel's own rows; false if a pivot is not positive.
static bool split_diagonal(const split_task* t) {
    for (size_t k = t->end; k-- > t->first;) {
        double* pivot = t->h + k * t->n;
        for (size_t j = k + 1; j < t->end; j++) {
            pivot[k] -= pivot[j] * pivot[j];
        }
        if (!(pivot[k] > 0) || !isfinite(pivot[k])) {
            return false;
        }
        pivot[k] = sqrt(pivot[k]);
        for (size_t i = t->first; i < k; i++) {
            double* r = t->h + i * t->n;
            for (size_t j = k + 1; j < t->end; j++) {
                r[k] -= r[j] * pivot[j];
            }
            r[k] /= pivot[k];
        }
    }
    return true;
}

bool csimd_split_moments(double* h, size_t n, float* feedback, float* weights) {
    // Panel by panel from the last: what is left of a panel's columns, then its own rows, then
    // those above. The upper triangle becomes R, H = R R^T.
    for (size_t end = n; end > 0;) {
        const size_t first = (end - 1) / PANEL * PANEL;
        split_task task = {csimd_active(), h, n, first, end};
        csimd_parallel(subtract_behind, &task, (int64_t)units(end, PANEL));
        if (!split_diagonal(&task)) {
            return false;
        }
        csimd_parallel(solve_above, &task, (int64_t)units(first, PANEL));
        end = first;
    }
    for (size_t k = 0; k < n; k++) {
        const double pivot = h[k * n + k];
        weights[k] = (float)(pivot * pivot);
        for (size_t i = 0; i < n; i++) {
            feedback[k * n + i] = i < k ? (float)(h[i * n + k] / pivot) : 0;
        }
    }
    return true;
}

// --- systems of the split ------------------------------------------------------------------------

typedef struct solve_task {
    const float* factors;
    bool backwards;
    float* rows;
    size_t stride, count;
} solve_task;

enum { SOLVED = 16 }; // rows of a task

static void solve_rows(void* context, int64_t index) {
    const solve_task* t = context;
    const size_t first = (size_t)index * SOLVED, end = min_size(first + SOLVED, t->count);
    for (size_t r = first; r < end; r++) {
        float* row = t->rows + r * t->stride;
        float x[CSIMD_BLOCK];
        memcpy(x, row, sizeof x);
        for (size_t step = 0; step < CSIMD_BLOCK; step++) {
            const size_t k = t->backwards ? CSIMD_BLOCK - 1 - step : step;
            const float* factors = t->factors + k * CSIMD_BLOCK;
            const float solved = x[k];
            for (size_t i = 0; i < CSIMD_BLOCK; i++) {
                x[i] -= solved * factors[i];
            }
        }
        memcpy(row, x, sizeof x);
    }
}

void csimd_solve_block(const float* factors, bool backwards, float* rows, size_t stride,
                       size_t count) {
    solve_task task = {factors, backwards, rows, stride, count};
    csimd_parallel(solve_rows, &task, (int64_t)units(count, SOLVED));
}

// --- one block of many rows ---------------------------------------------------------------------

/// A row's block under way.
typedef struct block_state {
    const float* weights; // [32], the weights themselves
    const float* base;    // [32], with what the columns before the block carry over
    float levels[CSIMD_BLOCK];
    uint8_t numbers[CSIMD_BLOCK];
    float errors[CSIMD_BLOCK];
    float loss;
    uint16_t scale;
} block_state;

/// The level next to x, and its number.
INLINE float nearest_level(csimd_type type, float x, uint8_t* number) {
    if (type == CSIMD_IQ4_NL) {
        int k = 0;
        for (int i = 0; i < 15; i++) {
            k += x > (float)(csimd_iq4_nl_levels[i] + csimd_iq4_nl_levels[i + 1]) / 2;
        }
        *number = (uint8_t)k;
        return (float)csimd_iq4_nl_levels[k];
    }
    const float least = type == CSIMD_Q8_0 ? -127 : type == CSIMD_Q5_0 ? -16 : -8;
    const float most = type == CSIMD_Q8_0 ? 127 : -least - 1;
    float v = rintf(x);
    v = v < least ? least : v > most ? most : v;
    // Q8_0's are signed, the others count from the least.
    *number = (uint8_t)(int)(type == CSIMD_Q8_0 ? v : v - least);
    return v;
}

/// Rounds the block at a scale, each value with what those before it carry over.
INLINE void round_at(const csimd_rounding* how, uint16_t scale, block_state* s) {
    const float d = csimd_f16_to_f32_one(scale), inverse = d != 0 ? 1 / d : 0;
    float targets[CSIMD_BLOCK];
    memcpy(targets, s->base, sizeof targets);
    s->scale = scale;
    s->loss = 0;
    for (int k = 0; k < CSIMD_BLOCK; k++) {
        s->levels[k] = nearest_level(how->type, targets[k] * inverse, &s->numbers[k]);
        const float left = targets[k] - d * s->levels[k];
        s->errors[k] = s->weights[k] - d * s->levels[k];
        s->loss += how->weights[k] * left * left;
        const float* carried = how->feedback + (size_t)k * CSIMD_BLOCK;
        for (int j = 0; j < CSIMD_BLOCK; j++) {
            targets[j] += s->errors[k] * carried[j]; // 0 for j <= k
        }
    }
}

/// The scale that least squares find for the block's levels; the same one if they say nothing.
INLINE uint16_t refitted(const csimd_rounding* how, const block_state* s) {
    float u[CSIMD_BLOCK], v[CSIMD_BLOCK], product = 0, square = 0;
    memcpy(u, s->base, sizeof u);
    memcpy(v, s->levels, sizeof v);
    for (int k = 0; k < CSIMD_BLOCK; k++) {
        const float* carried = how->feedback + (size_t)k * CSIMD_BLOCK;
        for (int j = 0; j < CSIMD_BLOCK; j++) {
            u[j] += s->weights[k] * carried[j];
            v[j] += s->levels[k] * carried[j];
        }
    }
    for (int k = 0; k < CSIMD_BLOCK; k++) {
        product += how->weights[k] * u[k] * v[k];
        square += how->weights[k] * v[k] * v[k];
    }
    const float scale = product / square;
    return square > 0 && fabsf(scale) < 65504 ? csimd_f32_to_f16_one(scale) : s->scale;
}

/// The scale that the block is searched to have on its own, each column counting D.
INLINE uint16_t searched_scale(const csimd_kernels* kernels, const csimd_rounding* how,
                               const float* base) {
    csimd_block_q8_0 block; // the largest; all these types' blocks begin with their scale
    kernels->from_f32(how->type, base, how->type == CSIMD_Q8_0 ? NULL : how->weights, &block,
                      CSIMD_BLOCK);
    return block.d;
}

INLINE void store(csimd_type type, const block_state* s, void* y) {
    if (type == CSIMD_Q8_0) {
        csimd_block_q8_0* block = y;
        block->d = s->scale;
        memcpy(block->qs, s->numbers, sizeof block->qs);
        return;
    }
    uint8_t nibbles[16], fifth[4] = {0};
    for (int j = 0; j < 16; j++) {
        nibbles[j] = (uint8_t)((s->numbers[j] & 15) | (s->numbers[j + 16] & 15) << 4);
    }
    for (int j = 0; j < CSIMD_BLOCK; j++) {
        fifth[j / 8] |= (uint8_t)((s->numbers[j] >> 4) << j % 8);
    }
    if (type == CSIMD_Q5_0) {
        csimd_block_q5_0* block = y;
        block->d = s->scale;
        memcpy(block->qh, fifth, sizeof fifth);
        memcpy(block->qs, nibbles, sizeof nibbles);
    } else {
        csimd_block_q4_0* block = y;
        block->d = s->scale;
        memcpy(block->qs, nibbles, sizeof nibbles);
    }
}

enum { REFITS = 3, TASK_ROWS = 16 };

/// What Q8_0's scale is tried times as well: how errors fall out changes with every scale, so the
/// best of some leaves less than the first. Types of fewer bits gain nothing by it.
static const float others[] = {1.004F, 1.008F, 1.012F, 0.997F, 1.016F, 1.02F};

typedef struct rounding_task {
    const csimd_kernels* kernels;
    const csimd_rounding* how;
    const float* weights;
    const float* base;
    float* errors;
    uint8_t* out;
    size_t rows, stride, out_stride;
    atomic_bool failed;
} rounding_task;

/// Rounds a block at a scale, then at those that fit the levels better, while that leaves less.
INLINE void round_fitted(const csimd_rounding* how, uint16_t scale, block_state* s) {
    round_at(how, scale, s);
    for (int again = 0; again < REFITS; again++) {
        block_state other = *s;
        const uint16_t fitted = refitted(how, s);
        if (fitted == s->scale) {
            return;
        }
        round_at(how, fitted, &other);
        if (!(other.loss < s->loss)) {
            return;
        }
        *s = other;
    }
}

static void round_rows(void* context, int64_t index) {
    rounding_task* t = context;
    const size_t first = (size_t)index * TASK_ROWS, end = min_size(t->rows, first + TASK_ROWS);
    for (size_t row = first; row < end; row++) {
        block_state best = {.weights = t->weights + row * t->stride,
                            .base = t->base + row * CSIMD_BLOCK};
        if (csimd_first_unstorable(t->how->type, best.base, CSIMD_BLOCK) < CSIMD_BLOCK) {
            atomic_store(&t->failed, true);
            return;
        }
        const uint16_t searched = searched_scale(t->kernels, t->how, best.base);
        round_fitted(t->how, searched, &best);
        for (size_t i = 0; t->how->type == CSIMD_Q8_0 && i < sizeof others / sizeof *others; i++) {
            block_state other = best;
            const float scale = csimd_f16_to_f32_one(searched) * others[i];
            if (!(fabsf(scale) < 65504)) {
                continue;
            }
            round_fitted(t->how, csimd_f32_to_f16_one(scale), &other);
            if (other.loss < best.loss) {
                best = other;
            }
        }
        memcpy(t->errors + row * t->stride, best.errors, sizeof best.errors);
        store(t->how->type, &best, t->out + row * t->out_stride);
    }
}

bool csimd_round_block(const csimd_rounding* how, const float* weights, const float* base,
                       size_t rows, size_t stride, float* errors, void* out, size_t out_stride) {
    rounding_task task = {.kernels = csimd_active(),
                          .how = how,
                          .weights = weights,
                          .base = base,
                          .errors = errors,
                          .out = out,
                          .rows = rows,
                          .stride = stride,
                          .out_stride = out_stride};
    csimd_parallel(round_rows, &task, (int64_t)units(rows, TASK_ROWS));
    return !atomic_load(&task.failed);
}

// --- rounded rows once more ---------------------------------------------------------------------

typedef struct refine_task {
    const csimd_kernels* kernels;
    const csimd_refinement* how;
    float* gradients;
} refine_task;

/// A block's scale and the numbers of its levels, as store takes them.
INLINE block_state stored_block(csimd_type type, const void* x) {
    block_state s = {.weights = NULL};
    memcpy(&s.scale, x, sizeof s.scale); // all these types' blocks begin with it
    if (type == CSIMD_Q8_0) {
        memcpy(s.numbers, ((const csimd_block_q8_0*)x)->qs, sizeof s.numbers);
        return s;
    }
    const uint8_t* nibbles =
        type == CSIMD_Q5_0 ? ((const csimd_block_q5_0*)x)->qs : ((const csimd_block_q4_0*)x)->qs;
    for (int j = 0; j < CSIMD_BLOCK; j++) {
        s.numbers[j] = nibbles[j % 16] >> (j < 16 ? 0 : 4) & 15;
        if (type == CSIMD_Q5_0) {
            const uint8_t* fifth = ((const csimd_block_q5_0*)x)->qh;
            s.numbers[j] |= (uint8_t)((fifth[j / 8] >> j % 8 & 1) << 4);
        }
    }
    return s;
}

/// The level of a number, out of range NaN, which no comparison prefers.
INLINE float level_of(csimd_type type, int number) {
    switch (type) {
    case CSIMD_Q8_0:
        return number < -127 || number > 127 ? NAN : (float)number;
    case CSIMD_Q5_0:
        return number < 0 || number > 31 ? NAN : (float)(number - 16);
    case CSIMD_IQ4_NL:
        return number < 0 || number > 15 ? NAN : (float)csimd_iq4_nl_levels[number];
    default:
        return number < 0 || number > 15 ? NAN : (float)(number - 8);
    }
}

/// The block at `column` of the panel, of a row: its levels one after the other, then its scale.
INLINE void refine_block(const refine_task* t, csimd_type type, size_t row, size_t column) {
    const csimd_refinement* how = t->how;
    const size_t first = how->first + column, apart = how->n * sizeof(float);
    char* block =
        (char*)how->blocks + row * how->row_bytes + first / CSIMD_BLOCK * csimd_block_bytes(type);
    // The block's moments with the panel, and the row's gradients there.
    const float* h = how->h + first * how->n + how->first;
    float* gradients = t->gradients + row * how->count;
    block_state s = stored_block(type, block);
    float d = csimd_f16_to_f32_one(s.scale);
    bool changed = false;
    for (size_t k = 0; k < CSIMD_BLOCK; k++) {
        const int now = type == CSIMD_Q8_0 ? (int8_t)s.numbers[k] : s.numbers[k];
        const float square = h[k * how->n + column + k], gradient = gradients[column + k];
        s.levels[k] = level_of(type, now);
        float least = 0, step = 0;
        int to = now;
        for (int other = now - 1; other <= now + 1; other += 2) {
            const float change = d * (level_of(type, other) - s.levels[k]);
            const float loss = change * (change * square - 2 * gradient);
            if (loss < least) {
                least = loss;
                step = -change;
                to = other;
            }
        }
        if (to != now) {
            s.numbers[k] = (uint8_t)to;
            s.levels[k] = level_of(type, to);
            t->kernels->add_rows(CSIMD_F32, h + k * how->n, apart, 1, &step, gradients, how->count);
            changed = true;
        }
    }
    float product = 0, square = 0;
    for (size_t k = 0; how->scales && k < CSIMD_BLOCK; k++) {
        float sum = 0;
        for (size_t i = 0; i < CSIMD_BLOCK; i++) {
            sum += h[k * how->n + column + i] * s.levels[i];
        }
        square += s.levels[k] * sum;
        product += s.levels[k] * gradients[column + k];
    }
    const float fitted = d + product / square;
    if (square > 0 && fabsf(fitted) < 65504) {
        const uint16_t scale = csimd_f32_to_f16_one(fitted);
        const float change = csimd_f16_to_f32_one(scale) - d;
        if (change * (change * square - 2 * product) < 0) {
            float steps[CSIMD_BLOCK];
            for (size_t k = 0; k < CSIMD_BLOCK; k++) {
                steps[k] = -change * s.levels[k];
            }
            t->kernels->add_rows(CSIMD_F32, h, apart, CSIMD_BLOCK, steps, gradients, how->count);
            s.scale = scale;
            d += change;
            changed = true;
        }
    }
    if (changed) {
        store(type, &s, block);
        for (size_t k = 0; k < CSIMD_BLOCK; k++) {
            const size_t at = row * how->n + first + k;
            how->errors[at] = how->weights[at] - d * s.levels[k];
        }
    }
}

INLINE void refine_as(const refine_task* t, csimd_type type, size_t first, size_t end) {
    // Block by block, so that all rows find the moments of its columns in the caches.
    for (size_t column = 0; column < t->how->count; column += CSIMD_BLOCK) {
        for (size_t row = first; row < end; row++) {
            refine_block(t, type, row, column);
        }
    }
}

static void refine_rows(void* context, int64_t index) {
    const refine_task* t = context;
    const size_t first = (size_t)index * TASK_ROWS, end = min_size(t->how->rows, first + TASK_ROWS);
    switch (t->how->type) {
    case CSIMD_Q8_0:
        refine_as(t, CSIMD_Q8_0, first, end);
        break;
    case CSIMD_Q5_0:
        refine_as(t, CSIMD_Q5_0, first, end);
        break;
    case CSIMD_IQ4_NL:
        refine_as(t, CSIMD_IQ4_NL, first, end);
        break;
    default:
        refine_as(t, CSIMD_Q4_0, first, end);
    }
}

void csimd_refine_panel(const csimd_refinement* how, float* gradients) {
    refine_task task = {csimd_active(), how, gradients};
    csimd_parallel(refine_rows, &task, (int64_t)units(how->rows, TASK_ROWS));
}
