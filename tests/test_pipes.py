"""What is no regular file is told as damaged, and not opened: a pipe keeps whoever opens it waiting for ever."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from console import Train
from run_folders import make_run

from ppo_cli.config import TrainConfig
from ppo_cli.loggers.csv import read_rows
from ppo_cli.loggers.tracked import KEPT, kept
from ppo_cli.report.build import build
from ppo_cli.report.catalogue import catalogue
from ppo_cli.report.options import ReportConfig, RunsConfig
from ppo_cli.report.search_file import read_search
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.runs.lock import is_locked, locked
from ppo_cli.runs.summary import read_summary
from ppo_cli.search import folder as searches
from ppo_cli.search.study import JOURNAL, mend
from ppo_cli.sweep.attempts import read_attempts
from ppo_cli.sweep.jobs import Job, add_jobs, read_job
from ppo_cli.sweep.local import Local
from ppo_cli.sweep.resources import Gpus
from ppo_cli.sweep.watch import Curve

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
WHY = "not a regular file"


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    """Fail where somebody waits for a pipe."""

    def late(*_: object) -> None:
        raise AssertionError("somebody waits for a pipe")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def as_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def as_socket(path: Path) -> None:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(os.path.relpath(path))  # the whole path may be too long for one


def as_device(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("becomes", [as_pipe, as_socket, as_device])
@pytest.mark.parametrize("name", ["summary.json", "metrics.csv"])
def test_a_run_is_told_as_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, becomes: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "good")
    becomes(make_run(tmp_path / "bad", seed=1) / name)
    (left,) = build([str(tmp_path)], ReportConfig(), "ppo-report").left_out
    assert (left.folder.name, left.state, left.reason) == ("bad", "broken", f"{name} cannot be read: {WHY}")
    reasons = {entry.folder.name: entry.reason for entry in catalogue([str(tmp_path)], RunsConfig())}
    assert reasons["good"] is None
    assert name == "metrics.csv" or reasons["bad"] == f"{name} cannot be read: {WHY}"


@pytest.mark.parametrize("name", ["progress.csv", "0.monitor.csv", "evaluations.npz", "events.out.tfevents.1"])
def test_a_run_of_another_program_is_told_as_broken(tmp_path: Path, name: str) -> None:
    make_run(tmp_path / "good")
    (tmp_path / "CartPole-v1_2").mkdir()
    os.mkfifo(tmp_path / "CartPole-v1_2" / name)
    (left,) = build([str(tmp_path)], ReportConfig(), "ppo-report").left_out
    assert (left.state, left.reason) == ("broken", f"cannot be read: {WHY}")


def test_what_is_not_needed_counts_as_not_there(tmp_path: Path) -> None:
    for name in ("summary.json", "attempts.json", KEPT, "metrics.csv", ".lock", ".lock.holder"):
        os.mkfifo(tmp_path / name)
    assert read_summary(tmp_path) is None
    assert read_attempts(tmp_path) == []
    assert kept(tmp_path) == {}
    assert not Curve(tmp_path / "metrics.csv").read()
    assert not is_locked(tmp_path)


READERS: dict[str, Callable[[Path], Any]] = {
    "checkpoints/step_64.pt": load_checkpoint,
    "metrics.csv": lambda path: read_rows(path, 64),
    "job.json": lambda path: read_job(path.parent),
    "search.json": lambda path: searches.read_search(path.parent),
    JOURNAL: mend,
    ".lock": lambda path: locked(path.parent).__enter__(),
    "search.json of a report": lambda path: read_search(path.parent),
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_needed_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name.partition(" ")[0]
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(Exception, match=WHY):
        READERS[name](path)


def test_a_job_whose_output_cannot_be_kept_is_not_started(tmp_path: Path) -> None:
    job = Job(0, "", {}, TrainConfig(), tmp_path / "0_x")
    add_jobs([job])
    os.mkfifo(job.folder / "output.log")
    engine = Local(1, 1, Gpus([], 1), {0: ()}, "ppo-train")
    with pytest.raises(OSError, match=WHY):
        engine.start(job)


@pytest.mark.parametrize("name", ["metrics.csv", "train.log"])
def test_a_run_does_not_go_on(tmp_path: Path, here: Train, name: str) -> None:
    tiny = ["num_envs=1", "buffer_size=64", "batch_size=64", "epochs=1", "total_timesteps=64", "eval_every=null"]
    assert here(*tiny, "logger=csv", "vector_backend=sync", "hydra.run.dir=run").code == 0
    as_pipe(tmp_path / "run" / name)
    answer = here("resume=run", "total_timesteps=128")
    assert answer.code == 1
    assert WHY in answer.err
    assert name in answer.err
