// The only file that knows OpenMP. Everything else hands it a task and a count.
#if defined(__linux__)
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#ifdef CSIMD_OPENMP
#include <pthread.h>
#endif
#include <stdatomic.h>
#include <stdlib.h>

#include "internal.h"

enum { MOST_THREADS = 256 };

static _Atomic int thread_count = 0; // 0: not set yet, use the physical cores

bool csimd_has_threads(void) {
#ifdef CSIMD_OPENMP
    return true;
#else
    return false;
#endif
}

#if defined(__linux__)
/// The first number of a list such as "0,64" or "0-1": the sibling that stands for its core.
static int first_sibling(int cpu) {
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE* file = fopen(path, "r");
    int first = cpu;
    if (file) {
        if (fscanf(file, "%d", &first) != 1) {
            first = cpu;
        }
        fclose(file);
    }
    return first;
}
#endif

int csimd_physical_cores(void) {
    int cores = 0;
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        bool seen[CPU_SETSIZE] = {false};
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (!CPU_ISSET(cpu, &allowed)) {
                continue;
            }
            int core = first_sibling(cpu);
            if (core >= 0 && core < CPU_SETSIZE && !seen[core]) {
                seen[core] = true;
                cores++;
            }
        }
    }
#elif defined(__APPLE__)
    size_t size = sizeof cores;
    sysctlbyname("hw.physicalcpu", &cores, &size, NULL, 0);
#endif
    return cores < 1 ? 1 : cores;
}

void csimd_set_threads(int threads) {
    atomic_store(&thread_count, threads < 1 ? 1 : threads > MOST_THREADS ? MOST_THREADS : threads);
}

int csimd_threads(void) {
    if (!csimd_has_threads()) {
        return 1;
    }
    int threads = atomic_load(&thread_count);
    if (threads == 0) {
        threads = csimd_physical_cores();
        csimd_set_threads(threads);
    }
    return threads;
}

#ifdef CSIMD_OPENMP
// Of omp.h, which Swift's clang does not bring along and distributions put where it does not look.
extern int omp_get_max_threads(void);
// LLVM's own, heard before it starts.
extern void kmp_set_defaults(const char* settings) __attribute__((weak));

/// Removes the file by which LLVM's OpenMP finds a second copy of itself in this process.
///
/// It is named by the process's number, and stays when a process is killed. Killed between the
/// file's making and its first byte, it stays empty, and the next process that gets the same number
/// dies of SIGBUS when its OpenMP reads it.
static void remove_registration(void) {
#if defined(__linux__)
    char path[96];
    snprintf(path, sizeof path, "/dev/shm/__KMP_REGISTERED_LIB_%d_%d", (int)getpid(),
             (int)getuid());
    unlink(path);
#endif
}

/// Once, before the first region: what a dead process of this number left is not ours, and what we
/// make is not left to those that come. At its end OpenMP does not miss the file.
static void start_openmp(void) {
    remove_registration();
    // A thread without work waits for the next region in a loop for a millisecond, not for the
    // usual 200: kernels follow each other in less, and between two pictures, while a study is
    // written or a process ends, a core that turns in place takes time from what else runs.
    if (kmp_set_defaults && !getenv("KMP_BLOCKTIME") && !getenv("OMP_WAIT_POLICY")) {
        kmp_set_defaults("KMP_BLOCKTIME=1");
    }
    (void)omp_get_max_threads(); // registers
    remove_registration();
}

/// The indices that one thread begins with. A line of its own: the others write theirs.
typedef struct thread_share {
    _Alignas(64) _Atomic int64_t next;
    int64_t end;
} thread_share;

/// In a function of its own: the compiler asks OpenMP for the thread's number where the function
/// begins, which would start it.
__attribute__((noinline)) static void run_region(void (*task)(void* context, int64_t index),
                                                 void* context, int64_t count, int threads) {
    // Each thread begins with indices of its own that follow each other, since what one task reads
    // ahead the next one wants, and then helps the others with theirs. Shared counters rather than
    // schedule(dynamic): clang 21 would call a runtime entry that older libomp lacks. Which thread
    // takes an index never shows in a result.
    thread_share shares[MOST_THREADS];
    for (int t = 0; t < threads; t++) {
        atomic_init(&shares[t].next, count * t / threads);
        shares[t].end = count * (t + 1) / threads;
    }
    _Atomic int joined = 0;
#pragma omp parallel num_threads(threads) shared(shares, joined)
    {
        const int me = atomic_fetch_add_explicit(&joined, 1, memory_order_relaxed);
        for (int t = 0; t < threads; t++) {
            thread_share* share = &shares[(me + t) % threads];
            for (;;) {
                const int64_t i = atomic_fetch_add_explicit(&share->next, 1, memory_order_relaxed);
                if (i >= share->end) {
                    break;
                }
                task(context, i);
            }
        }
    }
}
#endif

void csimd_parallel(void (*task)(void* context, int64_t index), void* context, int64_t count) {
    int threads = csimd_threads();
    if (threads > count) {
        threads = (int)(count < 1 ? 1 : count);
    }
    if (threads == 1) {
        for (int64_t i = 0; i < count; i++) {
            task(context, i);
        }
        return;
    }
#ifdef CSIMD_OPENMP
    static pthread_once_t started = PTHREAD_ONCE_INIT;
    pthread_once(&started, start_openmp);
    run_region(task, context, count, threads);
#endif
}
