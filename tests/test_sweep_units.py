"""The parts of a sweep: states of jobs, grids, shares of a machine, curves that are read as they grow."""

from __future__ import annotations

import dataclasses
import json
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ppo_cli import cores
from ppo_cli.config import EnvConfig, TrainConfig
from ppo_cli.envs.backends import _kept_apart
from ppo_cli.errors import CheckpointError, ConfigError, Problem, RunError
from ppo_cli.runs.lock import is_locked, locked
from ppo_cli.signals import ENDING, handlers_kept
from ppo_cli.sweep import local, resources
from ppo_cli.sweep.attempts import Attempt, read_attempts, reason_of, record, standing
from ppo_cli.sweep.engine import Ended
from ppo_cli.sweep.extend import with_settings
from ppo_cli.sweep.grid import Choice, combinations, swept, words, zipped
from ppo_cli.sweep.job import told
from ppo_cli.sweep.jobs import Axis, Job, add_jobs, read_job
from ppo_cli.sweep.resources import Gpus
from ppo_cli.sweep.scheduler import Scheduler
from ppo_cli.sweep.shares import divide
from ppo_cli.sweep.start import alone
from ppo_cli.sweep.stopping import Asked, stoppable
from ppo_cli.sweep.view import JobView
from ppo_cli.sweep.watch import MOST_POINTS, Curve, Watched
from ppo_cli.sweep_config import SweepConfig

LR = Axis(("lr",), (("1e-3",), ("1e-4",)), ((1e-3,), (1e-4,)))
BATCH = Axis(("batch_size",), (("32",), ("64",)), ((32,), (64,)))
SEED = Axis(("seed",), (("0",), ("1",), ("2",)), ((0,), (1,), (2,)))


def attempt(state: str, reason: str | None = None) -> Attempt:
    return Attempt("then", "now", 1, state, reason, 64)


def write_summary(folder: Path, **content: Any) -> None:
    (folder / "summary.json").write_text(json.dumps({"step": 64, "total_timesteps": 128, **content}))


STATES: dict[str, tuple[str | None, list[Attempt], tuple[str, str | None]]] = {
    "nothing has been there": (None, [], ("waiting", None)),
    "finished": ("finished", [attempt("finished")], ("finished", None)),
    "finished, and died as it left": ("finished", [attempt("failed", "killed")], ("finished", None)),
    "pruned": ("pruned", [], ("pruned", None)),
    "interrupted alone": ("interrupted", [], ("interrupted", None)),
    "stopped before it had a record": (None, [attempt("interrupted")], ("interrupted", None)),
    "did not fit": (None, [attempt("failed", "lr=-1 …")], ("failed", "lr=-1 …")),
    "raised": ("failed", [attempt("failed", "it broke")], ("failed", "it broke")),
    "failed alone": ("failed", [], ("failed", "see its train.log")),
    "died, and its parent saw it": ("running", [attempt("failed", "killed")], ("failed", "killed")),
    "died with its parent": ("running", [], ("interrupted", None)),
    "went on, and died with its parent": ("running", [attempt("interrupted")], ("interrupted", None)),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_what_a_folder_says_of_its_job(tmp_path: Path, name: str) -> None:
    status, attempts, expected = STATES[name]
    if status is not None:
        write_summary(tmp_path, status=status)
    for number, one in enumerate(attempts):
        record(tmp_path, number, one)
    found = standing(tmp_path)
    assert (found.state, found.reason) == expected
    assert found.attempts == len(attempts)


def test_a_job_that_somebody_is_at_is_running(tmp_path: Path) -> None:
    write_summary(tmp_path, status="interrupted")
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)
        assert standing(tmp_path).state == "running"
        assert standing(tmp_path, ours=True).state == "interrupted"
    assert standing(tmp_path).state == "interrupted"


