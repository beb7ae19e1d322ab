"""Jobs as processes of this machine: forked from a server that has everything imported, one process a job."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from ppo_cli.runs.files import check_regular
from ppo_cli.signals import ENDING, heard_by
from ppo_cli.sweep.child import OUTPUT_FILE, Order, main
from ppo_cli.sweep.engine import Ended
from ppo_cli.sweep.jobs import Job
from ppo_cli.sweep.resources import Gpus, available_memory, peak_memory

LOOK_EVERY = 1.0  # seconds between two looks at the memory of jobs


def context() -> Any:
    """How processes are started: never by a fork of this one, whose threads the child would miss."""
    forkserver = "forkserver" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"
    return multiprocessing.get_context("forkserver" if forkserver else "spawn")


def warm_up() -> None:
    """Start the server, which imports what jobs need while this process does other things."""
    processes = context()
    if processes.get_start_method() != "forkserver":
        return
    from multiprocessing import forkserver

    processes.set_forkserver_preload(["ppo_cli.sweep.server"])
    with signals_ignored():
        forkserver.ensure_running()


@contextmanager
def signals_ignored() -> Iterator[None]:
    """What is started inside never hears of a signal that ends a run: a group may get those as a whole."""
    known = [number for number in ENDING if signal.getsignal(number) is not None]
    with heard_by(signal.SIG_IGN, known):
        yield


@dataclass
class _Running:
    """A job's process, the end of the pipe that keeps it going, and the GPU that it has."""

    job: Job
    process: BaseProcess
    line: connection.Connection
    gpu: str | None
    memory: int = 0  # bytes, when it was last looked at


class Local:
    """Runs jobs on this machine.

    Args:
        n_jobs: How many at a time.
        cores: How many processor cores each may count on; ``None`` for all.
        gpus: Where jobs on GPUs find their places.
        named: For each job, keys of the settings whose modules, which are the user's, were named.
        command: The command line, for the record.
        deaf: Whether signals that jobs hear, too, are for this process alone.
    """

    def __init__(
        self,
        n_jobs: int,
        cores: int | None,
        gpus: Gpus,
        named: Mapping[int, Collection[str]],
        command: str,
        deaf: bool = False,
    ) -> None:
        self.n_jobs, self.note = n_jobs, ""
        self._cores, self._gpus, self._named, self._command = cores, gpus, named, command
        self._deaf = deaf
        self._running: dict[int, _Running] = {}
        self._peak = 0
        self._looked_at = 0.0
        warm_up()

    def room(self, job: Job) -> bool:
        """Whether there is a place, a GPU if it takes one, and memory for as much as the largest job so far."""
        self.note = ""
        if len(self._running) >= self.n_jobs or (job.config.device == "cuda" and not self._gpus.free()):
            return False
        free = available_memory()
        if not self._running or not self._peak or free is None:
            return True
        growing = sum(max(0, self._peak - one.memory) for one in self._running.values())
        if free >= self._peak + growing:
            return True
        needs, there = (f"{size / 2**30:.1f} GiB" for size in (self._peak + growing, free))
        self.note = f"waiting for memory: another job may take this to {needs}, and {there} are free"
        return False

    def start(self, job: Job) -> None:
        """Start a process for it."""
        check_regular(job.folder / OUTPUT_FILE)
        gpu = self._gpus.take() if job.config.device == "cuda" else None
        theirs, ours = connection.Pipe(duplex=False)
        order = Order(job.folder, tuple(self._named[job.number]), self._command, self._cores, gpu, self._deaf)
        process = context().Process(target=main, args=(order, theirs), name=f"job {job.number}")
        try:
            process.start()
        except BaseException:
            ours.close()
            if gpu is not None:
                self._gpus.give_back(gpu)
            raise
        finally:
            theirs.close()
        self._running[job.number] = _Running(job, process, ours, gpu)

    def has_begun(self, job: Job) -> bool:  # noqa: ARG002 - there is no queue
        """That it has."""
        return True

    def adopts(self, job: Job) -> bool:  # noqa: ARG002
        """None: jobs end with whoever has started them."""
        return False

    def poll(self, seconds: float) -> Sequence[Ended]:
        """Wait for a process to end, and look how much memory the others take."""
        sentinels = {one.process.sentinel: number for number, one in self._running.items()}
        if sentinels:
            ready = connection.wait(list(sentinels), seconds)
        else:
            ready = []
            time.sleep(seconds)
        if time.monotonic() - self._looked_at > LOOK_EVERY:
            self._looked_at = time.monotonic()
            self._look_at_memory()
        return [self._ended(sentinels[sentinel]) for sentinel in ready if isinstance(sentinel, int)]

    def _look_at_memory(self) -> None:
        for one in self._running.values():
            peak, one.memory = peak_memory(one.process.pid or 0)
            self._peak = max(self._peak, peak)

    def _ended(self, number: int) -> Ended:
        one = self._running.pop(number)
        one.process.join()
        code = one.process.exitcode
        _kill_group(one.process.pid)  # its environments would follow it, in a moment
        one.line.close()
        one.process.close()
        if one.gpu is not None:
            self._gpus.give_back(one.gpu)
        return Ended(number, code)

    def stop(self, number: int) -> None:
        """Hang up, which it takes for SIGTERM."""
        self._running[number].line.close()

    def kill(self, number: int) -> None:
        """SIGKILL to it and all that it has started."""
        process = self._running[number].process
        if not _kill_group(process.pid):
            process.kill()

    def close(self) -> None:
        """Kill what is left, and wait for it."""
        for number in list(self._running):
            self.kill(number)
        while self._running:
            self.poll(1.0)


def _kill_group(pid: int | None) -> bool:
    """SIGKILL to the group of a process; whether it has one."""
    if pid is None or not hasattr(os, "killpg"):
        return False
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
        return True
    return False
