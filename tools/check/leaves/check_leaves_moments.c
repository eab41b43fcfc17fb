// The leaves that keep the strongest activations.
#include <float.h>
#include <stdlib.h>

#include "check_leaves.h"
#include "moments.h"

enum { MAX_NEURONS = 4096, MOST = 9 };

/// As many as leaves have in registers, fewer and more.
static const size_t keeps[] = {1, 3, CSIMD_USUAL_KEEP, MOST};

/// What is kept of neurons, with the memory for it.
typedef struct kept {
    float floors[MAX_NEURONS], values[MAX_NEURONS * MOST];
    uint32_t tokens[MAX_NEURONS * MOST], above[MAX_NEURONS * CSIMD_EDGES];
} kept;

static csimd_moments moments_of(kept* k, size_t keep) {
    return (csimd_moments){keep, MAX_NEURONS, 77, k->floors, k->values, k->tokens, k->above};
}

/// Nothing, some or as much as there can be, with values that activations are around, and equal
/// ones.
static void fill_kept(kept* k, size_t keep, const float* around, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const size_t there = random_bits() % (keep + 1);
        for (size_t j = 0; j < keep; j++) {
            k->values[j * MAX_NEURONS + i] = -INFINITY;
            k->tokens[j * MAX_NEURONS + i] = (uint32_t)j;
        }
        k->floors[i] = random_bits() % 2 ? -INFINITY : -1;
        for (size_t j = 0; j < there; j++) {
            const float value = random_bits() % 2 ? around[i] : normal();
            if (value > k->floors[i]) {
                csimd_moments m = moments_of(k, keep);
                csimd_keep_moment(&m, i, (uint32_t)(10 + j), value);
            }
        }
    }
    for (size_t i = 0; i < MAX_NEURONS * CSIMD_EDGES; i++) {
        k->above[i] = random_bits();
    }
}

/// Lists and histograms, as activations come one by one.
static void check_noting(void) {
    static kept found, want;
    for (int at = 0; at < 4; at++) {
        const size_t keep = keeps[at];
        FOR_LENGTHS(n) {
            const size_t tokens = 1 + random_bits() % 19, stride = n + random_bits() % 5;
            float* rows = malloc(tokens * stride * sizeof(float));
            for (size_t i = 0; i < tokens * stride; i++) {
                // Neurons that all but never fire, that fire alike, and those that rise and fall.
                const uint32_t how = (uint32_t)(i % stride) % 5, odd = random_bits() % 100;
                const float x = normal();
                rows[i] = how == 0   ? x
                          : how == 1 ? roundf(x * 2)
                          : how == 2 ? x * 0x1p-120f
                          : how == 3 ? -fabsf(x)
                                     : x * 30;
                rows[i] = odd == 0   ? NAN
                          : odd == 1 ? FLT_MAX
                          : odd == 2 ? -INFINITY
                          : odd == 3 ? -0.0f
                                     : rows[i];
            }
            fill_kept(&found, keep, rows, n);
            want = found;
            const csimd_moments m = moments_of(&found, keep), w = moments_of(&want, keep);
            tested->note_moments(&m, rows, stride, tokens, n);
            for (size_t t = 0; t < tokens; t++) {
                for (size_t i = 0; i < n; i++) {
                    csimd_note_moment(&w, i, w.token + (uint32_t)t, rows[t * stride + i]);
                }
            }
            expect(memcmp(&found, &want, sizeof found) == 0, "keep %zu n %zu tokens %zu", keep, n,
                   tokens);
            free(rows);
        }
    }
    report("note_moments");
}

/// The strongest of several samples, with the memory for it.
typedef struct strongest {
    float values[MAX_NEURONS * MOST], floors[MAX_NEURONS];
    uint32_t samples[MAX_NEURONS * MOST], tokens[MAX_NEURONS * MOST];
} strongest;

static csimd_strongest strongest_of(strongest* s, size_t keep) {
    return (csimd_strongest){keep, MAX_NEURONS, s->values, s->samples, s->tokens, s->floors};
}

/// A sample's of a neuron: a few, descending, many of them equal to another sample's.
static void fill_sample(float* values, uint32_t* samples, uint32_t* tokens, size_t keep,
                        size_t neuron, uint32_t sample) {
    const size_t there = random_bits() % 4 ? random_bits() % (keep + 1) : 0;
    float value = (float)(random_bits() % 4);
    for (size_t k = 0; k < keep; k++) {
        values[k * MAX_NEURONS + neuron] = k < there ? value : -INFINITY;
        samples[k * MAX_NEURONS + neuron] = sample;
        tokens[k * MAX_NEURONS + neuron] = k < there ? random_bits() : 0;
        const uint32_t how = random_bits() % 8;
        value = how == 0 && value == 0 ? -0.0f : how == 1 ? value - fabsf(normal()) : value;
    }
}

/// Samples in whatever order, beginning with nothing; what lies below is what a neuron by itself
/// has.
static void check_adding(void) {
    static strongest found, want;
    static float values[MAX_NEURONS * MOST];
    static uint32_t samples[MAX_NEURONS * MOST], tokens[MAX_NEURONS * MOST];
    for (int at = 0; at < 4; at++) {
        const size_t keep = keeps[at];
        const csimd_strongest all = strongest_of(&found, keep), one = strongest_of(&want, keep);
        FOR_LENGTHS(n) {
            memset(&found, 0, sizeof found);
            for (size_t i = 0; i < MAX_NEURONS * MOST; i++) {
                found.values[i] = -INFINITY;
            }
            for (size_t i = 0; i < MAX_NEURONS; i++) {
                found.floors[i] = -INFINITY;
            }
            want = found;
            uint32_t sample = random_bits() % 7;
            for (int round = 0; round < 7; round++, sample = (sample + 3) % 7) {
                for (size_t i = 0; i < n; i++) {
                    fill_sample(values, samples, tokens, keep, i, sample);
                }
                tested->add_strongest(&all, values, samples, tokens, n);
                for (size_t i = 0; i < n; i++) {
                    csimd_add_strongest_of(&one, i, values, samples, tokens);
                }
            }
            expect(memcmp(&found, &want, sizeof found) == 0, "keep %zu n %zu", keep, n);
        }
    }
    static const float floors[][2] = {{1, 0x1.fffffep-1f},   {0, -0x1p-149f},
                                      {-0.0f, -0x1p-149f},   {0x1p-149f, 0},
                                      {-1, -0x1.000002p+0f}, {FLT_MAX, 0x1.fffffcp+127f},
                                      {-FLT_MAX, -INFINITY}, {0x1p-126f, 0x1.fffffcp-127f}};
    for (size_t i = 0; i < sizeof floors / sizeof *floors; i++) {
        const csimd_strongest all = strongest_of(&found, 1);
        for (size_t k = 0; k < 16; k++) {
            found.values[k] = -INFINITY;
            values[k] = floors[i][0];
        }
        tested->add_strongest(&all, values, samples, tokens, 16);
        expect(same(found.floors[3], floors[i][1]), "below %a: %a", (double)floors[i][0],
               (double)found.floors[3]);
    }
    report("add_strongest");
}

void check_moments(void) {
    check_noting();
    check_adding();
}
