// Chooses the instruction set once, from what the CPU and the operating system support.
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#if defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__linux__)
#include <sys/auxv.h>
#endif
#endif

static const csimd_kernels* const tables[] = {
    &csimd_scalar_kernels,
#if defined(__x86_64__)
    &csimd_avx2_kernels,   &csimd_avxvnni_kernels, &csimd_avx512_kernels, &csimd_avx512bf16_kernels,
#elif defined(__aarch64__)
    &csimd_neon_kernels,
    &csimd_i8mm_kernels,
#endif
};
enum { TABLES = sizeof tables / sizeof tables[0] };

static _Atomic(const csimd_kernels*) active = NULL;
// Chosen by this thread for what it asks for: tests choose while others run.
static _Thread_local const csimd_kernels* chosen = NULL;

const char* csimd_isa_name(int i) {
    return i >= 0 && i < TABLES ? tables[i]->name : NULL;
}

#if defined(__aarch64__)
/// Whether the CPU has an extension and the operating system says so: by its name on Apple's, by a
/// bit of AT_HWCAP or AT_HWCAP2 on Linux.
static bool has_extension(const char* name, unsigned long kind, int bit) {
#if defined(__APPLE__)
    (void)kind, (void)bit;
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, NULL, 0) == 0 && value;
#elif defined(__linux__)
    (void)name;
    return getauxval(kind) >> bit & 1;
#else
    (void)name, (void)kind, (void)bit;
    return false;
#endif
}

enum { HWCAP = 16, HWCAP2 = 26 }; // AT_HWCAP and AT_HWCAP2, which Apple's headers do not have
#endif

#if defined(__x86_64__)
/// Leaf 7, subleaf 1, EAX bit 4. Its registers are AVX2's, so whoever may use that may use this.
static bool has_avx_vnni(void) {
#ifdef CSIMD_AVXVNNI_AS_AVX512
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl");
#else
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && a >= 1 &&
           __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
#endif
}
#endif

#if defined(__x86_64__)
/// Leaf 7, subleaf 1, EAX bit 5, of a maker whose cores do as many such steps as of f32.
static bool has_fast_bf16(void) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __builtin_cpu_is("amd") && __get_cpuid_count(7, 0, &a, &b, &c, &d) && a >= 1 &&
           __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
}
#endif

static bool supported(const csimd_kernels* table) {
#if defined(__x86_64__)
    // __builtin_cpu_supports asks the operating system too (xgetbv), so that registers which it
    // does not save are never used.
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("f16c");
    if (table == &csimd_avx2_kernels) {
        return avx2;
    }
    if (table == &csimd_avxvnni_kernels) {
        return avx2 && has_avx_vnni();
    }
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
    if (table == &csimd_avx512_kernels) {
        return avx512;
    }
    if (table == &csimd_avx512bf16_kernels) {
        return avx512 && has_fast_bf16();
    }
#elif defined(__aarch64__)
    bool dot_product = has_extension("hw.optional.arm.FEAT_DotProd", HWCAP, 20);
    if (table == &csimd_neon_kernels) {
        return dot_product;
    }
    if (table == &csimd_i8mm_kernels) {
        return dot_product && has_extension("hw.optional.arm.FEAT_I8MM", HWCAP2, 13);
    }
#endif
    return table == &csimd_scalar_kernels;
}

static const csimd_kernels* find(const char* isa) {
    for (int i = 0; i < TABLES; i++) {
        if (strcmp(tables[i]->name, isa) == 0) {
            return tables[i];
        }
    }
    return NULL;
}

bool csimd_isa_supported(const char* isa) {
    const csimd_kernels* table = find(isa);
    return table && supported(table);
}

bool csimd_select_isa(const char* isa) {
    const csimd_kernels* table = find(isa);
    if (!table || !supported(table)) {
        return false;
    }
    chosen = table;
    return true;
}

const char* csimd_isa_error(void) {
    const char* wanted = getenv("MMQ_ISA");
    if (!wanted || !*wanted) {
        return NULL;
    }
    const csimd_kernels* table = find(wanted);
    return !table             ? "MMQ_ISA names an instruction set that mmq does not know"
           : supported(table) ? NULL
                              : "MMQ_ISA names an instruction set that this CPU does not have";
}

const csimd_kernels* csimd_active(void) {
    if (chosen) {
        return chosen;
    }
    const csimd_kernels* table = atomic_load_explicit(&active, memory_order_acquire);
    if (table) {
        return table;
    }
    const char* wanted = getenv("MMQ_ISA");
    table = wanted && *wanted ? find(wanted) : NULL;
    for (int i = TABLES - 1; !table || !supported(table); i--) {
        table = tables[i]; // the last is the best; the first, scalar, is always supported
    }
    atomic_store_explicit(&active, table, memory_order_release);
    return table;
}

const char* csimd_isa(void) {
    return csimd_active()->name;
}

#if defined(__x86_64__)
/// AMD's family 26.
static bool is_zen_5(void) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    __builtin_cpu_init();
    if (!__builtin_cpu_is("amd") || !__get_cpuid(1, &a, &b, &c, &d)) {
        return false;
    }
    const unsigned family = a >> 8 & 15, extended = a >> 20 & 255;
    return family == 15 && family + extended == 26;
}
#endif

bool csimd_asks_once(void) {
#if defined(__x86_64__)
    static _Atomic int known = 0; // 1: no, 2: yes
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (answer == 0) {
        answer = 1 + is_zen_5();
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer == 2;
#else
    return false;
#endif
}
