"""Faults put into runs on purpose: how each run ends, what is left of it, and that it can be gone on with.

The table of ``docs/reliability.md`` is made from the cases here: ``python tests/test_faults.py`` writes it.
"""

from __future__ import annotations

import builtins
import csv
import errno
import io
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import console
import pytest
import torch
import toys

from ppo_cli.algorithm import ppo
from ppo_cli.config import EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.errors import BadNumbersError, RunError, UserError
from ppo_cli.loggers.curves import CurvesLogger
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.runs.store import CheckpointStore
from ppo_cli.seeding import stream_seed
from ppo_cli.training.collector import Collector
from ppo_cli.training.postmortem import MOST_SKIPPED
from ppo_cli.training.result import TrainResult
from ppo_cli.training.run import resume, train
from ppo_cli.training.trainer import Trainer

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- faults -->", "<!-- /faults -->"

assert toys.TOYS

# Eight iterations of 16 steps in each of 2 environments; a checkpoint after every second one, at which environments are
# built anew. The faults strike in the sixth: in step 20 of the stretch that begins at 128, step 166 of the run.
SETTINGS: dict[str, Any] = {
    "network": NetworkConfig(hidden_sizes=[8]),
    "num_envs": 2,
    "buffer_size": 32,
    "batch_size": 16,
    "epochs": 2,
    "total_timesteps": 256,
    "checkpoint_every": 64,
    "keep_last": None,
    "eval_every": None,
    "normalize_obs": True,
    "normalize_reward": True,
    "vector_backend": "sync",
    "threads": 1,
    "compile": False,
}
STRUCK = {"seed": stream_seed(0, "env", 4, 1), "at_step": 20}
LAST_GOOD = 128


@dataclass
class Scene:
    """Where a fault is put.

    Attributes:
        patch: Takes everything back after the run.
        folder: The run's folder.
    """

    patch: pytest.MonkeyPatch
    folder: Path


def nothing(scene: Scene) -> None:
    """The fault is the environment's or a logger's."""


@dataclass(frozen=True)
class Case:
    """A fault: what the documentation says of it, how it is made, and what must come of it.

    Attributes:
        fault: What goes wrong.
        happens: What the run does then.
        left: What is there afterwards.
        inject: Puts it in.
        env: Arguments of ``Faulty-v0``.
        settings: Settings other than the usual ones.
        code: The command's exit status.
        status: What ``summary.json`` says; ``None``: there is none.
        says: What the error says or, of a run that goes on, ``train.log``.
        noted: What ``summary.json`` has among its problems.
        good: Step of the newest checkpoint that the run can go on from.
        same: Whether it then equals the undisturbed run; after a skipped update it cannot.
        rows: Whether its rows of metrics are the undisturbed run's, too.
        burns: Whether the environment's fault comes only once.
    """

    fault: str
    happens: str
    left: str
    inject: Callable[[Scene], None] = nothing
    env: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    code: int = 0
    status: str | None = "finished"
    says: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()
    good: int | None = 256
    same: bool = True
    rows: bool = True
    burns: bool = True

    def __str__(self) -> str:
        settings = "-".join(f"{key}={value}" for key, value in self.settings.items())
        return re.sub(r"[^\w=.-]+", "-", f"{self.fault} {self.env.get('how', '')} {settings}").strip("-")


# how faults are made


def no_locks(*_: Any) -> None:
    """What takes locks on some file systems that come over a network."""
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def at(iteration: int, act: Callable[[], object]) -> Callable[[Scene], None]:
    """Do something before an iteration, counted from 1."""

    def inject(scene: Scene) -> None:
        iterate = Trainer.iterate

        def changed(trainer: Trainer) -> Any:
            if trainer.progress.iteration == iteration - 1:
                act()
            return iterate(trainer)

        scene.patch.setattr(Trainer, "iterate", changed)

    return inject


class Filling:
    """A file on a disk that becomes full after some writes.

    Args:
        file: The file.
        name: Its name, for the error.
        room: Writes that there is room for.
        held_back: Whether closing it writes once more, as Python's own files do that hold a few bytes back.
    """

    def __init__(self, file: Any, name: str, room: int, held_back: bool) -> None:
        self.file, self.name, self.room, self.held_back = file, name, room, held_back

    def write(self, data: Any) -> int:
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.name)
        written: int = self.file.write(data)
        return written

    def close(self) -> None:
        self.file.close()
        if self.room < 0 and self.held_back:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.name)

    def __enter__(self) -> Filling:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def full_disk(pattern: str, room: int = 0, held_back: bool = True) -> Callable[[Scene], None]:
    """No room for files of such names, after ``room`` writes into each."""

    def inject(scene: Scene) -> None:
        opened = io.open

        def opens(file: Any, mode: str = "r", *rest: Any, **words: Any) -> Any:
            found = opened(file, mode, *rest, **words)
            full = set(mode) & set("wax") and re.search(pattern, str(file))
            return Filling(found, str(file), room, held_back) if full else found

        scene.patch.setattr(io, "open", opens)  # what pathlib calls
        scene.patch.setattr(builtins, "open", opens)  # what logging calls

    return inject


