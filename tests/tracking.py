"""Runs that are shown in trackers, and what these have of them.

``tests/test_trackers.py`` takes the forms that are quick, ``benchmarks/trackers.py`` those that need many processes:
each is this file as a program.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from console import SCRIPTS, environment
from resuming import Kind, config_of, signalled
from wandb_server import WandbServer

from ppo_cli.config import MlflowConfig, TrainConfig, WandbConfig
from ppo_cli.loggers.curves import CurvesLogger
from ppo_cli.training.run import resume, train

HERE = Path(__file__).parent
Rows = dict[int, dict[str, float]]
"""A run's metrics by step."""


def shown_in(loggers: str, mode: str = "offline") -> TrainConfig:
    """A run of seven iterations, with checkpoints after 2, 4, 6 and 7."""
    config = config_of(Kind("cartpole", "sync"))
    config.logger, config.wandb = loggers.split(","), WandbConfig(project="here", tags=["quick"], mode=mode)
    config.mlflow = MlflowConfig(experiment="there", tags={"team": "blue"})
    return config


def act(what: str, folder: Path, *words: object, kills: bool = False, **variables: str) -> None:
    """Have a process of its own ``begin`` a run or ``go_on`` with one; see the functions for the words."""
    known = {"PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}", "HOME": str(folder.parent), "WANDB_SILENT": "true"}
    inherited = {name: value for name, value in environment().items() if name != "WANDB_SERVICE"}  # which is ours
    typed = [sys.executable, __file__, what, str(folder), json.dumps(words)]
    done = subprocess.run(typed, env=inherited | known | variables, capture_output=True, text=True, timeout=240)
    assert done.returncode == (-signal.SIGKILL if kills else 0), done.stdout + done.stderr


def begin(folder: Path, loggers: str, mode: str, iteration: int = 0, number: int = signal.SIGTERM) -> None:
    """Train, perhaps until the beginning of an iteration in which a signal comes."""
    with signalled(iteration, number) if iteration else nullcontext():
        train(shown_in(loggers, mode), folder, show=False)


def go_on(folder: Path, changes: dict[str, Any], iteration: int = 0, number: int = signal.SIGTERM) -> None:
    """Go on with a run, perhaps until the beginning of an iteration in which a signal comes."""
    with signalled(iteration, number) if iteration else nullcontext():
        resume(folder, changes, show=False)


def rows_of(run_dir: Path) -> Rows:
    """What ``metrics.csv`` has."""
    with (run_dir / "metrics.csv").open(newline="") as file:
        rows = [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
    return {int(row.pop("step")): row for row in rows}


def learnt(rows: Rows) -> Rows:
    """Without what the clock says."""
    return {step: {name: value for name, value in row.items() if "time/" not in name} for step, row in rows.items()}


def problems_of(run_dir: Path) -> list[str]:
    """What the run's loggers met with."""
    found: list[str] = json.loads((run_dir / "summary.json").read_text())["problems"]
    return found


def tensorboard_steps(run_dir: Path) -> list[int]:
    """The steps that TensorBoard shows of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return [point.step for point in EventAccumulator(str(run_dir / "tensorboard")).Reload().Scalars("train/entropy")]


def wandb_rows(server: WandbServer, run_id: str) -> Rows:
    """What the server has of a run; every row once, and in order."""
    rows = server.runs[run_id].rows
    steps = [row["_step"] for row in rows]
    assert steps == sorted(set(steps))
    return {row["_step"]: {name: row[name] for name in row if not name.startswith("_")} for row in rows}


def sync(server: WandbServer, run_dir: Path) -> None:
    """``wandb sync`` of what waits in a run's folder."""
    folders = [folder for folder in (run_dir / "wandb").glob("offline-run-*") if not [*folder.glob("*.synced")]]
    known = environment() | server.variables | {"HOME": str(run_dir.parent)}
    for folder in folders:
        words = [SCRIPTS / "wandb", "sync", folder]
        subprocess.run(words, cwd=run_dir.parent, env=known, check=True, capture_output=True, timeout=120)


def mlflow_rows(uri: str, run_id: str) -> Rows:
    """What MLflow's client reads of a run; of each metric, every step once and in order."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    rows: Rows = {}
    for name in client.get_run(run_id).data.metrics:
        history = client.get_metric_history(run_id, name)
        steps = [point.step for point in history]
        assert steps == sorted(set(steps)), name
        for point in history:
            rows.setdefault(point.step, {})[name] = point.value
    return dict(sorted(rows.items()))


if __name__ == "__main__":
    CurvesLogger.close = lambda *_: None  # type: ignore[method-assign]  # a picture takes longer than the run
    {"begin": begin, "go_on": go_on}[sys.argv[1]](Path(sys.argv[2]), *json.loads(sys.argv[3]))
