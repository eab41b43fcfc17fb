// The leaves that work on weights: conversions of every type, and products of quantized ones.
#include <float.h>
#include <stdio.h>
#include <stdlib.h>

#include "check_leaves.h"

// --- weights to f32 and back: the same bits ----------------------------------------------------

/// Halfway between two integers, or the float next to that, in blocks whose scale becomes 1: as
/// Q8_0 (greatest 127) and as Q4_0 (greatest -8) in turn.
static float tie(size_t i, uint32_t bits) {
    const bool wide = i / 32 % 2 == 0;
    if (i % 32 == 0) {
        return wide ? 127.0f : -8.0f;
    }
    const float half = (float)(bits % (wide ? 126 : 7)) + 0.5f;
    return float_of((bits & 0x80000000u) | (bits_of(half) + (bits >> 16) % 3 - 1));
}

/// Value i of a kind of numbers. Blocks of 32 start at multiples of 32.
enum { KINDS = 10 };
static float value(int kind, size_t i) {
    const uint32_t bits = random_bits(), sign = bits & 0x80000000u;
    switch (kind) {
    case 0:
        return normal();
    case 1:
        return normal() * 60000; // past the largest half
    case 2:
        return normal() * 0x1p-24f; // subnormal halves
    case 3:
        return float_of(bits & 0x807fffff); // subnormal
    case 4:
        return float_of(sign | (0x0d800000 + bits % 2000 - 1000)); // around 2^-100
    case 5:
        return tie(i, bits);
    case 6: // zeros, equal magnitudes
        return float_of(sign | (i / 32 % 2 ? 0x3f800000 + ((uint32_t)(i / 64) << 12) : 0));
    case 7:
        return float_of(bits);
    case 8: // a NaN or an infinity in the block, at any place of it
        return i % 33 == 0 ? float_of(sign | 0x7f800000 | (bits & 0x7fffff) * (bits >> 30 & 1))
                           : normal();
    default: // halfway between two halves, and between two bf16
        return float_of(bits & (i % 2 ? 0xffff8000 : 0xfffff000));
    }
}

/// Whether two rows of n values in `type` are the same bytes. Bochs 2.7, which emulates the CPU
/// where CSIMD_AVXVNNI_AS_AVX512 is set, does not round a number halfway between two halves to the
/// even one (vcvtps2ph, 128 and 256 bits wide too, which real CPUs do right: emulate.py). There
/// such a number may become either half, and blocks with another scale must be as good.
static bool same_row(csimd_type type, const float* x, const uint8_t* a, const uint8_t* b,
                     size_t n) {
    if (memcmp(a, b, csimd_row_bytes(type, n)) == 0) {
        return true;
    }
#ifdef CSIMD_AVXVNNI_AS_AVX512
    float *back_a = buffer(4, 0), *back_b = buffer(5, 0);
    scalar->to_f32(type, a, back_a, n);
    scalar->to_f32(type, b, back_b, n);
    double error_a = 0, error_b = 0;
    for (size_t i = 0; i < n; i++) {
        error_a += ((double)back_a[i] - x[i]) * ((double)back_a[i] - x[i]);
        error_b += ((double)back_b[i] - x[i]) * ((double)back_b[i] - x[i]);
        if (type == CSIMD_F16 && bits_of(back_a[i]) != bits_of(back_b[i]) &&
            ((double)back_a[i] + back_b[i]) / 2 != x[i]) {
            return false;
        }
    }
    return type == CSIMD_F16 ||
           (csimd_is_quantized(type) && !(fabs(error_a - error_b) > 0.01 * error_b));
#else
    (void)x;
    return false;
#endif
}

