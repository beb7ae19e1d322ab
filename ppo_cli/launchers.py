"""What starts the jobs of a sweep, as ``hydra/launcher=…`` names it, and what each of them can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ppo_cli.setting import setting


@dataclass
class Launcher:
    """What has no settings of its own: the processes of this machine."""


@dataclass
class Submitit(Launcher):
    """What jobs on Slurm and in submitit's imitation of it have in common."""

    timeout_min: float = setting(
        60.0, "minutes after which a job has to make room; it is put back into the queue", gt=0
    )
    signal_delay_s: int = setting(120, "seconds before that at which it is told, to save and stop", ge=1)
    max_num_timeout: int = setting(1000, "how often a job is put back into the queue at its time limit", ge=0)


@dataclass
class Slurm(Submitit):
    """Jobs as an array of Slurm's."""

    cpus_per_task: int = setting(1, "processor cores of a job, which also bound its threads", ge=1)
    gpus_per_node: int = setting(0, "GPUs of a job", ge=0)
    mem_gb: float | None = setting(4.0, "memory of a job in GB; null is the cluster's default", gt=0)
    partition: str | None = setting(None, "as sbatch --partition")
    account: str | None = setting(None, "as sbatch --account")
    qos: str | None = setting(None, "as sbatch --qos")
    constraint: str | None = setting(None, "as sbatch --constraint")
    setup: list[str] = setting([], "lines of shell before a job, such as [module load cuda]", empty=True)
    additional_parameters: dict[str, Any] = setting({}, "further options of sbatch: {mail-type: END}")


@dataclass
class Ray(Launcher):
    """Jobs as tasks of Ray's."""

    address: str | None = setting(None, "a cluster's address, or auto; null starts Ray on this machine")
    num_cpus: int = setting(1, "processor cores of a job, which also bound its threads", ge=1)
    num_gpus: float | None = setting(None, "GPUs of a job; null is 1 ÷ jobs_per_gpu with device=cuda, else 0", ge=0)
    max_retries: int = setting(3, "how often a job goes on elsewhere whose worker died", ge=0)


LAUNCHERS: dict[str, type[Launcher]] = {
    "local": Launcher,
    "submitit_slurm": Slurm,
    "submitit_local": Submitit,
    "ray": Ray,
}
"""Those that there are, by the names of their files in ``conf/hydra/launcher/``."""


def name_of(launcher: Launcher) -> str:
    """The launcher's name."""
    return next(name for name, kind in LAUNCHERS.items() if kind is type(launcher))


QUEUED = ("submitit_slurm", "submitit_local")
"""Those whose jobs outlive the command that has started them."""
