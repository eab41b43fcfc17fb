#!/bin/bash
# Checks every leaf kernel against the scalar leaves on a CPU with AVX-512 VNNI that Bochs emulates
# (Tiger Lake), for machines that have none. That CPU also runs the AVX-VNNI leaves, with their one
# instruction in AVX-512's encoding.
#
#   python3 tools/check leaves-avx512 [--limit SECONDS]
#
# Needs clang, and Debian's or Ubuntu's packages bochs, bochs-term, xorriso, isolinux,
# syslinux-common and libc6-dev. The kernel is Debian's linux-image-cloud-amd64, fetched
# once with apt-get download; KERNEL=path takes another.
set -euo pipefail
cd "$(dirname "$0")/../../.."
work=.build/avx512
mkdir -p "$work"

limit=600
case ${1:-} in
"") ;;
--limit) limit=$2 ;;
*) echo "usage: python3 tools/check leaves-avx512 [--limit SECONDS]" >&2; exit 2 ;;
esac

# Without OpenMP: leaves know no threads. Static: the emulated machine has no libraries.
# CSIMD_AVXVNNI_AS_AVX512: AVX-VNNI's own encoding is not emulated.
${CC:-clang} -O3 -ffp-contract=off -Wall -Wextra -ICSIMD -ICSIMD/include -static -DCSIMD_AVXVNNI_AS_AVX512 \
    tools/check/leaves/check_leaves*.c CSIMD/*.c -lm -o "$work/check_leaves"
${CC:-clang} -O2 -Wall -Wextra -static tools/check/leaves/init.c -o "$work/init"

kernel=${KERNEL:-$(ls "$work"/kernel/boot/vmlinuz-* 2>/dev/null | head -1 || true)}
if [ -z "$kernel" ]; then
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')
    (cd "$work" && apt-get download "$package" && dpkg -x "$package"_*.deb kernel)
    kernel=$(ls "$work"/kernel/boot/vmlinuz-* | head -1)
fi
echo /check_leaves >"$work/job"
exec python3 tools/check/leaves/emulate.py --kernel "$kernel" --init "$work/init" --job "$work/job" \
    --limit "$limit" --work "$work" check_leaves="$work/check_leaves"