def full_disk_at_last(scene: Scene) -> None:
    """No room for a checkpoint when the run is over, and room again after that."""
    save = Trainer.save

    def fails(trainer: Trainer, name: str) -> bool:
        with pytest.MonkeyPatch.context() as patch:
            full_disk(r"last\.pt")(Scene(patch, scene.folder))
            return save(trainer, name)

    scene.patch.setattr(Trainer, "save", fails)


def full_summary(scene: Scene) -> None:
    """No room for ``summary.json`` from the second iteration on."""
    at(2, lambda: full_disk(r"summary\.json")(scene))(scene)


def no_rename(pattern: str) -> Callable[[Scene], None]:
    """The disk fails when a file is given such a name."""

    def inject(scene: Scene) -> None:
        rename = Path.replace

        def fails(path: Path, target: Path) -> Path:
            if re.search(pattern, str(target)):
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path), None, str(target))
            return rename(path, target)

        scene.patch.setattr(Path, "replace", fails)

    return inject


def read_only(scene: Scene) -> None:
    """The run's folder becomes read-only before its sixth iteration, as disks do that have failed."""
    opened, made, linked = io.open, Path.mkdir, os.link

    def refuse(path: Any) -> None:
        if Path(path).is_relative_to(scene.folder):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def opens(file: Any, mode: str = "r", *rest: Any, **words: Any) -> Any:
        if set(mode) & set("wax+"):
            refuse(file)
        return opened(file, mode, *rest, **words)

    def makes(path: Path, *rest: Any, **words: Any) -> None:
        if not path.exists():
            refuse(path)
        made(path, *rest, **words)

    def links(old: Any, new: Any) -> None:
        refuse(new)
        linked(old, new)

    def strike() -> None:
        scene.patch.setattr(io, "open", opens)
        scene.patch.setattr(Path, "mkdir", makes)
        scene.patch.setattr(os, "link", links)

    at(6, strike)(scene)


def vanishes(scene: Scene) -> None:
    """Somebody deletes the run's folder before its sixth iteration."""
    at(6, lambda: shutil.rmtree(scene.folder))(scene)


def bad_update(what: str) -> Callable[[Scene], None]:
    """The third gradient step of the sixth iteration has an infinite gradient, or the last leaves bad parameters."""

    def inject(scene: Scene) -> None:
        make, calls = ppo.make_update_step, [0]

        def makes(*arguments: Any, **words: Any) -> Any:
            step = make(*arguments, **words)

            def spoilt(state: Any, batch: Any, coefficients: Any) -> Any:
                state, metrics = step(state, batch, coefficients)
                calls[0] += 1
                if what == "gradient" and calls[0] == 5 * 4 + 3:
                    metrics = metrics.clone()
                    metrics[ppo.LOSS_METRICS.index("grad_norm")] = torch.inf
                if what == "parameter" and calls[0] == 5 * 4 + 4:
                    state = state._replace(parameters=state.parameters * torch.nan)
                return state, metrics

            return spoilt

        scene.patch.setattr(ppo, "make_update_step", makes)

    return inject


# the cases

GOES_ON = "The training goes on. `train.log` and `problems` in `summary.json` name the file"
STOPS_SAYING = "The run stops and says which environment, in which method"
NAMED = "The run stops and names the {} and the step"
SKIPPED = "The update is left out, and the environments are built anew; a line in `train.log`"
TO_RESUME = "all checkpoints up to then; `resume=` goes on and ends as if nothing had been"
POSTMORTEM = f"`postmortem.pt` with the rollout and the agent before it; {TO_RESUME}"
SKIPPED_LEFT = "a whole run; `train/skipped_updates` counts; `postmortem.pt`"