/// One row of n values to `type` and back, at addresses that are aligned to its elements only.
static void check_weights_of(csimd_type type, size_t n, int kind) {
    static _Alignas(64) uint8_t room_a[16 * 4096], room_b[16 * 4096];
    const size_t bytes = csimd_row_bytes(type, n);
    uint8_t *a = room_a + n % 7 * (type == CSIMD_F32 ? 4 : 2), *b = room_b;
    float *x = buffer(0, n % 5), *back_a = buffer(1, n % 3), *back_b = buffer(2, 0);
    for (size_t i = 0; i < n; i++) {
        x[i] = value(kind, i);
    }
    float* importance = buffer(3, n % 3);
    for (size_t i = 0; i < n; i++) {
        // Some nothing, and some blocks nothing at all.
        importance[i] = i % 11 == 0 || i / 32 % 5 == 4 ? 0 : expf(4 * normal());
    }
    for (int weighted = 0; weighted < 2; weighted++) {
        // Otherwise bytes that are not written would be equal: those of the time before.
        memset(a, 0xa5, bytes + GUARD);
        memset(b, 0x5a, bytes + GUARD);
        tested->from_f32(type, x, weighted ? importance : NULL, a, n);
        scalar->from_f32(type, x, weighted ? importance : NULL, b, n);
        expect(same_row(type, x, a, b, n), "from_f32 type %d n %zu kind %d weighted %d", type, n,
               kind, weighted);
        expect_all(a + bytes, 0xa5, GUARD, "from_f32");
    }
    for (size_t i = 0; kind == 7 && i < bytes; i++) {
        a[i] = b[i] = (uint8_t)random_bits();
    }
    memcpy(a, b, bytes);
    tested->to_f32(type, a, back_a, n);
    scalar->to_f32(type, b, back_b, n);
    for (size_t i = 0; i < n; i++) {
        // Where scale and offset both are NaN, either one's payload may show.
        expect(bits_of(back_a[i]) == bits_of(back_b[i]) ||
                   (csimd_has_levels(type) && isnan(back_a[i]) && isnan(back_b[i])),
               "to_f32 type %d n %zu kind %d at %zu", type, n, kind, i);
    }
    expect_untouched(back_a, n, "to_f32");
}

void check_weights(void) {
    static const csimd_type types[] = {
        CSIMD_F32,  CSIMD_F16,  CSIMD_BF16, CSIMD_Q8_0, CSIMD_Q4_0, CSIMD_IQ4_NL,
        CSIMD_Q4_1, CSIMD_Q5_0, CSIMD_Q5_1, CSIMD_Q4_K, CSIMD_Q5_K, CSIMD_Q6_K,
    };
    for (size_t it = 0; it < sizeof types / sizeof types[0]; it++) {
        for (int kind = 0; kind < KINDS; kind++) {
            if (csimd_is_quantized(types[it])) {
                const size_t block = csimd_block_elements(types[it]);
                for (size_t n = block; n <= 2048; n += n < 10 * block ? block : 27 * block) {
                    check_weights_of(types[it], n, kind);
                }
            } else {
                FOR_LENGTHS(n) {
                    check_weights_of(types[it], n, kind);
                }
            }
        }
    }
    // Every f16 and bf16 pattern, subnormal, infinite and NaN ones too, there and back.
    for (int it = 1; it < 3; it++) {
        uint16_t *h = (uint16_t*)arena[0], *a = (uint16_t*)arena[3], *b = (uint16_t*)arena[4];
        for (uint32_t i = 0; i < 65536; i++) {
            h[i] = (uint16_t)i;
        }
        tested->to_f32(types[it], h, arena[1], 65536);
        scalar->to_f32(types[it], h, arena[2], 65536);
        tested->from_f32(types[it], arena[1], NULL, a, 65536);
        scalar->from_f32(types[it], arena[2], NULL, b, 65536);
        for (uint32_t i = 0; i < 65536; i++) {
            expect(bits_of(arena[1][i]) == bits_of(arena[2][i]), "to_f32 type %d of %04x",
                   types[it], i);
            expect(a[i] == b[i], "from_f32 type %d of %04x", types[it], i);
            expect(a[i] == h[i] || isnan(arena[1][i]), "type %d of %04x, there and back", types[it],
                   i);
        }
    }
    report("to_f32 from_f32");
}

// --- int8 leaves -------------------------------------------------------------------------------

enum { TOKENS = 19, MAX_COLS = 2048 }; // two tiles of eight at once, and some
typedef struct quantized {
    int8_t q[CSIMD_PLANES][TOKENS * MAX_COLS + 64];
    float scales[TOKENS * MAX_COLS / 32];
    int32_t sums[CSIMD_PLANES][TOKENS * MAX_COLS / 32];
    float totals[TOKENS * MAX_COLS / 32], halves[TOKENS * MAX_COLS / 16];
} quantized;
static _Alignas(64) quantized mine, theirs;

