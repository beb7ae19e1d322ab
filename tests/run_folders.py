"""Run folders as a run leaves them, made up: a record and a ``metrics.csv`` of a known curve."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ppo_cli.config import TrainConfig
from ppo_cli.loggers.metrics import COLUMNS
from ppo_cli.plain import to_plain
from ppo_cli.runs.summary import as_json

BUDGET = 1000


def make_run(
    folder: Path,
    score: float = 100.0,
    seed: int = 0,
    *,
    env: str = "CartPole-v1",
    status: str = "finished",
    budget: int = BUDGET,
    step: int | None = None,
    rows: int = 10,
    evaluated: bool = True,
    curve: Sequence[float] | None = None,
    facts: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """Make a run whose metric rises in a straight line to ``score``.

    Args:
        folder: Where; its parents are made too.
        score: The last value.
        seed: The seed.
        env: The environment.
        status: As ``summary.json`` has it.
        budget: Steps it was to make.
        step: Steps that it made; all if not said.
        rows: Iterations, each with an evaluation.
        evaluated: Whether there are evaluations.
        curve: Values in the place of the straight line.
        facts: What else the record says.
        settings: Settings that differ from the defaults, with ``__`` for a dot.
    """
    folder.mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    config = as_json(to_plain(TrainConfig()))
    config["env"]["id"], config["seed"], config["total_timesteps"] = env, seed, budget
    for key, value in settings.items():
        *path, last = key.split("__")
        place = config
        for part in path:
            place = place[part]
        place[last] = value
    record = {"status": status, "total_timesteps": budget, "step": budget if step is None else step, "env": env}
    record |= {"seed": seed, "started": f"2026-11-20T00:00:{seed % 60:02}+00:00", "wall_time": 12.5, "config": config}
    record |= {"final_return": score, "best_return": score, "command": f"ppo-train env={env} seed={seed}"}
    record |= {"versions": {"torch": "2.13.0"}, "git_commit": None, "resumed": [], "problems": [], **(facts or {})}
    (folder / "summary.json").write_text(json.dumps(record), encoding="utf-8")
    values = [score * (row + 1) / rows for row in range(rows)] if curve is None else curve
    write_rows(folder, values, record["step"], evaluated)
    return folder


def write_rows(folder: Path, values: Sequence[float], end: int, evaluated: bool = True) -> None:
    """Write a ``metrics.csv`` whose metric has these values at equal distances."""
    with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for number, value in enumerate(values, 1):
            row = {"iteration": number, "step": round(end * number / len(values)), "time/elapsed": number / 2}
            row |= {"train/approx_kl": 0.01 * number, "rollout/episode_return_mean": value - 1}
            row |= {"eval/episode_return_mean": value} if evaluated else {}
            writer.writerow(row)


def make_sweep(folder: Path, scores: dict[float, Sequence[float]], **settings: Any) -> Path:
    """Make runs of several step sizes: for each ``lr`` a run a score, with seeds 0, 1, 2, …."""
    number = 0
    for lr, own in scores.items():
        for seed, score in enumerate(own):
            make_run(folder / f"{number}_lr-{lr}_seed-{seed}", score, seed, lr=lr, **settings)
            number += 1
    (folder / "multirun.yaml").write_text("", encoding="utf-8")
    return folder


SPACE = {
    "lr": {"low": 1e-5, "high": 1e-2, "log": True, "int": False},
    "gamma": {"low": 0.9, "high": 0.999, "log": False, "int": False},
    "network.hidden_sizes": {"choices": [[64, 64], [256, 256]]},
}


def make_search(folder: Path, trials: int = 12, finals: Sequence[int] = (7, 3, 0), fresh: int = 5) -> dict[str, Any]:
    """Make a search of a folder: jobs of trials of two seeds each, finals on fresh seeds, and ``search.json``.

    Trial 0 is the preset, each fifth was pruned, the last one failed, and what was believed is 20 more than holds.

    Returns:
        What ``search.json`` has.
    """
    names = iter(range(10_000))
    tried, sizes = [], SPACE["network.hidden_sizes"]["choices"]
    for number in range(trials):
        lr, gamma = 10 ** (-5 + 3 * (number * 0.618 % 1)), 0.9 + 0.099 * (number * 0.382 % 1)
        settings = {"lr": lr, "gamma": gamma, "network.hidden_sizes": sizes[number % 2]}
        state = "pruned" if number % 5 == 4 else "failed" if number == trials - 1 else "finished"
        value = 100 - 20 * abs(math.log10(lr) + 3.3) + 3 * number
        one = {"number": number, "state": state, "value": None if state == "failed" else value, "preset": number == 0}
        one |= {"settings": settings, "reason": None if state == "finished" else f"was {state} at step 400"}
        one |= {"folders": [], "scores": [], "steps": 2 * BUDGET, "seconds": 25.0}
        for seed in range(2):
            name = f"{next(names)}_trial-{number}_seed-{seed}"
            make_run(folder / name, value, seed, status=state, **_dotted(settings))
            one["folders"].append(name)
            one["scores"].append(value if state == "finished" else None)
        tried.append(one)
    found: list[dict[str, Any]] = []
    for trial in finals:
        settings, believed = tried[trial]["settings"], tried[trial]["value"]
        one = {"trial": trial, "believed": believed, "held": believed - 20.0, "seeds": [], "scores": [], "folders": []}
        for seed in range(1000, 1000 + fresh):
            name, score = f"{next(names)}_trial-{trial}_seed-{seed}", believed - 20.0 + (seed - 1000 - (fresh - 1) / 2)
            make_run(folder / name, seed=seed, curve=[score] * 10, **_dotted(settings))
            one["seeds"].append(seed)
            one["scores"].append(score)
            one["folders"].append(name)
        found.append(one)
    content = {
        "format": 1, "metric": "final", "direction": "maximize", "threshold": None, "seeds": 2, "asked": trials,
        "column": "eval/episode_return_mean", "space": dict(SPACE), "trials": tried, "finals": found,
        "importance": {"gamma": 0.2, "lr": 0.7, "network.hidden_sizes": 0.1} if trials > 5 else None,
        "best": finals[0] if finals else None, "preset_file": "best.yaml" if finals else None,
    }  # fmt: skip
    (folder / "sweep.json").write_text("{}", encoding="utf-8")
    (folder / "search.json").write_text(json.dumps(content), encoding="utf-8")
    return content


def _dotted(settings: dict[str, Any]) -> dict[str, Any]:
    return {key.replace(".", "__"): value for key, value in settings.items()}