def _bad(fault: str, how: str, names: str, says: str, step: int, **settings: Any) -> list[Case]:
    """NaN or infinity, with the run told to stop and to skip."""
    stop = Case(
        f"{fault}, `on_nan=stop`",
        NAMED.format(names),
        POSTMORTEM,
        env={"how": how},
        settings=settings,
        code=1,
        status="failed",
        says=(says, f"at step {step}", "postmortem.pt"),
        good=LAST_GOOD,
    )
    skip = replace(
        stop,
        fault=f"{fault}, `on_nan=skip`",
        happens=SKIPPED,
        left=SKIPPED_LEFT,
        settings={**settings, "on_nan": "skip"},
        code=0,
        status="finished",
        says=(says, "this update is skipped"),
        good=256,
        same=False,
    )
    return [stop, skip]


def _bad_update(fault: str, what: str, names: str, says: str) -> list[Case]:
    """Likewise, and the update makes it."""
    return [replace(case, inject=bad_update(what), env={}) for case in _bad(fault, "none", names, says, 192)]


def _raising(how: str, says: str, words: str) -> list[Case]:
    """An environment that raises, in this process and in one of its own."""
    return [
        Case(
            f"An environment raises in `{words}()`",
            STOPS_SAYING,
            f"the traceback in `train.log`; {TO_RESUME}",
            env={"how": how},
            settings={"vector_backend": backend},
            code=1,
            status="failed",
            says=("ValueError", says, f"{words}()", "environment 1"),
            good=LAST_GOOD,
        )
        for backend in ("sync", "async")
    ]


def _grumbling(call: str, name: str) -> Case:
    return Case(
        f"A logger raises in `{call}`",
        "It is told no more, and the training goes on; `train.log` and `problems` in `summary.json` name it"
        if call != "close"
        else "The other loggers are closed all the same; `train.log` and `problems` in `summary.json` name it",
        "everything but what that logger would have written",
        settings={"logger": ["csv", f"toys:{name}"]},
        says=(name, "ConnectionError", "the server is down"),
        noted=(name, "ConnectionError: the server is down"),
    )


