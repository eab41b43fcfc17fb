// Runs every kernel that shares its work between threads on one thread and on four, on every
// instruction set of this CPU: the results must be the same bits. Built with the thread sanitizer,
// which reports what threads do to each other.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csimd.h"

static unsigned random_state = 1;

static float number(void) {
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(random_state >> 8) / 8388608.0f - 1.0f;
}

static void* room(size_t bytes) {
    void* memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!memory) {
        abort();
    }
    memset(memory, 0, bytes);
    return memory;
}

static float* numbers(size_t n) {
    float* x = room(n * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        x[i] = number();
    }
    return x;
}

static float* copy(const float* x, size_t n) {
    return memcpy(room(n * sizeof(float)), x, n * sizeof(float));
}

/// The most tasks that a kernel was cut into (threads.c).
extern int64_t most_tasks;

static int failures;

// Runs `kernel` with 1 and with 4 threads; it writes `bytes` of `out`, which begin alike.
static void compare(const char* name, void (*kernel)(void* context), void* context, void* out,
                    size_t bytes) {
    void* before = memcpy(room(bytes), out, bytes);
    most_tasks = 0;
    csimd_set_threads(1);
    kernel(context);
    void* alone = memcpy(room(bytes), out, bytes);
    for (int round = 0; round < 3; round++) {
        memcpy(out, before, bytes);
        csimd_set_threads(4);
        kernel(context);
        if (memcmp(out, alone, bytes) != 0) {
            failures++;
            printf("%s, %s: other bits on four threads\n", csimd_isa(), name);
        }
    }
    if (most_tasks < 2) {
        failures++;
        printf("%s: one task, nothing to share\n", name);
    }
    free(before);
    free(alone);
}

// --- products ------------------------------------------------------------------------------------

typedef struct {
    csimd_matrix w;
    const float* bias;
    csimd_input input;
    float* y;
    bool few;
} product;

static void multiply(void* context) {
    product* p = context;
    if (csimd_takes_integers(&p->w)) {
        csimd_quantize_activations(&p->input);
    }
    (p->few ? csimd_matvec : csimd_matmul)(&p->w, p->bias, &p->input, p->y, p->w.rows);
}

static void check_product(const csimd_matrix* w, const float* bias, csimd_integers integers) {
    for (size_t tokens = 1; tokens <= 37; tokens += 12) {
        float* x = numbers(tokens * w->cols);
        float* y = room(tokens * w->rows * sizeof(float));
        void* quantized = room(csimd_quantized_bytes(tokens, w->cols, integers));
        product p = {*w, bias, {x, tokens, w->cols, w->cols, integers, quantized}, y, false};
        compare("matmul", multiply, &p, y, tokens * w->rows * sizeof(float));
        p.few = true;
        if (tokens == 1) {
            compare("matvec", multiply, &p, y, tokens * w->rows * sizeof(float));
        }
        free(x);
        free(y);
        free(quantized);
    }
}

static void check_products(void) {
    const csimd_type types[] = {CSIMD_F32,  CSIMD_F16,    CSIMD_BF16, CSIMD_Q8_0,
                                CSIMD_Q4_0, CSIMD_IQ4_NL, CSIMD_Q4_K, CSIMD_Q6_K};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        for (size_t least = 96; least <= 1056; least += 960) {
            const size_t cols = csimd_row_bytes(types[i], least) ? least : least / 256 * 256 + 256;
            const size_t rows = 131;
            const size_t row_bytes = csimd_row_bytes(types[i], cols);
            uint8_t* weights = room(rows * row_bytes);
            float* row = numbers(cols);
            for (size_t r = 0; r < rows; r++) {
                row[r % cols] = number();
                csimd_quantize_row(types[i], row, NULL, weights + r * row_bytes, cols);
            }
            float* bias = numbers(rows);
            // Both integers, where the type takes any.
            const csimd_matrix w = {types[i], weights, rows, cols};
            const csimd_integers most = csimd_takes_integers(&w) ? CSIMD_INT16 : CSIMD_INT8;
            for (csimd_integers integers = CSIMD_INT8; integers <= most; integers++) {
                check_product(&w, bias, integers);
            }
            free(bias);
            free(weights);
            free(row);
        }
    }
}

