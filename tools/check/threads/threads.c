// The kernels' threads, by pthreads in place of OpenMP: the thread sanitizer knows these, so that a
// race it reports is one of the kernels and not of an OpenMP runtime that was built without it.
// Takes the place of parallel.c.
#include <pthread.h>
#include <stdatomic.h>

#include "internal.h"

int64_t most_tasks = 0;

static int thread_count = 1;

bool csimd_has_threads(void) {
    return true;
}

int csimd_physical_cores(void) {
    return 4;
}

void csimd_set_threads(int threads) {
    thread_count = threads;
}

int csimd_threads(void) {
    return thread_count;
}

typedef struct {
    void (*task)(void* context, int64_t index);
    void* context;
    int64_t count;
    _Atomic int64_t next;
} work;

static void* take_indices(void* argument) {
    work* shared = argument;
    for (;;) {
        int64_t i = atomic_fetch_add_explicit(&shared->next, 1, memory_order_relaxed);
        if (i >= shared->count) {
            return NULL;
        }
        shared->task(shared->context, i);
    }
}

void csimd_parallel(void (*task)(void* context, int64_t index), void* context, int64_t count) {
    enum { MOST = 64 };
    work shared = {.task = task, .context = context, .count = count};
    most_tasks = count > most_tasks ? count : most_tasks;
    pthread_t threads[MOST];
    int started = 0;
    while (started < thread_count - 1 && started < MOST &&
           pthread_create(&threads[started], NULL, take_indices, &shared) == 0) {
        started++;
    }
    take_indices(&shared);
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
}
