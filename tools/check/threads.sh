#!/bin/bash
# Runs the kernels on several threads under the thread sanitizer, and compares the bits with those of one thread.
#
#   python3 tools/check threads
#
# Threads are pthreads here (threads/threads.c takes parallel.c's place): OpenMP's runtime is built without the
# sanitizer. Needs Swift's clang, or CC, with the runtime of the thread sanitizer.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=.build/threads
mkdir -p "$work"
clang=${CC:-$(dirname "$(readlink -f "$(command -v swift)")")/clang}
# On Linux the sanitizer's runtime of Swift's toolchain wants libdispatch, which lies beside it.
swift_libraries=$(dirname "$clang")/../lib/swift/linux
libraries=()
if [ -e "$swift_libraries/libdispatch.so" ]; then
    libraries=("-L$swift_libraries" "-Wl,-rpath,$swift_libraries" -ldispatch -lBlocksRuntime)
fi
sources=$(ls CSIMD/*.c | grep -v /parallel.c)
# shellcheck disable=SC2086
"$clang" -O2 -g -ffp-contract=off -Wall -Wextra -fsanitize=thread -ICSIMD -ICSIMD/include \
    tools/check/threads/*.c $sources -lm -lpthread "${libraries[@]}" -o "$work/check_threads"
TSAN_OPTIONS="halt_on_error=1 ${TSAN_OPTIONS:-}" exec "$work/check_threads"
