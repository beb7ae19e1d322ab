"""Sweeps on Slurm, as far as submitit imitates it on one machine, and on a real Ray."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from console import Train, run
from omegaconf import OmegaConf
from resuming import metrics

from ppo_cli.config import EnvConfig, TrainConfig
from ppo_cli.errors import RunError
from ppo_cli.launchers import LAUNCHERS, Ray, Slurm, Submitit
from ppo_cli.runs.files import write_json
from ppo_cli.sweep import requeue, slurm, slurm_task
from ppo_cli.sweep.attempts import Attempt, read_attempts, record, standing
from ppo_cli.sweep.errand import Errand, Errands
from ppo_cli.sweep.jobs import Job, add_jobs, read_sweep
from ppo_cli.sweep.shares import Shares, divide
from ppo_cli.sweep.stopping import Asked
from ppo_cli.sweep_config import SweepConfig
from ppo_cli.training.run import train

TESTS = Path(__file__).parent
CONF = TESTS.parent / "conf"

with_submitit = pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None or sys.platform == "win32",
    reason="submitit is not installed: pip install 'ppo-cli[slurm]'",
)
with_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None or sys.platform != "linux",
    reason="Ray is not installed (pip install 'ppo-cli[ray]'), or there is no /proc to find its workers by",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delitem(sys.modules, "perils", raising=False)
    shutil.copy(TESTS / "perils.py", tmp_path)
    return tmp_path


SETTINGS: dict[str, Any] = {
    "num_envs": 2, "buffer_size": 64, "batch_size": 32, "epochs": 1, "total_timesteps": 960, "checkpoint_every": 64,
    "eval_every": None, "logger": ["csv"],
}  # fmt: skip
TINY = (
    "num_envs=2", "buffer_size=64", "batch_size=32", "epochs=1", "total_timesteps=960", "checkpoint_every=64",
    "eval_every=null", "network.hidden_sizes=[8]", "logger=csv",
)  # fmt: skip
OWN = ("-m", "env=perils:Peril-v0")


def undisturbed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The rows of the same run alone, in this process."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(folder)
    config = TrainConfig(env=EnvConfig(id="perils:Peril-v0"), threads=1, **SETTINGS)
    config.network.hidden_sizes = [8]
    train(config, folder / "alone", show=False)
    return metrics(folder / "alone")


def states(folder: Path) -> list[str]:
    with (folder / "sweep" / "results.csv").open(newline="", encoding="utf-8") as file:
        return [row["state"] for row in csv.DictReader(file)]


def job_folder(folder: Path, number: int) -> Path:
    (found,) = (folder / "sweep").glob(f"{number}_*/")
    return found


def resumed_from(job: Path) -> list[int]:
    content = json.loads((job / "summary.json").read_text(encoding="utf-8"))
    return [one["step"] for one in content["resumed"]]


@with_submitit
def test_jobs_make_room_at_their_time_limit_and_come_back(
    folder: Path, here: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=0.4", "hydra.launcher.signal_delay_s=12")
    begun = here(*OWN, "env.kwargs.kind=crawl,none", *TINY, *limit, "wait=false", "hydra.sweep.dir=sweep")
    assert begun.code == 0, begun.err
    assert "see how it stands  ppo-train -m resume=sweep env=perils:Peril-v0" in begun.out
    submitted = [(job_folder(folder, number) / "submitted.json").read_text() for number in (0, 1)]

    asked = here(*OWN, "resume=sweep")  # which still does not wait
    assert asked.code == 0, asked.err
    assert set(states(folder)) <= {"waiting", "running", "finished"}
    assert [(job_folder(folder, number) / "submitted.json").read_text() for number in (0, 1)] == submitted

    waited = here(*OWN, "resume=sweep", "wait=true")
    assert waited.code == 0, waited.err
    assert states(folder) == ["finished", "finished"]
    crawled, other = job_folder(folder, 0), job_folder(folder, 1)
    assert [(job / "submitted.json").read_text() for job in (crawled, other)] == submitted  # once, and came back
    attempts = read_attempts(crawled)
    assert [one.requeued for one in attempts] == [True] * (len(attempts) - 1) + [False]
    assert len(attempts) > 1
    assert max(resumed_from(crawled)) > 0
    assert metrics(crawled) == metrics(other) == undisturbed(folder, monkeypatch)


@with_ray
def test_a_job_whose_worker_is_killed_goes_on_with_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("hydra/launcher=ray", "env.kwargs.kind=worker,none", "env.kwargs.pause=0.002")
    answer = run(folder, "ppo-train", *OWN, *words, *TINY, "hydra.sweep.dir=sweep")
    assert answer.code == 0, answer.err
    assert states(folder) == ["finished", "finished"]
    killed, other = job_folder(folder, 0), job_folder(folder, 1)
    assert (folder / "mended").exists()
    assert resumed_from(killed)[0] > 0
    assert resumed_from(other) == []
    assert metrics(killed) == metrics(other) == undisturbed(folder, monkeypatch)


# what is told of launchers


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_files_of_launchers_list_what_they_can_be_told(name: str) -> None:
    file = OmegaConf.to_container(OmegaConf.load(CONF / "hydra" / "launcher" / f"{name}.yaml"))
    assert file == {"name": name, **dataclasses.asdict(LAUNCHERS[name]())}


REFUSED: dict[str, tuple[list[str], str, str]] = {
    "no Slurm here": (["hydra/launcher=submitit_slurm"], "this machine has no sbatch and no srun", "hydra/launcher="),
    "almost its name": (["hydra/launcher=slurm"], "hydra/launcher=slurm would run", "hydra/launcher=submitit_slurm"),
    "nobody stays": (["wait=false"], "the jobs of hydra/launcher=local end with the command", "the same without wait="),
    "nobody starts the rest": (
        ["wait=false", "n_jobs=1", "hydra/launcher=submitit_local"],
        "n_jobs=1 with wait=false: without a queue, nobody would start the jobs that follow",
        "n_jobs=auto",
    ),
    "shared GPUs": (
        ["jobs_per_gpu=2", "hydra/launcher=submitit_local"],
        "jobs_per_gpu=2: hydra/launcher=submitit_local has a job to itself",
        "the same without jobs_per_gpu=",
    ),
    "a wrong value": (
        ["hydra/launcher=ray", "hydra.launcher.max_retries=-1"],
        "hydra.launcher.max_retries=-1 must be at least 0",
        "hydra.launcher.max_retries=3",
    ),
    "a wrong type": (
        ["hydra/launcher=submitit_local", "hydra.launcher.signal_delay_s=soon"],
        "hydra.launcher.signal_delay_s=soon is not a whole number",
        "hydra.launcher.signal_delay_s=120",
    ),
    "an unknown key": (
        ["hydra/launcher=submitit_slurm", "+hydra.launcher.nodes=2"],
        "hydra.launcher.nodes is not a setting of hydra/launcher=submitit_slurm",
        "timeout_min",
    ),
    "a device that is none": (["hydra/launcher=ray", "device=gpu"], "device=gpu is no device", "device="),
}


@with_submitit
@with_ray
@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_before_anything_is_made(
    case: str, tmp_path: Path, here: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    words, what, fix = REFUSED[case]
    answer = here("-m", "seed=0,1", *words)
    assert answer.code == 2
    assert what in answer.words
    assert fix in answer.words
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "extra"), [("submitit_local", "slurm"), ("submitit_slurm", "slurm"), ("ray", "ray")])
def test_a_launcher_whose_package_is_missing_says_how_to_get_it(
    name: str, extra: str, here: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name in ("submitit", "ray") else find(name, *rest)
    )
    answer = here("-m", "seed=0,1", f"hydra/launcher={name}")
    assert answer.code == 2
    assert f"pip install 'ppo-cli[{extra}]'" in answer.words
    assert not list(tmp_path.iterdir())


@with_ray
def test_another_launcher_may_go_on_with_a_sweep(folder: Path, here: Train) -> None:
    listed = here("-m", "seed=0,1", "hydra/launcher=ray", "device=cuda", "dry_run=true")  # which is not on this machine
    assert listed.code == 0, listed.err
    assert "2 jobs; nothing was started" in listed.out
    failed = here(*OWN, "env.kwargs.kind=raise", *TINY, "hydra.sweep.dir=sweep")
    assert failed.code == 1
    wrong = here(*OWN, "resume=sweep", "hydra/launcher=ray", "hydra.launcher.num_cpus=0")
    assert wrong.code == 2
    assert "hydra.launcher.num_cpus=0 must be at least 1" in wrong.words
    lost = here(*OWN, "resume=sweep", "hydra/launcher=ray", "hydra.launcher.address=127.0.0.1:1")
    assert lost.code == 1
    assert "Ray cannot be reached (address=127.0.0.1:1)" in lost.words
    assert read_sweep(folder / "sweep").launcher == Ray(address="127.0.0.1:1")
    (folder / "mended").touch()
    again = here(*OWN, "resume=sweep", "hydra/launcher=local")
    assert again.code == 0, again.err
    assert states(folder) == ["finished"]


@pytest.mark.parametrize(
    ("launcher", "n_jobs", "wait", "expected"),
    [
        (Slurm(cpus_per_task=3), "auto", True, Shares(10, 3, [])),
        (Slurm(), 4, False, Shares(4, 1, [])),
        (Ray(num_cpus=2), "auto", True, Shares(10, 2, [])),
        (Submitit(), "auto", False, Shares(10, 1, [])),
    ],
)
def test_a_cluster_divides_itself(launcher: Any, n_jobs: int | str, wait: bool, expected: Shares) -> None:
    assert divide(SweepConfig(n_jobs=n_jobs, wait=wait), [TrainConfig(threads=1)] * 10, launcher) == expected


# when coming back leads nowhere


def noted(folder: Path, *checkpoints: int, requeued: bool = True) -> None:
    """Attempts that had to make room, each of which left the newest checkpoint at that step."""
    folder.mkdir(exist_ok=True)
    (folder / "checkpoints").mkdir(exist_ok=True)
    for step in checkpoints:
        if step:
            (folder / "checkpoints" / f"step_{step:05}.pt").touch()
        known = read_attempts(folder)
        record(folder, len(known), Attempt("then", "later", 130, "interrupted", None, step + 5))
        if requeued:
            requeue.mark_requeued(folder)


@pytest.mark.parametrize(
    ("checkpoints", "in_vain"),
    [((0,), False), ((0, 0), True), ((64,), False), ((64, 64), False), ((64, 64, 64), True), ((0, 0, 64), False)],
)
def test_two_attempts_in_a_row_without_a_checkpoint_are_in_vain(
    checkpoints: tuple[int, ...], in_vain: bool, tmp_path: Path
) -> None:
    noted(tmp_path / "job", *checkpoints)
    assert requeue.is_in_vain(tmp_path / "job") == in_vain


def test_a_person_may_stop_a_job_as_often_as_they_like(tmp_path: Path) -> None:
    noted(tmp_path / "job", 0, 0, 0, requeued=False)
    assert not requeue.is_in_vain(tmp_path / "job")
    noted(tmp_path / "job", 0)
    assert not requeue.is_in_vain(tmp_path / "job")


@pytest.fixture
def errand(tmp_path: Path) -> Errand:
    job = Job(0, "", {}, TrainConfig(checkpoint_every=512), tmp_path / "0_x")
    add_jobs([job])
    return Errand(job.folder, (), "ppo-train", 1, 0, None, tmp_path, ())


class BackInQueue(BaseException):
    """What ends a process that submitit puts back into the queue."""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sends a signal to a task of Slurm's while its job runs; submitit's own handler is a stand-in."""

    def put_back(number: int, _: Any) -> None:
        raise BackInQueue

    before = signal.signal(signal.SIGUSR2, put_back)

    def send(number: int | None, errand: Errand) -> str:
        def do(errand: Errand, asked: Asked) -> str:
            if number is None:
                return "finished"
            signal.raise_signal(number)
            assert asked.signal == number
            noted(errand.folder, 0, requeued=False)
            return "interrupted"

        monkeypatch.setattr(slurm_task, "do", do)
        return slurm_task.Task()(errand)

    yield send
    assert signal.signal(signal.SIGUSR2, before) is put_back


