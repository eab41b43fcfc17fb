#include "mappings.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { MAPPINGS = 4096, PATH_BYTES = 240 };

// A slot is written before `count` becomes nonzero, and read only by the handler.
typedef struct {
    atomic_uintptr_t base;
    atomic_size_t count;
    atomic_flag taken;
    char path[PATH_BYTES];
} mapping;

static mapping mappings[MAPPINGS];
static char program_name[32];
static size_t page_bytes = 4096;

// Bytes of the UTF-8 character at `text`, with its code point; 0 if it is none.
static size_t character(const unsigned char* text, uint32_t* code) {
    const unsigned char first = text[0];
    size_t length = 0;
    if (first < 0x80) {
        length = 1;
    } else if (first >= 0xc2 && first < 0xf5) {
        length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    }
    *code = length < 2 ? first : first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
        *code = *code << 6 | (text[i] & 0x3f);
    }
    return length;
}

// What a terminal would obey, or show in another order: `Unicode.Scalar.isUnruly` in MMQBase.
static int is_unruly(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x61c || code == 0x200e ||
           code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

// A text that may go to a terminal: what one would obey becomes '?', a long one keeps its end.
static void copy_shown(char* out, size_t size, const char* text) {
    size_t length = strlen(text);
    const unsigned char* from =
        (const unsigned char*)(length < size ? text : text + length - size + 1);
    char* const end = out + size - 1;
    while (*from && out < end) {
        uint32_t code = 0;
        const size_t bytes = character(from, &code);
        if (bytes == 0 || is_unruly(code)) {
            *out++ = '?';
            from += bytes == 0 ? 1 : bytes;
        } else {
            for (size_t i = 0; i < bytes && out < end; i++) {
                *out++ = (char)*from++;
            }
        }
    }
    *out = 0;
}

static void say(const char* text) {
    size_t length = strlen(text);
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, text, length);
        if (written <= 0) {
            return;
        }
        text += written;
        length -= (size_t)written;
    }
}

static void say_hex(uintptr_t number) {
    char digits[2 * sizeof number + 1];
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do {
        digits[--at] = "0123456789abcdef"[number % 16];
        number /= 16;
    } while (number > 0);
    say(digits + at);
}

// No file of ours: where it was, or who sent it, is all that anybody will have to find out why.
static void say_unknown(const siginfo_t* info) {
    say(program_name);
    if (info->si_code <= 0) {
        say("SIGBUS, sent by process 0x");
        say_hex((uintptr_t)info->si_pid);
    } else {
        say("SIGBUS at address 0x");
        say_hex((uintptr_t)info->si_addr);
        say(", in no mapped file, of kind 0x");
        say_hex((uintptr_t)info->si_code);
    }
    say("\n");
}

// Only what POSIX calls async-signal-safe: strlen, write, _exit, signal, raise.
static void report(int number, siginfo_t* info, void* context) {
    (void)context;
    const uintptr_t address = (uintptr_t)info->si_addr;
    for (int i = 0; i < MAPPINGS; i++) {
        const size_t count = atomic_load(&mappings[i].count);
        const uintptr_t base = atomic_load(&mappings[i].base);
        // The last page belongs to the mapping as a whole.
        const size_t pages = (count + page_bytes - 1) / page_bytes * page_bytes;
        if (count > 0 && address >= base && address - base < pages) {
            say(program_name);
            say(mappings[i].path);
            say(": cannot be read: the file became shorter, or its disk failed, while it was in "
                "use\n");
            _exit(1);
        }
    }
    say_unknown(info);
    signal(number, SIG_DFL);
    raise(number);
}

void mappings_report_shortened(const char* program) {
    copy_shown(program_name, sizeof program_name, program);
    const long page = sysconf(_SC_PAGESIZE);
    if (page > 0) {
        page_bytes = (size_t)page;
    }
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = report;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

int mappings_add(const void* base, size_t count, const char* path) {
    for (int i = 0; i < MAPPINGS; i++) {
        if (!atomic_flag_test_and_set(&mappings[i].taken)) {
            copy_shown(mappings[i].path, PATH_BYTES, path);
            atomic_store(&mappings[i].base, (uintptr_t)base);
            atomic_store(&mappings[i].count, count);
            return i;
        }
    }
    return -1;
}

void mappings_remove(int number) {
    if (number < 0) {
        return;
    }
    atomic_store(&mappings[number].count, 0);
    atomic_flag_clear(&mappings[number].taken);
}
