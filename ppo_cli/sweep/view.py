"""What is shown of a sweep: each job as it stands, counted and summed up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ppo_cli.config import show
from ppo_cli.streams import printable

RUNNING, FAILED, INTERRUPTED, WAITING, FINISHED, PRUNED = STATES = (
    "running",
    "failed",
    "interrupted",
    "waiting",
    "finished",
    "pruned",
)
"""In the order in which they are told: what is going on, what needs a look, the rest."""

OVER = (FAILED, FINISHED, PRUNED)
"""Of these jobs nothing more is expected."""


BETWEEN = " · "


@dataclass(frozen=True)
class JobView:
    """A job of a sweep, as it is shown.

    Attributes:
        number: Its place in the order of starting.
        label: What it differs in from other jobs, as one types it.
        swept: The same as values, by setting.
        state: One of ``STATES``; ``waiting`` also if it has been interrupted and is to go on in this command.
        reason: Why it failed or was interrupted, in one line; ``None`` if nothing is to be said.
        step: Environment steps made so far.
        total: Environment steps to be made.
        returns: The training return, a value an iteration so far.
        steps_per_second: The speed of its last iteration; ``None`` if none is known.
        final_return: The return that it ended with; ``None`` before its end, or if no episode finished.
        best_return: The best evaluation; ``None`` if there was none.
        folder: Where it is kept.
        elapsed: Seconds of training that ``step`` took, before a resumption as well.
        problems: What went wrong beside the training, which went on.
    """

    number: int
    label: str
    swept: Mapping[str, Any]
    state: str
    reason: str | None
    step: int
    total: int
    returns: tuple[float, ...]
    steps_per_second: float | None
    final_return: float | None
    best_return: float | None
    folder: Path
    elapsed: float
    problems: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """How much of its steps it has made, from 0 to 1."""
        return min(1.0, self.step / self.total) if self.total > 0 else 0.0

    @property
    def last_return(self) -> float | None:
        """The return that it ended with, or that it has now."""
        if self.final_return is not None:
            return self.final_return
        return next((value for value in reversed(self.returns) if math.isfinite(value)), None)


class Display(Protocol):
    """Shows a sweep while it goes on."""

    def update(self, views: Sequence[JobView], note: str = "") -> None:
        """Show all jobs as they stand, and one line on what is being waited for, if anything is."""

    def close(self) -> None:
        """Leave a last picture and give the terminal back."""


def counts(views: Sequence[JobView]) -> list[str]:
    """How many jobs are in which state: ``4 running``, ``2 failed``, ``12 waiting``."""
    found = Counter(view.state for view in views)
    return [f"{found[state]} {state}" for state in STATES if found[state]]


def titled(view: JobView, noun: str = "job") -> str:
    """A job as a line names it: its number, and what it differs in, if there is anything."""
    label = printable(view.label)
    return f"{noun} {view.number} ({label})" if label else f"{noun} {view.number}"


def done(views: Sequence[JobView]) -> float:
    """How much of the sweep is over, by steps, from 0 to 1; of a job that failed nothing more is expected."""
    total = sum(view.total for view in views)
    made = sum(view.total if view.state in OVER else min(view.step, view.total) for view in views)
    return made / total if total > 0 else 0.0


def percent(share: float) -> str:
    """A share in whole per cent; 100 only when all is over."""
    return f"{math.floor(100 * share)}%"


def steps_per_second(views: Sequence[JobView]) -> float | None:
    """The speed of all running jobs together; ``None`` if none is known."""
    speeds = [view.steps_per_second for view in views if view.state == RUNNING]
    known = [speed for speed in speeds if speed is not None and math.isfinite(speed)]
    return sum(known) if known else None


def told(value: Any) -> str:
    """A setting's value as one types it."""
    return printable(show(value))
