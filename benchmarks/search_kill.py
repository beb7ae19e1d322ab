"""A search that is killed and gone on with: the journal has every trial once, and the preset repeats its score.

    python -m benchmarks.search_kill [--trials 12] [--after 5] [--steps 20000] [--n-jobs 2]

Kills the command with SIGKILL once so many trials are over, goes on with it, and trains its preset on each fresh
seed: the last evaluations have to be those that the search ranked it by, bit for bit. With ``--n-jobs 1`` the same
search runs undisturbed as well, and has to have the same trials. The exit status is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ppo_cli.search.scores import score
from ppo_cli.search_config import SearchConfig

METRIC = "eval/episode_return_mean"


def command(*words: str) -> list[str]:
    """``ppo-train`` of this environment."""
    return [str(Path(sys.executable).with_name("ppo-train")), *words]


def read(folder: Path) -> dict[str, Any]:
    """What ``search.json`` says; nothing before there is one."""
    try:
        content: dict[str, Any] = json.loads((folder / "search.json").read_text(encoding="utf-8"))
    except OSError:
        return {"trials": []}
    return content


def over(folder: Path) -> int:
    """How many trials have come to an end."""
    return sum(trial["state"] != "running" for trial in read(folder)["trials"])


def told(folder: Path) -> list[tuple[Any, ...]]:
    """What became of each trial, without what depends on how often it was stopped."""
    names = ("number", "state", "value", "settings", "reason", "scores")
    return [tuple(map(repr, map(trial.get, names))) for trial in read(folder)["trials"]]


def main() -> None:
    """Search, kill, go on, repeat the winner, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("trials", 12), ("after", 5), ("steps", 20_000), ("n-jobs", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    told_of = parser.parse_args()
    words = [
        "-m", "search=optuna", "env=CartPole-v1", "search.preset=false", f"total_timesteps={told_of.steps}",
        "num_envs=4", f"eval_every={told_of.steps // 8}", "eval_episodes=10", "buffer_size=1024", "compile=false",
        "threads=1",
        f"checkpoint_every={told_of.steps // 8}", "lr=tag(log,interval(1e-5,1e-2))", "gamma=interval(0.9,0.999)",
        "batch_size=64,128,256", f"search.trials={told_of.trials}", "search.seeds=2", "search.startup=3",
        "search.top=3", "search.fresh_seeds=3", f"n_jobs={told_of.n_jobs}",
    ]  # fmt: skip
    problems = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "killed"
        began = time.perf_counter()
        process = subprocess.Popen(command(*words, f"hydra.sweep.dir={folder}"), stdout=subprocess.DEVNULL)
        while over(folder) < told_of.after:
            if process.poll() is not None:
                sys.exit("the search ended before it could be killed")
            time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        known = told(folder)
        print(f"killed with {over(folder)} of {len(known)} trials over")
        subprocess.run(command("-m", f"resume={folder}"), check=True)
        print(f"{time.perf_counter() - began:.0f} s in all")
        numbers = [trial["number"] for trial in read(folder)["trials"]]
        if numbers != list(range(told_of.trials)):
            problems.append(f"trials {numbers}")
        ended = {one[0]: one for one in known if one[1] != repr("running")}
        problems += [f"trial {one[0]} changed" for one in told(folder) if one[0] in ended and ended[one[0]] != one]
        winner = read(folder)["finals"][0]
        for seed, worth in zip(winner["seeds"], winner["scores"], strict=True):
            place = Path(name) / f"again{seed}"
            preset = f"preset={folder / 'best.yaml'}"
            done = command(preset, f"seed={seed}", f"hydra.run.dir={place}")
            subprocess.run(done, check=True, stdout=subprocess.DEVNULL)
            again = score(place, METRIC, SearchConfig("optuna"))
            print(f"seed {seed}: {worth!r} in the search, {again!r} by its preset")
            problems += [] if again == worth else [f"seed {seed} differs"]
        if told_of.n_jobs == 1:
            whole = Path(name) / "whole"
            subprocess.run(command(*words, f"hydra.sweep.dir={whole}"), check=True, stdout=subprocess.DEVNULL)
            problems += [] if told(whole) == told(folder) else ["the undisturbed search has other trials"]
    print(f"{len(problems)} problems", *problems, sep="\n")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
