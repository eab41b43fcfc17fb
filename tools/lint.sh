#!/bin/bash
# Lints the Swift, and the C, the Python and the JavaScript where clang-format, ruff and node are there: from
# the path, or ruff from `make venv`. Says what it left out.
#
#   tools/lint.sh [--fix]          --fix writes what a formatter can put right
set -euo pipefail
cd "$(dirname "$0")/.."

swift=${SWIFT:-swift}
if [ "${1:-}" = --fix ]; then
    swift_format=(format --in-place)
    c_format=(-i)
    python_check=(check --quiet --fix)
else
    swift_format=(format lint --strict)
    c_format=(--dry-run -Werror)
    python_check=(check --quiet)
fi
first_of() {
    for name in "$@"; do
        command -v "$name" && return
    done
    return 1
}

echo "Swift ..."
"$swift" "${swift_format[@]}" --recursive --parallel Package.swift Sources Tests Fuzz

if clang_format=$(first_of clang-format clang-format-14); then
    echo "C ..."
    git ls-files -z -- '*.c' '*.h' '*.inc' | xargs -0 "$clang_format" "${c_format[@]}"
else
    echo "C: left out, for clang-format is missing."
fi

if ruff=$(first_of ruff .build/venv/bin/ruff); then
    echo "Python ..."
    "$ruff" "${python_check[@]}" --config tools/ruff.toml tools python examples
else
    echo "Python: left out, for ruff is missing (make venv)."
fi

# The report's script is embedded as it is: a syntax error would show only in a browser.
if command -v node >/dev/null; then
    echo "JavaScript ..."
    node --check Sources/MMQReport/Resources/report.js
else
    echo "JavaScript: left out, for node is missing."
fi
