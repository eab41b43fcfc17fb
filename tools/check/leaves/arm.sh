#!/bin/bash
# Checks every NEON leaf against the scalar leaves on an emulated Arm CPU (qemu-user): cross-compiles
# the kernels, so it needs no Arm machine. On an Arm machine it runs natively.
#
#   python3 tools/check leaves-arm
#
# Needs clang with lld, and on x86 Debian's or Ubuntu's packages qemu-user, libc6-dev-arm64-cross and
# libgcc-12-dev-arm64-cross (installed with apt-get where that is possible).
set -euo pipefail
cd "$(dirname "$0")/../../.."
work=.build/arm
mkdir -p "$work"
# Swift's own clang cross-compiles; a Debian clang of its age would not know the dot product's intrinsics.
clang=${CC:-$(dirname "$(readlink -f "$(command -v swift)")")/clang}
flags=(-O3 -ffp-contract=off -Wall -Wextra -ICSIMD -ICSIMD/include)
[ "$(uname -m)" = x86_64 ] || exec tools/check/leaves/native.sh
if ! command -v qemu-aarch64 >/dev/null || [ ! -d /usr/aarch64-linux-gnu/include ]; then
    echo "Installing qemu-user and the Arm C library ..." >&2
    apt-get install -y -q qemu-user libc6-dev-arm64-cross libgcc-12-dev-arm64-cross >&2
fi
gcc=$(ls -d /usr/lib/gcc-cross/aarch64-linux-gnu/* | sort -V | tail -1)
"$clang" --target=aarch64-linux-gnu "${flags[@]}" -isystem /usr/aarch64-linux-gnu/include -static \
    -fuse-ld=lld -L/usr/aarch64-linux-gnu/lib -B/usr/aarch64-linux-gnu/lib -L"$gcc" -B"$gcc" \
    tools/check/leaves/check_leaves*.c CSIMD/*.c -lm -o "$work/check_leaves"
exec qemu-aarch64 -cpu max "$work/check_leaves"