static csimd_q8_rows quantize(const csimd_kernels* kernels, int planes, quantized* to,
                              const float* x, size_t cols) {
    for (size_t t = 0; t < TOKENS; t++) {
        csimd_q8_output at = {.scales = to->scales + t * (cols / 32),
                              .totals = to->totals + t * (cols / 32),
                              .halves = to->halves + t * (cols / 16)};
        for (int p = 0; p < CSIMD_PLANES; p++) {
            at.q[p] = p < planes ? to->q[p] + t * cols : NULL;
            at.sums[p] = to->sums[p] + t * (cols / 32);
        }
        kernels->quantize_row(x + t * cols, cols, &at);
    }
    return (csimd_q8_rows){.plane = {{to->q[0], to->sums[0]}, {to->q[1], to->sums[1]}},
                           .planes = planes,
                           .scales = to->scales,
                           .totals = to->totals,
                           .halves = to->halves,
                           .tokens = TOKENS,
                           .blocks = cols / 32,
                           .stride = cols};
}

/// The same with its tiles, which are the next call's too.
static csimd_q8_rows with_tiles(csimd_q8_rows x) {
    static char tiles[TOKENS * MAX_COLS * 3];
    memset(tiles, 0xff, sizeof tiles);
    x.tiles = tiles;
    for (size_t first = 0; first < x.tokens; first += CSIMD_TILE) {
        csimd_lay_out_blocks(&x, first / CSIMD_TILE, 0, x.blocks / 2);
        csimd_lay_out_blocks(&x, first / CSIMD_TILE, x.blocks / 2, x.blocks - x.blocks / 2);
    }
    return x;
}

/// What is rounded of x, of any values, by both.
static void check_rounding(int planes, const float* x, size_t cols) {
    const csimd_q8_rows a = quantize(tested, planes, &mine, x, cols);
    const csimd_q8_rows b = quantize(scalar, planes, &theirs, x, cols);
    for (size_t i = 0; i < TOKENS * cols; i++) {
        for (int p = 0; p < planes; p++) {
            expect(a.plane[p].q[i] == b.plane[p].q[i], "q of cols %zu at %zu", cols, i);
        }
    }
    for (size_t i = 0; i < TOKENS * cols / 32; i++) {
        expect(same(a.scales[i], b.scales[i]), "scale of cols %zu at %zu", cols, i);
        expect(same(a.totals[i], b.totals[i]), "total of cols %zu at %zu", cols, i);
        for (size_t half = 2 * i; half < 2 * i + 2; half++) {
            expect(same(a.halves[half], b.halves[half]), "half of cols %zu at %zu", cols, half);
        }
    }
}

/// Writes `count` blocks of any levels with scales as weights have them, zeros and the least among
/// them, to w; some have nothing but the greatest level, so that sums become as large as they can.
static void random_blocks(csimd_type type, uint8_t* w, size_t count) {
    const size_t bytes = csimd_block_bytes(type);
    const bool offset = csimd_has_levels(type) && !csimd_center(type);
    for (size_t b = 0; b < count; b++, w += bytes) {
        for (size_t i = 0; i < bytes; i++) {
            w[i] = b % 7 == 5 ? 0xff : (uint8_t)random_bits();
            if (type == CSIMD_Q8_0) { // quantizers write -127 ... 127
                w[i] = w[i] == 0x80 || b == 3 ? 0x81 : b == 4 ? 0x7f : w[i];
            }
        }
        for (size_t i = 0; i < (offset ? 2 : 1); i++) {
            const uint16_t d = csimd_f32_to_f16_one(b % 11  ? normal() * 0.01f
                                                    : b % 2 ? 0
                                                            : 0x1p-24f);
            memcpy(w + (type == CSIMD_Q6_K ? offsetof(csimd_block_q6_k, d) : 2 * i), &d, 2);
        }
    }
}

/// What the terms of one block of 32 of a row and of a token add up to at most.
static double size_of_terms(csimd_type type, const uint8_t* row, size_t block, int planes) {
    const double most = 32 * (planes == 1 ? 127 : 16319);
    if (!csimd_has_levels(type)) {
        uint16_t d;
        memcpy(&d, row + block * csimd_block_bytes(type), 2);
        return fabs((double)csimd_f16_to_f32_one(d)) * most * (type == CSIMD_Q4_0 ? 8 : 127);
    }
    csimd_levels w;
    csimd_scalar_levels(type, row, block, &w);
    double size = 0;
    for (int half = 0; half < 2; half++) {
        size += (fabs((double)w.scales[half]) * 63 + fabs((double)w.offsets[half])) * most / 2;
    }
    return size;
}

