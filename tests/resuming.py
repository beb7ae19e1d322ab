"""Runs that are stopped by a signal half-way and gone on with in another process, beside runs that nothing disturbed.

``tests/test_resume.py`` takes a few kinds of run, ``benchmarks/resume_matrix.py`` all. Both call :func:`go_through`,
which has one process (this file as a program) make all undisturbed runs and all first halves, and a second one go on.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import toys

from ppo_cli.config import ContinuousConfig, EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.envs.backends import choose_backend
from ppo_cli.envs.inspect import inspect
from ppo_cli.errors import ConfigError
from ppo_cli.loggers.curves import CurvesLogger
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.training.run import resume, train
from ppo_cli.training.trainer import Trainer

assert toys.TOYS

ITERATIONS, EVERY, STOPPED_AFTER = 7, 2, 5  # checkpoints after 2, 4, 6 and 7, so the fifth is made once more


class Kind(NamedTuple):
    """One kind of run."""

    what: str
    backend: str
    compiled: bool = False

    def __str__(self) -> str:
        return "-".join((self.what, self.backend, "compiled" if self.compiled else "eager"))


SETTINGS: dict[str, dict[str, Any]] = {
    "cartpole": {"env": "CartPole-v1"},
    "lunarlander": {"env": "LunarLander-v3"},
    "pendulum": {"env": "Pendulum-v1"},
    "gsde": {"env": "Pendulum-v1", "continuous": ContinuousConfig(distribution="gsde", resample_every=3)},
    "lstm": {"env": "CartPole-v1", "recurrent": "lstm"},
    "masked": {"env": "toys:Any-v0", "kwargs": {"mask": "info"}},
    "normalised": {"env": "CartPole-v1", "normalize_obs": True, "normalize_reward": True},
}
BACKENDS = ("sync", "native", "envpool", "async")


def config_of(kind: Kind, rollout: int = 16) -> TrainConfig:
    """A run of seven iterations, short episodes and a tiny network; all that a checkpoint may hold is in use.

    Args:
        kind: Which.
        rollout: Steps of each environment in an iteration.
    """
    settings = dict(SETTINGS[kind.what])
    env_id, kwargs, recurrent = settings.pop("env"), settings.pop("kwargs", {}), settings.pop("recurrent", None)
    if env_id == "toys:Any-v0" and kind.backend == "native":
        env_id = "toys:AnyInStep-v0"
    common: dict[str, Any] = {"num_envs": 2, "buffer_size": 2 * rollout, "batch_size": rollout, "epochs": 2}
    common |= {"total_timesteps": ITERATIONS * 2 * rollout, "checkpoint_every": EVERY * 2 * rollout}
    common |= {"eval_every": 3 * 2 * rollout, "eval_episodes": 2, "anneal_lr": True, "lr": 0.003, "seed": 3}
    common |= {"value_clip": 0.5, "threads": 1, "logger": ["csv"]}
    return TrainConfig(
        env=EnvConfig(id=env_id, kwargs=kwargs, max_episode_steps=rollout + 3),
        network=NetworkConfig(
            hidden_sizes=[8], recurrent=recurrent, recurrent_size=4, sequence_length=4 if recurrent else None
        ),
        vector_backend=kind.backend,
        compile=kind.compiled,
        **common | settings,
    )


def why_missing(kind: Kind) -> str:
    """Why there is no such run here; empty if there is."""
    config = config_of(kind)
    try:
        choose_backend(kind.backend, config.env, inspect(config.env, 0))
    except ConfigError as error:
        return error.problems[0].what
    return ""


# comparing


def metrics(run_dir: Path) -> list[dict[str, str]]:
    """A run's rows as text, without what the clock says."""
    with (run_dir / "metrics.csv").open(newline="") as file:
        return [{key: cell for key, cell in row.items() if not key.startswith("time/")} for row in csv.DictReader(file)]


def differences(one: Path, other: Path) -> list[str]:
    """How two runs' folders differ: checkpoints number by number, metrics cell by cell, and how the run stands."""
    names, others = ({path.name for path in (run / "checkpoints").glob("*.pt")} for run in (one, other))
    found = [] if names == others else [f"checkpoints {sorted(names)} and {sorted(others)}"]
    for name in sorted(names & others):
        found += _differences(name, *(load_checkpoint(run / "checkpoints" / name) for run in (one, other)))
    found += _differences("metrics.csv", metrics(one), metrics(other))
    stands = [json.loads((run / "summary.json").read_text()) for run in (one, other)]
    passing = {"started", "resumed", "command", "git_commit", "pid", "host", "wall_time", "steps_per_second"}
    kept = [{key: value for key, value in stand.items() if key not in passing} for stand in stands]
    return found + _differences("summary.json", *kept)