def test_an_attempt_is_written_once_or_over(tmp_path: Path) -> None:
    record(tmp_path, 0, attempt("interrupted"))
    record(tmp_path, 1, attempt("interrupted"))
    record(tmp_path, 1, attempt("failed", "no new row for 5 s"))
    assert [one.reason for one in read_attempts(tmp_path)] == [None, "no new row for 5 s"]
    (tmp_path / "attempts.json").write_text("{")
    assert read_attempts(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0, "ended by os._exit with status 0"),
        (-signal.SIGSEGV, "killed by SIGSEGV"),
        (-9, "killed by SIGKILL (out of memory, perhaps)"),
        (-200, "killed by signal 200"),
        (None, "its process is gone, and nobody knows why"),
    ],
)
def test_why_a_process_ended_without_a_word(code: int | None, reason: str) -> None:
    assert reason_of(code) == reason


def test_an_error_in_one_line() -> None:
    assert told(ValueError("two\n lines")) == "ValueError: two lines"
    assert told(KeyError()) == "KeyError"
    assert told(ConfigError([Problem("a", "x"), Problem("b\nc", "y")])) == "a; b c"
    wrapped = RunError(Problem("MemoryError: …", "x"))
    wrapped.__cause__ = MemoryError()
    assert told(wrapped) == told(RuntimeError("DefaultCPUAllocator: can't allocate memory")) == "ran out of memory"


def test_the_last_axis_changes_fastest() -> None:
    found = list(combinations([LR, SEED]))
    assert [swept(one) for one in found] == [{"lr": lr, "seed": seed} for lr in (1e-3, 1e-4) for seed in (0, 1, 2)]
    assert words(found[4]) == ["lr=1e-4", "seed=1"]
    assert [swept(one) for one in combinations([])] == [{}]


@pytest.mark.parametrize(
    ("text", "typed"), [("mine\\:Env-v0", "mine:Env-v0"), (r"a\,b", r"a\,b"), (r"'a\:b'", r"'a\:b'"), ("1e-4", "1e-4")]
)
def test_a_label_has_no_escape_that_nobody_types(text: str, typed: str) -> None:
    assert words([Choice(("env",), (text,), (text,))]) == [f"env={typed}"]


def test_zipped_axes_are_one_where_the_first_stood() -> None:
    axes = zipped([LR, SEED, BATCH], ["batch_size", "lr"])
    assert [axis.keys for axis in axes] == [("lr", "batch_size"), ("seed",)]
    assert axes[0].values == ((1e-3, 32), (1e-4, 64))
    assert zipped([LR, SEED], []) == [LR, SEED]
    with pytest.raises(ConfigError, match="lr has 2 and seed has 3 values"):
        zipped([LR, SEED], ["lr", "seed"])


def test_a_job_is_the_same_once_it_has_been_in_its_folder(tmp_path: Path) -> None:
    config = TrainConfig(env=EnvConfig(kwargs={"size": [1, 2]}), lr=1e-4, threads=2)
    job = Job(3, "lr=1e-4", {"lr": 1e-4}, config, tmp_path / "3_lr-1e-4", frozenset({"gamma"}), {"epochs": 2}, "abc")
    add_jobs([job])
    assert read_job(job.folder) == job
    with pytest.raises(ConfigError, match="holds a run already"):
        add_jobs([job])
    (job.folder / "job.json").write_text("{}")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_job(job.folder)


@pytest.mark.parametrize(
    ("n_jobs", "there", "settings", "expected"),
    [
        ("auto", 8, {}, (8, 1)),
        ("auto", 8, {"threads": 2}, (4, 2)),
        ("auto", 8, {"vector_backend": "async", "num_envs": 4}, (2, 4)),
        ("auto", 2, {"vector_backend": "async", "num_envs": 4}, (1, None)),
        (3, 8, {}, (3, 2)),
        (16, 8, {}, (10, 1)),
        (1, 8, {}, (1, None)),
    ],
)
def test_how_a_machine_is_divided(
    monkeypatch: pytest.MonkeyPatch, n_jobs: Any, there: int, settings: dict[str, Any], expected: tuple[int, int | None]
) -> None:
    monkeypatch.setattr(cores, "usable", lambda: there)
    shares = divide(SweepConfig(n_jobs=n_jobs), [TrainConfig(**settings)] * 10)
    assert (shares.n_jobs, shares.cores) == expected


