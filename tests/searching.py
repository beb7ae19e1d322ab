"""A search without training: runs whose curves are known from their settings, and what stops it anywhere."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ppo_cli.config import TrainConfig
from ppo_cli.loggers.metrics import COLUMNS
from ppo_cli.plain import to_plain
from ppo_cli.report.options import EVAL_METRIC
from ppo_cli.runs.summary import as_json
from ppo_cli.search import finals, run
from ppo_cli.search.folder import Base, SearchFolder, read_search
from ppo_cli.search.run import SearchOutcome, run_search
from ppo_cli.search.space import Dimension
from ppo_cli.search_config import SearchConfig
from ppo_cli.sweep.attempts import Attempt, read_attempts, record
from ppo_cli.sweep.engine import Ended
from ppo_cli.sweep.jobs import Job, SweepFolder, read_sweep
from ppo_cli.sweep_config import SweepConfig

EVERY, TOTAL = 100, 1000
CONFIG = TrainConfig(total_timesteps=TOTAL, eval_every=EVERY, threads=1, compile=False, vector_backend="sync")
SPACE = (
    Dimension("lr", (), 1e-5, 1e-2, None, log=True),
    Dimension("network.hidden_sizes", ([8], [16, 16])),
    Dimension("epochs", (), 1, 10, None, whole=True),
)
LINE = "ppo-train -m search=optuna"

Curve = Callable[[Job], list[float]]


def worth(job: Job) -> float:
    """How well a job ends: best at lr=1e-3, and a little by its seed."""
    away = abs(math.log10(job.config.lr) + 3)
    return 100 - 20 * away + 2 * job.config.epochs + (job.config.seed * 7919 % 13) / 10


def straight(job: Job) -> list[float]:
    """A curve that rises to that, a value an evaluation."""
    return [worth(job) * (place + 1) * EVERY / TOTAL for place in range(TOTAL // EVERY)]


class Stopped(Exception):  # noqa: N818 - it stands for SIGKILL
    """The process is gone."""


class Writes:
    """Counts what is brought to the disk, and has everything gone after so many; ``None`` for never."""

    def __init__(self, monkeypatch: Any, stop_after: int | None = None) -> None:
        self.count = 0

        def fsync(_: int) -> None:
            self.count += 1
            if stop_after is not None and self.count > stop_after:
                raise Stopped

        monkeypatch.setattr(os, "fsync", fsync)


class Instant:
    """Runs jobs by writing what they would have written, a row each time it is asked.

    Args:
        n_jobs: How many at a time.
        curve: A job's curve.
        failing: Why a job fails at its second row; ``None`` if it does not.
        stop_after: Rows after which everything is gone, as after SIGKILL; ``None`` for never.
        problems: What went wrong beside a job's training.
    """

    def __init__(
        self,
        n_jobs: int = 1,
        curve: Curve = straight,
        failing: Callable[[Job], str | None] = lambda _: None,
        stop_after: int | None = None,
        problems: Callable[[Job], list[str]] = lambda _: [],
    ) -> None:
        self.n_jobs, self.note = n_jobs, ""
        self._curve, self._failing, self._left = curve, failing, stop_after
        self._problems = problems
        self._running: dict[int, Job] = {}
        self._stopping: set[int] = set()
        self.started: list[str] = []

    def room(self, job: Job) -> bool:
        return len(self._running) < self.n_jobs

    def start(self, job: Job) -> None:
        self.started.append(job.folder.name)
        self._running[job.number] = job
        if not (job.folder / "metrics.csv").exists():
            (job.folder / "metrics.csv").write_text(",".join(COLUMNS) + "\n")
        self._summary(job, "running")

    def has_begun(self, job: Job) -> bool:
        return True

    def adopts(self, job: Job) -> bool:
        return False

    def poll(self, seconds: float) -> Sequence[Ended]:
        ended = []
        for number, job in list(self._running.items()):
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    raise Stopped
            state, reason = self._row(job), None
            if state is None and number in self._stopping:
                state = "interrupted"
            if state == "failed":
                reason = self._failing(job)
            if state is not None:
                del self._running[number]
                self._stopping.discard(number)
                self._summary(job, state)
                attempt = Attempt("then", "now", 0, state, reason, self._rows(job) * EVERY)
                record(job.folder, len(read_attempts(job.folder)), attempt)
                ended.append(Ended(number, 0 if state == "finished" else 1))
        return ended

    def _row(self, job: Job) -> str | None:
        """Write another row; how the job has ended, if it has."""
        rows, curve = self._rows(job), self._curve(job)
        if rows == 1 and self._failing(job) is not None:
            return "failed"
        with (job.folder / "metrics.csv").open("a", newline="") as file:
            row = {"iteration": rows + 1, "step": (rows + 1) * EVERY, "time/elapsed": rows + 1.0}
            row |= {"rollout/episode_return_mean": curve[rows], EVAL_METRIC: curve[rows]}
            csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n").writerow(row)
        return "finished" if rows + 1 == len(curve) else None

    def _rows(self, job: Job) -> int:
        return len((job.folder / "metrics.csv").read_text().splitlines()) - 1

    def _summary(self, job: Job, status: str) -> None:
        content: dict[str, Any] = {"status": status, "total_timesteps": TOTAL, "step": self._rows(job) * EVERY}
        content |= {"env": job.config.env.id, "seed": job.config.seed, "started": "2026-11-20T00:00:00+00:00"}
        content |= {
            "wall_time": 1.0,
            "config": as_json(to_plain(job.config)),
            "command": LINE,
            "problems": self._problems(job),
        }
        content |= {"versions": {}, "git_commit": None, "resumed": [], "final_return": 1.0, "best_return": 1.0}
        content |= {"problems": self._problems(job)}
        (job.folder / "summary.json").write_text(json.dumps(content))

    def stop(self, number: int) -> None:
        self._stopping.add(number)

    def kill(self, number: int) -> None:
        self._stopping.add(number)

    def close(self) -> None:
        self._running.clear()


def begin(folder: Path, search: SearchConfig, space: Sequence[Dimension] = SPACE, **settings: Any) -> None:
    """Make a search's folder."""
    folder.mkdir(parents=True)
    config = settings.pop("config", CONFIG)
    preset = settings.pop("preset", None)
    found = SearchFolder(folder, search, tuple(space), (Base({}, config, frozenset()),), preset)
    found.write({"trials": []})
    SweepFolder(folder, LINE, (), {}, ()).write()


def go_on(
    folder: Path, engine: Instant, monkeypatch: Any, search: SearchConfig | None = None, **options: Any
) -> SearchOutcome:
    """Run what is left of it."""
    import dataclasses

    found = read_search(folder)
    found = found if search is None else dataclasses.replace(found, search=search)
    monkeypatch.setattr(run, "make_engine", lambda *_: engine)
    monkeypatch.setattr(finals, "write", lambda *_: ())  # files of reports have tests of their own, and take a second
    return run_search(read_sweep(folder), found, SweepConfig(n_jobs=engine.n_jobs, **options), (), LINE)


def facts(folder: Path) -> dict[str, Any]:
    """What a search has come to, without what depends on how often it was stopped."""
    content: dict[str, Any] = json.loads((folder / "search.json").read_text())
    for trial in content["trials"]:
        for name in ("seconds", "steps", "folders"):
            del trial[name]
    for one in content.get("finals", []):
        del one["folders"]
    return content
