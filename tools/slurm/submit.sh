#!/bin/bash
# Submits what is left to do of the study in this folder, each step after the one before it, and prints the jobs.
#
#   cp .../tools/slurm/study.conf . && edit study.conf && .../tools/slurm/submit.sh
#
# Again after a failure or a cancelled task: only shards that are not done are submitted.
set -euo pipefail

# shellcheck source=tools/slurm/study.conf
source ./study.conf
script=$(dirname "$(readlink -f "$0")")/study.sbatch
mkdir -p shards logs
after=''

# submit STEP LOG OPTION...
submit() {
    local step=$1 log=$2 job
    shift 2
    job=$(sbatch --parsable --output="logs/$log" ${after:+--dependency="afterok:$after" --kill-on-invalid-dep=yes} \
        "${TASK[@]}" "$@" "$script" "$step")
    after=${job%%;*}
    echo "$step $after"
}

# submit_shards COMMAND: an array of the shards that are not done.
submit_shards() {
    local left=() i
    for ((i = 1; i <= SHARDS; i++)); do [ -e "shards/$1-$i.done" ] || left+=("$i"); done
    [ ${#left[@]} = 0 ] || submit "$1" "$1-%a.log" --array="$(IFS=, && echo "${left[*]}")"
}

[ -d model ] || submit convert convert.log
submit_shards activation
if [ -n "$after" ] || [ ! -e counted.sqlite ]; then submit identify identify.log; fi
submit_shards generate
submit report report.log
