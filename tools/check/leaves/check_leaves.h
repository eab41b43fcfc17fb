// What the checks of leaves share: numbers, buffers, comparisons and the count of failures.
#pragma once

#include <math.h>
#include <string.h>

#include "internal.h"

/// The instruction set under test, and plain C.
extern const csimd_kernels* tested;
extern const csimd_kernels* const scalar;

// --- numbers and buffers -----------------------------------------------------------------------

uint32_t random_bits(void);
/// Roughly normal, standard deviation 1.
float normal(void);
void fill(float* x, size_t n);

enum { ROOM = 1 << 18, GUARD = 64, BUFFERS = 8 };
extern float arena[BUFFERS][ROOM];
/// Buffer i, its start `shift` floats past a 64-byte line, its first 4,096 elements NaN.
float* buffer(int i, size_t shift);

static inline uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}
static inline float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

/// Lengths: all up to four 16-float registers and their tails, then some of the models'.
size_t next_length(size_t n);
#define FOR_LENGTHS(n) for (size_t n = 1; n; n = next_length(n))

// --- comparisons -------------------------------------------------------------------------------

/// Counts a case, and a failure if not ok; prints the first few.
void expect(bool ok, const char* format, ...) __attribute__((format(printf, 2, 3)));
/// Neither before nor behind x[0 ..< n] was anything written.
void expect_untouched(const float* x, size_t n, const char* leaf);
/// Every one of `n` bytes is `byte`.
void expect_all(const uint8_t* x, uint8_t byte, size_t n, const char* leaf);
/// Prints the line of a leaf and begins the next one's count.
void report(const char* leaf);

/// a equals b to the bit, any NaN equalling any NaN.
static inline bool same(float a, float b) {
    return bits_of(a) == bits_of(b) || (isnan(a) && isnan(b));
}
/// |got - want| <= bound, or both NaN, or the same infinity.
static inline bool near(double got, double want, double bound) {
    return (isnan(got) && isnan(want)) || got == want || fabs(got - want) <= bound;
}

// --- check_leaves_moments.c --------------------------------------------------------------------

void check_moments(void);

// --- check_leaves_weights.c --------------------------------------------------------------------

/// to_f32 and from_f32 of every type: the bits of plain C.
void check_weights(void);
/// Products of weights of a quantized type with activations of one plane (int8) or two (int16).
void check_integers(csimd_type type, int planes);
