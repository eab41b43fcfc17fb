// Compares every leaf kernel of the vector instruction sets that this CPU has with the scalar
// leaves and with f64, over sizes, tails, misaligned addresses and extreme values. Prints a line
// per leaf and ends with PASS or FAIL; the exit code says the same. native.sh runs it on this
// CPU, avx512.sh and arm.sh on emulated ones.
#include <float.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "check_leaves.h"

const csimd_kernels* tested;
const csimd_kernels* const scalar = &csimd_scalar_kernels;
static long cases, failures, all_failures;

// --- numbers and buffers -----------------------------------------------------------------------

static uint64_t state = 0x9e3779b97f4a7c15u;
uint32_t random_bits(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

float normal(void) {
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        sum += (float)random_bits() * 0x1p-32f - 0.5f;
    }
    return sum * 1.7320508f;
}

float arena[BUFFERS][ROOM];
float* buffer(int i, size_t shift) {
    for (size_t j = 0; j < 4096; j++) {
        arena[i][j] = NAN;
    }
    uintptr_t line = ((uintptr_t)arena[i] + GUARD * sizeof(float) + 63) / 64 * 64;
    return (float*)line + shift;
}

void fill(float* x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] = normal();
    }
}

void expect(bool ok, const char* format, ...) {
    cases++;
    if (ok) {
        return;
    }
    if (failures++ < 5) {
        va_list arguments;
        va_start(arguments, format);
        printf("    ");
        vprintf(format, arguments);
        printf("\n");
        va_end(arguments);
    }
}

void expect_untouched(const float* x, size_t n, const char* leaf) {
    bool ok = isnan(x[-1]) && isnan(x[-2]);
    for (size_t i = n; i < n + 32; i++) {
        ok = ok && isnan(x[i]);
    }
    expect(ok, "%s wrote outside its %zu elements", leaf, n);
}

void expect_all(const uint8_t* x, uint8_t byte, size_t n, const char* leaf) {
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        ok = ok && x[i] == byte;
    }
    expect(ok, "%s wrote past its end", leaf);
}

void report(const char* leaf) {
    printf("%s %-10s %-16s %ld cases\n", failures ? "BAD" : "ok ", tested->name, leaf, cases);
    fflush(stdout);
    all_failures += failures;
    cases = failures = 0;
}

size_t next_length(size_t n) {
    static const size_t more[] = {88, 100, 128, 257, 577, 1024, 1408, 2049};
    if (n < 70) {
        return n + 1;
    }
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        if (more[i] > n) {
            return more[i];
        }
    }
    return 0;
}

// --- f32 leaves --------------------------------------------------------------------------------

static uint16_t half_of(csimd_type type, float x) {
    if (type == CSIMD_F16) {
        return csimd_f32_to_f16_one(x);
    }
    return (uint16_t)(bits_of(x) >> 16);
}
/// n random values of `type` at `to`; `shift` elements past a line. Returns their address.
static void* weights(csimd_type type, float* to, size_t n, size_t shift) {
    if (type == CSIMD_F32) {
        fill(to + shift, n);
        return to + shift;
    }
    uint16_t* h = (uint16_t*)to + shift;
    for (size_t i = 0; i < n; i++) {
        h[i] = half_of(type, normal());
    }
    return h;
}

static void check_gemm(void) {
    static const size_t ns[] = {16, 32, 48, 80, 128}, ks[] = {1, 2, 7, 24, 88, 256, 300};
    for (size_t m = 1; m <= 27; m++) {
        for (size_t in = 0; in < 5; in++) {
            for (size_t ik = 0; ik < 7; ik++) {
                size_t n = ns[in], k = ks[ik], lda = k + m % 3, ldc = n + m % 5;
                if (m % 7 != ik && m * n * k > 20000) {
                    continue;
                }
                float *a = buffer(0, m % 4), *b = buffer(1, 0), *c = buffer(2, m % 3);
                float* d = buffer(3, 0);
                fill(a, m * lda);
                fill(b, k * n);
                fill(c, m * ldc);
                memcpy(d, c, m * ldc * sizeof(float));
                bool accumulate = (m + ik) % 2;
                csimd_gemm g = {a, b, c, lda, k * CSIMD_GEMM_PANEL, ldc, m, n, k, accumulate};
                tested->gemm_f32(&g);
                g.c = d;
                scalar->gemm_f32(&g);
                expect(memcmp(c, d, m * ldc * sizeof(float)) == 0, "m %zu n %zu k %zu", m, n, k);
            }
        }
    }
    report("gemm_f32");
}

