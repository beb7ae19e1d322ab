"""What surrounds a command: its terminal, its streams, the signals and the folders it gets, and other commands."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from console import Answer, command, environment

from ppo_cli.errors import RunError
from ppo_cli.runs.lock import locked

TINY = ("total_timesteps=64", "buffer_size=64", "batch_size=64", "epochs=1", "eval_every=null", "logger=[csv]")


def shell(folder: Path, line: str, **variables: str) -> Answer:
    """Run a line of bash in which ``ppo-train`` is ours."""
    script = f'ppo-train() {{ {command("ppo-train")[0]} "$@"; }}\n{line}'
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment() | variables, capture_output=True, timeout=120, check=False
    )
    return Answer(done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1"))


def status_of(run_dir: Path) -> str:
    status: str = json.loads((run_dir / "summary.json").read_text())["status"]
    return status


# a file system that refuses locks


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr("ppo_cli.runs.lock.PATIENCE", 0.05)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_there_are_no_locks_a_file_with_a_name_stands_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse(monkeypatch, number)
    plate = tmp_path / ".lock.holder"
    with locked(tmp_path):
        assert plate.read_text().split() == [socket.gethostname(), str(os.getpid())]
        with (
            pytest.raises(RunError, match=f"names process {os.getpid()} on {socket.gethostname()}") as caught,
            locked(tmp_path),
        ):
            pass
        assert caught.value.title == "Run in use"
    assert not plate.exists()


@pytest.mark.parametrize("own_number", [False, True])
def test_a_name_whose_process_is_gone_means_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_number: bool
) -> None:
    refuse(monkeypatch, errno.ENOLCK)
    ended = subprocess.Popen(["true"])
    ended.wait()
    number = os.getpid() if own_number else ended.pid
    (tmp_path / ".lock.holder").write_text(f"{socket.gethostname()}\n{number}\n")
    with locked(tmp_path):
        pass
    assert not (tmp_path / ".lock.holder").exists()


@pytest.mark.parametrize(("holder", "who"), [("elsewhere\n1\n", "process 1 on elsewhere"), ("", "an unknown host")])
def test_another_hosts_name_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: str, who: str
) -> None:
    refuse(monkeypatch, errno.EOPNOTSUPP)
    plate = tmp_path / ".lock.holder"
    plate.write_text(holder)
    with pytest.raises(RunError, match=who) as caught, locked(tmp_path):
        pass
    assert f"deleting {plate}" in str(caught.value)
    assert plate.read_text() == holder


def test_a_lock_that_is_held_is_told_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppo_cli.runs.lock.PATIENCE", 0.05)
    with locked(tmp_path), pytest.raises(RunError, match="writes there"), locked(tmp_path):
        pass
    assert not (tmp_path / ".lock.holder").exists()


def test_no_room_is_no_missing_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, errno.ENOSPC)
    with pytest.raises(RunError, match="with room"), locked(tmp_path):
        pass
