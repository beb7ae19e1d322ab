"""How a machine is divided among jobs: how many at a time, and how many cores for each."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ppo_cli import cores
from ppo_cli.config import TrainConfig
from ppo_cli.launchers import Launcher, Ray, Slurm
from ppo_cli.plain import to_plain
from ppo_cli.sweep.resources import visible_gpus
from ppo_cli.sweep_config import SweepConfig
from ppo_cli.trackers import TRACKERS

if TYPE_CHECKING:
    from ppo_cli.training.plan import Plan

UNCOMPILED = frozenset(
    (
        "seed",
        "total_timesteps",
        "lr",
        "gamma",
        "lam",
        "clip_ratio",
        "entropy_coef",
        "value_coef",
        "target_kl",
        "output_dir",
        "log_every",
        "keep_last",
        "keep_best",
        "target_return",
        "init_from",
        "anneal_lr",
        "anneal_clip",
        "eval_every",
        "eval_episodes",
        "eval_deterministic",
        "checkpoint_every",
        "logger",
        "callbacks",
        "callback_kwargs",
        "reward_transform",
        "reward_kwargs",
        "on_nan",
        "resume",
        *TRACKERS,
    )
)
"""Settings that the compiled gradient step is the same with, whatever they are."""


class Shares(NamedTuple):
    """How many jobs run at a time, and the cores of each; ``None`` where one job has them all."""

    n_jobs: int
    cores: int | None
    gpus: list[str]


def divide(options: SweepConfig, configs: Sequence[TrainConfig], launcher: Launcher | None = None) -> Shares:
    """Divide this machine among jobs, or say what each has of a cluster.

    ``auto`` fills the cores: small networks train on one, environments in processes of their own take one each, and
    jobs on GPUs are as many as these have places.

    Args:
        options: How the sweep is run.
        configs: The settings of the jobs that are left to do.
        launcher: What starts them; a cluster divides itself, so there as many run at a time as it allows.
    """
    if isinstance(launcher, Slurm | Ray):
        n_jobs = options.n_jobs if isinstance(options.n_jobs, int) else len(configs)
        return Shares(max(1, n_jobs), launcher.cpus_per_task if isinstance(launcher, Slurm) else launcher.num_cpus, [])
    there = cores.usable()
    gpus = visible_gpus() if any(config.device.startswith("cuda") for config in configs) else []
    if isinstance(options.n_jobs, int):
        n_jobs = options.n_jobs
    else:
        n_jobs = max(1, there // max((_cores_of(config, there) for config in configs), default=1))
        devices = {config.device for config in configs}
        if gpus and all(device.startswith("cuda") for device in devices):
            places = len(gpus) if "cuda" in devices else len(devices)  # cuda:1 is taken at its word
            n_jobs = places * options.jobs_per_gpu
        n_jobs = n_jobs if options.wait else len(configs)
    n_jobs = max(1, min(n_jobs, len(configs)))
    return Shares(n_jobs, max(1, there // n_jobs) if n_jobs > 1 else None, gpus)


def _cores_of(config: TrainConfig, there: int) -> int:
    """The cores that a job keeps busy."""
    threads = config.threads if isinstance(config.threads, int) else 1
    processes = config.num_envs if config.vector_backend == "async" else 1
    return min(there, max(threads, processes))


def settled(plan: Plan, share: int | None) -> TrainConfig:
    """The settings of a job as they are frozen: as they were asked for, with the threads that its share allows."""
    threads = plan.config.threads
    if plan.asked.threads == "auto" and share is not None:
        threads = min(threads, share)
    return dataclasses.replace(plan.asked, threads=threads)


def cold_program(plan: Plan) -> str | None:
    """What the job compiles where the cache has nothing: the same text for the same program."""
    if not plan.config.compile or plan.device.type == "cuda":  # on a GPU it is recorded, which takes no time
        return None
    kept = {key: value for key, value in to_plain(plan.config).items() if key not in UNCOMPILED}
    return hashlib.sha1(json.dumps(kept, sort_keys=True, default=repr).encode()).hexdigest()[:16]
