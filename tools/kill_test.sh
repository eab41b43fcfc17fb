#!/bin/sh
# Kills `mmq activation` at random moments, again and again, until it is through; then its counts
# must equal those of an undisturbed run, byte by byte. Needs nothing from outside the clone.
#
#     tools/kill_test.sh [ROUNDS (20)] [SEED (1)]      MMQ=.build/release/mmq
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-20}
seed=${2:-1}
mmq=${MMQ:-.build/release/mmq}
golden=Tests/Golden
samples=400
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# A bench of many pictures: the twelve committed ones, over and over.
mkdir -p "$work/bench/rs/Data"
i=0
while [ "$i" -lt "$samples" ]; do
    ln -s "$PWD/$golden/bench/rs/Data/$((i % 12)).png" "$work/bench/rs/Data/$i.png"
    i=$((i + 1))
done
list() { # NAME FORMAT: {"NAME": [...]}, every # of the format being the number of the entry
    awk -v n="$samples" -v name="$1" -v form="$2" 'BEGIN {
        printf "{\"%s\": [", name
        for (i = 0; i < n; i++) { entry = form; gsub(/#/, i, entry); printf "%s%s", i ? ", " : "", entry }
        print "]}"
    }' > "$work/bench/rs/USGS_split_train_$1.json"
}
list questions '{"id": #, "img_id": #, "type": "count", "question": "How many roads are in part #?", "answers_ids": [#], "active": true}'
list images '{"id": #, "original_name": "#.tif", "questions_ids": [#], "active": true}'
list answers '{"id": #, "question_id": #, "answer": "#", "active": true}'

"$mmq" convert "$golden/llava-next/hub-f16/checkpoint" --output "$work/model" --type q4_0 > "$work/log" 2>&1
count() { # STUDY
    exec "$mmq" activation --model "$work/model" --bench "$work/bench" --study "$1" --domain rs \
        --samples "$samples"
}
exported() { # STUDY: checksum of its counts
    rm -rf "$work/out"
    "$mmq" export --study "$1" --output "$work/out" --name m > "$work/log"
    cksum < "$work/out/m/activation/rs.safetensors"
}

(count "$work/whole.sqlite") > "$work/log" 2>&1
expected=$(exported "$work/whole.sqlite")

round=1
kills=0
bad=0
while [ "$round" -le "$rounds" ]; do
    study="$work/study-$round.sqlite"
    killed=0
    while :; do
        # Half of the first kills hit the making of the study, the others anywhere.
        delay=$(awk -v s="$seed" -v r="$round" -v k="$killed" 'BEGIN {
            srand(s * 7919 + r * 101 + k); rand(); u = rand()
            printf "%.3f", (k == 0 && r % 2) ? u * 0.08 : 0.05 + u * 1.6
        }')
        (count "$study") > "$work/log" 2>&1 &
        process=$!
        (sleep "$delay"; kill -9 "$process" 2> "$work/kill-log" || true) &
        killer=$!
        if wait "$process" 2>> "$work/kill-log"; then
            kill "$killer" 2> "$work/kill-log" || true
            wait "$killer" 2> "$work/kill-log" || true
            break
        fi
        wait "$killer" || true
        killed=$((killed + 1))
        # A run that ends by itself in any other way would go on for ever.
        if [ "$killed" -ge 100 ]; then
            echo "round $round: still not through after $killed kills"
            cat "$work/log"
            exit 1
        fi
    done
    kills=$((kills + killed))
    if [ "$(exported "$study")" = "$expected" ]; then
        echo "round $round: killed $killed times, the same counts"
    else
        echo "round $round: killed $killed times, OTHER COUNTS"
        bad=$((bad + 1))
    fi
    round=$((round + 1))
done
echo "$rounds rounds, $kills kills, $bad with other counts"
[ "$bad" -eq 0 ]