// --- rows ----------------------------------------------------------------------------------------

enum { TOKENS = 53, HEAD = 40, WIDTH = 40 * HEAD };

typedef struct {
    float *x, *y, *weight, *bias, *angles;
    csimd_site site;
    csimd_activation activation;
} rows;

static void rms_norm(void* context) {
    rows* r = context;
    csimd_rms_norm(r->x, r->weight, 1e-5f, r->x, TOKENS, WIDTH);
}

static void layer_norm(void* context) {
    rows* r = context;
    csimd_layer_norm(r->x, r->weight, r->bias, 1e-5f, r->x, TOKENS, WIDTH);
}

static void add(void* context) {
    rows* r = context;
    csimd_add(r->x, r->y, TOKENS * WIDTH);
}

static void add_row(void* context) {
    rows* r = context;
    csimd_add_row(r->x, r->bias, TOKENS, WIDTH);
}

static void softmax(void* context) {
    rows* r = context;
    csimd_softmax(r->x, TOKENS, WIDTH);
}

static void rope(void* context) {
    rows* r = context;
    csimd_rope_interleaved(r->x, r->angles, TOKENS, WIDTH / HEAD, HEAD, WIDTH);
}

static void activate(void* context) {
    rows* r = context;
    csimd_activate(r->activation, r->x, TOKENS, WIDTH, &r->site);
}

static void activate_gated(void* context) {
    rows* r = context;
    csimd_activate_gated(r->activation, r->x, r->y, TOKENS, WIDTH, &r->site);
}

// What a site gathers is sums over tokens, which threads could share badly: it must be the same
// bits.
static void observed_alike(const char* name, void (*kernel)(void* context), rows* r,
                           const float* scale, const float* shift) {
    const size_t n = TOKENS * WIDTH, fired_bytes = TOKENS * ((WIDTH + 7) / 8);
    float* before = copy(r->x, n);
    struct {
        float* x;
        int64_t* counts;
        double *sums, *squares;
        float* maxima;
        uint8_t* fired;
        float* values;
    } seen[2];
    for (int i = 0; i < 2; i++) {
        seen[i].counts = room(WIDTH * sizeof(int64_t));
        seen[i].sums = room(WIDTH * sizeof(double));
        seen[i].squares = room(WIDTH * sizeof(double));
        seen[i].maxima = room(WIDTH * sizeof(float));
        seen[i].fired = room(fired_bytes);
        seen[i].values = room(n * sizeof(float));
        for (size_t j = 0; j < WIDTH; j++) {
            seen[i].maxima[j] = -INFINITY;
        }
        r->site = (csimd_site){scale,           shift,          seen[i].counts, seen[i].sums,
                               seen[i].squares, seen[i].maxima, seen[i].fired,  seen[i].values};
        memcpy(r->x, before, n * sizeof(float));
        csimd_set_threads(i == 0 ? 1 : 4);
        kernel(r);
        seen[i].x = copy(r->x, n);
    }
    if (memcmp(seen[0].x, seen[1].x, n * sizeof(float)) != 0 ||
        memcmp(seen[0].counts, seen[1].counts, WIDTH * sizeof(int64_t)) != 0 ||
        memcmp(seen[0].sums, seen[1].sums, WIDTH * sizeof(double)) != 0 ||
        memcmp(seen[0].squares, seen[1].squares, WIDTH * sizeof(double)) != 0 ||
        memcmp(seen[0].maxima, seen[1].maxima, WIDTH * sizeof(float)) != 0 ||
        memcmp(seen[0].fired, seen[1].fired, fired_bytes) != 0 ||
        memcmp(seen[0].values, seen[1].values, n * sizeof(float)) != 0) {
        failures++;
        printf("%s, %s: other sums on four threads\n", csimd_isa(), name);
    }
    for (int i = 0; i < 2; i++) {
        free(seen[i].x);
        free(seen[i].counts);
        free(seen[i].sums);
        free(seen[i].squares);
        free(seen[i].maxima);
        free(seen[i].fired);
        free(seen[i].values);
    }
    r->site = (csimd_site){0};
    memcpy(r->x, before, n * sizeof(float));
    free(before);
}

