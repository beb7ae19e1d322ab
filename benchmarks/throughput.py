"""Steps per second, whole-process time and memory against Stable-Baselines3, side by side and taking turns.

``python -m benchmarks.throughput`` runs the work called W1; ``--work`` names others. Needs ``pip install
stable-baselines3``; EnvPool's line also ``pip install envpool``. With ``--than <clone>`` another commit takes
turns, too.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.compare import HERE, Contender, Measurement, compare

W1: dict[str, Any] = {
    "env": "CartPole-v1",
    "num_envs": 8,
    "buffer_size": 2048,
    "batch_size": 64,
    "epochs": 10,
    "lr": 3e-4,
    "gamma": 0.99,
    "lam": 0.95,
    "clip_ratio": 0.2,
    "entropy_coef": 0.0,
    "network": {"hidden_sizes": [64, 64], "activation": "tanh", "shared": False},
    "total_timesteps": 61_440,
    "seed": 0,
}
LANDER = {**W1, "env": "LunarLander-v3", "num_envs": 16, "buffer_size": 16_384, "epochs": 4, "total_timesteps": 98_304}
CHEETAH = {**W1, "env": "HalfCheetah-v5", "total_timesteps": 20_480}
WORKS = {"w1": W1, "w1-long": {**W1, "total_timesteps": 204_800}, "lander": LANDER, "cheetah": CHEETAH}
SCALING = (8, 64, 512)


def contenders(work: str) -> list[Contender]:
    """Who competes on a work; the last two are the rival."""
    spec = WORKS[work]
    ours = [
        Contender("ppo-cli eager", "ours", {**spec, "compile": False}),
        Contender("ppo-cli compiled", "ours", {**spec, "compile": True}),
    ]
    if work == "lander":
        ours = [Contender(one.name + ", sync", one.side, {**one.spec, "vector_backend": "sync"}) for one in ours]
        envpool = {**spec, "compile": True, "vector_backend": "envpool"}
        ours.append(Contender("ppo-cli compiled, EnvPool", "ours", envpool))
    rivals = [Contender(f"SB3, threads={n}", "sb3", {**spec, "threads": n}) for n in (1, "auto")]
    return [*ours, *rivals]


def scaling() -> list[Contender]:
    """Ours with more and more environments, all else the same."""
    spec = {**W1, "buffer_size": 16_384, "total_timesteps": 65_536, "compile": True}
    return [Contender(f"num_envs={n}", "ours", {**spec, "num_envs": n}) for n in SCALING]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=[*WORKS, "scaling"], default="w1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="parts of names, with commas between: who is to run")
    parser.add_argument("--than", type=Path, help="a clone of another commit")
    arguments = parser.parse_args()
    field = scaling() if arguments.work == "scaling" else contenders(arguments.work)
    field = [one for one in field if any(part in one.name for part in arguments.only.split(","))]
    others: dict[str, Contender] = {}
    if arguments.than is not None:
        tree = arguments.than.resolve()
        others = {
            one.name: replace(one, name=f"{one.name}, other commit", tree=tree) for one in field if one.side == "ours"
        }
        field = [each for one in field for each in (one, others.get(one.name)) if each is not None]
    measured = (
        Measurement("steps_per_second", "steps/s", higher_is_better=True),
        Measurement("collecting", "collecting, µs a step", higher_is_better=False),
        Measurement("process_seconds", "whole process, s", higher_is_better=False),
        Measurement("peak_mib", "peak MiB", higher_is_better=False),
    )
    results = compare(f"throughput-{arguments.work}", field, measured, _command, arguments.rounds)
    for name, other in others.items():
        rounds = list(zip(results[name], results[other.name], strict=True))
        a_step = statistics.median(theirs["steps_per_second"] / own["steps_per_second"] for own, theirs in rounds)
        collecting = statistics.median(own["collecting"] / theirs["collecting"] for own, theirs in rounds)
        print(f"{name} against the other commit: a step in all {a_step:.2f}, collecting {collecting:.2f}")


def _command(contender: Contender, _round: int) -> list[str]:
    return ["-P", str(HERE / "benchmarks" / "worker.py"), json.dumps({"side": contender.side, **contender.spec})]


if __name__ == "__main__":
    main()
