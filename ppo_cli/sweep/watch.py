"""What a job's folder says while it runs: the tail of ``metrics.csv``, and at the end its summary."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

from ppo_cli.runs.files import check_regular
from ppo_cli.runs.names import METRICS_FILE
from ppo_cli.runs.summary import now
from ppo_cli.sweep.attempts import standing
from ppo_cli.sweep.jobs import Job
from ppo_cli.sweep.view import FINISHED, PRUNED, RUNNING, WAITING, JobView

MOST_POINTS = 400  # of a curve, which is then kept half as fine; no terminal is wider


class Curve:
    """The rows of a ``metrics.csv``, as far as they have been read.

    Args:
        path: The file, which need not exist yet.
        column: One whose values are all kept, with their steps.
    """

    def __init__(self, path: Path, column: str | None = None) -> None:
        self._path, self._column = path, column
        self.forget()

    def forget(self) -> None:
        """Begin anew: whoever goes on with a run writes the file again."""
        self._offset, self._inode, self._every, self._rows = 0, 0, 1, 0
        self._columns: list[str] = []
        self.last: dict[str, float] = {}
        self.returns: list[float] = []
        self.points: list[tuple[float, float]] = []

    def read(self) -> bool:
        """Read what was added since; whether there was a row."""
        try:
            now = self._path.stat()
            if now.st_ino != self._inode or now.st_size < self._offset:
                self.forget()
                self._inode = now.st_ino
            if now.st_size == self._offset:
                return False
            check_regular(self._path)
            with self._path.open("rb") as file:
                file.seek(self._offset)
                added = file.read()
        except OSError:
            return False
        whole = added[: added.rfind(b"\n") + 1]
        self._offset += len(whole)
        before = self._rows
        for cells in csv.reader(whole.decode("utf-8", "replace").splitlines()):
            self._take(cells)
        return self._rows > before

    def _take(self, cells: list[str]) -> None:
        if not self._columns:
            self._columns = cells
            return
        try:
            row = {name: float(cell) for name, cell in zip(self._columns, cells, strict=True) if cell}
        except ValueError:
            return
        self._rows += 1
        self.last = row
        if self._column in row and "step" in row:
            self.points.append((row["step"], row[self._column]))
        value = row.get("rollout/episode_return_mean")
        if value is not None and self._rows % self._every == 0:
            self.returns.append(value)
            if len(self.returns) > MOST_POINTS:
                del self.returns[::2]
                self._every *= 2


class Watched:
    """A job and all that is known of how it stands.

    Args:
        job: The job.
        column: Of its ``metrics.csv``, one whose values are wanted as they come.
    """

    def __init__(self, job: Job, column: str | None = None) -> None:
        self.job = job
        self.tries = 0  # failed attempts of this command
        self.started = now()
        self.moved_at = time.monotonic()  # when it began or had a new row
        self.gave_row = False  # whether it has since it was last started
        self.overdue: str | None = None  # why it was told to stop, if it was
        self.given_up: str | None = None  # why it was told to stop where it was no failure
        self._curve = Curve(job.folder / METRICS_FILE, column)
        self._view: JobView | None = None
        self.look_again()

    def look_again(self, ours: bool = False) -> None:
        """Find out how it stands, now that nothing of this command is at it; ``ours``, as for :func:`standing`."""
        self.now = standing(self.job.folder, ours)
        self.state, self.reason = self.now.state, self.now.reason
        if self.state == FINISHED and self._total() > int(self.now.summary.get("total_timesteps") or 0):
            self.state = WAITING  # it has got more to do since
        if self.state not in (FINISHED, PRUNED) or ours:  # of a thousand finished jobs, the rows are much to read
            self._curve.read()
        self._view = None

    def _total(self) -> int:
        changed, begun = self.job.changes.get("total_timesteps"), self.now.summary.get("total_timesteps")
        return int(changed or begun or self.job.config.total_timesteps)

    def becomes(self, state: str, reason: str | None = None) -> None:
        """Note a new state."""
        self.state, self.reason, self._view = state, reason, None

    def starts(self, state: str) -> None:
        """Note that a process is about to run it."""
        self.started, self.moved_at, self.gave_row = now(), time.monotonic(), False
        self.overdue = self.given_up = None
        self.becomes(state)

    def look(self) -> bool:
        """Read what it has written since; whether there was a row."""
        if not self._curve.read():
            return False
        self.moved_at, self.gave_row, self._view = time.monotonic(), True, None
        return True

    @property
    def points(self) -> list[tuple[float, float]]:
        """Steps and values so far of the column that is wanted."""
        return self._curve.points

    @property
    def view(self) -> JobView:
        """The job as it is shown."""
        if self._view is None:
            self._view = self._seen()
        return self._view

    def _seen(self) -> JobView:
        known, last = self.now.summary, self._curve.last
        over = self.state not in (RUNNING, WAITING)
        step = known.get("step") if over or not last else last.get("step")
        elapsed = known.get("wall_time") if over or not last else last.get("time/elapsed")
        job = self.job
        return JobView(
            number=job.number,
            label=job.label,
            swept=job.swept,
            state=self.state,
            reason=self.reason,
            step=int(step or 0),
            total=self._total(),
            returns=tuple(self._curve.returns),
            steps_per_second=last.get("time/steps_per_second"),
            final_return=_number(known.get("final_return")) if over else None,
            best_return=_number(known.get("best_return")),
            folder=job.folder,
            elapsed=float(elapsed or 0.0),
            problems=_texts(known.get("problems")),
        )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
