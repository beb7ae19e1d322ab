"""Eight seeds of W1: one sweep, two jobs at a time, against eight commands at once, taking turns.

Wall time of the whole, from the first command to the end of the last, with programs in the cache.
``--than`` names a clone of another commit, whose eight commands and sweep take turns, too.

    python -m benchmarks.sweep_throughput
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.compare import HERE, machine
from benchmarks.throughput import W1

SEEDS, JOBS = 8, 2


def words(steps: int) -> list[str]:
    """W1's settings, as they are typed; the rest stands in its preset or makes no difference here."""
    plain: dict[str, Any] = {key: value for key, value in W1.items() if key not in ("network", "seed", "env")}
    plain |= {f"network.{key}": value for key, value in W1["network"].items()}
    plain |= {"total_timesteps": steps, "compile": True, "threads": 1, "normalize_value": False, "eval_every": "null"}
    return [f"env={W1['env']}", *(f"{key}={str(value).lower().replace(' ', '')}" for key, value in plain.items())]


def measured(tree: Path, commands: list[list[str]]) -> float:
    """Seconds that commands of one clone take at once, each in a folder of its own, to the end of the last."""
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        began = time.perf_counter()
        for number, command in enumerate(commands):
            place = Path(folder, str(number))
            place.mkdir()
            whole = [sys.executable, "-m", "ppo_cli", *command]
            environment = {**os.environ, "PYTHONPATH": str(tree)}
            with (place / "output").open("w") as output:
                streams = {"stdout": output, "stderr": subprocess.STDOUT}
                processes.append(subprocess.Popen(whole, cwd=place, env=environment, **streams))
        codes = [process.wait() for process in processes]
        took = time.perf_counter() - began
        if any(codes):
            sys.exit("\n".join(Path(folder, str(number), "output").read_text() for number in range(len(commands))))
    return took


def at_once(tree: Path, steps: int) -> float:
    """A command for each seed."""
    return measured(tree, [[*words(steps), f"seed={seed}"] for seed in range(SEEDS)])


def sweep(tree: Path, steps: int) -> float:
    """One command for all of them."""
    return measured(tree, [["-m", f"n_jobs={JOBS}", *words(steps), f"seed=range({SEEDS})"]])


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=51_200)
    parser.add_argument("--than", type=Path, help="a clone of another commit")
    arguments = parser.parse_args()
    contenders: dict[str, Callable[[], float]] = {}
    for name, tree in (("", HERE), (", other commit", arguments.than)):
        if tree is not None:
            measured(tree.resolve(), [words(W1["buffer_size"])])  # so that the cache has the program
            contenders[f"eight at once{name}"] = lambda tree=tree: at_once(tree.resolve(), arguments.steps)  # type: ignore[misc]
            contenders[f"sweep, n_jobs={JOBS}{name}"] = lambda tree=tree: sweep(tree.resolve(), arguments.steps)  # type: ignore[misc]
    took: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(arguments.rounds):
        for name, measure in list(contenders.items())[:: 1 if number % 2 == 0 else -1]:
            took[name].append(measure())
            print(f"round {number + 1}/{arguments.rounds}: {name}: {took[name][-1]:.1f} s", file=sys.stderr)
    for name, turns in took.items():
        print(f"{name:34}{statistics.median(turns):6.1f} s")
    swept = took[f"sweep, n_jobs={JOBS}"]
    for name in (one for one in took if one.startswith("eight")):
        ratios = [own / other for own, other in zip(swept, took[name], strict=True)]
        print(f"the sweep took {statistics.median(ratios):.2f} of {name}, median of {len(ratios)} rounds")
    print(machine())


if __name__ == "__main__":
    main()
