// The strongest activations of neurons and their histograms: the specification, a neuron and an
// activation at a time.
#ifndef CSIMD_MOMENTS_H
#define CSIMD_MOMENTS_H

#include <math.h>

#include "internal.h"

/// Puts an activation that is greater than its neuron's floor among the strongest, behind those
/// that are as great: their tokens came before.
static inline void csimd_keep_moment(const csimd_moments* m, size_t neuron, uint32_t token,
                                     float value) {
    float* values = m->values + neuron;
    uint32_t* tokens = m->tokens + neuron;
    const size_t last = (m->keep - 1) * m->stride;
    size_t at = last;
    for (; at > 0 && value > values[at - m->stride]; at -= m->stride) {
        values[at] = values[at - m->stride];
        tokens[at] = tokens[at - m->stride];
    }
    values[at] = value;
    tokens[at] = token;
    // Below the floor while there are fewer than `keep`.
    const float least = values[last];
    m->floors[neuron] = least > m->floors[neuron] ? least : m->floors[neuron];
}

/// The specification of what a leaf does with an activation, NaN included.
static inline void csimd_note_moment(const csimd_moments* m, size_t neuron, uint32_t token,
                                     float value) {
    if (value > m->floors[neuron]) {
        csimd_keep_moment(m, neuron, token, value);
    }
    for (size_t e = 0; e < CSIMD_EDGES && value > csimd_edges[e]; e++) {
        m->above[e * m->stride + neuron]++;
    }
}

/// One below x, which is no NaN.
static inline float csimd_below(float x) {
    return nextafterf(x, -INFINITY);
}

/// Adds a neuron's of other samples.
static inline void csimd_add_strongest_of(const csimd_strongest* all, size_t neuron,
                                          const float* values, const uint32_t* samples,
                                          const uint32_t* tokens) {
    const size_t stride = all->stride, end = all->keep * stride;
    for (size_t from = neuron; from < end && values[from] > -INFINITY; from += stride) {
        const float value = values[from];
        const uint32_t sample = samples[from];
        size_t at = end + neuron;
        while (at > neuron &&
               (value > all->values[at - stride] ||
                (value == all->values[at - stride] && sample < all->samples[at - stride]))) {
            at -= stride;
        }
        if (at >= end) {
            break;
        }
        for (size_t to = end - stride + neuron; to > at; to -= stride) {
            all->values[to] = all->values[to - stride];
            all->samples[to] = all->samples[to - stride];
            all->tokens[to] = all->tokens[to - stride];
        }
        all->values[at] = value;
        all->samples[at] = sample;
        all->tokens[at] = tokens[from];
    }
    all->floors[neuron] = csimd_below(all->values[end - stride + neuron]);
}

#endif
