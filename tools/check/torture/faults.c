// Loaded into mmq with LD_PRELOAD: the n-th call that writes to a file fails or is the process's
// last, and the clock can run backwards. What `tools/check torture` finds disk failures with.
//
//   MMQ_FAULT_AT=N        the N-th write, truncation, sync, rename or making of a file fails; from
//                         there on all do if N is negative (a disk that stays full): the first of
//                         them, if it is a write, still stores half of its bytes
//   MMQ_FAULT_ERRNO=E     with this error (28: no space left, 5: input/output error)
//   MMQ_FAULT_KILL=1      in place of failing the process is killed, with half of the bytes stored
//   MMQ_FAULT_TOTAL=FILE  at the end the number of such calls goes there, and how many failed
//   MMQ_CLOCK_BACK=S      the time of day goes back by S seconds at every tenth look
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_long calls;
static atomic_long failures;
static long fault_at;
static bool stays;
static bool kills;
static int fault_errno = ENOSPC;
static long back;
static atomic_long looks;

__attribute__((constructor)) static void begin(void) {
    const char* at = getenv("MMQ_FAULT_AT");
    const char* number = getenv("MMQ_FAULT_ERRNO");
    const char* clock = getenv("MMQ_CLOCK_BACK");
    fault_at = at ? atol(at) : 0;
    stays = fault_at < 0;
    fault_at = labs(fault_at);
    kills = getenv("MMQ_FAULT_KILL") != NULL;
    if (number) {
        fault_errno = atoi(number);
    }
    back = clock ? atol(clock) : 0;
}

__attribute__((destructor)) static void end(void) {
    const char* path = getenv("MMQ_FAULT_TOTAL");
    FILE* file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%ld %ld\n", atomic_load(&calls), atomic_load(&failures));
        fclose(file);
    }
}

// What becomes of a call.
typedef enum { DONE, FAILS, HALF } fate;

// Counts a call; `writes`: it can be done by half.
static fate next_fate(bool writes) {
    const long call = atomic_fetch_add(&calls, 1) + 1;
    if (fault_at == 0 || call < fault_at || (call > fault_at && !stays)) {
        return DONE;
    }
    atomic_fetch_add(&failures, 1);
    if (call == fault_at && writes && (stays || kills)) {
        return HALF;
    }
    if (kills) {
        kill(getpid(), SIGKILL);
    }
    errno = fault_errno;
    return FAILS;
}

static bool fails(void) {
    return next_fate(false) == FAILS;
}

// After half of a write.
static ssize_t half_done(ssize_t result) {
    if (kills) {
        kill(getpid(), SIGKILL);
    }
    return result;
}

// A file of the command's own: not stdout, and not the shared memory in which the OpenMP runtime
// says that it is there (it gives up with a signal of its own where that is full).
static bool is_file(int descriptor) {
    struct stat info;
    if (descriptor <= 2 || fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
        return false;
    }
    char link[32];
    char path[16] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    return readlink(link, path, sizeof path - 1) < 0 || strncmp(path, "/dev/shm/", 9) != 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

// A call that writes `count` bytes: `whole` does it, `half` half of it. Of one byte half is
// nothing, which nobody may take for an error: it fails.
#define WRITE(fd, count, whole, half)                                                              \
    if (!is_file(fd)) {                                                                            \
        return whole;                                                                              \
    }                                                                                              \
    switch (next_fate((count) > 1)) {                                                              \
    case FAILS:                                                                                    \
        return -1;                                                                                 \
    case HALF:                                                                                     \
        return half_done(half);                                                                    \
    default:                                                                                       \
        return whole;                                                                              \
    }

ssize_t write(int fd, const void* bytes, size_t count){
    WRITE(fd, count, REAL(write)(fd, bytes, count), REAL(write)(fd, bytes, count / 2))}

ssize_t writev(int fd, const struct iovec* parts,
               int count){WRITE(fd, 0, REAL(writev)(fd, parts, count), -1)}

ssize_t pwrite(int fd, const void* bytes, size_t count,
               off_t offset){WRITE(fd, count, REAL(pwrite)(fd, bytes, count, offset),
                                   REAL(pwrite)(fd, bytes, count / 2, offset))}

ssize_t pwrite64(int fd, const void* bytes, size_t count, off64_t offset) {
    WRITE(fd, count, REAL(pwrite64)(fd, bytes, count, offset),
          REAL(pwrite64)(fd, bytes, count / 2, offset))
}

int ftruncate(int fd, off_t length) {
    return is_file(fd) && fails() ? -1 : REAL(ftruncate)(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    return is_file(fd) && fails() ? -1 : REAL(ftruncate64)(fd, length);
}

int posix_fallocate(int fd, off_t offset, off_t length) {
    return fails() ? fault_errno : REAL(posix_fallocate)(fd, offset, length);
}

int fsync(int fd) {
    return fails() ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd) {
    return fails() ? -1 : REAL(fdatasync)(fd);
}

int rename(const char* from, const char* to) {
    return fails() ? -1 : REAL(rename)(from, to);
}

int mkdir(const char* path, mode_t mode) {
    return fails() ? -1 : REAL(mkdir)(path, mode);
}

// The mode behind the flags of a call that makes a file.
#define MODE(flags)                                                                                \
    mode_t mode = 0;                                                                               \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                         \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

// A file that is there already is opened, not made: no call that needs space.
static bool makes(const char* path, int flags) {
    return (flags & O_CREAT) && faccessat(AT_FDCWD, path, F_OK, 0) != 0;
}

int open(const char* path, int flags, ...) {
    MODE(flags)
    return makes(path, flags) && fails() ? -1 : REAL(open)(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
    MODE(flags)
    return makes(path, flags) && fails() ? -1 : REAL(open64)(path, flags, mode);
}

static long lost(void) {
    return back ? back * (atomic_fetch_add(&looks, 1) / 10) : 0;
}

int clock_gettime(clockid_t clock, struct timespec* now) {
    const int result = REAL(clock_gettime)(clock, now);
    if (clock == CLOCK_REALTIME) {
        now->tv_sec -= lost();
    }
    return result;
}

int gettimeofday(struct timeval* restrict now, void* restrict zone) {
    const int result = REAL(gettimeofday)(now, zone);
    now->tv_sec -= lost();
    return result;
}

time_t time(time_t* out) {
    const time_t now = REAL(time)(NULL) - lost();
    if (out) {
        *out = now;
    }
    return now;
}
