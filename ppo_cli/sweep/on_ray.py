"""Jobs as tasks of Ray's, on this machine or on a cluster whose machines see the same files."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ppo_cli import cores
from ppo_cli.errors import Problem, RunError
from ppo_cli.launchers import Ray
from ppo_cli.runs.lock import is_locked
from ppo_cli.signals import handlers_kept
from ppo_cli.sweep.engine import Ended
from ppo_cli.sweep.errand import Errand, Errands, do
from ppo_cli.sweep.jobs import Job
from ppo_cli.sweep.stopping import stoppable

if TYPE_CHECKING:
    import ray

CONNECT_WITHIN = 10.0  # seconds


def task(errand: Errand) -> str:
    """What Ray calls, again if its worker dies; returns the state that the job is left in."""
    with stoppable(above_all=True) as asked:
        return do(errand, asked)


class OnRay:
    """Runs jobs as tasks of Ray's.

    Args:
        launcher: Where Ray is, and what a job takes of it.
        n_jobs: How many run at a time.
        errands: What they are sent with.

    Raises:
        RunError: if there is no Ray to be had.
    """

    def __init__(self, launcher: Ray, n_jobs: int, errands: Errands) -> None:
        self.n_jobs, self.note = n_jobs, ""
        self._launcher, self._errands = launcher, errands
        self._there: dict[int, ray.ObjectRef[str]] = {}
        _connect(launcher.address)

    def room(self, job: Job) -> bool:  # noqa: ARG002 - Ray has it wait for what it takes
        """Whether another may be handed over."""
        return len(self._there) < self.n_jobs

    def adopts(self, job: Job) -> bool:  # noqa: ARG002
        """None: tasks end with whoever has started them."""
        return False

    def start(self, job: Job) -> None:
        """Hand it over."""
        import ray

        gpus = self._launcher.num_gpus
        if gpus is None:
            gpus = 1 / self._errands.options.jobs_per_gpu if job.config.device.startswith("cuda") else 0
        remote = ray.remote(num_cpus=self._launcher.num_cpus, num_gpus=gpus, max_retries=self._launcher.max_retries)
        self._there[job.number] = remote(task).options(name=f"job {job.number}").remote(self._errands.of(job))

    def has_begun(self, job: Job) -> bool:
        """Whether a process is at its folder."""
        return is_locked(job.folder)

    def poll(self, seconds: float) -> Sequence[Ended]:
        """Look which tasks have ended."""
        import ray

        if not self._there:
            time.sleep(seconds)
            return []
        numbers = {ref: number for number, ref in self._there.items()}
        ready, _ = ray.wait(list(numbers), num_returns=len(numbers), timeout=seconds)
        return [self._ended(numbers[ref]) for ref in ready]

    def _ended(self, number: int) -> Ended:
        import ray

        reason = None
        try:
            ray.get(self._there.pop(number))
        except ray.exceptions.TaskCancelledError:
            pass
        except ray.exceptions.OutOfMemoryError:
            reason = "ran out of memory: Ray has ended its worker"
        except ray.exceptions.RayTaskError as error:
            reason = " ".join(str(error.cause or error).split())
        except ray.exceptions.RayError as error:
            reason = f"Ray has lost its worker ({type(error).__name__})"
        return Ended(number, None, reason)

    def stop(self, number: int) -> None:
        """Ask a job to save and stop; one that waits leaves the queue."""
        import ray

        ray.cancel(self._there[number], force=False)

    def kill(self, number: int) -> None:
        """End its worker; the job hears of that and stops."""
        import ray

        ray.cancel(self._there[number], force=True)

    def close(self) -> None:
        """Leave Ray; one that was started here ends."""
        import ray

        ray.shutdown()


def _connect(address: str | None) -> None:
    """Go to the Ray that is there, or start one.

    Raises:
        RunError: if that fails.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    import ray

    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    own: dict[str, Any] = {"address": "local", "num_cpus": cores.usable(), "include_dashboard": False}
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if colon and port.isdecimal():  # where nobody is, Ray itself waits for ever, and hears no signal
            socket.create_connection((host, int(port)), timeout=CONNECT_WITHIN).close()
        with handlers_kept():  # Ray would hear SIGTERM itself
            ray.init(**(own if address is None else {"address": address}), **quiet)
    except Exception as error:  # of many kinds
        what = f"Ray cannot be reached (address={'null' if address is None else address}): {error}"
        raise RunError(
            Problem(" ".join(what.split()), "hydra.launcher.address=<host:port>, or null"), "No Ray"
        ) from error
