"""What surrounds a command: its terminal, its streams, the signals and the folders it gets, and other commands."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from console import Answer, Train, command, environment, files_in

from ppo_cli import evaluate
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


# a standard output that fails


@pytest.mark.parametrize(
    ("redirection", "told"),
    [
        (">&- 2>&- <&-", ""),
        (">/dev/full", "standard output is lost from here on: No space left on device\n"),
        ("2>&1 | head -n 1; exit ${PIPESTATUS[0]}", ""),
    ],
)
def test_an_output_that_takes_nothing_changes_no_run(tmp_path: Path, redirection: str, told: str) -> None:
    answer = shell(tmp_path, f"ppo-train {' '.join(TINY)} hydra.run.dir=run {redirection}")
    assert (answer.code, answer.err) == (0, told)
    assert status_of(tmp_path / "run") == "finished"
    assert (tmp_path / "run/train.log").stat().st_size < 1000  # and nobody's lines have gone into a file of the run's


def test_help_that_nobody_reads(tmp_path: Path) -> None:
    assert shell(tmp_path, "ppo-train --help | true; exit ${PIPESTATUS[0]}") == Answer(0, "", "")


@pytest.mark.parametrize(("encoding", "dash"), [("ascii", "return - - kl"), ("cp1252", "return \x96 \xb7 kl")])
def test_an_encoding_without_our_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Train, encoding: str, dash: str
) -> None:
    with (tmp_path / "shown").open("wb") as file:
        stream = io.TextIOWrapper(file, encoding)
        for name in ("stdout", "__stdout__"):
            monkeypatch.setattr(sys, name, stream)
        answer = here("output_dir=é→", *TINY)
        sys.stdout.flush()
    assert (answer.code, answer.err) == (0, "")
    text = (tmp_path / "shown").read_text("latin-1")
    assert dash in text
    assert "ppo-eval" in text
    (run_dir,) = tmp_path.glob("é→/CartPole-v1/*")
    assert status_of(run_dir) == "finished"


def start_endless(folder: Path, **settings: Any) -> subprocess.Popen[str]:
    """A run that does not end, in ``run``, once it has begun to learn."""
    words = [*TINY, "total_timesteps=100000000", "compile=false", "hydra.run.dir=run", "log_every=64"]
    process = subprocess.Popen(
        command("ppo-train", *words), cwd=folder, env=environment() | {"TERM": "xterm"}, encoding="utf-8", **settings
    )
    metrics = folder / "run/metrics.csv"
    while not metrics.exists() or metrics.read_text().count("\n") < 3:
        assert process.poll() is None
        time.sleep(0.05)
    return process


def test_a_terminal_that_closes_stops_the_run_and_it_is_kept(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = start_endless(tmp_path, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, start_new_session=True)
    try:
        os.close(theirs)
        os.close(ours)  # every write is an EIO from here on
        time.sleep(0.3)
        assert process.poll() is None
        for _ in range(2):  # the terminal's own, and its shell's
            process.send_signal(signal.SIGHUP)
        assert process.communicate(timeout=60)[1] == ""
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGHUP
    assert status_of(tmp_path / "run") == "interrupted"
    assert (tmp_path / "run/checkpoints/last.pt").is_file()
    assert "SIGTERM twice stops at once" in (tmp_path / "run/train.log").read_text()


def test_under_nohup_a_run_outlives_its_terminal(tmp_path: Path) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = start_endless(tmp_path, stdout=subprocess.DEVNULL, preexec_fn=ignore)
    try:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        process.kill()


# folders


def test_two_commands_on_one_folder(tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            command("ppo-train", *TINY, f"seed={seed}", "hydra.run.dir=run"),
            cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        )
        for seed in (0, 1)
    ]  # fmt: skip
    errors = [process.communicate(timeout=120)[1] for process in started]
    codes = [process.returncode for process in started]
    assert sorted(codes) == [0, 2]
    winner = codes.index(0)
    assert "run holds a run already" in errors[1 - winner]
    assert status_of(tmp_path / "run") == "finished"
    for name in ("config", "overrides"):
        assert f"seed={winner}" in (tmp_path / f"run/.hydra/{name}.yaml").read_text().replace(": ", "=")


def test_a_folder_that_a_file_names_takes_one_run_and_goes_on_with_it(tmp_path: Path, here: Train) -> None:
    (tmp_path / "mine.yaml").write_text("defaults: [train, _self_]\nhydra:\n  run:\n    dir: runs/${seed}\n")
    words = ("--config-dir=.", "--config-name=mine", *TINY)
    assert here(*words).code == 0
    before = {path: path.read_bytes() for path in files_in(tmp_path) if path.is_file()}
    again, same = here(*words, "lr=0.1"), here(*words, "resume=auto")
    assert "runs/0 holds a run already" in again.words
    assert (again.code, same.code) == (2, 0)
    assert "finished before" in same.out
    assert {path: path.read_bytes() for path in files_in(tmp_path) if path.is_file()} == before


@pytest.mark.parametrize(
    "typed",
    ["output_dir=", "hydra.run.dir=''", "+hydra.run.dir=", "-m seed=0,1 hydra.sweep.dir=", "-m seed=0,1 output_dir="],
)
def test_a_folder_without_a_name(tmp_path: Path, here: Train, typed: str) -> None:
    answer = here(*TINY, *typed.split())
    assert answer.code == 2
    assert "is empty; a shell leaves it so where a variable is not set" in answer.words
    assert not files_in(tmp_path)


@pytest.mark.parametrize("words", ["output_dir: ''", "hydra: {run: {dir: ''}}"])
def test_a_folder_that_a_file_leaves_without_a_name(tmp_path: Path, here: Train, words: str) -> None:
    (tmp_path / "mine.yaml").write_text(f"defaults: [train, _self_]\n{words}\n")
    answer = here("--config-dir=.", "--config-name=mine", *TINY)
    assert answer.code == 2
    assert "is empty" in answer.words
    assert len(files_in(tmp_path)) == 1


@pytest.mark.parametrize("value", ["null", "conf"])
def test_hydras_own_folder_may_be_elsewhere_or_nowhere(tmp_path: Path, here: Train, value: str) -> None:
    answer = here(*TINY, f"hydra.output_subdir={value}", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert not (tmp_path / "run/.hydra").exists()
    assert (tmp_path / "run/conf").exists() is (value == "conf")
    assert value == "null" or "threads: 1" in (tmp_path / "run/conf/config.yaml").read_text()


def test_a_current_folder_that_nobody_can_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Train
) -> None:
    monkeypatch.chdir("/proc")
    for place in (f"output_dir={tmp_path / 'a'}", f"hydra.run.dir={tmp_path / 'b'}"):
        assert here(*TINY, place).code == 0
    sweep = here(*TINY, "-m", "seed=0", f"hydra.sweep.dir={tmp_path / 'c'}")
    assert sweep.code == 0, sweep.err
    refused = here(*TINY)
    assert refused.code == 2
    assert "try: output_dir=<a folder that you can write to>" in refused.words
    assert "output_dir=outputs," not in refused.words


def test_a_file_of_the_users_named_like_a_library(tmp_path: Path) -> None:
    for name in ("random", "yaml", "typing", "dataclasses", "logging"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('mine')")
    words = [sys.executable, "-m", "ppo_cli", "--cfg", "job"]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")


# an environment that works in a folder of its own
CHDIR = """
import os
import gymnasium

class Chdir(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self):
        os.makedirs("simulator", exist_ok=True)
        os.chdir("simulator")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        return self.observation_space.sample(), 1.0, self.steps == 8, False, {}

gymnasium.register("Chdir-v0", entry_point=Chdir)
"""


def test_an_environment_that_changes_the_current_folder(tmp_path: Path, here: Train) -> None:
    (tmp_path / "moving.py").write_text(CHDIR)
    env = "moving:Chdir-v0"
    answer = here(*TINY, f"env={env}", "num_envs=2", "vector_backend=sync", "hydra.run.dir=here/run")
    assert answer.code == 0, answer.err
    assert " · here/run\n" in answer.out
    assert "      folder  here/run\n" in answer.out
    again = here("resume=here/run", f"env={env}", "total_timesteps=128", "eval_every=64")
    assert again.code == 0, again.err
    assert "resumed at step 64 from here/run/checkpoints/step_64.pt" in again.out
    assert evaluate("here/run", env=env, episodes=1).written == Path("here/run/eval.json")
    assert {path.parent for path in tmp_path.rglob("*.json")} == {tmp_path / "here/run"}
    assert {path.parent for path in tmp_path.rglob("*.pt")} == {tmp_path / "here/run/checkpoints"}
