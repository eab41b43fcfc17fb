#!/bin/bash
# Runs Swift tests with MMQ_ISA=avx512vnni on the emulated CPU: the goldens on real AVX-512 code,
# slowly (a small part of a percent of a real machine's speed).
#
#   python3 tools/check tests-avx512 FILTER [--limit SECONDS]
#
# Needs what leaves-avx512 needs, and its kernel (run that first).
set -euo pipefail
cd "$(dirname "$0")/../../.."
work=.build/avx512
filter=${1:?usage: python3 tools/check tests-avx512 FILTER [--limit SECONDS]}
limit=3600
[ "${2:-}" = --limit ] && limit=$3

swift build --build-tests
bundle=$(ls "$(swift build --build-tests --show-bin-path)"/*.xctest | head -1)
kernel=${KERNEL:-$(ls "$work"/kernel/boot/vmlinuz-* | head -1)}
${CC:-clang} -O2 -Wall -Wextra -static tools/check/leaves/init.c -o "$work/init"
cat >"$work/tests.job" <<END
export MMQ_ISA=avx512vnni
/tests --testing-library swift-testing --filter $filter
END
# Goldens lie where the tests were compiled to look for them.
exec python3 tools/check/leaves/emulate.py --kernel "$kernel" --init "$work/init" \
    --job "$work/tests.job" --work "$work/tests" --megabytes 2048 --limit "$limit" \
    tests="$bundle" "$PWD/Tests/Golden=$PWD/Tests/Golden"
