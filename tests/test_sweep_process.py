"""Sweeps as processes: jobs that die, signals, a parent that is killed, and what is there when they go on."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from console import Train, command, environment

from ppo_cli.config import EnvConfig, TrainConfig
from ppo_cli.runs.lock import is_locked
from ppo_cli.sweep.attempts import read_attempts
from ppo_cli.training.run import train

if sys.platform == "win32":
    pytest.skip("kills processes by signals", allow_module_level=True)

TESTS = Path(__file__).parent
PERILS = ("none", "raise", "os._exit", "sys.exit", "SIGKILL", "memory", "hang", "other")
TINY = (
    "num_envs=2", "buffer_size=64", "batch_size=32", "epochs=1", "total_timesteps=640", "checkpoint_every=64",
    "eval_every=null", "network.hidden_sizes=[8]", "logger=csv", "hydra.sweep.dir=sweep", "n_jobs=2",
)  # fmt: skip
SETTINGS: dict[str, Any] = {
    "num_envs": 2, "buffer_size": 64, "batch_size": 32, "epochs": 1, "total_timesteps": 640, "checkpoint_every": 64,
    "eval_every": None, "logger": ["csv"],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delitem(sys.modules, "perils", raising=False)
    shutil.copy(TESTS / "perils.py", tmp_path)
    return tmp_path


OWN = ("-m", "env=perils:Peril-v0")


def jobs(folder: Path) -> list[Path]:
    found = (folder / "sweep").glob("*_*/")
    return sorted(found, key=lambda path: int(path.name.partition("_")[0]))


def states(folder: Path) -> list[str]:
    with (folder / "sweep" / "results.csv").open(newline="", encoding="utf-8") as file:
        return [row["state"] for row in csv.DictReader(file)]


def rows(job: Path) -> list[dict[str, str]]:
    """The rows of a run's metrics, without those of the clock."""
    with (job / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [{key: cell for key, cell in row.items() if not key.startswith("time/")} for row in csv.DictReader(file)]


def summary(job: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((job / "summary.json").read_text(encoding="utf-8"))
    return content


def undisturbed(monkeypatch: pytest.MonkeyPatch, folder: Path, **kwargs: Any) -> list[dict[str, str]]:
    """The rows of the same run alone, in this process."""
    monkeypatch.delitem(sys.modules, "perils", raising=False)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(folder)
    (folder / "mended").touch()
    config = TrainConfig(env=EnvConfig(id="perils:Peril-v0", kwargs=kwargs), threads=1, **SETTINGS)
    config.network.hidden_sizes = [8]
    train(config, folder / "alone", show=False)
    return rows(folder / "alone")


def test_jobs_die_in_every_way_and_go_on(folder: Path, here: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = here(*OWN, f"env.kwargs.kind={','.join(PERILS)}", "job_timeout=6", *TINY)
    assert answer.code == 1, answer.err
    assert states(folder) == ["finished", *["failed"] * 6, "finished"]
    for told in (
        "raise) failed at step 382: RuntimeError: the wheel fell off",
        "os._exit) failed at step 320: ended by os._exit with status 3",
        "sys.exit) failed at step 382: RuntimeError: it called sys.exit(5)",
        "SIGKILL) failed at step 320: killed by SIGKILL (out of memory, perhaps)",
        "memory) failed at step 382: ran out of memory",
        "hang) failed at step 320: no new row for 6 s",
    ):
        assert f"(env.kwargs.kind={told}" in answer.out
    assert "something happens" not in answer.out  # what a job prints has a file of its own
    assert "something happens: SIGKILL" in (jobs(folder)[4] / "output.log").read_text()
    assert [len(read_attempts(job)) for job in jobs(folder)] == [1] * 8

    (folder / "mended").touch()
    refused = here("-m", "resume=sweep")
    assert refused.code == 2
    assert "env=perils:Peril-v0 lives in a module, which is imported only if you say so" in refused.words
    (line,) = re.findall(r"go on with it +ppo-train (.*)", answer.out)
    again = here(*line.split())
    assert again.code == 0, again.err
    assert states(folder) == ["finished"] * 8
    assert re.findall(r"job (\d) .* goes on$", again.out, re.MULTILINE) == list("123456")
    assert [len(read_attempts(job)) for job in jobs(folder)] == [1, *[2] * 6, 1]
    alone = undisturbed(monkeypatch, folder)
    for job in jobs(folder):
        assert rows(job) == alone, job.name


class Started:
    """A sweep that goes on beside the test, in a group of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        self._out = (folder / "out").open("w")
        self.process = subprocess.Popen(
            command("ppo-train", "-m", "env=perils:Peril-v0", *words),
            cwd=folder, env=environment(), stdout=self._out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def wait_for_rows(self, count: int) -> None:
        """Wait until both of the first jobs have made so many rows."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            files = [job / "metrics.csv" for job in jobs(self.folder)[:2]]
            if len(files) == 2 and all(file.is_file() and len(file.read_text().splitlines()) > count for file in files):
                return
            assert self.process.poll() is None, (self.folder / "out").read_text()
            time.sleep(0.02)
        pytest.fail("the jobs made no rows")

    def end(self) -> int:
        code = self.process.wait(timeout=120)
        self._out.close()
        return code


SLOW = ("env.kwargs.pause=0.004", "seed=0,1,2", *TINY)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_all_jobs_and_they_go_on(
    folder: Path, here: Train, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Started(folder, *SLOW)
    started.wait_for_rows(3)
    if number == signal.SIGTERM:
        os.killpg(started.process.pid, number)  # as a cluster's: it reaches all that has not left the group
    else:
        started.process.send_signal(number)
    assert started.end() == 128 + number, (folder / "out").read_text()
    assert states(folder) == ["interrupted", "interrupted", "waiting"]
    assert all(summary(job)["status"] == "interrupted" for job in jobs(folder)[:2])
    assert min(summary(job)["step"] for job in jobs(folder)[:2]) > 0
    assert "go on with it  ppo-train -m resume=sweep" in (folder / "out").read_text()

    if number == signal.SIGTERM:
        return
    again = here(*OWN, "resume=sweep")
    assert again.code == 0, again.err
    assert states(folder) == ["finished"] * 3
    assert rows(jobs(folder)[0]) == undisturbed(monkeypatch, folder)
    assert all(summary(job)["resumed"][0]["step"] > 0 for job in jobs(folder)[:2])


def test_jobs_of_a_killed_parent_save_and_stop(folder: Path, here: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(folder, *SLOW)
    started.wait_for_rows(3)
    started.process.kill()
    started.end()
    again = here(*OWN, "resume=sweep")  # at once: it waits for what is still saving
    assert again.code == 0, again.err
    assert states(folder) == ["finished"] * 3
    assert rows(jobs(folder)[0]) == undisturbed(monkeypatch, folder)
    assert all(summary(job)["resumed"][0]["step"] > 0 for job in jobs(folder)[:2])
    assert not any(is_locked(job) for job in jobs(folder))


def test_a_second_signal_does_not_wait(folder: Path, here: Train) -> None:
    started = Started(folder, "env.kwargs.kind=hang", "seed=0,1", *TINY)
    started.wait_for_rows(5)
    other = here(*OWN, "resume=sweep")
    assert other.code == 1
    assert "sweep is in use: another ppo-train runs its jobs" in other.words
    started.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert started.process.poll() is None
    started.process.send_signal(signal.SIGINT)
    assert started.end() == 128 + signal.SIGINT
    assert states(folder) == ["interrupted"] * 2


def test_a_job_that_failed_is_tried_again(folder: Path, here: Train) -> None:
    words = [word for word in TINY if not word.startswith("checkpoint_every")]
    answer = here(
        *OWN, "env.kwargs.kind=SIGKILL", "seed=0,1", "checkpoint_every=256", "retries=2", "fail_fast=1", *words
    )
    # each attempt makes fewer than 400 steps, trying the environment out among them: from 0, from 256, from 512
    assert answer.code == 0, answer.err
    assert [len(read_attempts(job)) for job in jobs(folder)] == [3] * 2
    assert [read_attempts(job)[1].exit for job in jobs(folder)] == [-signal.SIGKILL] * 2


def test_no_job_starts_after_the_last_failure_that_is_borne(folder: Path, here: Train) -> None:
    answer = here(*OWN, "env.kwargs.kind=raise", "seed=0,1,2,3", "fail_fast=1", *TINY[:-1], "n_jobs=1")
    assert answer.code == 1
    assert states(folder) == ["failed", "waiting", "waiting", "waiting"]


def test_killed_sweeps_end_as_those_that_nobody_killed() -> None:
    pytest.importorskip("benchmarks.sweep_kill", reason="the benchmarks are not here")
    words = [sys.executable, "-m", "benchmarks.sweep_kill", "--runs", "1", "--seed", "9"]
    done = subprocess.run(words, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"1 sweeps of 4 jobs killed [123] times", done.stdout)
