"""Plain lines of a sweep, for a pipe or a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from ppo_cli.loggers.text import counted, duration, number
from ppo_cli.places import shown
from ppo_cli.streams import plain, printable, steady
from ppo_cli.sweep.remaining import remaining
from ppo_cli.sweep.view import (
    BETWEEN,
    FAILED,
    RUNNING,
    WAITING,
    JobView,
    counts,
    done,
    percent,
    steps_per_second,
    titled,
)

EVERY = 30.0  # seconds between two lines on the whole sweep


class SweepLines:
    """A line when a job starts, one when it ends, and now and then one on the whole sweep.

    Args:
        folder: The sweep's folder.
        n_jobs: How many jobs run at a time.
        stream: Where to write; ``None`` if there is nowhere.
        clock: Seconds from any fixed point on.
        noun: What it tells of.
    """

    def __init__(
        self,
        folder: Path,
        n_jobs: int,
        stream: TextIO | None,
        clock: Callable[[], float] = time.monotonic,
        noun: str = "job",
    ) -> None:
        self._folder, self._n_jobs, self._clock, self._noun = folder, n_jobs, clock, noun
        self._stream = None if stream is None or stream.closed else steady(stream)
        self._encoding = None if stream is None else stream.encoding
        self._known: dict[int, JobView] = {}
        self._note = ""
        self._told_at = clock()

    def update(self, views: Sequence[JobView], note: str = "") -> None:
        """Write what has changed since the last time."""
        if not self._known:
            known = f"{counted(len(views), self._noun)}: {', '.join(counts(views))}"
            self._print(f"{known}, {self._n_jobs} at a time · {shown(self._folder)}")
        for view in views:
            before = self._known.get(view.number)
            if before is None or before.state != view.state:
                self._changed(before, view)
        self._known = {view.number: view for view in views}
        if note and note != self._note:
            self._print(printable(note))
        self._note = note
        if self._clock() - self._told_at >= EVERY:
            self._print(progress(views, self._n_jobs))
            self._told_at = self._clock()

    def close(self) -> None:
        """Nothing is held back."""

    def _changed(self, before: JobView | None, view: JobView) -> None:
        # What was over before this command began is in the first line's counts.
        if view.state == WAITING or (before is None and view.state != RUNNING):
            return
        what = started(before) if view.state == RUNNING else ended(view)
        self._print(f"{titled(view, self._noun)} {what}")

    def _print(self, line: str) -> None:
        if self._stream is None:
            return
        with suppress(OSError, ValueError):  # the reader has left, or whoever owns the stream has closed it
            print(plain(line, self._encoding), file=self._stream, flush=True)


def started(before: JobView | None) -> str:
    """That a job has begun, or goes on: it then stood somewhere before."""
    return "goes on" if before is not None and before.step else "started"


def ended(view: JobView) -> str:
    """How a job ended: how far it came, and why or how well."""
    text = f"{view.state} at step {view.step:,}"
    if view.reason is not None:
        text += f": {printable(view.reason)}"
    if view.state == FAILED:
        return text
    parts = [text, f"return {number(view.last_return, 1)}"]
    if view.best_return is not None:
        parts.append(f"best {number(view.best_return, 1)}")
    return BETWEEN.join([*parts, duration(view.elapsed)])


def progress(views: Sequence[JobView], n_jobs: int) -> str:
    """How far the whole sweep is."""
    seconds = remaining(views, n_jobs)
    parts = [percent(done(views)), *counts(views), f"{number(steps_per_second(views), 0)} steps/s"]
    parts.append(f"{number(None) if seconds is None else duration(seconds)} left")
    return BETWEEN.join(parts)
