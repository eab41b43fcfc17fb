#!/bin/sh
# The main job on a tiny random checkpoint that is part of the repository: convert, ask, count
# activations over two small benches, find the domain-specific neurons, export. Random weights
# answer nonsense; every step is the real one.
set -eu
cd "$(dirname "$0")/.."
mmq=${MMQ:-.build/release/mmq}
checkpoint=Tests/Golden/llava-next/hub-f16/checkpoint
bench=Tests/Golden/bench
out=${OUT:-.build/demo}

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ mmq %s\n' "$*"; "$mmq" "$@"; }

rm -rf "$out"
mkdir -p "$out"
picture=$(find "$bench/rs/Data" -name '*.png' | sort | head -1)

say "1. Convert a Hugging Face checkpoint to int4 (vision part: int8)"
run convert "$checkpoint" --output "$out/model" --type q4_0 --vision-type q8_0

say "2. Ask it about a picture"
run ask --model "$out/model" --image "$picture" --max-tokens 16 "How many buildings are there?"

say "3. Count which neurons fire in two domains"
run activation --model "$out/model" --bench "$bench" --study "$out/study.sqlite" --domain rs,com

say "4. Find the neurons that fire in one of them only"
for module in lang vision mmproj; do
    run identify --study "$out/study.sqlite" --model "$out/model" -d "$module"
done

say "5. Export the counts and masks in the official code's layout"
run export --study "$out/study.sqlite" --output "$out/export"

say "Done: the study is $out/study.sqlite, the exported files are in $out/export"