void check_integers(csimd_type type, int planes) {
    static const size_t all_cols[] = {32, 64, 96, 160, 1024, 2048};
    static _Alignas(64) uint8_t w[40 * MAX_COLS * 2], panel_a[2 * 64 * MAX_COLS],
        panel_b[2][64 * MAX_COLS];
    for (size_t ic = 0; ic < 6; ic++) {
        const size_t cols = round_up(all_cols[ic], csimd_block_elements(type)), blocks = cols / 32;
        const size_t rows = 37, row_bytes = csimd_row_bytes(type, cols);
        float* x = buffer(0, ic % 4);
        fill(x, TOKENS * cols);
        memset(x, 0, 32 * sizeof(float)); // a zero block
        for (size_t i = 0; i < 32; i++) { // all values at the limits +-127
            x[cols + i] = i % 2 ? 3.0f : -3.0f;
        }
        x[2 * cols + 5] = 1e30f;
        x[3 * cols] = 0x1p-120f;
        for (size_t i = 0; i < cols; i++) { // +127 everywhere, and -127
            x[5 * cols + i] = 3.0f;
            x[6 * cols + i] = -3.0f;
        }
        for (size_t i = 0; i < 32; i++) { // halves: the rounding mode shows
            x[4 * cols + i] = i == 0 ? 127 : (float)i - 16 + 0.5f;
        }
        random_blocks(type, w, rows * cols / csimd_block_elements(type));
        float* odd = buffer(1, ic % 4);
        memcpy(odd, x, TOKENS * cols * sizeof(float));
        odd[7 * cols + 3] = INFINITY;
        odd[8 * cols + cols - 1] = NAN;
        odd[9 * cols] = -NAN;
        odd[10 * cols + cols - 32] = -INFINITY;
        for (size_t i = 0; i < cols; i++) { // subnormal, and as small as a scale still is
            odd[11 * cols + i] = (i / 32 % 2 ? 0x1p-100f : 0x1p-140f) * (float)(i % 3);
            odd[12 * cols + i] = i / 32 % 3 ? odd[12 * cols + i] : 0;
        }
        check_rounding(planes, odd, cols);
        check_rounding(planes, x, cols);
        csimd_q8_rows a = quantize(tested, planes, &mine, x, cols);
        csimd_q8_rows b = quantize(scalar, planes, &theirs, x, cols);
        for (size_t i = 0; i < TOKENS * cols; i++) {
            const size_t block = i / 32;
            int q = b.plane[0].q[i];
            if (planes > 1) {
                q = 128 * q + b.plane[1].q[i];
                expect(b.plane[1].q[i] >= -64 && b.plane[1].q[i] < 64, "low plane at %zu", i);
            }
            const double wanted = (double)x[i], step = (double)b.scales[block];
            expect(!(fabs(wanted - q * step) > step * (0.5001 + abs(q) * 0x1p-22)) ||
                       fabs(wanted) < 0x1p-100,
                   "q of cols %zu at %zu: %d x %g for %g", cols, i, q, step, wanted);
        }

        static float y[TOKENS * 64], z[TOKENS * 64];
        const size_t panel_bytes = round_up(tested->panel_bytes(type, cols), 64);
        for (size_t row0 = 0; row0 < rows; row0 += 16) {
            const size_t count = rows - row0 < 16 ? rows - row0 : 16;
            // As many panels at once as the leaf takes, then one: each begins 64 bytes behind the
            // one before.
            const size_t whole = (rows - row0) / 16;
            size_t panels =
                whole < (size_t)tested->panels_at_once ? 1 : (size_t)tested->panels_at_once;
            const size_t stride = panel_bytes + 64;
            memset(panel_a, 0xff, sizeof panel_a);
            for (size_t p = 0; p < panels; p++) {
                const csimd_weight_rows panel_rows = {type, (char*)w + (row0 + p * 16) * row_bytes,
                                                      row_bytes, blocks, panels == 1 ? count : 16};
                tested->pack_panel(&panel_rows, panel_a + p * stride);
                scalar->pack_panel(&panel_rows, panel_b[p]);
                expect_all(panel_a + p * stride + tested->panel_bytes(type, cols), 0xff, 64,
                           "pack_panel");
            }
            for (; panels > 0; panels = panels > 1 ? 1 : 0) {
                const csimd_panel_part head = {.type = type,
                                               .panel = panel_a,
                                               .count = blocks / 2,
                                               .panels = (int)panels,
                                               .stride = stride};
                csimd_panel_part tail = head;
                tail.panel = panel_a + tested->panel_bytes(type, head.count * 32);
                tail.first = head.count;
                tail.count = blocks - head.count;
                for (size_t tokens = 1; tokens <= TOKENS; tokens++) {
                    csimd_q8_rows some = csimd_q8_part(&a, TOKENS - tokens, tokens, 0);
                    if (tested->tiled && tokens % 3 > 0) {
                        // Of a part, its whole tiles; those before it belong to others.
                        const csimd_q8_rows all = with_tiles(a);
                        some = (TOKENS - tokens) % CSIMD_TILE == 0
                                   ? csimd_whole_tiles(&all, TOKENS - tokens, tokens)
                                   : with_tiles(some);
                    }
                    const csimd_q8_rows others = csimd_q8_part(&b, TOKENS - tokens, tokens, 0);
                    memset(y, 0xff, sizeof y);
                    memset(z, 0xff, sizeof z);
                    if (head.count) {
                        tested->panel_product(&head, &some, (csimd_output){y, 40});
                    }
                    tested->panel_product(&tail, &some, (csimd_output){y, 40});
                    for (size_t p = 0; p < panels; p++) {
                        const csimd_panel_part one = {
                            .type = type, .panel = panel_b[p], .count = blocks, .panels = 1};
                        scalar->panel_product(&one, &others, (csimd_output){z + p * 16, 40});
                    }
                    for (size_t i = 0; i < tokens * 40; i++) {
                        expect(same(y[i], z[i]), "%zu panels cols %zu row0 %zu tokens %zu: %a %a",
                               panels, cols, row0, tokens, (double)y[i], (double)z[i]);
                    }
                }
            }
        }
        for (size_t tokens = 1; tokens <= TOKENS; tokens++) {
            memset(y, 0xff, sizeof y);
            memset(z, 0xff, sizeof z);
            size_t row0 = tokens % 3;
            a.tokens = b.tokens = tokens;
            a.tiles = NULL;
            a = tokens > 1 ? with_tiles(a) : a;
            const csimd_weight_rows some = {type, (char*)w + row0 * row_bytes, row_bytes, blocks,
                                            rows - row0};
            tested->row_product(&some, &a, (csimd_output){y + row0, 40});
            scalar->row_product(&some, &b, (csimd_output){z + row0, 40});
            for (size_t t = 0; t < tokens; t++) {
                for (size_t r = 0; r < 40; r++) {
                    double size = 0;
                    for (size_t k = 0; r >= row0 && r < rows && k < blocks; k++) {
                        size += size_of_terms(type, w + r * row_bytes, k, planes) *
                                (double)a.scales[t * blocks + k];
                    }
                    double bound = size * FLT_EPSILON / 2 * ((double)blocks + 4);
                    expect(same(y[t * 40 + r], z[t * 40 + r]) ||
                               near(y[t * 40 + r], z[t * 40 + r], bound),
                           "row %zu of cols %zu, tokens %zu: %a %a", r, cols, tokens,
                           (double)y[t * 40 + r], (double)z[t * 40 + r]);
                }
            }
        }
    }
    static const char* const names[] = {
        [CSIMD_Q4_0] = "Q4_0", [CSIMD_Q4_1] = "Q4_1", [CSIMD_Q5_0] = "Q5_0",
        [CSIMD_Q5_1] = "Q5_1", [CSIMD_Q8_0] = "Q8_0", [CSIMD_Q4_K] = "Q4_K",
        [CSIMD_Q5_K] = "Q5_K", [CSIMD_Q6_K] = "Q6_K", [CSIMD_IQ4_NL] = "IQ4_NL"};
    static char name[32];
    snprintf(name, sizeof name, "%s x int%d", names[type], 8 * planes);
    report(name);
}
