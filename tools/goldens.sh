#!/bin/sh
# Makes every golden below Tests/Golden anew from the reference implementations. Needs Python 3.11
# and the network for its packages, which go into a virtual environment below .build.
set -eu
cd "$(dirname "$0")/.."
venv=.build/venv

if [ ! -x "$venv/bin/python" ]; then
    echo "Making a virtual environment in $venv and installing tools/requirements.txt ..."
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q -r tools/requirements.txt
fi
for script in tools/make_*goldens.py tools/make_tiny_bench.py; do
    echo "$script ..."
    case $script in
    *study*) "$venv/bin/python" "$script" Tests/Golden/study ;;
    *) "$venv/bin/python" "$script" ;;
    esac
done
git status --short Tests/Golden