def test_gpus_are_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert resources.visible_gpus() == ["2", "5"]
    shares = divide(SweepConfig(jobs_per_gpu=2), [TrainConfig(device="cuda")] * 10)
    assert (shares.n_jobs, shares.gpus) == (4, ["2", "5"])
    gpus = Gpus(shares.gpus, 2)
    assert [gpus.take() for _ in range(4)] == ["2", "5", "2", "5"]
    assert not gpus.free()
    gpus.give_back("5")
    assert gpus.free()
    assert gpus.take() == "5"


@pytest.mark.parametrize(("devices", "n_jobs"), [(["cuda:0"], 2), (["cuda:0", "cuda:1"], 4), (["cuda", "cuda:0"], 8)])
def test_a_gpu_that_is_named_is_one_place(monkeypatch: pytest.MonkeyPatch, devices: list[str], n_jobs: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    shares = divide(SweepConfig(jobs_per_gpu=2), [TrainConfig(device=device) for device in devices] * 10)
    assert shares.n_jobs == n_jobs


def test_arguments_within_arguments_are_changed_where_they_stand() -> None:
    config = TrainConfig(callback_kwargs={"options": {"size": 1, "name": "a"}})
    changed = with_settings(config, {"callback_kwargs.options.size": 3, "env.kwargs.more.of.it": True})
    assert changed.callback_kwargs == {"options": {"size": 3, "name": "a"}}
    assert changed.env.kwargs == {"more": {"of": {"it": True}}}


def test_envpool_keeps_to_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_share", 2)
    assert _kept_apart(8) == {"num_threads": 2}
    assert _kept_apart(1) == {"num_threads": 1}


def test_a_quota_counts_as_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert cores.usable() == 8
    for text, count in (("max 100000", 8), ("150000 100000", 2), ("10000 100000", 1)):
        (tmp_path / "cpu.max").write_text(text)
        assert cores.usable() == count


def test_a_curve_is_read_as_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    curve = Curve(path)
    assert not curve.read()
    path.write_text("iteration,step,rollout/episode_return_mean\n1,64,\n2,128,1.5\n3,19")
    assert curve.read()
    assert (curve.last["step"], curve.returns) == (128, [1.5])
    with path.open("a") as file:
        file.write("2,2.5\n")
    assert curve.read()
    assert (curve.last["step"], curve.returns) == (192, [1.5, 2.5])
    assert not curve.read()
    path.unlink()
    path.write_text("iteration,step,rollout/episode_return_mean\n1,64,0.5\n")  # as it is written when a run goes on
    assert curve.read()
    assert curve.returns == [0.5]
    with path.open("a") as file:
        file.writelines(f"{row},{row},{row}\n" for row in range(10 * MOST_POINTS))
    curve.read()
    assert len(curve.returns) <= MOST_POINTS
    assert curve.returns == sorted(curve.returns)


def test_two_parents_do_not_share_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppo_cli.runs.lock.PATIENCE", 0.0)
    with alone(tmp_path), pytest.raises(RunError, match="another ppo-train runs its jobs"), alone(tmp_path):
        pass


# the scheduler, with an engine that only notes what it is told


class Engine:
    """Ends jobs as it is told to; without a word of theirs, they have died."""

    def __init__(self, n_jobs: int, ends: dict[int, list[int]]) -> None:
        self.n_jobs, self.note, self.ends = n_jobs, "", ends
        self.on: list[int] = []
        self.log: list[str] = []
        self.queued: set[int] = set()
        self.adopted: set[int] = set()
        self.until = time.monotonic() + 30

    def room(self, job: Job) -> bool:
        return len(self.on) < self.n_jobs

    def start(self, job: Job) -> None:
        self.log.append(f"start {job.number}")
        if not self.ends[job.number]:
            raise OSError(11, "Resource temporarily unavailable")
        self.on.append(job.number)

    def has_begun(self, job: Job) -> bool:
        return job.number not in self.queued

    def adopts(self, job: Job) -> bool:
        return job.number in self.adopted

    def poll(self, seconds: float) -> Sequence[Ended]:
        time.sleep(0.001)
        assert time.monotonic() < self.until, "nothing ends"
        over = [number for number in self.on if self.ends[number][0] is not None]
        self.on = [number for number in self.on if number not in over]
        return [Ended(number, self.ends[number].pop(0)) for number in over]

    def stop(self, number: int) -> None:
        self.log.append(f"stop {number}")
        if number in self.queued:
            self.ends[number] = [0]

    def kill(self, number: int) -> None:
        self.log.append(f"kill {number}")
        self.ends[number] = [-9]

    def close(self) -> None:
        pass


class Seen:
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: set[str] = set()

    def update(self, views: Sequence[JobView], note: str = "") -> None:
        self.notes.add(note)

    def close(self) -> None:
        pass


def scheduled(
    folder: Path,
    ends: dict[int, list[Any]],
    n_jobs: int = 1,
    asked: Asked | None = None,
    cold: str | None = None,
    queued: set[int] | None = None,
    **given: Any,
) -> tuple[list[JobView], Engine]:
    jobs = [Job(number, "", {"seed": number}, TrainConfig(seed=number), folder / f"{number}_x") for number in ends]
    jobs = [dataclasses.replace(job, cold=cold) for job in jobs]
    add_jobs(jobs)
    engine = Engine(n_jobs, ends)
    engine.queued = queued or set()
    outcome = Scheduler(
        folder, [Watched(job) for job in jobs], engine, SweepConfig(**given), Seen(), asked or Asked()
    ).run()
    return list(outcome.views), engine


def test_a_failed_job_gets_its_tries_behind_the_others(tmp_path: Path) -> None:
    views, engine = scheduled(tmp_path, {0: [1, 1, 1, 1], 1: [2, 2]}, retries=2)
    assert engine.log == ["start 0", "start 1", "start 0", "start 0"]  # and none where the settings do not fit
    assert [view.state for view in views] == ["failed", "failed"]
    assert [len(read_attempts(view.folder)) for view in views] == [3, 1]


def test_a_process_that_cannot_be_started_is_a_failure(tmp_path: Path) -> None:
    views, _ = scheduled(tmp_path, {0: [], 1: [3]})
    assert views[0].reason == "its process could not be started: Resource temporarily unavailable"
    assert views[1].reason == "ended by os._exit with status 3"
    rows = (tmp_path / "results.csv").read_text().splitlines()
    assert rows[0] == "number,folder,state,reason,seed,step,final_return,best_return,wall_time,best_checkpoint"
    assert rows[2] == "1,1_x,failed,ended by os._exit with status 3,1,0,,,,"


def test_a_job_without_rows_is_stopped_and_then_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppo_cli.sweep.scheduler.PATIENCE", 0.05)
    views, engine = scheduled(tmp_path, {0: [None]}, job_timeout=0.05)
    assert engine.log == ["start 0", "stop 0", "kill 0"]
    assert (views[0].state, views[0].reason) == ("failed", "no new row for 0.05 s")
    assert [one.exit for one in read_attempts(views[0].folder)] == [-9]


class GivesUp:
    """Makes jobs, and gives each up at its first row."""

    def __init__(self, jobs: Sequence[Watched]) -> None:
        self.left, self.ended = list(jobs), []

    def next(self) -> Watched | None:
        if not self.left:
            return None
        one = self.left.pop(0)
        (one.job.folder / "metrics.csv").write_text("iteration,step\n1,64\n")
        return one

    def looked(self, one: Watched) -> str | None:
        return f"below the median at step {one.view.step}"

    def over(self, one: Watched) -> None:
        self.ended.append((one.state, one.reason))


@pytest.mark.parametrize("job_timeout", [None, 0.01])
def test_a_job_that_is_given_up_and_does_not_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job_timeout: float | None
) -> None:
    monkeypatch.setattr("ppo_cli.sweep.scheduler.LAST_PATIENCE", 0.05)
    jobs = [Job(number, "", {"seed": number}, TrainConfig(), tmp_path / f"{number}_x") for number in (0, 1)]
    add_jobs(jobs)
    watched, engine = [Watched(job) for job in jobs], Engine(1, {0: [None], 1: [-11, -11]})
    source, options = GivesUp(watched), SweepConfig(job_timeout=job_timeout, retries=1, fail_fast=1)
    Scheduler(tmp_path, watched, engine, options, Seen(), Asked(), source=source).run()
    assert engine.log == ["start 0", "stop 0", "kill 0", "start 1", "start 1"]  # it failed at nothing, nor tries again
    assert source.ended[0] == ("pruned", "below the median at step 64")
    assert [one.exit for one in read_attempts(jobs[0].folder)] == [-9]