static void check_turning(void) {
    for (size_t k = 1; k <= 137; k++) {
        const size_t stride = k + k % 5;
        float *rows = buffer(0, k % 4), *y = buffer(1, 0), *z = buffer(2, 0);
        fill(rows, 16 * stride);
        tested->turn_floats(rows, stride, k, y);
        scalar->turn_floats(rows, stride, k, z);
        expect(memcmp(y, z, 16 * k * sizeof(float)) == 0, "k %zu", k);
        expect_untouched(y, 16 * k, "turn_floats");
    }
    report("turn_floats");
}

static void check_products_of_doubles(void) {
    static double x[9 * 80], y[9 * 80], out[9 * 80], want[9 * 80];
    float* values = buffer(0, 0);
    fill(values, 9 * 80);
    for (size_t i = 0; i < 9 * 80; i++) {
        x[i] = (double)values[i] / 3;
        y[i] = (double)values[9 * 80 - 1 - i] / 7;
    }
    for (size_t depth = 0; depth <= 71; depth++) {
        for (size_t rows = 1; rows <= 9; rows++) {
            const size_t n = 71 + depth % 9, cols = 1 + (depth + rows) % 9;
            memcpy(out, y, sizeof out);
            memcpy(want, y, sizeof want);
            tested->subtract_products(x, y, n, depth, out, rows, cols);
            scalar->subtract_products(x, y, n, depth, want, rows, cols);
            expect(memcmp(out, want, sizeof out) == 0, "%zu x %zu, depth %zu", rows, cols, depth);
        }
    }
    report("subtract_products");
}

/// Rows of both functions; as many as any instruction set takes at once, and some that are left.
enum { SOME_ROWS = 7 };

static void check_dots_add_rows(void) {
    static const csimd_type types[] = {CSIMD_F32, CSIMD_F16, CSIMD_BF16};
    for (int it = 0; it < 3; it++) {
        csimd_type type = types[it];
        FOR_LENGTHS(n) {
            const size_t apart = n + n % 3, rows = n % SOME_ROWS + 1;
            const size_t row_bytes = apart * (type == CSIMD_F32 ? 4 : 2);
            const char* w = weights(type, buffer(0, 0), rows * apart, n % 5);
            float *want = buffer(2, 0), *x = buffer(3, n % 4), *sums = buffer(1, n % 6);
            fill(x, n);
            tested->dots(type, w, row_bytes, rows, x, n, sums);
            expect_untouched(sums, rows, "dots");
            for (size_t r = 0; r < rows; r++) {
                scalar->to_f32(type, w + r * row_bytes, want, n);
                double exact = 0, size = 0;
                for (size_t i = 0; i < n; i++) {
                    exact += (double)want[i] * (double)x[i];
                    size += fabs((double)want[i] * (double)x[i]);
                }
                // Each partial sum is rounded at most n / 8 + 8 times.
                double bound = size * FLT_EPSILON / 2 * ((double)n / 8 + 8);
                expect(near(sums[r], exact, bound), "dots type %d n %zu row %zu", type, n, r);
                float alone;
                tested->dots(type, w + r * row_bytes, row_bytes, 1, x, n, &alone);
                expect(memcmp(&alone, &sums[r], sizeof alone) == 0,
                       "dots type %d n %zu row %zu alone", type, n, r);
            }

            float *y = buffer(4, n % 7), *z = buffer(5, 0), a[SOME_ROWS];
            fill(a, rows);
            fill(y, n);
            memcpy(z, y, n * sizeof(float));
            tested->add_rows(type, w, row_bytes, rows, a, y, n);
            scalar->add_rows(type, w, row_bytes, rows, a, z, n);
            expect(memcmp(y, z, n * sizeof(float)) == 0, "add_rows type %d n %zu", type, n);
            expect_untouched(y, n, "add_rows");
        }
    }
    report("dots add_rows");
}