// Sums of squares over tokens, in the order of the tokens.
static void add_squares_alike(const rows* r) {
    double* sums[2];
    for (int i = 0; i < 2; i++) {
        sums[i] = room(WIDTH * sizeof(double));
        csimd_set_threads(i == 0 ? 1 : 4);
        csimd_add_squares(r->x, TOKENS, WIDTH, sums[i]);
    }
    if (memcmp(sums[0], sums[1], WIDTH * sizeof(double)) != 0) {
        failures++;
        printf("%s, add_squares: other sums on four threads\n", csimd_isa());
    }
    free(sums[0]);
    free(sums[1]);
}

static void check_rows(void) {
    const size_t n = TOKENS * WIDTH;
    rows r = {numbers(n), numbers(n), numbers(WIDTH), numbers(WIDTH), numbers(TOKENS * HEAD),
              {0},        CSIMD_SILU};
    const size_t bytes = n * sizeof(float);
    compare("rms_norm", rms_norm, &r, r.x, bytes);
    compare("layer_norm", layer_norm, &r, r.x, bytes);
    compare("add", add, &r, r.x, bytes);
    compare("add_row", add_row, &r, r.x, bytes);
    compare("softmax", softmax, &r, r.x, bytes);
    compare("rope", rope, &r, r.x, bytes);
    add_squares_alike(&r);
    // An intervention: off, moved, and as it was.
    float* scale = room(WIDTH * sizeof(float));
    float* shift = room(WIDTH * sizeof(float));
    for (size_t i = 0; i < WIDTH; i++) {
        scale[i] = i % 7 == 3 ? 0 : i % 5 == 1 ? 0.5f : 1;
        shift[i] = i % 11 == 2 ? number() : -0.0f;
    }
    for (r.activation = CSIMD_SILU; r.activation <= CSIMD_GELU_QUICK; r.activation++) {
        compare("activate", activate, &r, r.x, bytes);
        compare("activate_gated", activate_gated, &r, r.x, bytes);
        observed_alike("activate", activate, &r, scale, shift);
        observed_alike("activate_gated", activate_gated, &r, scale, shift);
    }
    free(scale);
    free(shift);
    free(r.x);
    free(r.y);
    free(r.weight);
    free(r.bias);
    free(r.angles);
}

// --- lens ----------------------------------------------------------------------------------------

enum { LENS_ROWS = 9, VOCABULARY = 3001, TOP = 10 };

static void lens(void* context) {
    csimd_lens(context);
}

typedef struct {
    const float *x, *y;
    double* sums;
} deviations;

static void deviation(void* context) {
    deviations* d = context;
    csimd_row_deviation(d->x, d->y, LENS_ROWS, VOCABULARY, d->sums);
}

static void check_lens(void) {
    const size_t n = LENS_ROWS * VOCABULARY;
    csimd_lens_rows r = {.count = LENS_ROWS, .n = VOCABULARY, .stride = VOCABULARY, .top = TOP};
    r.logits = numbers(n);
    r.probabilities = room(n * sizeof(float));
    r.top_ids = room(LENS_ROWS * TOP * sizeof(int32_t));
    r.top_probabilities = room(LENS_ROWS * TOP * sizeof(float));
    r.entropies = room(LENS_ROWS * sizeof(float));
    compare("lens", lens, &r, r.logits, n * sizeof(float));
    float* other = numbers(n);
    deviations d = {r.logits, other, room(LENS_ROWS * 4 * sizeof(double))};
    compare("row_deviation", deviation, &d, d.sums, LENS_ROWS * 4 * sizeof(double));
    free(r.logits);
    free(r.probabilities);
    free(r.top_ids);
    free(r.top_probabilities);
    free(r.entropies);
    free(other);
    free(d.sums);
}