@with_submitit
def test_a_task_goes_back_into_the_queue_until_that_is_in_vain(errand: Errand, told: Any) -> None:
    with pytest.raises(BackInQueue):
        told(signal.SIGUSR2, errand)
    assert told(signal.SIGUSR2, errand) == "failed"
    now = standing(errand.folder)
    reason = "made room twice in a row without a new checkpoint (checkpoint_every=512 takes longer than a job may run)"
    assert (now.state, now.reason, now.attempts) == ("failed", reason, 2)
    with pytest.raises(BackInQueue):  # whoever has mended that has two more
        told(signal.SIGUSR2, errand)


@with_submitit
def test_a_task_that_is_cancelled_does_not_come_back(errand: Errand, told: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        told(signal.SIGTERM, errand)
    assert ended.value.code == 128 + signal.SIGTERM
    assert [one.requeued for one in read_attempts(errand.folder)] == [False]
    assert told(None, errand) == "finished"


@with_submitit
def test_a_task_at_its_last_time_limit_is_a_failure(errand: Errand, monkeypatch: pytest.MonkeyPatch) -> None:
    from submitit.core.utils import UncompletedJobError

    def refuse(number: int, _: Any) -> None:
        raise UncompletedJobError("timed-out too many times")

    noted(errand.folder, 64)
    assert slurm_task._back_into_queue(errand, refuse, signal.SIGUSR2) == "failed"
    assert "more often than hydra.launcher.max_num_timeout allows" in str(standing(errand.folder).reason)


@with_submitit
def test_attempts_that_left_no_word_count(errand: Errand, told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    write_json(errand.folder / "summary.json", {"status": "running", "started": "then", "step": 40})
    assert told(None, errand) == "finished"
    (lost,) = read_attempts(errand.folder)
    assert (lost.state, lost.reason, lost.step, lost.requeued) == ("interrupted", requeue.GONE, 40, True)
    assert told(None, errand) == "failed"  # it was lost once more, and had made nothing
    assert "made room twice in a row" in str(standing(errand.folder).reason)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands of Slurm's that note what they are told; ``sacct`` says what a file says."""
    place = tmp_path / "bin"
    place.mkdir()
    answers = {"sbatch": "Submitted batch job 7", "srun": "", "scancel": "", "sacct": f"$(cat {tmp_path}/known)"}
    for name, answer in answers.items():
        (place / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/log\necho "{answer}"\n')
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "ASK_EVERY", -1.0)
    monkeypatch.setattr(slurm, "LOOK_EVERY", 0.0)
    (tmp_path / "known").write_text("JobID|State|NodeList\n7_[0-1]|PENDING|\n")
    return tmp_path


@with_submitit
def test_a_sweep_is_one_array_that_outlives_its_command(cluster: Path) -> None:
    sweep = cluster / "sweep"
    jobs = [Job(number, "", {}, TrainConfig(), sweep / f"{number}_x") for number in (0, 1)]
    sweep.mkdir()
    add_jobs(jobs)
    launcher = Slurm(timeout_min=89.5, mem_gb=1.5, partition="long", additional_parameters={"mail-type": "END"})

    def engine() -> slurm.OnSlurm:
        return slurm.OnSlurm(sweep, jobs, launcher, 1, Errands(1, SweepConfig(), {0: (), 1: ()}, "ppo-train"))

    first = engine()
    for job in jobs:
        assert first.room(job)
        assert not first.adopts(job)
        first.start(job)
    assert first.poll(0.1) == []
    script = (sweep / ".submitit" / "7_submission.sh").read_text()
    for line in (
        "array=0-1%1", "requeue", "signal=USR2@120", "time=90", "mem=1536M", "cpus-per-task=1", "partition=long",
        "mail-type=END",
    ):  # fmt: skip
        assert f"#SBATCH --{line}\n" in script

    second = engine()
    assert [second.adopts(job) for job in jobs] == [True, True]
    for job in jobs:
        second.start(job)
    second.stop(0)
    assert second.poll(0.1) == []
    (cluster / "known").write_text("JobID|State|NodeList\n7_0|CANCELLED by 0|\n7_1|NODE_FAIL|\n")
    ended = second.poll(0.1)
    assert [(one.number, str(one.reason).partition(";")[0]) for one in ended] == [
        (0, "Slurm says CANCELLED by 0"),
        (1, "Slurm says NODE_FAIL"),
    ]
    log = [line for line in (cluster / "log").read_text().splitlines() if not line.startswith("sacct")]
    assert [line.partition(" ")[0] for line in log] == ["sbatch", "scancel"]
    assert log[1] == "scancel 7_0"
    assert not any(engine().adopts(job) for job in jobs)


@with_submitit
def test_what_slurm_does_not_take_is_told(cluster: Path) -> None:
    (cluster / "bin" / "sbatch").write_text("#!/bin/sh\necho invalid partition specified >&2\nexit 1\n")
    job = Job(0, "", {}, TrainConfig(), cluster / "sweep" / "0_x")
    job.folder.parent.mkdir()
    add_jobs([job])
    engine = slurm.OnSlurm(cluster / "sweep", [job], Slurm(), 1, Errands(1, SweepConfig(), {0: ()}, "ppo-train"))
    engine.start(job)
    with pytest.raises(RunError, match=r"could not be submitted: .*invalid partition specified"):
        engine.poll(0.0)


@with_submitit
@pytest.mark.parametrize(("told", "preempted"), [
    ("JobState=RUNNING PreemptTime=2026-01-01T00:00:00", True),
    ("JobState=RUNNING PreemptTime=None", False),
    ("JobState=CANCELLED PreemptTime=2026-01-01T00:00:00", False),
    ("", False),
])  # fmt: skip
def test_a_preempted_job_is_known_by_what_slurm_says(
    told: str, preempted: bool, cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert not slurm_task._is_preempted()
    (cluster / "bin" / "scontrol").write_text(f"#!/bin/sh\necho JobId=7 {told}\n")
    (cluster / "bin" / "scontrol").chmod(0o755)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert slurm_task._is_preempted() == preempted
