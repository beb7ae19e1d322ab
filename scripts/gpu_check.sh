#!/bin/sh
# What a GPU does for training and whether it does the same, in one table, and the tests that need one; under four minutes.
#   sh scripts/gpu_check.sh [--quick] [--device cpu --tiny]     for a clone whose packages are installed
# Ends with 0 where all that must agree does, 1 where something does not, 2 where there is no GPU. PYTHON chooses Python.
set -u
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
PYTHONPATH=.${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH PYTHONUNBUFFERED=1
"$python" -m benchmarks.gpu_check "$@"
status=$?
[ $status -ne 2 ] || exit 2
echo
"$python" -m pytest -q -p no:cacheprovider -k cuda tests/test_devices.py || status=1
folder=$(mktemp -d)
case " $* " in *" --device cpu "*) places=cpu ;; *) places="cpu cuda" ;; esac
echo
echo "whole runs: ppo-train env=CartPole-v1 total_timesteps=20480"
for where in $places; do
    began=$(date +%s.%N)
    "$python" -m ppo_cli env=CartPole-v1 total_timesteps=20480 device=$where "hydra.run.dir=$folder/$where" \
        >"$folder/log" 2>&1 || { status=1; tail -20 "$folder/log"; }
    "$python" -c "import sys, time; print('  device=' + sys.argv[1], f'{time.time() - float(sys.argv[2]):.1f} s')" $where "$began"
done
rm -r "$folder"
[ $status -eq 0 ] && echo "all that must agree does" || echo "something does not agree, or broke"
exit $status
