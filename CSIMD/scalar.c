// The table of plain C and its f32 leaves: what every other instruction set is tested against. The
// others are in scalar_weights.c and scalar_int8.c.
#include <math.h>
#include <string.h>

#include "internal.h"
#include "moments.h"

static void gemm_f32(const csimd_gemm* g) {
    for (size_t i = 0; i < g->m; i++) {
        for (size_t j = 0; j < g->n; j++) {
            const float* b = g->b + j / CSIMD_GEMM_PANEL * g->b_stride + j % CSIMD_GEMM_PANEL;
            float sum = 0;
            for (size_t p = 0; p < g->k; p++) {
                sum = fmaf(g->a[i * g->a_stride + p], b[p * CSIMD_GEMM_PANEL], sum);
            }
            float* c = &g->c[i * g->c_stride + j];
            *c = g->accumulate ? *c + sum : sum;
        }
    }
}

/// As bf16, to nearest even, in the upper half.
static uint32_t bf16_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t rounded = x == x ? bits + 0x7fff + (bits >> 16 & 1) : bits | 0x400000;
    return rounded & 0xffff0000;
}

static void round_bf16(float* x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = bf16_bits(x[i]);
        memcpy(x + i, &bits, sizeof bits);
    }
}

static void pair_rows(const float* even, const float* odd, size_t n, uint32_t* to) {
    for (size_t i = 0; i < n; i++) {
        to[i] = bf16_bits(even[i]) >> 16 | bf16_bits(odd[i]);
    }
}

static void pair_columns(const float* x, size_t n, uint32_t* to) {
    for (size_t i = 0; i < n; i += 2) {
        to[i / 2] = bf16_bits(x[i]) >> 16 | bf16_bits(x[i + 1]);
    }
}

static void turn_floats(const float* rows, size_t stride, size_t k, float* to) {
    for (size_t i = 0; i < k; i++) {
        for (size_t r = 0; r < CSIMD_GEMM_PANEL; r++) {
            to[i * CSIMD_GEMM_PANEL + r] = rows[r * stride + i];
        }
    }
}

static void dots(csimd_type type, const void* w, size_t row_bytes, size_t rows, const float* x,
                 size_t n, float* y) {
    for (size_t r = 0; r < rows; r++) {
        const char* row = (const char*)w + r * row_bytes;
        y[r] = 0;
        for (size_t i = 0; i < n; i++) {
            y[r] = fmaf(csimd_scalar_element(type, row, i), x[i], y[r]);
        }
    }
}

static void add_rows(csimd_type type, const void* w, size_t row_bytes, size_t rows, const float* a,
                     float* y, size_t n) {
    for (size_t r = 0; r < rows; r++) {
        const char* row = (const char*)w + r * row_bytes;
        for (size_t i = 0; i < n; i++) {
            y[i] = fmaf(a[r], csimd_scalar_element(type, row, i), y[i]);
        }
    }
}

static void rms_norm_row(const float* x, const float* weight, float eps, float* y, size_t n) {
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        squares += (double)x[i] * (double)x[i];
    }
    double scale = 1.0 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)((double)x[i] * scale * (double)weight[i]);
    }
}

static void layer_norm_row(const float* x, const float* weight, const float* bias, float eps,
                           float* y, size_t n) {
    double mean = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        mean += (double)x[i];
    }
    mean /= (double)n;
    for (size_t i = 0; i < n; i++) {
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    }
    double scale = 1.0 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)(((double)x[i] - mean) * scale * (double)weight[i] + (double)bias[i]);
    }
}

static void add(float* x, const float* y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] += y[i];
    }
}

static void scale(float* x, float a, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] *= a;
    }
}

static float max(const float* x, size_t n) {
    float best = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        best = x[i] > best ? x[i] : best;
    }
    return best;
}

static float exp_sum(float* x, float shift, size_t n) {
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - shift);
        total += (double)x[i];
    }
    return (float)total;
}