def _differences(place: str, one: Any, other: Any) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [line for key in one for line in _differences(f"{place}: {key}", one[key], other[key])]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for index, pair in pairs for line in _differences(f"{place}: {index}", *pair)]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        alike = one.dtype == other.dtype and torch.equal(one, other)  # no checkpoint holds NaN
        return [] if alike else [f"{place}: {one.flatten()[:3].tolist()}… and {other.flatten()[:3].tolist()}…"]
    return [] if type(one) is type(other) and one == other else [f"{place}: {one!s:.60} and {other!s:.60}"]


# making


@contextmanager
def signalled(iteration: int, number: int = signal.SIGTERM) -> Iterator[None]:
    """Send this process a signal at the beginning of an iteration, counted from 1; the run ends after it."""
    iterate = Trainer.iterate

    def interrupted(trainer: Trainer) -> Any:
        if trainer.progress.iteration == iteration - 1:
            os.kill(os.getpid(), number)
        return iterate(trainer)

    Trainer.iterate = interrupted  # type: ignore[method-assign]
    try:
        yield
    finally:
        Trainer.iterate = iterate  # type: ignore[method-assign]


def begin(kind: Kind, folder: Path, rollout: int) -> None:
    """The undisturbed run, and one that a signal stops."""
    config = config_of(kind, rollout)
    train(config, folder / "undisturbed", show=False)
    with signalled(STOPPED_AFTER):
        result = train(config, folder / "stopped", show=False)
    assert result.signal == signal.SIGTERM


def finish(kind: Kind, folder: Path, rollout: int) -> None:
    """Go on with the run that was stopped."""
    env_id = config_of(kind, rollout).env.id
    named = {"env.id": env_id} if ":" in env_id else {}
    assert resume(folder / "stopped", named, show=False).status == "finished"
    summary = json.loads((folder / "stopped" / "summary.json").read_text())
    saved = sorted((folder / "stopped" / "checkpoints").glob("step_*.pt"))
    there = [load_checkpoint(path)["run"]["progress"] for path in saved]
    newest = [one for one in there if one["iteration"] <= STOPPED_AFTER][-1]
    (resumption,) = summary["resumed"]
    assert resumption["step"] == newest["step"] > 0, "gone on from another checkpoint than the newest"
    if kind.backend in ("sync", "async"):  # where each iteration has as many real steps as the next
        assert newest["iteration"] == STOPPED_AFTER - 1


def go_through(kinds: Sequence[Kind], folder: Path, rollout: int = 16) -> dict[Kind, list[str]]:
    """What each kind of run that was stopped and gone on with has different from the undisturbed one."""
    found: dict[Kind, list[str]] = {kind: [] for kind in kinds}
    words = [json.dumps(kind) for kind in kinds]
    for half in ("begin", "finish"):
        done = subprocess.run(
            [sys.executable, __file__, half, str(folder), str(rollout), *words],
            capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
        for kind in kinds:
            failed, made = folder / str(kind) / f"{half}.failed", folder / str(kind) / f"{half}.done"
            if failed.exists():
                found[kind].append(failed.read_text())
            elif not made.exists():
                found[kind].append(f"{half}: the process ended with {done.returncode}\n{done.stderr[-2000:]}")
    for kind, problems in found.items():
        if not problems:
            problems += differences(folder / str(kind) / "undisturbed", folder / str(kind) / "stopped")
    return found


def main(half: str, folder: str, rollout: str, *words: str) -> None:
    """One half of every kind; what fails is written down, and the others go on."""
    torch.set_num_threads(1)
    CurvesLogger.close = lambda *_: None  # type: ignore[method-assign]  # a picture takes longer than the run
    for kind in (Kind(*json.loads(word)) for word in words):
        place = Path(folder) / str(kind)
        place.mkdir(exist_ok=True)
        try:
            (begin if half == "begin" else finish)(kind, place, int(rollout))
            (place / f"{half}.done").touch()
        except Exception:
            (place / f"{half}.failed").write_text(traceback.format_exc())


if __name__ == "__main__":
    main(*sys.argv[1:])
