#!/bin/bash
# Runs the tests under the address sanitizer and, for C, the one for undefined behaviour; then the kernels on several
# threads under the thread sanitizer.
#
#   python3 tools/check sanitized [--filter NAME ...]      # what swift test takes
#
# The build is one of its own (.build/sanitized).
set -euo pipefail
cd "$(dirname "$0")/../.."
# Leaks are not looked for: Swift's runtime keeps its tables until the end. No room is no room, as without sanitizers.
export ASAN_OPTIONS="detect_leaks=0 allocator_may_return_null=1 ${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="halt_on_error=1 print_stacktrace=1 ${UBSAN_OPTIONS:-}"
echo "Tests under the sanitizers for addresses and undefined behaviour ..."
MMQ_SANITIZE=1 "${SWIFT:-swift}" test --scratch-path .build/sanitized --sanitize=address "$@"
echo "Kernels under the sanitizer for threads ..."
tools/check/threads.sh
