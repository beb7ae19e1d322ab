"""The settings of a sweep: how its jobs are run, and nothing of what any of them is."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ppo_cli.config import show
from ppo_cli.errors import Problem
from ppo_cli.setting import setting
from ppo_cli.validation import wrong_values


@dataclass
class SweepConfig:
    """How the jobs of a sweep are run."""

    n_jobs: int | str = setting("auto", "jobs at a time; auto is as many as the cores, or the GPUs, serve", ge=1)
    zip: list[str] = setting([], "keys whose values go together, first with first: [lr,batch_size]", empty=True)
    retries: int = setting(0, "how often a job that failed goes on from its newest checkpoint", ge=0)
    job_timeout: float | None = setting(
        None, "seconds without a new row of metrics after which a job has failed; null is off", gt=0
    )
    fail_fast: int | None = setting(None, "failed jobs after which no other is started; null is off", ge=1)
    jobs_per_gpu: int = setting(1, "jobs that share a GPU", ge=1)
    wait: bool = setting(True, "stay until all jobs are over; false leaves them to Slurm once they are submitted")
    dry_run: bool = setting(False, "list the jobs, and make nothing")


OPTIONS = tuple(item.name for item in fields(SweepConfig))
"""Their names, which stand at the root of the command line and are in no job's settings."""


def wrong_options(options: SweepConfig) -> list[Problem]:
    """What is wrong with the settings of a sweep."""
    problems = wrong_values(options)
    if isinstance(options.n_jobs, str) and options.n_jobs != "auto":
        problems.append(Problem(f"n_jobs={show(options.n_jobs)} is neither auto nor a whole number", "n_jobs=auto"))
    return problems
