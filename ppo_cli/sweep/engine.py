"""What runs the processes of jobs, here or on other machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ppo_cli.sweep.jobs import Job

BROKEN, UNFIT = 1, 2
"""Exit statuses of a job that came to no end, and of one whose settings do not fit."""


class Ended(NamedTuple):
    """A job whose process is gone."""

    number: int
    code: int | None  # exit status, minus the number of a signal, or None if nobody knows
    reason: str | None = None  # why, where the engine knows more


class Engine(Protocol):
    """Runs jobs, each in a process of its own, and knows nothing of what they are."""

    n_jobs: int
    """How many run at a time, for the display."""
    note: str
    """One line on what it waits for before it takes another job; empty for nothing."""

    def room(self, job: Job) -> bool:
        """Whether the job can be started now."""

    def start(self, job: Job) -> None:
        """Start it.

        Raises:
            OSError, EOFError: if that fails; the job counts as failed.
        """

    def has_begun(self, job: Job) -> bool:
        """Whether it has a process; one that was started may wait in a queue."""

    def adopts(self, job: Job) -> bool:
        """Whether an earlier command has started it, and it is there still; ``start`` then makes it one's own."""

    def poll(self, seconds: float) -> Sequence[Ended]:
        """Wait for that long at most, and tell which jobs have ended since the last time."""

    def stop(self, number: int) -> None:
        """Ask a job to save and stop."""

    def kill(self, number: int) -> None:
        """End a job, and all that it has started, at once."""

    def close(self) -> None:
        """Leave nothing behind."""
