// What Swift's own modules of the C library lack.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// The number of an open file's kind of file system on Linux (EXT4_SUPER_MAGIC, ...); 0 elsewhere.
unsigned long file_system_kind(int descriptor);

#ifdef __cplusplus
}
#endif
