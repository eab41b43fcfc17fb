#include "file_system.h"

#if defined(__linux__)
#include <sys/vfs.h>
#endif

unsigned long file_system_kind(int descriptor) {
#if defined(__linux__)
    struct statfs info;
    return fstatfs(descriptor, &info) == 0 ? (unsigned long)info.f_type : 0;
#else
    (void)descriptor;
    return 0;
#endif
}