def test_a_job_in_a_queue_waits_and_may_be_withdrawn(tmp_path: Path) -> None:
    views, engine = scheduled(tmp_path, {0: [1], 1: [None]}, n_jobs=2, queued={1}, fail_fast=1, job_timeout=0.05)
    assert engine.log == ["start 0", "start 1", "stop 1"]
    assert [view.state for view in views] == ["failed", "waiting"]
    assert read_attempts(views[1].folder) == []


def test_a_command_may_leave_its_jobs_in_a_queue(tmp_path: Path) -> None:
    views, engine = scheduled(tmp_path, {0: [None], 1: [None]}, n_jobs=2, queued={1}, wait=False)
    assert engine.log == ["start 0", "start 1"]
    assert [view.state for view in views] == ["running", "waiting"]


def test_a_job_that_an_earlier_command_left_is_taken_over(tmp_path: Path) -> None:
    job = Job(0, "", {"seed": 0}, TrainConfig(), tmp_path / "0_x")
    add_jobs([job])
    engine = Engine(1, {0: [1]})
    engine.adopted = {0}
    with locked(job.folder):
        one = Watched(job)
        assert one.state == "running"
        Scheduler(tmp_path, [one], engine, SweepConfig(), Seen(), Asked()).run()
    assert engine.log == ["start 0"]


