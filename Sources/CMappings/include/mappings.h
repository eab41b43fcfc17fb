// What becomes of a process that reads a mapped file which another one shortens.
//
// The kernel sends SIGBUS: no read call could return an error. A process that asked for it then
// says which file it was and ends with 1, as after any other failed read. What was committed before
// stays: nothing else is touched on the way out.
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Installs the handler. `program` stands before the message.
void mappings_report_shortened(const char* program);

// Notes [base, base + count) as a mapping of the file `path`. Gives the number that
// mappings_remove takes, or -1 if the table is full (the process then dies of SIGBUS as ever).
int mappings_add(const void* base, size_t count, const char* path);

// Forgets a mapping; call it before unmapping. Harmless for -1.
void mappings_remove(int number);

#ifdef __cplusplus
}
#endif
