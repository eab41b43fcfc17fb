// What rows of logits say: probabilities, entropy, divergence, the most probable entries.
#include <math.h>

#include "internal.h"

enum {
    LANES = 16,
    // Terms that are summed in f32 before they go to a double.
    PART = 4096,
    // Entries that one test against the least of the best passes over.
    STEP = 32,
};

/// The sum of n < PART products or so: LANES running sums, so that a compiler can use vectors
/// without being allowed to reorder.
static double folded(const float lanes[LANES]) {
    double sum = 0;
    for (int i = 0; i < LANES; i++) {
        sum += lanes[i];
    }
    return sum;
}

/// sum p (a - b); b may be NULL (0). Entries of probability 0 count 0 even where a or b is -inf.
static double weighted_sum(const float* p, const float* a, const float* b, size_t n) {
    double sum = 0;
    for (size_t first = 0; first < n; first += PART) {
        size_t end = n - first < PART ? n : first + PART, k = first;
        float lanes[LANES] = {0};
        for (; k + LANES <= end; k += LANES) {
            for (size_t i = 0; i < LANES; i++) {
                float difference = b ? a[k + i] - b[k + i] : a[k + i];
                lanes[i] += p[k + i] > 0 ? p[k + i] * difference : 0.0f;
            }
        }
        for (; k < end; k++) {
            lanes[0] += p[k] > 0 ? p[k] * (b ? a[k] - b[k] : a[k]) : 0.0f;
        }
        sum += folded(lanes);
    }
    return sum;
}

/// The `top` largest of x, largest first, equal ones by index; -1 where there are not so many.
static void find_top(const float* x, size_t n, size_t top, int32_t* ids) {
    for (size_t i = 0; i < top; i++) {
        ids[i] = -1;
    }
    size_t found = 0;
    for (size_t first = 0; first < n && top > 0; first += STEP) {
        size_t end = n - first < STEP ? n : first + STEP;
        if (found == top) {
            float least = x[ids[top - 1]];
            int better = 0;
            for (size_t k = first; k < end; k++) {
                better |= x[k] > least;
            }
            if (!better) {
                continue;
            }
        }
        for (size_t k = first; k < end; k++) {
            if (isnan(x[k]) || (found == top && !(x[k] > x[ids[top - 1]]))) {
                continue;
            }
            size_t place = found < top ? found++ : top - 1;
            while (place > 0 && x[k] > x[ids[place - 1]]) {
                ids[place] = ids[place - 1];
                place--;
            }
            ids[place] = (int32_t)k;
        }
    }
}

typedef struct lens {
    const csimd_kernels* kernels;
    csimd_lens_rows rows;
} lens;

static void lens_task(void* context, int64_t index) {
    const lens* l = context;
    const csimd_lens_rows* r = &l->rows;
    size_t row = (size_t)index, n = r->n;
    float* x = r->logits + row * r->stride;
    float* p = r->probabilities + row * r->stride;
    float max = l->kernels->max(x, n);
    for (size_t k = 0; k < n; k++) {
        p[k] = x[k];
    }
    float sum = l->kernels->exp_sum(p, max, n);
    l->kernels->scale(p, 1.0f / sum, n);
    float shift = logf(sum);
    // Two steps: max + log(sum) in one number would lose the digits of log(sum).
    for (size_t k = 0; k < n; k++) {
        x[k] = (x[k] - max) - shift;
    }
    r->entropies[row] = (float)-weighted_sum(p, x, NULL, n);
    if (r->divergences) {
        const float* reference = r->reference_logits + row * r->stride;
        const float* weights = r->reference_probabilities + row * r->stride;
        r->divergences[row] = (float)weighted_sum(weights, reference, x, n);
    }
    int32_t* ids = r->top_ids + row * r->top;
    find_top(x, n, r->top, ids);
    for (size_t i = 0; i < r->top; i++) {
        r->top_probabilities[row * r->top + i] = ids[i] < 0 ? 0.0f : p[ids[i]];
    }
}

void csimd_lens(const csimd_lens_rows* rows) {
    if (rows->count == 0 || rows->n == 0) {
        return;
    }
    lens l = {.kernels = csimd_active(), .rows = *rows};
    csimd_parallel(lens_task, &l, (int64_t)rows->count);
}

typedef struct deviation {
    const float* x;
    const float* y;
    double* sums;
    size_t n;
} deviation;

static void deviation_task(void* context, int64_t index) {
    const deviation* d = context;
    size_t row = (size_t)index;
    const float* x = d->x + row * d->n;
    const float* y = d->y + row * d->n;
    double xx = 0, yy = 0, xy = 0, dd = 0;
    for (size_t k = 0; k < d->n; k++) {
        double a = x[k], b = y[k];
        xx += a * a;
        yy += b * b;
        xy += a * b;
        dd += (a - b) * (a - b);
    }
    double* out = d->sums + row * 4;
    out[0] = xx;
    out[1] = yy;
    out[2] = xy;
    out[3] = dd;
}

void csimd_row_deviation(const float* x, const float* y, size_t rows, size_t n, double* sums) {
    deviation d = {.x = x, .y = y, .sums = sums, .n = n};
    csimd_parallel(deviation_task, &d, (int64_t)rows);
}

uint64_t csimd_differing_bits(const uint8_t* a, const uint8_t* b, size_t bytes) {
    uint64_t sum = 0;
    size_t k = 0;
    for (; k + 8 <= bytes; k += 8) {
        uint64_t x, y;
        __builtin_memcpy(&x, a + k, 8);
        __builtin_memcpy(&y, b + k, 8);
        sum += (uint64_t)__builtin_popcountll(x ^ y);
    }
    for (; k < bytes; k++) {
        sum += (uint64_t)__builtin_popcount((unsigned)(a[k] ^ b[k]));
    }
    return sum;
}