def test_a_signal_stops_and_a_second_kills(tmp_path: Path) -> None:
    asked = Asked()
    asked.signal, asked.at_once = signal.SIGINT, True
    views, engine = scheduled(tmp_path, {0: [None]}, asked=asked)
    assert engine.log == []  # which nothing had begun yet
    assert views[0].state == "waiting"


def heard() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in ENDING}


def test_whoever_heard_signals_before_hears_them_again() -> None:
    before = heard()
    with suppress(ZeroDivisionError), local.signals_ignored():
        assert {*heard().values()} == {signal.SIG_IGN}
        raise ZeroDivisionError
    assert heard() == before
    with stoppable(above_all=True) as asked:
        signal.raise_signal(signal.SIGTERM)
    assert asked.signal == signal.SIGTERM
    assert heard() == before
    with handlers_kept():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert heard() == before


def test_a_program_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppo_cli.sweep.scheduler.PATIENCE", 0.05)
    _, engine = scheduled(tmp_path, {0: [1], 1: [1], 2: [1]}, n_jobs=3, cold="program")
    assert engine.log == ["start 0", "start 1", "start 2"]
    started = scheduled(tmp_path / "other", {0: [None, 1], 1: [1]}, n_jobs=2, cold="program", job_timeout=0.05)
    assert started[1].log[:2] == ["start 0", "stop 0"]  # the second waited until the first was over


def test_jobs_wait_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "warm_up", lambda: None)
    engine = local.Local(4, 1, Gpus([], 1), {}, "ppo-train")
    job = Job(0, "", {}, TrainConfig(), tmp_path)
    monkeypatch.setattr(local, "available_memory", lambda: 3 * 2**30)
    engine._peak = 2 * 2**30
    assert engine.room(job)  # nothing runs that could give any back
    engine._running[7] = local._Running(job, None, None, None, memory=2**30)  # type: ignore[arg-type]
    assert engine.room(job)
    monkeypatch.setattr(local, "available_memory", lambda: 2**30)
    assert not engine.room(job)
    assert engine.note == "waiting for memory: another job may take this to 3.0 GiB, and 1.0 GiB are free"
    monkeypatch.setattr(local, "available_memory", lambda: None)
    assert engine.room(job)


def test_a_full_disk_does_not_end_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ppo_cli.sweep.scheduler.record", full)
    monkeypatch.setattr("ppo_cli.sweep.results.write_atomically", full)
    views, engine = scheduled(tmp_path, {0: [-9], 1: [-9]})
    assert engine.log == ["start 0", "start 1"]
    assert [view.state for view in views] == ["waiting", "waiting"]  # nothing is known of how they ended