static void rope_row(float* x, const float* cos_sin, size_t heads, size_t head_dim) {
    const size_t half = head_dim / 2;
    const float *cosine = cos_sin, *sine = cos_sin + half;
    for (size_t h = 0; h < heads; h++, x += head_dim) {
        for (size_t i = 0; i < half; i++) {
            float even = x[2 * i], odd = x[2 * i + 1];
            x[2 * i] = even * cosine[i] - odd * sine[i];
            x[2 * i + 1] = odd * cosine[i] + even * sine[i];
        }
    }
}

/// The formulas as PyTorch rounds them: a tiny positive x stays positive where it does there.
static float activation(csimd_activation kind, float x) {
    if (kind == CSIMD_GELU_ERF) {
        return x * 0.5f * (1.0f + erff(x * 0x1.6a09e6p-1f));
    }
    if (kind == CSIMD_GELU_QUICK) {
        return x * (1.0f / (1.0f + expf(x * -1.702f)));
    }
    return x / (1.0f + expf(-x));
}

static void activate_row(csimd_activation kind, float* x, const float* up, size_t n,
                         const csimd_site* site) {
    for (size_t i = 0; i < n; i++) {
        float v = activation(kind, x[i]);
        if (site->scale) {
            v = site->scale[i] == 0 ? site->shift[i] : fmaf(site->scale[i], v, site->shift[i]);
        }
        if (site->counts) {
            site->counts[i] += v > 0;
        }
        if (site->sums) {
            site->sums[i] += (double)v;
        }
        if (site->squares) {
            site->squares[i] += (double)v * (double)v;
        }
        if (site->maxima) {
            site->maxima[i] = v > site->maxima[i] ? v : site->maxima[i];
        }
        if (site->values) {
            site->values[i] = v;
        }
        x[i] = up ? v * up[i] : v;
    }
}

static void note_moments(const csimd_moments* m, const float* values, size_t stride, size_t tokens,
                         size_t n) {
    for (size_t t = 0; t < tokens; t++) {
        for (size_t i = 0; i < n; i++) {
            csimd_note_moment(m, i, m->token + (uint32_t)t, values[t * stride + i]);
        }
    }
}

static void add_strongest(const csimd_strongest* all, const float* values, const uint32_t* samples,
                          const uint32_t* tokens, size_t n) {
    for (size_t i = 0; i < n; i++) {
        csimd_add_strongest_of(all, i, values, samples, tokens);
    }
}

static void subtract_products(const double* x, const double* y, size_t n, size_t depth, double* out,
                              size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < cols; c++) {
            double sums[8] = {0}, left = 0;
            size_t k = 0;
            for (; k < depth - depth % 8; k++) {
                sums[k % 8] = fma(x[r * n + k], y[c * n + k], sums[k % 8]);
            }
            for (; k < depth; k++) {
                left = fma(x[r * n + k], y[c * n + k], left);
            }
            for (size_t half = 4; half > 0; half /= 2) {
                for (size_t i = 0; i < half; i++) {
                    sums[i] += sums[i + half];
                }
            }
            out[r * n + c] -= sums[0] + left;
        }
    }
}

const csimd_kernels csimd_scalar_kernels = {
    .name = "scalar",
    .to_f32 = csimd_scalar_to_f32,
    .from_f32 = csimd_scalar_from_f32,
    .quantize_row = csimd_scalar_quantize_row,
    .panel_bytes = csimd_panel_bytes,
    .pack_panel = csimd_scalar_pack_panel,
    .panels_at_once = 1,
    .panel_product = csimd_scalar_panel_product,
    .row_product = csimd_scalar_row_product,
    .gemm_f32 = gemm_f32,
    .turn_floats = turn_floats,
    .subtract_products = subtract_products,
    .round_bf16 = round_bf16,
    .pair_rows = pair_rows,
    .pair_columns = pair_columns,
    .dots = dots,
    .add_rows = add_rows,
    .rms_norm_row = rms_norm_row,
    .layer_norm_row = layer_norm_row,
    .add = add,
    .scale = scale,
    .max = max,
    .exp_sum = exp_sum,
    .rope_row = rope_row,
    .activate_row = activate_row,
    .note_moments = note_moments,
    .add_strongest = add_strongest,
};
