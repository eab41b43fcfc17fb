// What this machine can do at best, measured: the yardsticks of `mmq bench`.
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

enum {
    STEPS = 1 << 18, // iterations of a peak loop: half a millisecond or so
    PEAK_TASKS = 16, // such loops for each thread, so that one that is late misses few of them
};

#if defined(__x86_64__)
/// Products of unsigned and signed bytes, summed over pairs into 16 bits: what the AVX2 leaves are
/// made of. 64 operations an instruction.
__attribute__((target("avx2"))) static void avx2_loop(void) {
    for (int i = 0; i < STEPS; i++) {
        __asm__ volatile("vpmaddubsw %%ymm0, %%ymm1, %%ymm2\n vpaddw %%ymm2, %%ymm8, %%ymm8\n"
                         "vpmaddubsw %%ymm0, %%ymm1, %%ymm3\n vpaddw %%ymm3, %%ymm9, %%ymm9\n"
                         "vpmaddubsw %%ymm0, %%ymm1, %%ymm4\n vpaddw %%ymm4, %%ymm10, %%ymm10\n"
                         "vpmaddubsw %%ymm0, %%ymm1, %%ymm5\n vpaddw %%ymm5, %%ymm11, %%ymm11\n" ::
                             : "xmm2", "xmm3", "xmm4", "xmm5", "xmm8", "xmm9", "xmm10", "xmm11");
    }
}

/// vpdpbusd on 256 bits in AVX-VNNI's encoding, 64 operations an instruction.
__attribute__((target("avxvnni"))) static void avxvnni_loop(void) {
    for (int i = 0; i < STEPS; i++) {
        __asm__ volatile(
            "%{vex%} vpdpbusd %%ymm0, %%ymm1, %%ymm2\n %{vex%} vpdpbusd %%ymm0, %%ymm1, %%ymm3\n"
            "%{vex%} vpdpbusd %%ymm0, %%ymm1, %%ymm4\n %{vex%} vpdpbusd %%ymm0, %%ymm1, %%ymm5\n"
            "%{vex%} vpdpbusd %%ymm0, %%ymm1, %%ymm6\n %{vex%} vpdpbusd %%ymm0, %%ymm1, %%ymm7\n"
            "%{vex%} vpdpbusd %%ymm0, %%ymm1, %%ymm8\n %{vex%} vpdpbusd %%ymm0, %%ymm1, %%ymm9\n"
            "%{vex%} vpdpbusd %%ymm0, %%ymm1, %%ymm10\n %{vex%} vpdpbusd %%ymm0, %%ymm1, %%ymm11\n"
            "%{vex%} vpdpbusd %%ymm0, %%ymm1, %%ymm12\n %{vex%} vpdpbusd %%ymm0, %%ymm1, %%ymm13\n"
            "%{vex%} vpdpbusd %%ymm0, %%ymm1, %%ymm14\n %{vex%} vpdpbusd %%ymm0, %%ymm1, "
            "%%ymm15\n" ::
                : "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                  "xmm12", "xmm13", "xmm14", "xmm15");
    }
}

/// vpdpbusd, 128 operations an instruction. Twenty sums: a core that begins two a cycle and has the
/// result five cycles later needs more than ten.
__attribute__((target("avx512f,avx512vnni"))) static void vnni_loop(void) {
    for (int i = 0; i < STEPS; i++) {
        __asm__ volatile("vpdpbusd %%zmm0, %%zmm1, %%zmm2\n vpdpbusd %%zmm0, %%zmm1, %%zmm3\n"
                         "vpdpbusd %%zmm0, %%zmm1, %%zmm4\n vpdpbusd %%zmm0, %%zmm1, %%zmm5\n"
                         "vpdpbusd %%zmm0, %%zmm1, %%zmm6\n vpdpbusd %%zmm0, %%zmm1, %%zmm7\n"
                         "vpdpbusd %%zmm0, %%zmm1, %%zmm8\n vpdpbusd %%zmm0, %%zmm1, %%zmm9\n"
                         "vpdpbusd %%zmm0, %%zmm1, %%zmm10\n vpdpbusd %%zmm0, %%zmm1, %%zmm11\n"
                         "vpdpbusd %%zmm0, %%zmm1, %%zmm12\n vpdpbusd %%zmm0, %%zmm1, %%zmm13\n"
                         "vpdpbusd %%zmm0, %%zmm1, %%zmm14\n vpdpbusd %%zmm0, %%zmm1, %%zmm15\n"
                         "vpdpbusd %%zmm0, %%zmm1, %%zmm16\n vpdpbusd %%zmm0, %%zmm1, %%zmm17\n"
                         "vpdpbusd %%zmm0, %%zmm1, %%zmm18\n vpdpbusd %%zmm0, %%zmm1, %%zmm19\n"
                         "vpdpbusd %%zmm0, %%zmm1, %%zmm20\n vpdpbusd %%zmm0, %%zmm1, %%zmm21\n" ::
                             : "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                               "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16",
                               "xmm17", "xmm18", "xmm19", "xmm20", "xmm21");
    }
}

#elif defined(__aarch64__)
/// sdot, 32 operations an instruction.
__attribute__((target("dotprod"))) static void dot_loop(void) {
    for (int i = 0; i < STEPS; i++) {
        __asm__ volatile("sdot v2.4s, v0.16b, v1.16b\n sdot v3.4s, v0.16b, v1.16b\n"
                         "sdot v4.4s, v0.16b, v1.16b\n sdot v5.4s, v0.16b, v1.16b\n"
                         "sdot v6.4s, v0.16b, v1.16b\n sdot v7.4s, v0.16b, v1.16b\n"
                         "sdot v16.4s, v0.16b, v1.16b\n sdot v17.4s, v0.16b, v1.16b\n" ::
                             : "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17");
    }
}

/// smmla, 64 operations an instruction.
__attribute__((target("i8mm"))) static void matrix_loop(void) {
    for (int i = 0; i < STEPS; i++) {
        __asm__ volatile("smmla v2.4s, v0.16b, v1.16b\n smmla v3.4s, v0.16b, v1.16b\n"
                         "smmla v4.4s, v0.16b, v1.16b\n smmla v5.4s, v0.16b, v1.16b\n"
                         "smmla v6.4s, v0.16b, v1.16b\n smmla v7.4s, v0.16b, v1.16b\n"
                         "smmla v16.4s, v0.16b, v1.16b\n smmla v17.4s, v0.16b, v1.16b\n" ::
                             : "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17");
    }
}
#endif

// Sums of zeros: what registers happen to hold may be numbers that take a hundred times as long.
#define FMA_LOOP(vector, constraint, step)                                                         \
    vector z = {0}, a = z, b = z, c = z, d = z, e = z, f = z, g = z, h = z, k = z, l = z, m = z,   \
           n = z;                                                                                  \
    for (int i = 0; i < STEPS; i++) {                                                              \
        __asm__ volatile(step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7) step(8)   \
                             step(9) step(10) step(11)                                             \
                         : "+&" constraint(a), "+&" constraint(b), "+&" constraint(c),             \
                           "+&" constraint(d), "+&" constraint(e), "+&" constraint(f),             \
                           "+&" constraint(g), "+&" constraint(h), "+&" constraint(k),             \
                           "+&" constraint(l), "+&" constraint(m), "+&" constraint(n)              \
                         : constraint(z));                                                         \
    }