static void check_norms(void) {
    FOR_LENGTHS(n) {
        float *x = buffer(0, n % 3), *w = buffer(1, n % 5), *b = buffer(2, n % 2);
        float *y = buffer(3, n % 7), *z = buffer(4, 0);
        fill(x, n);
        fill(w, n);
        fill(b, n);
        float offset = n % 4 == 0 ? 1000.0f : 0, factor = n % 3 == 0 ? 1e18f : 1;
        for (size_t i = 0; i < n; i++) {
            x[i] = (x[i] + offset) * factor;
        }
        // f64 inside: only the order of the f64 sums may show, so at most one f32 step.
        tested->rms_norm_row(x, w, 1e-5f, y, n);
        scalar->rms_norm_row(x, w, 1e-5f, z, n);
        for (size_t i = 0; i < n; i++) {
            expect(near(y[i], z[i], fabs((double)z[i]) * FLT_EPSILON), "rms n %zu at %zu", n, i);
        }
        expect_untouched(y, n, "rms_norm_row");
        tested->layer_norm_row(x, w, b, 1e-5f, y, n);
        scalar->layer_norm_row(x, w, b, 1e-5f, z, n);
        for (size_t i = 0; i < n; i++) {
            double size = fabs((double)z[i]) * FLT_EPSILON + 1e-9;
            expect(near(y[i], z[i], size), "layer norm n %zu at %zu: %a %a", n, i, (double)y[i],
                   (double)z[i]);
        }
        expect_untouched(y, n, "layer_norm_row");
    }
    report("norms");
}

static void check_simple(void) {
    FOR_LENGTHS(n) {
        float *x = buffer(0, n % 3), *y = buffer(1, n % 5), *z = buffer(2, 0);
        fill(x, n);
        fill(y, n);
        memcpy(z, x, n * sizeof(float));
        tested->add(x, y, n);
        scalar->add(z, y, n);
        expect(memcmp(x, z, n * sizeof(float)) == 0, "add n %zu", n);
        tested->scale(x, 1.7f, n);
        scalar->scale(z, 1.7f, n);
        expect(memcmp(x, z, n * sizeof(float)) == 0, "scale n %zu", n);
        expect_untouched(x, n, "add, scale");
        for (size_t at = 0; at < n; at += 1 + n / 40) {
            float old = x[at];
            x[at] = 100;
            expect(tested->max(x, n) == 100, "max n %zu at %zu", n, at);
            x[at] = NAN;
            expect(same(tested->max(x, n), scalar->max(x, n)), "max of NaN, n %zu at %zu", n, at);
            x[at] = old;
        }
    }
    expect(tested->max(arena[0], 0) == -INFINITY, "max of nothing");
    report("add scale max");

    for (size_t half = 1; half <= 70; half++) {
        size_t heads = 1 + half % 3, n = heads * 2 * half;
        float *x = buffer(0, half % 4), *angles = buffer(1, half % 3), *z = buffer(2, 0);
        fill(x, n);
        fill(angles, 2 * half);
        memcpy(z, x, n * sizeof(float));
        tested->rope_row(x, angles, heads, 2 * half);
        scalar->rope_row(z, angles, heads, 2 * half);
        expect(memcmp(x, z, n * sizeof(float)) == 0, "head dim %zu", 2 * half);
        expect_untouched(x, n, "rope_row");
    }
    report("rope_row");
}

/// Distance of neighbouring floats at x, subnormal steps at least.
static double step_at(double x) {
    if (!isfinite(x)) {
        return 0;
    }
    int exponent;
    frexp(x, &exponent);
    return ldexp(1, exponent - 24 < -149 ? -149 : exponent - 24);
}