CASES = [
    Case(
        "The disk is full at a checkpoint",
        GOES_ON,
        "the checkpoints before and after it",
        inject=full_disk(r"step_128\.pt"),
        says=("a checkpoint could not be written", "No space left on device", "training goes on"),
        noted=("checkpoint of step 128", "No space left on device"),
    ),
    Case(
        "The disk is full at the best evaluation's checkpoint",
        GOES_ON,
        "everything but `best.pt`",
        inject=full_disk(r"best\.pt"),
        settings={"eval_every": 128, "eval_episodes": 2},
        says=("a checkpoint could not be written", "No space left on device"),
        noted=("checkpoint of step 128", "No space left on device"),
    ),
    Case(
        "The disk is full at the end of the run",
        "It stops and says what could not be written",
        TO_RESUME,
        inject=full_disk(r"(step_256|last)\.pt"),
        code=1,
        status="failed",
        says=("its last records could not be written", "No space left on device", "making room, then resume="),
        good=192,
    ),
    Case(
        "The disk is full at `last.pt` alone",
        "The run stops and says so",
        "all `step_….pt`; `resume=` goes on from the newest",
        inject=full_disk_at_last,
        code=1,
        status="failed",
        says=("its last records could not be written", "No space left on device"),
    ),
    Case(
        "The disk is full at `metrics.csv`",
        f"{GOES_ON}; no more rows are written there",
        "everything but the rows from then on",
        inject=full_disk(r"metrics\.csv$", room=4),
        says=("CsvLogger failed and is off from here on", "No space left on device"),
        noted=("CsvLogger", "No space left on device", "step 160"),
        rows=False,
    ),
    Case(
        "The disk is full at the TensorBoard file",
        f"{GOES_ON}; nothing more is written there",
        "everything but the curves from then on",
        inject=full_disk(r"tfevents", room=8),
        settings={"logger": ["csv", "tensorboard"]},
        says=("TensorBoardLogger failed and is off from here on", "No space left on device"),
        noted=("TensorBoardLogger", "No space left on device"),
    ),
    Case(
        "The disk is full at `summary.json` when the run ends",
        "It stops and says so",
        "all checkpoints; `resume=` goes on from the newest",
        inject=full_summary,
        code=1,
        status="running",
        says=("its last records could not be written", "No space left on device"),
    ),
    Case(
        "The disk is full at `train.log`",
        "The training goes on; the messages are still shown",
        "everything but the lines from then on",
        inject=full_disk(r"train\.log", room=2),
    ),
    Case(
        "The disk fails when a checkpoint gets its name",
        GOES_ON,
        "the checkpoints before and after it",
        inject=no_rename(r"step_128\.pt"),
        says=("a checkpoint could not be written", "Input/output error"),
        noted=("checkpoint of step 128", "Input/output error"),
    ),
    Case(
        "The run's folder becomes read-only",
        "The training goes on to its end; then the run stops and says what could not be written",
        TO_RESUME,
        inject=read_only,
        code=1,
        status="running",
        says=("its last records could not be written", "Read-only file system"),
        good=LAST_GOOD,
    ),
    Case(
        "The run's folder is deleted",
        "The training goes on, and what is written later is written",
        "the later checkpoints and `summary.json`; what was there before is gone",
        inject=vanishes,
        rows=False,
    ),
    *_raising("raise step", "the wheel came off", "step"),
    *_raising("raise reset", "the reset motor is stuck", "reset"),
    *_bad("A reward is NaN", "reward nan", "environment", "reward of environment 1 is nan", 166),
    *_bad("A reward is infinite", "reward inf", "environment", "reward of environment 1 is inf", 166),
    *_bad("An observation is NaN", "observation nan", "entry, the environment", "observation[0] of environment 1", 168),
    *_bad(
        "The last observation of an episode that is cut short is NaN",
        "last nan",
        "entry, the environment",
        "last observation[0] of environment 1 is nan",
        166,
    ),
    *_bad(
        "A reward is too large to learn from",
        "reward huge",
        "loss, the epoch, the minibatch",
        "is inf in epoch 1, minibatch",
        192,
        normalize_value=False,
        normalize_reward=False,
    ),
    *_bad_update("A gradient is infinite", "gradient", "epoch, the minibatch", "the gradient's norm is inf in epoch 2"),
    *_bad_update("A parameter becomes NaN", "parameter", "parameter", "is not finite after the update"),
    _grumbling("start", "FailsInStart"),
    _grumbling("log", "FailsInLog"),
    _grumbling("close", "FailsInClose"),
    Case(
        "A logger has no `close`",
        "The other loggers are closed all the same; `train.log` and `problems` in `summary.json` name it",
        "everything but what that logger would have written",
        settings={"logger": ["csv", "toys:LacksClose"]},
        says=("LacksClose", "no attribute 'close'"),
        noted=("LacksClose", "no attribute 'close'"),
    ),
    Case(
        "The process of an environment dies",
        "The run stops and says which, and what of",
        TO_RESUME,
        env={"how": "kill"},
        settings={"vector_backend": "async"},
        code=1,
        status="failed",
        says=("the process of environment 1 died", "SIGKILL", "env.restart_crashed=true"),
        good=LAST_GOOD,
    ),
    Case(
        "The process of an environment dies, `env.restart_crashed=true`",
        "All environments are built anew, and the episodes in progress are cut short; a line in `train.log`",
        "a whole run",
        env={"how": "exit"},
        settings={"vector_backend": "async", "restart_crashed": True},
        says=("the process of environment 1 died (exit code 3)", "all environments are built anew"),
        same=False,
    ),
    Case(
        "An environment raises, `env.restart_crashed=true`",
        "It is built anew, and its episode is cut short; the traceback in `train.log`",
        "a whole run",
        env={"how": "raise step"},
        settings={"restart_crashed": True},
        says=("environment 1 raised in step() and is built anew", "the wheel came off"),
        same=False,
    ),
    Case(
        "The file system has no locks",
        "The training goes on; `.lock.holder` keeps other processes away until it is over",
        "a whole run",
        inject=lambda scene: scene.patch.setattr("fcntl.flock", no_locks),
    ),
    Case(
        "The current folder is changed by an environment",
        "The training goes on, and what is written goes where it was to go",
        "a whole run",
        inject=at(6, lambda: os.chdir("/")),
    ),
]


# the runs


def config_of(case: Case, fuse: Path | None = None) -> TrainConfig:
    settings = {**SETTINGS, "logger": ["csv"], **case.settings}
    restart = settings.pop("restart_crashed", False)
    kwargs = {**STRUCK, **case.env} if case.env else {}
    if kwargs and fuse is not None and case.burns:
        kwargs["fuse"] = str(fuse)
    return TrainConfig(env=EnvConfig(id="Faulty-v0", kwargs=kwargs, restart_crashed=restart), **settings)


def changes_of(case: Case) -> dict[str, Any]:
    """What must be named again to go on."""
    logger = case.settings.get("logger", [])
    return {"logger": logger} if any(":" in name for name in logger) else {}