#if defined(__x86_64__)
#define FMA_STEP(n) "vfmadd231ps %12, %12, %" #n "\n"

/// Fused multiply-adds on 256 bits, 16 operations an instruction.
__attribute__((target("fma"))) static void fma_256_loop(void) {
    FMA_LOOP(__m256, "x", FMA_STEP)
}

/// The same on 512 bits, 32 operations an instruction.
__attribute__((target("avx512f"))) static void fma_512_loop(void) {
    FMA_LOOP(__m512, "v", FMA_STEP)
}

#define PAIR_STEP(n) "vdpbf16ps %12, %12, %" #n "\n"

/// Products of pairs of bf16, 64 operations an instruction.
__attribute__((target("avx512bf16"))) static void pair_loop(void) {
    FMA_LOOP(__m512, "v", PAIR_STEP)
}
#elif defined(__aarch64__)
#define FMA_STEP(n) "fmla %" #n ".4s, %12.4s, %12.4s\n"

/// Fused multiply-adds of four, 8 operations an instruction.
static void fmla_loop(void) {
    FMA_LOOP(float32x4_t, "w", FMA_STEP)
}
#endif

typedef struct peak_loop {
    void (*run)(void);
    double operations; // of one run
} peak_loop;

static peak_loop int8_loop(void) {
#if defined(__x86_64__)
    const char* isa = csimd_isa();
    if (strncmp(isa, "avx512", 6) == 0) {
        return (peak_loop){vnni_loop, 20.0 * 128 * STEPS};
    }
    if (strcmp(isa, "avxvnni") == 0) {
        return (peak_loop){avxvnni_loop, 14.0 * 64 * STEPS};
    }
    if (strcmp(isa, "avx2") == 0) {
        return (peak_loop){avx2_loop, 4.0 * 64 * STEPS};
    }
#elif defined(__aarch64__)
    if (strcmp(csimd_isa(), "i8mm") == 0) {
        return (peak_loop){matrix_loop, 8.0 * 64 * STEPS};
    }
    if (strcmp(csimd_isa(), "neon") == 0) {
        return (peak_loop){dot_loop, 8.0 * 32 * STEPS};
    }
#endif
    return (peak_loop){NULL, 0};
}

