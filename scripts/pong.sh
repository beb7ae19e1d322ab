#!/bin/sh
# The full Pong run, for a machine with a GPU: three seeds of 10 million steps (40 million frames), then 100 games each.
#   sh scripts/pong.sh [folder] [setting=value …]
# Others report mean returns of 20 and more (CleanRL: 20.4 ± 0.2, 3 seeds, training return).
set -eu
folder=${1:-outputs/pong}
[ $# -eq 0 ] || shift
for seed in 0 1 2; do
    ppo-train env=ALE/Pong-v5 seed="$seed" device=cuda hydra.run.dir="$folder/seed$seed" "$@"
    ppo-eval checkpoint="$folder/seed$seed" episodes=100 seed=777
done
