#!/bin/bash
# Checks every leaf kernel that this CPU runs against the scalar leaves and f64.
#
#   python3 tools/check leaves
#
# Needs clang.
set -euo pipefail
cd "$(dirname "$0")/../../.."
work=.build/leaves
mkdir -p "$work"
# Swift's own clang, where there is no other, builds them as the package does. Without OpenMP: leaves know no threads.
clang=${CC:-$(dirname "$(readlink -f "$(command -v swift)")")/clang}
"$clang" -O3 -ffp-contract=off -Wall -Wextra -ICSIMD -ICSIMD/include \
    tools/check/leaves/check_leaves*.c CSIMD/*.c -lm -o "$work/check_leaves"
exec "$work/check_leaves"
