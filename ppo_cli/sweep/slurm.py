"""Jobs on Slurm, by submitit: a sweep is one array, whose jobs outlive the command that has submitted them."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ppo_cli.errors import Problem, RunError
from ppo_cli.launchers import Slurm, Submitit
from ppo_cli.places import shown
from ppo_cli.runs.files import read_json, write_json
from ppo_cli.runs.lock import is_locked
from ppo_cli.runs.summary import now
from ppo_cli.sweep.engine import Ended
from ppo_cli.sweep.errand import Errands
from ppo_cli.sweep.jobs import Job
from ppo_cli.sweep.local import signals_ignored
from ppo_cli.sweep.resources import visible_gpus
from ppo_cli.sweep.slurm_task import Task

if TYPE_CHECKING:
    import submitit

SUBMITTED_FILE = "submitted.json"
FILES = ".submitit"
"""Where submitit keeps its own files, in a sweep's folder."""
ASK_EVERY = 30.0  # seconds between two questions to Slurm, each about all jobs
LOOK_EVERY = 2.0  # seconds between two looks at folders that may lie behind a network
MOST_PREEMPTED = 10  # answers in a row that a job has made room, after which it is not going to come back

GONE_WITHIN = 10.0  # seconds after which a job that was cancelled is over unless its folder is in use


class Submitted(NamedTuple):
    """A job's folder, and what submitit knows of the job."""

    folder: Path
    job: submitit.Job[str]


