"""Runs that are killed at random instants and gone on with end as those that nobody killed: a few of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

if not hasattr(os, "fork") or not Path("/proc/self/stat").exists():
    pytest.skip("forks processes and looks them up in /proc", allow_module_level=True)
kill_test = pytest.importorskip("benchmarks.kill_test", reason="the benchmarks are not here")

ROOT = Path(__file__).resolve().parent.parent


def test_killed_runs_end_as_those_that_nobody_killed() -> None:
    # in a process of its own, which has no threads when it forks
    words = ["--runs", "6", "--scenarios", "loop", "processes"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kill_test", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs, kills = re.findall(r"^(\d+) runs killed (\d+) times", done.stdout)[0]
    assert (runs, int(kills) >= 6) == ("6", True)


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.tensor([1.0, 2.0000002])},
        {"a": torch.tensor([1.0, 2.0], dtype=torch.float64)},
        {"a": torch.tensor([[1.0, 2.0]])},
        {"a": [1.0, 2.0]},
        {},
        {"a": torch.tensor([1.0, 2.0]), "b": 1},
    ],
)
def test_every_difference_counts(other: dict[str, object]) -> None:
    one = {"a": torch.tensor([1.0, 2.0])}
    assert not list(kill_test.differences(one, {"a": torch.tensor([1.0, 2.0])}))
    assert list(kill_test.differences({"rows": [one]}, {"rows": [other]}))


def test_orphans_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill_test, "PATIENCE", 0.0)
    leader = subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True)
    while len(kill_test.members(leader.pid)) < 2:
        time.sleep(0.01)
    leader.kill()
    leader.wait()
    (orphan,) = kill_test.left_behind(leader.pid)
    os.kill(orphan, signal.SIGKILL)
    monkeypatch.undo()
    assert not kill_test.left_behind(leader.pid)


def test_half_written_and_broken_files_are_found(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step_1.pt").write_bytes(b"PK")
    assert not kill_test.half_written(tmp_path)
    assert len(kill_test.broken(tmp_path)) == 1
    (tmp_path / ".summary.json.7.tmp").touch()
    assert len(kill_test.half_written(tmp_path)) == 1