static peak_loop float_loop(void) {
#if defined(__x86_64__)
    const char* isa = csimd_isa();
    if (strncmp(isa, "avx512", 6) == 0) {
        return (peak_loop){fma_512_loop, 12.0 * 32 * STEPS};
    }
    if (strcmp(isa, "scalar") != 0) {
        return (peak_loop){fma_256_loop, 12.0 * 16 * STEPS};
    }
#elif defined(__aarch64__)
    if (strcmp(csimd_isa(), "scalar") != 0) {
        return (peak_loop){fmla_loop, 12.0 * 8 * STEPS};
    }
#endif
    return (peak_loop){NULL, 0};
}

static peak_loop bf16_loop(void) {
#if defined(__x86_64__)
    if (csimd_active()->gemm_pairs) {
        return (peak_loop){pair_loop, 12.0 * 64 * STEPS};
    }
#endif
    return (peak_loop){NULL, 0};
}

static void peak_task(void* context, int64_t index) {
    (void)index;
    ((const peak_loop*)context)->run();
}

/// Operations a second of the best of some runs on all threads. Half a second of them: threads that
/// have just begun may share a core for a while.
static double measure_peak(peak_loop loop) {
    const double begin = seconds_now();
    const int tasks = PEAK_TASKS * csimd_threads();
    double best = 0;
    while (loop.run && seconds_now() - begin < 0.5) {
        const double start = seconds_now();
        csimd_parallel(peak_task, &loop, tasks);
        const double rate = loop.operations * tasks / (seconds_now() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

double csimd_measure_int8_peak(void) {
    return measure_peak(int8_loop());
}

double csimd_measure_float_peak(void) {
    return measure_peak(float_loop());
}

double csimd_measure_bf16_peak(void) {
    return measure_peak(bf16_loop());
}

typedef struct read_work {
    const char* data;
    size_t bytes;
} read_work;

enum { READ_PIECE = 1 << 20 };

/// Four streams side by side: one alone waits for memory at every page that the hardware does not
/// run ahead into.
static void read_task(void* context, int64_t index) {
    enum { STREAMS = 4, STREAM = READ_PIECE / STREAMS, WIDTH = 4, AHEAD = 4096 };
    typedef uint64_t lanes __attribute__((ext_vector_type(2), aligned(8)));
    const read_work* work = context;
    const char* data = work->data + (size_t)index * READ_PIECE;
    lanes sums[STREAMS] = {0};
    for (size_t at = 0; at < STREAM; at += WIDTH * sizeof(lanes)) {
#pragma clang loop unroll(full)
        for (size_t s = 0; s < STREAMS; s++) {
            const lanes* from = (const lanes*)(data + s * STREAM + at);
            __builtin_prefetch((const char*)from + AHEAD);
#pragma clang loop unroll(full)
            for (size_t i = 0; i < WIDTH; i++) {
                sums[s] += from[i];
            }
        }
    }
    // The compiler must believe that the sums are wanted.
    __asm__ volatile("" : : "r"(sums) : "memory");
}

double csimd_measure_read_bandwidth(const void* data, size_t bytes) {
    size_t pieces = bytes / READ_PIECE;
    char* own = NULL;
    if (pieces < 64) { // too small to defeat the caches: read something larger
        pieces = 1024;
        own = aligned_alloc(4096, pieces * READ_PIECE);
        if (!own) {
            return 0;
        }
        memset(own, 1, pieces * READ_PIECE);
        data = own;
    }
    read_work work = {data, pieces * READ_PIECE};
    double best = 0;
    for (int repetition = 0; repetition < 4; repetition++) {
        double start = seconds_now();
        csimd_parallel(read_task, &work, (int64_t)pieces);
        double rate = (double)work.bytes / (seconds_now() - start);
        best = rate > best ? rate : best;
    }
    free(own);
    return best;
}
