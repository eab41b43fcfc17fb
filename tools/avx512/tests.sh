#!/bin/bash
# Runs Swift tests with MMQ_ISA=avx512vnni on the emulated CPU: the goldens on real AVX-512 code,
# slowly (a small part of a percent of a real machine's speed).
#
#   tools/avx512/tests.sh FILTER [--limit SECONDS]
#
# Needs what run.sh needs, and its kernel (run.sh first).
set -euo pipefail
cd "$(dirname "$0")/../.."
work=.build/avx512
filter=${1:?usage: tools/avx512/tests.sh FILTER [--limit SECONDS]}
limit=3600
[ "${2:-}" = --limit ] && limit=$3

swift build --build-tests
bundle=$(ls "$(swift build --build-tests --show-bin-path)"/*.xctest | head -1)
kernel=${KERNEL:-$(ls "$work"/kernel/boot/vmlinuz-* | head -1)}
${CC:-clang} -O2 -Wall -Wextra -static tools/avx512/init.c -o "$work/init"
cat >"$work/tests.job" <<END
export MMQ_ISA=avx512vnni
/tests --testing-library swift-testing --filter $filter
END
# Goldens lie where the tests were compiled to look for them.
exec python3 tools/avx512/emulate.py --kernel "$kernel" --init "$work/init" \
    --job "$work/tests.job" --work "$work/tests" --megabytes 2048 --limit "$limit" \
    tests="$bundle" "$PWD/Tests/Golden=$PWD/Tests/Golden"
