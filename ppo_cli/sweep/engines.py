"""The engine that a launcher's name stands for, and whether it can be had."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ppo_cli.errors import Problem
from ppo_cli.launchers import QUEUED, Launcher, Ray, Submitit, name_of
from ppo_cli.sweep.engine import Engine
from ppo_cli.sweep.jobs import Job
from ppo_cli.sweep.local import Local
from ppo_cli.sweep.resources import Gpus
from ppo_cli.sweep.shares import Shares
from ppo_cli.sweep_config import SweepConfig

NEEDS = {"submitit_slurm": ("submitit", "slurm"), "submitit_local": ("submitit", "slurm"), "ray": ("ray", "ray")}
"""The package that a launcher needs, and the extra that brings it."""


def missing(launcher: Launcher, options: SweepConfig) -> list[Problem]:
    """What keeps a launcher from running jobs as it was asked to."""
    name = name_of(launcher)
    typed = f"hydra/launcher={name}"
    problems = []
    package, extra = NEEDS.get(name, (None, None))
    if package is not None and importlib.util.find_spec(package) is None:
        problems.append(Problem(f"{typed} needs the package {package}", f"pip install 'ppo-cli[{extra}]'"))
    elif name == "submitit_slurm" and (lost := [one for one in ("sbatch", "srun") if shutil.which(one) is None]):
        what = f"{typed}: this machine has no {' and no '.join(lost)}"
        problems.append(Problem(what, "a machine that submits to Slurm, or the same without hydra/launcher="))
    if not options.wait and name not in QUEUED:
        what = f"wait=false: the jobs of {typed} end with the command that has started them"
        problems.append(Problem(what, "hydra/launcher=submitit_slurm, or the same without wait="))
    if not options.wait and name == "submitit_local" and options.n_jobs != "auto":
        what = f"n_jobs={options.n_jobs} with wait=false: without a queue, nobody would start the jobs that follow"
        problems.append(Problem(what, "n_jobs=auto, which starts all of them, or the same without wait="))
    if options.jobs_per_gpu > 1 and isinstance(launcher, Submitit):
        what = f"jobs_per_gpu={options.jobs_per_gpu}: {typed} has a job to itself what it is given"
        problems.append(Problem(what, "the same without jobs_per_gpu="))
    return problems


def make_engine(
    launcher: Launcher,
    folder: Path,
    left: Sequence[Job],
    shares: Shares,
    options: SweepConfig,
    named: Mapping[int, Collection[str]],
    command: str,
) -> Engine:
    """The engine that runs what is left of a sweep.

    Args:
        launcher: What starts the jobs.
        folder: The sweep's folder.
        left: Those of its jobs that are not finished.
        shares: How the machines are divided among them.
        options: How they are run.
        named: For each job, keys of the settings whose modules, which are the user's, were named.
        command: The command line, for the record.

    Raises:
        RunError: if it cannot be had.
    """
    if not isinstance(launcher, Submitit | Ray):
        return Local(shares.n_jobs, shares.cores, Gpus(shares.gpus, options.jobs_per_gpu), named, command)
    from ppo_cli.sweep.errand import Errands

    errands = Errands(shares.cores, options, named, command)
    if isinstance(launcher, Ray):
        from ppo_cli.sweep.on_ray import OnRay

        return OnRay(launcher, shares.n_jobs, errands)
    from ppo_cli.sweep.slurm import OnSlurm

    return OnSlurm(folder, left, launcher, shares.n_jobs, errands)


def left_to_scheduler(launcher: Launcher, options: SweepConfig) -> SweepConfig:
    """How the jobs are run, without what is seen to where a cluster has put them."""
    if type(launcher) is Launcher:
        return options
    return dataclasses.replace(options, retries=0, job_timeout=None)
