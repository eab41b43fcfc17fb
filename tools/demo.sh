#!/bin/sh
# The main job on a tiny random checkpoint that is part of the repository: convert, ask, count
# activations over two small benches, find the domain-specific neurons, switch them off, score the
# answers, look inside, compare int4 with f16, export. Random weights
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

say "5. Answer the questions of the val split with these neurons on, off, and as many others off"
run generate --study "$out/study.sqlite" --model "$out/model" --bench "$bench" --domain rs,com \
    --masks none,lang,all,random --greedy --max-tokens 8 --batch 4
run evaluate --study "$out/study.sqlite" --domain rs,com --metric official

say "6. Look inside: what each layer would say, and how far the masks move it"
run logit-lens --model "$out/model" --bench "$bench" --study "$out/study.sqlite" --domain rs,com
run deviation --model "$out/model" --bench "$bench" --study "$out/study.sqlite" --domain rs,com --samples 6

say "7. What int4 changes next to f16"
run convert "$checkpoint" --output "$out/model-f16" --type f16 --vision-type f16
run compare --model "$out/model-f16" --model "$out/model" --bench "$bench" --domain rs,com --samples 4

say "8. Export counts, masks and answers in the official code's layout"
run export --study "$out/study.sqlite" --output "$out/export"

say "Done: the study is $out/study.sqlite, the exported files are in $out/export"