static void check_exp(void) {
    double worst = 0;
    for (int part = 0; part < 400; part++) {
        float *x = buffer(0, (size_t)part % 3), *in = buffer(1, 0);
        size_t n = 512 + (size_t)part % 17;
        for (size_t i = 0; i < n; i++) {
            float unit = (float)random_bits() * 0x1p-32f;
            // Softmax's range, all that is not 0 or infinite, tiny values, any bits.
            x[i] = part % 4 == 0   ? -30 * unit
                   : part % 4 == 1 ? -104.5f + 194 * unit
                   : part % 4 == 2 ? ldexpf(unit - 0.5f, -(int)(random_bits() % 150))
                                   : 0;
            if (part % 4 == 3) {
                uint32_t bits = random_bits();
                memcpy(&x[i], &bits, 4);
            }
            in[i] = x[i];
        }
        float sum = tested->exp_sum(x, 0, n);
        double total = 0;
        for (size_t i = 0; i < n; i++) {
            double want = exp((double)in[i]);
            if (want > (double)FLT_MAX * (1 + 0x1p-25)) {
                want = INFINITY;
            }
            double error = isnan(want) ? 0 : fabs((double)x[i] - want) / step_at(want);
            worst = isfinite(want) && error > worst ? error : worst;
            // At the overflow threshold the last finite results may come out infinite.
            bool edge = want > 0.9999995 * (double)FLT_MAX && isinf(x[i]);
            expect(near(x[i], want, 2 * step_at(want)) || edge, "exp(%a) = %a, want %a",
                   (double)in[i], (double)x[i], want);
            total += (double)x[i];
        }
        expect(near(sum, total, total * 1e-5) || (isinf(sum) && total > (double)FLT_MAX),
               "sum of exp over %zu: %g, want %g", n, (double)sum, total);
    }
    FOR_LENGTHS(n) {
        float *x = buffer(0, n % 4), *z = buffer(1, 0);
        fill(x, n);
        x[n / 2] = -INFINITY;
        memcpy(z, x, n * sizeof(float));
        float a = tested->exp_sum(x, 0.5f, n), b = scalar->exp_sum(z, 0.5f, n);
        expect(x[n / 2] == 0, "exp(-inf), n %zu", n);
        expect(near(a, b, fabs((double)b) * 4e-7), "sum, n %zu: %g, scalar %g", n, (double)a,
               (double)b);
        expect_untouched(x, n, "exp_sum");
        x[n - 1] = NAN;
        expect(isnan(tested->exp_sum(x, 0, n)) && isnan(x[n - 1]), "exp(NaN), n %zu", n);
    }
    printf("    exp: worst error %.2f ulp\n", worst);
    report("exp_sum");
}

static double exact_activation(csimd_activation kind, double x) {
    switch (kind) {
    case CSIMD_SILU:
        return x / (1 + exp(-x));
    case CSIMD_GELU_QUICK:
        return x / (1 + exp(-1.702 * x));
    default:
        return x / 2 * erfc(-x / sqrt(2.0));
    }
}

