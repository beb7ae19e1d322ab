#!/bin/sh
# Ten seeds of five environments and the report over them, which is what docs/results/ holds.
#   sh scripts/published.sh [folder of the sweep] [folder of the report]
# If it was stopped, the same line goes on.
set -eu
sweep=${1:-outputs/published}
report=${2:-docs/results}
if [ -e "$sweep/sweep.json" ]; then
    ppo-train -m resume="$sweep"
else
    ppo-train -m +experiment=published hydra.sweep.dir="$sweep"
fi
ppo-report "$sweep" output="$report"
