#!/bin/bash
# Lints the Swift, and the C and the Python where clang-format and ruff are there: from the path, or ruff
# from `make venv`. Says what it left out.
set -euo pipefail
cd "$(dirname "$0")/.."

first_of() {
    for name in "$@"; do
        command -v "$name" && return
    done
}

echo "Swift ..."
${SWIFT:-swift} format lint --strict --recursive --parallel Package.swift Sources Tests

clang_format=$(first_of clang-format clang-format-14 || true)
if [ -n "$clang_format" ]; then
    echo "C ..."
    git ls-files -z -- '*.c' '*.h' '*.inc' | xargs -0 "$clang_format" --dry-run -Werror
else
    echo "C: not linted, for clang-format is missing."
fi

ruff=$(first_of ruff .build/venv/bin/ruff || true)
if [ -n "$ruff" ]; then
    echo "Python ..."
    "$ruff" check --quiet tools
else
    echo "Python: not linted, for ruff is missing (make venv)."
fi