static void check_activations(void) {
    static float scales[4096], shifts[4096], maxima[4096], want_maxima[4096];
    static int64_t counts[4096], want_counts[4096];
    static double sums[4096], want_sums[4096], squares[4096], want_squares[4096];
    static const csimd_site none;
    for (int kind = 0; kind < 3; kind++) {
        double worst = 0;
        int part = 0;
        FOR_LENGTHS(n) {
            part++;
            float *x = buffer(0, n % 3), *in = buffer(1, 0), *up = buffer(2, n % 5);
            fill(up, n);
            for (size_t i = 0; i < n; i++) {
                float unit = (float)random_bits() * 0x1p-32f - 0.5f;
                in[i] = x[i] = part % 3 == 0   ? unit * 12
                               : part % 3 == 1 ? unit * 400
                                               : ldexpf(unit, -(int)(random_bits() % 152));
            }
            static const float extremes[] = {0.0f,      -0.0f,  0x1p-149f, 0x1p-148f,
                                             0x1p-126f, 1e-30f, FLT_MAX,   -FLT_MAX,
                                             INFINITY,  NAN,    -1e-40f};
            for (size_t i = 0; n > 24 && i < 11; i++) {
                in[i + 5] = x[i + 5] = extremes[i];
            }
            for (size_t i = 0; i < n; i++) {
                // Left alone, off, put to a value, scaled and moved.
                uint32_t how = random_bits() % 4;
                scales[i] = how == 0 ? 1.0f : how == 3 ? normal() : 0.0f;
                shifts[i] = how == 0 ? -0.0f : how == 1 ? 0.0f : normal();
                counts[i] = want_counts[i] = random_bits();
                sums[i] = want_sums[i] = (double)normal();
                squares[i] = want_squares[i] = (double)normal();
                maxima[i] = want_maxima[i] = normal();
            }
            bool changed = part % 2, counted = part % 5 != 0, gated = part % 3 != 1;
            tested->activate_row(kind, x, NULL, n, &none);
            expect_untouched(x, n, "activate_row");
            float* plain = buffer(3, n % 7);
            memcpy(plain, in, n * sizeof(float));
            float* z = buffer(4, 0);
            memcpy(z, in, n * sizeof(float));
            scalar->activate_row(kind, z, NULL, n, &none);
            for (size_t i = 0; i < n; i++) {
                double want = exact_activation(kind, (double)in[i]);
                double size = fabs((double)in[i]) > 1 ? fabs((double)in[i]) : 1;
                double error = fabs((double)x[i] - want) / size;
                worst = error > worst ? error : worst;
                expect(near(x[i], want, 3e-7 * size) || same(x[i], z[i]),
                       "kind %d of %a: %a, want %a", kind, (double)in[i], (double)x[i], want);
                expect((x[i] > 0) == (z[i] > 0), "kind %d of %a fires: %a, scalar %a", kind,
                       (double)in[i], (double)x[i], (double)z[i]);
            }
            csimd_site site = {
                .scale = changed ? scales : NULL,
                .shift = changed ? shifts : NULL,
                .counts = counted ? counts : NULL,
                .sums = counted ? sums : NULL,
                .squares = counted ? squares : NULL,
                .maxima = counted ? maxima : NULL,
            };
            float* values = buffer(5, n % 6);
            site.values = part % 4 ? values : NULL;
            tested->activate_row(kind, plain, gated ? up : NULL, n, &site);
            for (size_t i = 0; i < n; i++) {
                float v = x[i];
                if (changed) {
                    v = scales[i] == 0 ? shifts[i] : fmaf(scales[i], v, shifts[i]);
                }
                want_counts[i] += counted && v > 0;
                want_sums[i] += counted ? (double)v : 0;
                want_squares[i] += counted ? (double)v * (double)v : 0;
                want_maxima[i] = counted && v > want_maxima[i] ? v : want_maxima[i];
                expect(same(plain[i], gated ? v * up[i] : v), "site of kind %d n %zu", kind, n);
                expect(counts[i] == want_counts[i], "count of kind %d n %zu at %zu", kind, n, i);
                expect(sums[i] == want_sums[i] || (isnan(sums[i]) && isnan(want_sums[i])),
                       "sum of kind %d n %zu at %zu", kind, n, i);
                expect(squares[i] == want_squares[i] ||
                           (isnan(squares[i]) && isnan(want_squares[i])),
                       "squares of kind %d n %zu at %zu", kind, n, i);
                expect(same(maxima[i], want_maxima[i]), "maximum of kind %d n %zu at %zu", kind, n,
                       i);
                expect(!site.values || same(values[i], v), "value of kind %d n %zu at %zu", kind, n,
                       i);
            }
            expect_untouched(values, n, "activate_row");
            expect_untouched(plain, n, "activate_row");
        }
        printf("    activation %d: worst error %.2g x max(1, |x|)\n", kind, worst);
    }
    report("activate_row");
}

int main(void) {
    int sets = 0;
    for (int i = 0; csimd_isa_name(i); i++) {
        if (!csimd_isa_supported(csimd_isa_name(i)) || strcmp(csimd_isa_name(i), "scalar") == 0) {
            continue;
        }
        csimd_select_isa(csimd_isa_name(i));
        tested = csimd_active();
        sets++;
        check_gemm();
        check_turning();
        check_products_of_doubles();
        check_dots_add_rows();
        check_weights();
        check_norms();
        check_simple();
        check_exp();
        check_activations();
        check_moments();
        for (int planes = 1; planes <= CSIMD_PLANES; planes++) {
            static const csimd_type types[] = {CSIMD_Q8_0, CSIMD_Q4_0, CSIMD_IQ4_NL,
                                               CSIMD_Q4_1, CSIMD_Q5_0, CSIMD_Q5_1,
                                               CSIMD_Q4_K, CSIMD_Q5_K, CSIMD_Q6_K};
            for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
                check_integers(types[i], planes);
            }
        }
    }
    bool pass = sets > 0 && all_failures == 0;
    printf("%s: %d instruction sets, last %s, %ld failures\n", pass ? "PASS" : "FAIL", sets,
           sets ? tested->name : "none", all_failures);
    return pass ? 0 : 1;
}
