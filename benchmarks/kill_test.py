"""Kill runs with SIGKILL at random instants, resume them, and compare their ends with that of an undisturbed run.

One process imports everything once and forks a child per attempt, which trains or resumes as a program would; the
parent kills it. A run is killed one to three times: at instants spread over the life of the process from its first line
to its last, every second time at the moment at which a file of the run is seen half written. After each kill all files
must be whole; after the last, the run goes on to its end, and its final checkpoint (parameters, Adam's moments,
normalisers, random streams, books of the episodes) and its rows of metrics must equal the undisturbed run's.

    python -m benchmarks.kill_test --runs 100
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

import ppo_cli.loggers.curves
import ppo_cli.loggers.tensorboard  # here, or every child would import it anew
from ppo_cli.config import ContinuousConfig, EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.loggers.base import RunInfo
from ppo_cli.loggers.csv import read_rows
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.training.run import resume, train

MOST_KILLS = 3
PATIENCE = 30.0  # seconds for a child's environments to follow it; they look for it once a second
SMALL: dict[str, Any] = {
    "num_envs": 2,
    "buffer_size": 32,
    "batch_size": 16,
    "epochs": 2,
    "total_timesteps": 12 * 32,
    "checkpoint_every": 32,  # one iteration: saves make up much of the time
    "keep_last": 3,
    "eval_every": 96,
    "eval_episodes": 2,
    "normalize_obs": True,
    "normalize_reward": True,
    "anneal_lr": True,
    "threads": 1,
    "compile": False,
}


def _config(env: str, backend: str, **settings: Any) -> TrainConfig:
    return TrainConfig(env=EnvConfig(id=env, max_episode_steps=30), vector_backend=backend, **SMALL | settings)


MLP = NetworkConfig(hidden_sizes=[16])
SCENARIOS = {
    "loop": _config("CartPole-v1", "sync", network=MLP),
    "processes": _config("CartPole-v1", "async", network=MLP),
    "vector program": _config("CartPole-v1", "native", network=MLP),
    "memory": _config(
        "Pendulum-v1",
        "sync",
        network=NetworkConfig(hidden_sizes=[16], recurrent="gru", recurrent_size=8),
        continuous=ContinuousConfig(distribution="gsde"),
    ),
}
"""Everything that a run can carry from one iteration to the next; each is killed in turn."""


@dataclass
class Undisturbed:
    """A run that nobody killed.

    Attributes:
        end: What it came to, as :func:`result_of` tells it.
        life: Seconds from its process's first line to its last.
    """

    end: dict[str, Any]
    life: float


@dataclass
class Tally:
    """What was done to the runs, and what came of it."""

    runs: int = 0
    kills: int = 0
    by_kills: dict[int, int] = field(default_factory=dict)
    in_save: int = 0
    before_record: int = 0
    after_resuming: int = 0
    with_processes: int = 0
    half_files: int = 0
    tenths: list[int] = field(default_factory=lambda: [0] * 10)
    problems: list[str] = field(default_factory=list)

    def report(self) -> str:
        """All of it in a few lines."""
        kills = ", ".join(f"{count} {times}×" for times, count in sorted(self.by_kills.items()))
        lines = [
            f"{self.runs} runs killed {self.kills} times ({kills})",
            f"  while a file was half written: {self.in_save}",
            f"  in a process that had resumed: {self.after_resuming}",
            f"  before the run had a record, so that it began again: {self.before_record}",
            f"  with environments in processes of their own: {self.with_processes}",
            f"  per tenth of the run's budget: {self.tenths}",
            f"half written files that were still there at the end: {self.half_files}",
            f"runs that did not end as the undisturbed one: {len(self.problems)}",
        ]
        return "\n".join([*lines, *self.problems])


# children


def fork(body: Callable[[], object], words: Path) -> int:
    """Run ``body`` in a child that leads a session of its own; what it says goes into the file ``words``."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setsid()
        output = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        # the whole one takes longer than the training, and most kills would hit it
        ppo_cli.loggers.curves.draw = _small_picture
        body()
        status = 0
    except BaseException:  # whatever it is, no child may go on as a second parent
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def members(session: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, _, own = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:  # it has ended meanwhile
                continue
            if int(own) == session and state not in "ZX":
                found.append(int(entry.name))
    return found


def left_behind(session: int) -> list[int]:
    """Processes that outlive their killed leader by more than they need to notice."""
    until = time.monotonic() + PATIENCE
    while (alive := members(session)) and time.monotonic() < until:
        time.sleep(0.02)
    return alive


def _small_picture(run: RunInfo, series: dict[str, Any], summary: dict[str, Any]) -> Figure:  # noqa: ARG001
    return Figure(figsize=(1, 1))


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_after(child: int, seconds: float, folder: Path | None) -> bool:
    """Kill a child after a time, with a ``folder`` as soon as a file of it is half written; false if it ended first."""
    until = time.monotonic() + seconds
    while (now := time.monotonic()) < until or (folder is not None and not half_written(folder)):
        if _ended(child):
            return False
        time.sleep(min(0.001, until - now) if now < until else 0)
    os.kill(child, signal.SIGKILL)
    return True


def _ended(child: int) -> bool:
    """Whether a child has ended; it is still to be waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


# a run's folder


def half_written(folder: Path) -> list[Path]:
    """The temporary files below a run's folder, each of which is renamed when it is whole."""
    found = []
    for place in (folder, folder / "checkpoints"):
        try:
            found += [Path(entry.path) for entry in os.scandir(place) if entry.name.endswith(".tmp")]
        except FileNotFoundError:
            continue
    return found


def broken(folder: Path) -> list[str]:
    """Files that stand under their real names and cannot be read."""
    problems = []
    for path in folder.glob("checkpoints/*.pt"):
        try:
            load_checkpoint(path)
        except Exception as error:
            problems.append(f"{path}: {error}")
    summary = folder / "summary.json"
    if summary.exists():
        try:
            json.loads(summary.read_text())
        except ValueError as error:
            problems.append(f"{summary}: {error}")
    return problems


def result_of(folder: Path) -> dict[str, Any]:
    """All that two runs of equal settings must have in common when they are over."""
    rows = read_rows(folder / "metrics.csv", sys.maxsize)
    names = sorted(path.name for path in (folder / "checkpoints").glob("*.pt"))
    summary = json.loads((folder / "summary.json").read_text())
    facts = ("status", "step", "episodes", "best_return", "best_step", "final_return", "problems")
    return {
        "rows": [{key: value for key, value in row.items() if not key.startswith("time/")} for row in rows],
        "summary": {key: summary[key] for key in facts},
        **{name: load_checkpoint(folder / "checkpoints" / name) for name in names},
    }


def differences(one: Any, other: Any, name: str = "") -> Iterator[str]:
    """Where two results differ, bit by bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys(), key=str):
            if key not in one or key not in other:
                yield f"{name}/{key} is in one of them only"
            else:
                yield from differences(one[key], other[key], f"{name}/{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{name}/{index}")
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.dtype != other.dtype or not torch.equal(one, other):
            yield f"{name} differs"
    elif repr(one) != repr(other):  # repr tells floats that differ apart, and equal NaNs not
        yield f"{name}: {one!r} and {other!r}"[:300]


def has_record(folder: Path) -> bool:
    """Whether there is something to resume."""
    return (folder / "summary.json").exists()


def fraction_done(folder: Path, config: TrainConfig) -> float:
    """Part of the budget that the newest scheduled checkpoint lies at."""
    steps = [int(path.stem.removeprefix("step_")) for path in folder.glob("checkpoints/step_*.pt")]
    return max(steps, default=0) / config.total_timesteps


# the test


def attempt(config: TrainConfig, folder: Path) -> Callable[[], object]:
    """What a child does: begin the run, or go on with it."""
    if has_record(folder):
        return lambda: resume(folder, show=False)
    return lambda: train(config, folder, show=False)


def undisturbed(config: TrainConfig, folder: Path) -> Undisturbed:
    """Let a run be."""
    words = folder.with_suffix(".log")
    began = time.monotonic()
    child = fork(attempt(config, folder), words)
    if _wait(child) != 0:
        raise RuntimeError(f"the undisturbed run failed: {words.read_text()}")
    return Undisturbed(result_of(folder), time.monotonic() - began)


def disturbed(config: TrainConfig, folder: Path, reference: Undisturbed, luck: random.Random, tally: Tally) -> None:
    """Kill a run one to three times and compare its end with the undisturbed one's."""
    planned, kills = luck.randint(1, MOST_KILLS), 0
    words = folder.with_suffix(".log")
    problems: list[str] = []
    sessions: list[int] = []  # looked at in the end only: the next attempt must bear what the last one left behind
    while kills < planned:
        resumes = has_record(folder)
        done = fraction_done(folder, config)
        aimed = luck.random() < 0.5
        seconds = luck.random() * reference.life * (1 - 0.7 * done)  # starting and ending take their time again
        child = fork(attempt(config, folder), words)
        killed = kill_after(child, seconds, folder if aimed else None)
        code = _wait(child)
        sessions.append(child)
        if not killed:  # the run came to its end first
            if code != 0:
                problems.append(f"an attempt failed: {words.read_text()[-1000:]}")
                break
            if kills == 0:  # every run is to be killed
                shutil.rmtree(folder)
                continue
            break
        kills += 1
        tally.kills += 1
        tally.in_save += any(f".{child}." in path.name for path in half_written(folder))
        tally.after_resuming += resumes
        tally.with_processes += config.vector_backend == "async"
        tally.tenths[min(9, int(10 * fraction_done(folder, config)))] += 1
        problems += broken(folder)
        if not has_record(folder):
            tally.before_record += 1
            shutil.rmtree(folder, ignore_errors=True)
    child = fork(attempt(config, folder), words)
    if _wait(child) != 0:
        problems.append(f"the last attempt failed: {words.read_text()[-1000:]}")
    else:
        problems += differences(reference.end, result_of(folder))
    for session in (*sessions, child):
        if orphans := left_behind(session):
            problems.append(f"processes {orphans} outlived their run")
    tally.runs += 1
    tally.half_files += len(half_written(folder))
    tally.by_kills[kills] = tally.by_kills.get(kills, 0) + 1
    if problems:
        tally.problems.append(f"{folder.name}: " + "\n    ".join(problems[:10]))


@contextmanager
def _one_thread() -> Iterator[None]:
    """No pool of threads may exist when a process is forked: the child would wait for threads that it has not."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def kill_runs(
    runs: int,
    folder: Path,
    scenarios: dict[str, TrainConfig],
    seed: int = 0,
    tell: Callable[[str], object] = lambda _: None,
) -> Tally:
    """Kill and resume ``runs`` runs, the scenarios in turn."""
    luck, tally = random.Random(seed), Tally()
    with _one_thread():
        references = {name: undisturbed(config, folder / f"undisturbed {name}") for name, config in scenarios.items()}
        for number in range(runs):
            name = list(scenarios)[number % len(scenarios)]
            before = len(tally.problems)
            disturbed(scenarios[name], folder / f"{number} {name}", references[name], luck, tally)
            if len(tally.problems) == before:
                shutil.rmtree(folder / f"{number} {name}")
            tell(f"{number + 1}/{runs}: {tally.kills} kills, {len(tally.problems)} problems")
    return tally


def main() -> None:
    """Kill, compare, report; exit with 1 if any run ended differently."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    words = parser.parse_args()
    scenarios = {name: SCENARIOS[name] for name in words.scenarios}
    folder = Path(tempfile.mkdtemp(prefix="kill_test_"))
    tally = kill_runs(words.runs, folder, scenarios, words.seed, lambda line: print(line, file=sys.stderr))
    print(tally.report())
    if tally.problems:
        print(f"their folders are kept in {folder}")
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
