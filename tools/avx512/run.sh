#!/bin/bash
# Checks every leaf kernel against the scalar leaves: natively with --native, else on a CPU with
# AVX-512 VNNI that Bochs emulates (Tiger Lake), for machines that have none. That CPU also runs the
# AVX-VNNI leaves, with their one instruction in AVX-512's encoding.
#
#   tools/avx512/run.sh [--native] [--limit SECONDS]
#
# Needs clang, and for the emulation Debian's or Ubuntu's packages bochs, bochs-term, xorriso,
# isolinux, syslinux-common and libc6-dev. The kernel is Debian's linux-image-cloud-amd64, fetched
# once with apt-get download; KERNEL=path takes another.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=.build/avx512
mkdir -p "$work"

limit=600 native=false
while [ $# -gt 0 ]; do
    case $1 in
    --native) native=true ;;
    --limit) limit=$2; shift ;;
    *) sed -n '2,11p' "$0"; exit 2 ;;
    esac
    shift
done

# Without OpenMP: leaves know no threads. Static: the emulated machine has no libraries.
leaves=(CSIMD/scalar*.c CSIMD/avx2*.c CSIMD/avxvnni*.c CSIMD/avx512*.c CSIMD/dispatch.c CSIMD/weights.c
    CSIMD/matmul.c CSIMD/parallel.c)
flags=()
$native || flags=(-DCSIMD_AVXVNNI_AS_AVX512) # that encoding of it is not emulated
${CC:-clang} -O3 -ffp-contract=off -Wall -Wextra -ICSIMD -ICSIMD/include -static "${flags[@]}" \
    tools/check_leaves*.c "${leaves[@]}" -lm -o "$work/check_leaves"
if $native; then
    exec "$work/check_leaves"
fi
${CC:-clang} -O2 -Wall -Wextra -static tools/avx512/init.c -o "$work/init"

kernel=${KERNEL:-$(ls "$work"/kernel/boot/vmlinuz-* 2>/dev/null | head -1 || true)}
if [ -z "$kernel" ]; then
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')
    (cd "$work" && apt-get download "$package" && dpkg -x "$package"_*.deb kernel)
    kernel=$(ls "$work"/kernel/boot/vmlinuz-* | head -1)
fi
echo /check_leaves >"$work/job"
exec python3 tools/avx512/emulate.py --kernel "$kernel" --init "$work/init" --job "$work/job" \
    --limit "$limit" --work "$work" check_leaves="$work/check_leaves"
