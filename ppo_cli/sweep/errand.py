"""A job where a cluster has put it: run there as at home, in a process of its own, and its end written down."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ppo_cli.sweep.jobs import Job, read_job
from ppo_cli.sweep.local import Local
from ppo_cli.sweep.resources import Gpus, visible_gpus
from ppo_cli.sweep.scheduler import Scheduler
from ppo_cli.sweep.stopping import Asked
from ppo_cli.sweep.view import JobView
from ppo_cli.sweep.watch import Watched
from ppo_cli.sweep_config import SweepConfig


@dataclass(frozen=True)
class Errand:
    """What is sent to another process, maybe of another machine, which sees the same files.

    Attributes:
        folder: The job's folder.
        named: Keys of the settings whose modules, which are the user's, were named.
        command: The command line, for the record.
        cores: How many processor cores the job may count on; ``None`` for all.
        retries: How often a job that failed goes on.
        job_timeout: Seconds without a new row after which it has failed.
        current: The folder that the command was typed in.
        search: Where modules are looked for.
    """

    folder: Path
    named: tuple[str, ...]
    command: str
    cores: int | None
    retries: int
    job_timeout: float | None
    current: Path
    search: tuple[str, ...]


@dataclass(frozen=True)
class Errands:
    """What the jobs of a sweep are sent with.

    Attributes:
        cores: How many processor cores each may count on; ``None`` for all.
        options: How jobs are run.
        named: For each job, keys of the settings whose modules, which are the user's, were named.
        command: The command line, for the record.
    """

    cores: int | None
    options: SweepConfig
    named: Mapping[int, Collection[str]]
    command: str

    def of(self, job: Job) -> Errand:
        """A job as it is sent from here."""
        named, search = tuple(self.named[job.number]), tuple(place for place in sys.path if place)
        within = self.options.retries, self.options.job_timeout
        return Errand(job.folder, named, self.command, self.cores, *within, Path.cwd(), search)


def do(errand: Errand, asked: Asked) -> str:
    """Run the job, or go on with it, until it ends or a signal asks for that.

    Returns:
        The state that it is left in, as ``view`` names them.
    """
    with suppress(OSError):  # its folder's path is absolute
        os.chdir(errand.current)
    sys.path += [place for place in errand.search if place not in sys.path]
    job = read_job(errand.folder)
    gpus = Gpus([",".join(visible_gpus())] if job.config.device == "cuda" else [], jobs_per_gpu=1)
    engine = Local(1, errand.cores, gpus, {job.number: errand.named}, errand.command, deaf=True)
    options = SweepConfig(retries=errand.retries, job_timeout=errand.job_timeout)
    try:
        scheduler = Scheduler(job.folder, [Watched(job)], engine, options, Unseen(), asked, results=False)
        return scheduler.run().views[0].state
    finally:
        engine.close()


class Unseen:
    """Shows nothing: nobody looks on where a cluster puts a job."""

    def update(self, views: Sequence[JobView], note: str = "") -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
