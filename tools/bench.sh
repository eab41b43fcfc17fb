#!/bin/sh
# Times a converted model: MODEL=DIR, or the tiny demo model (which says little about speed).
set -eu
cd "$(dirname "$0")/.."
mmq=${MMQ:-.build/release/mmq}
model=${MODEL:-}
if [ -z "$model" ]; then
    model=.build/demo/model
    [ -d "$model" ] || "$mmq" convert Tests/Golden/llava-next/hub-f16/checkpoint --output "$model"
fi
"$mmq" bench --model "$model" -p 512 -n 32 --counting
