"""One process to a run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ppo_cli.errors import Problem, RunError
from ppo_cli.runs.summary import read_summary

PATIENCE = 5.0  # seconds; a process that was killed may leave environments behind that take a moment to follow it


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Have a run's folder to oneself.

    The operating system holds the lock and drops it with the process, however that ends.

    Raises:
        RunError: if another process has it.
    """
    lock = FileLock(run_dir / ".lock")
    try:
        lock.acquire(timeout=PATIENCE)
    except OSError as error:
        if isinstance(error, Timeout):
            raise _in_use(run_dir) from error
        what = f"{run_dir} cannot be written: {error.strerror or error}"
        raise RunError(Problem(what, "a folder that can be written, with room")) from error
    try:
        yield
    finally:
        lock.release()


def _in_use(run_dir: Path) -> RunError:
    holder = read_summary(run_dir) or {}
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
    problem = Problem(f"{run_dir} is in use: {who} writes there", "waiting until it is done, or stopping it")
    return RunError(problem, "Run in use")
