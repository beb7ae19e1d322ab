"""From the command to the first gradient step, and of the whole: W1, eager and compiled, from a warm cache.

Compiled, the first steps are one call of the program, and its end is taken. ``--than`` names a clone of another commit,
which takes turns with this one; ``--steps`` makes the whole longer.

    python -m benchmarks.start
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.compare import HERE, machine, processor_of_children
from benchmarks.sweep_throughput import words

MODULE = """
import functools, json, os, resource, time
from ppo_cli import Callback
from ppo_cli.agent import learner

make = learner.accelerated

def stamped(call):
    @functools.wraps(call)
    def first(*arguments):
        result = call(*arguments)
        if not os.path.exists("stamp"):
            used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
            processor = sum(one.ru_utime + one.ru_stime for one in used)
            with open("stamp", "w") as file:
                json.dump([time.time() - float(os.environ["BEGAN"]), processor], file)
        return result
    return first

def accelerated(step, compiled, *rest):
    return stamped(make(step, True, *rest)) if compiled else make(stamped(step), False, *rest)

learner.accelerated = accelerated

class Stamp(Callback):
    pass
"""
COLUMNS = ("first step: wall, s", "processor, s", "whole: wall, s", "processor, s")


def took(tree: Path, compiled: bool, steps: int) -> list[float]:
    """Seconds of one command: see :data:`COLUMNS`."""
    with tempfile.TemporaryDirectory() as place:
        Path(place, "stamp.py").write_text(MODULE)
        typed = [*words(steps), f"compile={str(compiled).lower()}", "callbacks=[stamp:Stamp]"]
        before, began = processor_of_children(), time.time()
        environment = {**os.environ, "PYTHONPATH": str(tree), "BEGAN": str(began)}
        command = [sys.executable, "-m", "ppo_cli", *typed]
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
        wall, processor = time.time() - began, processor_of_children() - before
        if done.returncode != 0:
            sys.exit(done.stderr)
        first = json.loads(Path(place, "stamp").read_text())
    return [*first, wall, processor]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2_048)
    parser.add_argument("--than", type=Path, help="a clone of another commit")
    arguments = parser.parse_args()
    trees = {"this": HERE} | ({} if arguments.than is None else {"other": arguments.than.resolve()})
    contenders = [(name, compiled) for compiled in (False, True) for name in trees]
    results: dict[tuple[str, bool], list[list[float]]] = {one: [] for one in contenders}
    for name, tree in trees.items():
        print(f"filling the cache: {name}", file=sys.stderr)
        took(tree, True, arguments.steps)
    for number in range(arguments.rounds):
        for name, compiled in contenders[:: 1 if number % 2 == 0 else -1]:
            results[name, compiled].append(took(trees[name], compiled, arguments.steps))
            print(f"round {number + 1}/{arguments.rounds}: {name}, compile={compiled}", file=sys.stderr)
    print(f"{'':20}" + "".join(f"{title:>26}" for title in COLUMNS))
    for (name, compiled), rounds in results.items():
        medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
        print(f"{name}, compile={str(compiled).lower():8}" + "".join(f"{number:26.2f}" for number in medians))
    for compiled in (False, True) if len(trees) > 1 else ():
        pairs = [
            zip(*both, strict=True) for both in zip(results["this", compiled], results["other", compiled], strict=True)
        ]
        ratios = [[own / other for own, other in pair] for pair in pairs]
        medians = [statistics.median(column) for column in zip(*ratios, strict=True)]
        print(f"ratio, compile={str(compiled).lower():7}" + "".join(f"{number:26.2f}" for number in medians))
    print(machine())


if __name__ == "__main__":
    main()