// --- attention -----------------------------------------------------------------------------------

static void attention(void* context) {
    if (!csimd_attention(context)) {
        abort();
    }
}

typedef struct {
    csimd_decode_args args;
    csimd_sequence sequences[3];
} decoding;

static void decode(void* context) {
    decoding* d = context;
    if (!csimd_attention_decode(&d->args, d->sequences)) {
        abort();
    }
}

static void check_attention(void) {
    enum { KEYS = 700, SEQUENCES = 3, HEADS = 4, KV_HEADS = 2, KV_WIDTH = KV_HEADS * HEAD };
    enum { Q_WIDTH = HEADS * HEAD };
    const size_t queries = (size_t)SEQUENCES * TOKENS * Q_WIDTH;
    const size_t kv = (size_t)SEQUENCES * KEYS * KV_WIDTH;
    float* q = numbers(queries);
    float* out = room(queries * sizeof(float));
    float* k = numbers(kv);
    float* v = numbers(kv);
    for (int half = 0; half < 2; half++) {
        csimd_kv keys = {CSIMD_F32, k, (size_t)KEYS * KV_WIDTH, KV_WIDTH, HEAD};
        csimd_kv values = {CSIMD_F32, v, (size_t)KEYS * KV_WIDTH, KV_WIDTH, HEAD};
        if (half) {
            uint16_t* halves[2] = {room(kv * 2), room(kv * 2)};
            csimd_f32_to_f16(k, halves[0], kv);
            csimd_f32_to_f16(v, halves[1], kv);
            keys.type = values.type = CSIMD_F16;
            keys.data = halves[0];
            values.data = halves[1];
        }
        for (int causal = 0; causal < 2; causal++) {
            csimd_attention_args args = {.q = q,
                                         .q_stride = Q_WIDTH,
                                         .k = keys,
                                         .v = values,
                                         .out = out,
                                         .out_stride = Q_WIDTH,
                                         .sequences = SEQUENCES,
                                         .tokens = TOKENS,
                                         .keys = KEYS,
                                         .first_position = KEYS - TOKENS,
                                         .heads = HEADS,
                                         .kv_heads = KV_HEADS,
                                         .head_dim = HEAD,
                                         .scale = 0.16f,
                                         .causal = causal};
            compare("attention", attention, &args, out, queries * sizeof(float));
        }
        decoding d = {.args = {.q = q,
                               .q_stride = Q_WIDTH,
                               .out = out,
                               .out_stride = Q_WIDTH,
                               .sequences = SEQUENCES,
                               .heads = HEADS,
                               .kv_heads = KV_HEADS,
                               .head_dim = HEAD,
                               .scale = 0.16f}};
        for (size_t s = 0; s < SEQUENCES; s++) {
            d.sequences[s] = (csimd_sequence){keys, values, KEYS - 200 * s};
        }
        compare("attention_decode", decode, &d, out, SEQUENCES * Q_WIDTH * sizeof(float));
        if (half) {
            free((void*)keys.data);
            free((void*)values.data);
        }
    }
    free(q);
    free(out);
    free(k);
    free(v);
}

int main(void) {
    const char* isa;
    for (int i = 0; (isa = csimd_isa_name(i)); i++) {
        if (!csimd_select_isa(isa)) {
            printf("%s: left out, for this CPU does not have it\n", isa);
            continue;
        }
        check_products();
        check_rows();
        check_lens();
        check_attention();
        csimd_set_threads(4);
        (void)csimd_measure_read_bandwidth(NULL, 0);
        printf("%s: done\n", isa);
    }
    printf(failures ? "%d FAILURES\n" : "no failure\n", failures);
    return failures != 0;
}
