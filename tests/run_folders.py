"""Run folders as a run leaves them, made up: a record and a ``metrics.csv`` of a known curve."""

from __future__ import annotations

import csv
import json
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