class OnSlurm:
    """Runs jobs as an array of Slurm's, or in submitit's imitation of it on this machine.

    Args:
        folder: The sweep's folder, which all machines see.
        jobs: Those that are not finished; what an earlier command submitted of them may be there still.
        launcher: What Slurm is asked for.
        n_jobs: How many run at a time.
        errands: What they are sent with.
    """

    def __init__(self, folder: Path, jobs: Sequence[Job], launcher: Submitit, n_jobs: int, errands: Errands) -> None:
        self.n_jobs, self.note = n_jobs, ""
        self._folder, self._launcher, self._errands = folder, launcher, errands
        self._local = not isinstance(launcher, Slurm)
        self._to_submit: list[Job] = []
        self._to_cancel: list[int] = []
        self._there: dict[int, Submitted] = {}
        self._preempted: Counter[str] = Counter()
        self._asked_at = -math.inf
        self._cancelled: dict[str, float] = {}
        self._earlier = self._submitted_earlier(jobs)

    def room(self, job: Job) -> bool:  # noqa: ARG002 - one is as large as another
        """Always on Slurm, which has a queue; here for as many as are to run at a time."""
        return not self._local or len(self._there) + len(self._to_submit) < self.n_jobs

    def adopts(self, job: Job) -> bool:
        """Whether it is there still from an earlier command."""
        return job.number in self._earlier

    def start(self, job: Job) -> None:
        """Have it submitted with the next array, unless it is there still."""
        if job.number in self._earlier:
            self._there[job.number] = self._earlier.pop(job.number)
        else:
            self._to_submit.append(job)

    def has_begun(self, job: Job) -> bool:
        """Whether a process is at its folder."""
        return is_locked(job.folder)

    def poll(self, seconds: float) -> Sequence[Ended]:
        """Submit and cancel what there is, and look which jobs have ended.

        Raises:
            RunError: if Slurm takes no jobs.
        """
        withdrawn = self._cancel()
        self._submit()
        if seconds:
            time.sleep(seconds if self._local else LOOK_EVERY)
        self._ask()
        over = {number: why for number, one in self._there.items() if (why := self._end_of(one)) is not None}
        for number in over:
            del self._there[number]
        return [*withdrawn, *(Ended(number, None, reason) for number, reason in over.items())]

    def stop(self, number: int) -> None:
        """Have it cancelled: it leaves the queue, or gets SIGTERM, saves and stops."""
        self._to_cancel.append(number)

    def kill(self, number: int) -> None:
        """As ``stop``; Slurm kills in the end what does not stop."""
        self.stop(number)

    def close(self) -> None:
        """Leave the jobs where they are."""

    def _cancel(self) -> list[Ended]:
        """Cancel what is to be cancelled; returns what had not been submitted yet."""
        numbers, self._to_cancel = set(self._to_cancel), []
        withdrawn = [Ended(job.number, None) for job in self._to_submit if job.number in numbers]
        self._to_submit = [job for job in self._to_submit if job.number not in numbers]
        ids = [self._there[number].job.job_id for number in numbers if number in self._there]
        self._cancelled |= dict.fromkeys(ids, time.monotonic())
        if ids and not self._local:
            subprocess.run(["scancel", *ids], check=False, stdout=subprocess.DEVNULL)
        for job_id in ids if self._local else []:
            with suppress(OSError):
                os.kill(int(job_id), signal.SIGTERM)
        return withdrawn

    def _submit(self) -> None:
        jobs, self._to_submit = self._to_submit, []
        if not jobs:
            return
        try:
            with signals_ignored():  # what is started here is not to end with a terminal
                submitted = self._executor(jobs).map_array(Task(), [self._errands.of(job) for job in jobs])
        except Exception as error:  # submitit's own, and what comes of commands that are not there
            what = f"the jobs could not be submitted: {' '.join(str(error).split())}"
            fix = f"ppo-train -m resume={shown(self._folder)} with another hydra.launcher.…="
            raise RunError(Problem(what, fix), "Not submitted") from error
        for job, one in zip(jobs, submitted, strict=True):
            write_json(job.folder / SUBMITTED_FILE, {"job_id": one.job_id, "local": self._local, "time": now()})
            self._there[job.number] = Submitted(job.folder, one)

    def _executor(self, jobs: Sequence[Job]) -> submitit.Executor:
        import submitit

        told = self._launcher
        if not isinstance(told, Slurm):
            here: submitit.Executor = submitit.LocalExecutor(self._folder / FILES, told.max_num_timeout)
            gpus = len(visible_gpus()) if any(job.config.device.startswith("cuda") for job in jobs) else 0
            here.update_parameters(timeout_min=told.timeout_min, signal_delay_s=told.signal_delay_s, gpus_per_node=gpus)
            return here
        executor: submitit.Executor = submitit.SlurmExecutor(self._folder / FILES, told.max_num_timeout)
        asked_for: dict[str, Any] = {
            "job_name": "ppo-train",
            "time": math.ceil(told.timeout_min),
            "signal_delay_s": told.signal_delay_s,
            "cpus_per_task": told.cpus_per_task,
            "gpus_per_node": told.gpus_per_node or None,
            "mem": None if told.mem_gb is None else f"{math.ceil(1024 * told.mem_gb)}M",
            "partition": told.partition,
            "account": told.account,
            "qos": told.qos,
            "constraint": told.constraint,
            "setup": told.setup or None,
            "array_parallelism": self.n_jobs,
            "additional_parameters": {"requeue": True, **told.additional_parameters},
        }
        executor.update_parameters(**{key: value for key, value in asked_for.items() if value is not None})
        return executor

    def _submitted_earlier(self, jobs: Sequence[Job]) -> dict[int, Submitted]:
        """Jobs that are there still, by number."""
        import submitit

        found: dict[int, Submitted] = {}
        for job in jobs:
            with suppress(OSError, ValueError, KeyError):
                known = read_json(job.folder / SUBMITTED_FILE)
                if known["local"] == self._local:
                    kind = submitit.LocalJob if self._local else submitit.SlurmJob
                    found[job.number] = Submitted(job.folder, kind(self._folder / FILES, known["job_id"]))
        if found:
            self._there = found
            self._ask()
            self._there = {}
        return {number: one for number, one in found.items() if self._end_of(one) is None}

    def _ask(self) -> None:
        """Ask Slurm how all jobs stand, if it is time; what ends as it should says so itself."""
        if self._local or not self._there or time.monotonic() - self._asked_at < ASK_EVERY:
            return
        import submitit

        submitit.SlurmJob.watcher.update()
        self._asked_at = time.monotonic()
        for one in self._there.values():
            job_id = one.job.job_id
            state = submitit.SlurmJob.watcher.get_state(job_id, mode="cache")
            self._preempted[job_id] = self._preempted[job_id] + 1 if state == "PREEMPTED" else 0

    def _end_of(self, one: Submitted) -> str | None:
        """What to say of a job that is not there any more, where it has said nothing itself."""
        job, log = one.job, f"{shown(one.job.paths.stderr)} may say more"
        if self._local:
            return None if _lives(job) else f"submitit's process of it is gone; {log}"
        if job.paths.result_pickle.exists():
            return f"its process is gone; {log}"
        import submitit

        watcher = submitit.SlurmJob.watcher
        over = watcher.is_done(job.job_id, mode="cache") or self._preempted[job.job_id] >= MOST_PREEMPTED
        over |= time.monotonic() - self._cancelled.get(job.job_id, math.inf) > GONE_WITHIN
        if over and not is_locked(one.folder):  # Slurm says so as soon as it is decided
            return f"Slurm says {watcher.get_state(job.job_id, mode='cache')}; {log}"
        return None


def _lives(one: submitit.Job[str]) -> bool:
    """Whether submitit's process of a job on this machine is there, which may be an earlier command's."""
    if not one.done():  # of one that this command has not started, it knows nothing
        return True
    if one.paths.result_pickle.exists():
        return False
    with suppress(OSError, ValueError):
        os.kill(int(one.job_id), 0)
        told = Path("/proc", one.job_id, "cmdline")
        return not Path("/proc/self").exists() or b"submitit" in told.read_bytes()
    return False