def rows(folder: Path) -> list[dict[str, str]]:
    """The run's metrics as text, without what depends on the machine."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [{key: cell for key, cell in row.items() if not key.startswith("time/")} for row in csv.DictReader(file)]


def result_of(folder: Path) -> list[tuple[str, Any]]:
    """What a run came to, number by number; how its environment was to fail is no part of it."""
    content = load_checkpoint(folder / "checkpoints" / "last.pt")
    del content["run"]["config"]
    return list(_leaves(content, ""))


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(part, f"{name}/{key}")
    else:
        yield name, value.tolist() if isinstance(value, torch.Tensor) else value


def summary_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than these runs."""
    monkeypatch.setattr(CurvesLogger, "close", lambda *_: None)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Path]:
    """Makes the run of a case without its fault, once for equal settings."""
    made: dict[str, Path] = {}

    def run(case: Case) -> Path:
        sound = replace(case, env={})
        key = repr({key: value for key, value in case.settings.items() if key not in ("on_nan", "logger")})
        if key not in made:
            made[key] = tmp_path_factory.mktemp("undisturbed") / "run"
            train(replace(config_of(sound), logger=["csv"]), made[key], show=False)
        return made[key]

    return run


def struck(case: Case, folder: Path) -> TrainResult | UserError:
    """The run with the fault, to its end; whatever is no error for people is none of ours, and comes through."""
    fuse = folder.with_suffix(".fuse")
    fuse.touch()
    with pytest.MonkeyPatch.context() as patch:
        case.inject(Scene(patch, folder))
        try:
            return train(config_of(case, fuse), folder, show=False)
        except UserError as error:
            return error


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fault(tmp_path: Path, case: Case, undisturbed: Callable[[Case], Path]) -> None:
    folder = tmp_path / "run"
    ended = struck(case, folder)
    log = (folder / "train.log").read_text() if (folder / "train.log").exists() else ""
    if isinstance(ended, UserError):
        assert (type(ended) in (RunError, BadNumbersError), ended.exit_code) == (True, case.code), ended
        said = str(ended)
    else:
        assert (ended.status, case.code) == ("finished", 0)
        said = log
    for words in case.says:
        assert words in said
    summary = summary_of(folder)
    assert summary["status"] == case.status
    assert all(words in " ".join(summary["problems"]) for words in case.noted)
    assert bool(summary["problems"]) == bool(case.noted) or case.code
    found = CheckpointStore(folder).newest_good()
    assert (None if found is None else found[1]["run"]["progress"]["step"]) == case.good
    assert not list(folder.rglob("*.tmp"))
    assert (folder / "postmortem.pt").exists() == ("postmortem.pt" in case.left)
    if (folder / "metrics.csv").exists():
        assert rows(folder)[-1]["train/skipped_updates"] == str(int("skipped_updates" in case.left))

    again = resume(folder, changes_of(case), show=False)
    assert (again.status, again.step, again.untouched) == ("finished", 256, case.status == "finished")
    assert (result_of(folder) == result_of(undisturbed(case))) is case.same
    if case.same and case.rows:
        assert rows(folder) == rows(undisturbed(case))


def test_what_broke_an_environment_is_told_rather_than_that_it_broke(tmp_path: Path) -> None:
    case = Case("", "", "", env={"how": "nan then raise"}, burns=False)
    with pytest.raises(BadNumbersError, match=r"observation\[0\] of environment 1 is nan at step 168"):
        train(config_of(case), tmp_path / "run", show=False)
    assert "the action is none" in (tmp_path / "run" / "train.log").read_text()


# what to skip means


@pytest.mark.parametrize("case", [case for case in CASES if "skip" in str(case.settings)], ids=str)
def test_skipped_update_leaves_the_agent_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    agents, built = [], []
    iterate, build = Trainer.iterate, Collector.build_envs

    def watched(trainer: Trainer) -> Any:
        agents.append(trainer.agent.state_dict())
        built.append(trainer.progress.iteration)
        row = iterate(trainer)
        agents.append(trainer.agent.state_dict())
        built.append(trainer.progress.iteration)
        return row

    def builds(collector: Collector) -> Any:
        built.append("build")
        return build(collector)

    monkeypatch.setattr(Trainer, "iterate", watched)
    monkeypatch.setattr(Collector, "build_envs", builds)
    folder = tmp_path / "run"
    assert isinstance(struck(case, folder), TrainResult)
    before, after = agents[10:12]
    learnt = ("parameters", "first_moment", "second_moment", "updates")
    assert _plain({key: before[key] for key in learnt}) == _plain({key: after[key] for key in learnt})
    statistics = [{key: _plain(value) for key, value in state["normalizers"].items()} for state in (before, after)]
    for one in statistics:  # the sums of episodes that were in progress begin anew with the environments
        one["reward"] = [(key, value) for key, value in one["reward"] if key != "/discounted"]
    assert statistics[0] == statistics[1]
    assert built[built.index(5) :][:4] == [5, 5, "build", 6]
    assert _plain(load_checkpoint(folder / "postmortem.pt")["agent"]["parameters"]) == _plain(before["parameters"])
    struck_row, next_row = rows(folder)[5:7]
    assert (struck_row["train/policy_loss"], struck_row["train/skipped_updates"]) == ("", "1")
    assert next_row["train/policy_loss"] != ""
    assert _plain(agents[12]["parameters"]) != _plain(agents[13]["parameters"])


def _plain(value: Any) -> list[tuple[str, Any]]:
    return list(_leaves(value, ""))


def bad_updates(monkeypatch: pytest.MonkeyPatch, is_bad: Callable[[int], bool]) -> None:
    """Let the updates, counted from 1, be bad that ``is_bad`` names."""
    make, calls = ppo.make_update_step, [0]

    def makes(*arguments: Any, **words: Any) -> Any:
        step = make(*arguments, **words)

        def spoilt(state: Any, batch: Any, coefficients: Any) -> Any:
            state, metrics = step(state, batch, coefficients)
            calls[0] += 1  # an update has four of them
            return state, metrics * torch.nan if is_bad(-(-calls[0] // 4)) else metrics

        return spoilt

    monkeypatch.setattr(ppo, "make_update_step", makes)


def skipping(iterations: int) -> TrainConfig:
    return config_of(Case("", "", "", settings={"on_nan": "skip", "total_timesteps": 32 * iterations}))


def test_numbers_that_stay_bad_stop_the_run_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad_updates(monkeypatch, lambda update: update > 3)
    with pytest.raises(BadNumbersError, match=f"policy_loss is nan in epoch 1.* at step {32 * (3 + MOST_SKIPPED + 1)}"):
        train(skipping(40), tmp_path / "run", show=False)
    skipped = [int(row["train/skipped_updates"]) for row in rows(tmp_path / "run")]
    assert skipped == [0, 0, 0, *range(1, MOST_SKIPPED + 1)]
    assert summary_of(tmp_path / "run")["status"] == "failed"


def test_skips_that_are_not_in_a_row_never_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad_updates(monkeypatch, lambda update: update % 4 != 0)
    assert train(skipping(16), tmp_path / "run", show=False).status == "finished"
    assert rows(tmp_path / "run")[-1]["train/skipped_updates"] == "12"  # more than MOST_SKIPPED


# at the command line


WORDS = """
    network.hidden_sizes=[8] num_envs=2 buffer_size=32 batch_size=16 epochs=2 total_timesteps=128 checkpoint_every=64
    eval_every=null vector_backend=sync compile=false threads=1 logger=[csv]
"""
COMMANDS = {
    "bad number": ("+env.kwargs.how='reward nan'", 1, "reward of environment 1 is nan at step 102"),
    "process dies": ("+env.kwargs.how=kill vector_backend=async", 1, "the process of environment 1 died (SIGKILL"),
    "logger in close": ("logger=[csv,toys:FailsInClose]", 0, ""),
}


@pytest.mark.parametrize(("typed", "code", "said"), COMMANDS.values(), ids=COMMANDS.keys())
def test_command_shows_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, said: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    struck_seed = stream_seed(0, "env", 2, 1)
    env = ["env=toys:Faulty-v0", f"+env.kwargs.seed={struck_seed}", "+env.kwargs.at_step=20"]
    answer = console.run(tmp_path, "ppo-train", *WORDS.split(), *env, *shlex.split(typed))
    assert answer.code == code, answer.err
    assert said in answer.words
    assert "Traceback" not in answer.out + answer.err
    assert answer.err.count(console.FRAME_TOP) == code


# the page


def test_page_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert render(page) == page, "run: python tests/test_faults.py"


def render(page: str) -> str:
    """The page with its table made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = [("fault", "what happens", "what is left", "exit status"), ("---",) * 4]
    lines += dict.fromkeys((case.fault, case.happens, case.left, str(case.code)) for case in CASES)
    table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    return f"{before}{BEGIN}\n\n{table}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
