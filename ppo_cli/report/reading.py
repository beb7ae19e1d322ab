"""The curves of a run that can be compared, or the reason why it cannot."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ppo_cli.loggers.text import counted
from ppo_cli.report.options import STATES
from ppo_cli.report.records import BEYOND, OWN, Record, UnusableError, last_reason
from ppo_cli.report.statistics import Array
from ppo_cli.runs.files import read_file
from ppo_cli.runs.names import METRICS_FILE

FINISHED = "finished"
STEP, ELAPSED = "step", "time/elapsed"


@dataclass(frozen=True)
class LeftOut:
    """A folder that is not compared.

    Attributes:
        folder: Where it is.
        state: ``foreign``, ``broken``, ``repeated``, ``trial``, or how the run stands: one of ``options.STATES``.
        reason: Why, in words.
        run: What is known of it; ``None`` if it could not be read.
        side: ``new`` or ``old`` where two sides are compared, else empty.
        count: How many runs it stands for.
    """

    folder: Path
    state: str
    reason: str
    run: Record | None = None
    side: str = ""
    count: int = 1


@dataclass(frozen=True)
class Run(Record):
    """A run and its curves.

    Attributes:
        curves: Columns of ``metrics.csv`` by name, each as long as ``step``, NaN where a row has no value.
        notes: What was found and passed over.
        program: What made it.
        trial: The trial of a search that it is a final of.
    """

    curves: dict[str, Array] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    program: str = OWN
    trial: int | None = None

    def points(self, metric: str) -> tuple[Array, Array, Array]:
        """Steps, values and seconds of the rows that have a value of a metric."""
        values = self.curves.get(metric)
        if values is None:
            return (np.empty(0),) * 3
        known = ~np.isnan(values)
        return self.curves[STEP][known], values[known], self.curves[ELAPSED][known]

    @property
    def stopped_at_target(self) -> bool:
        """Whether it ended before its budget, having reached ``target_return``."""
        return self.settings.get("target_return", "null") != "null" and self.step < self.budget


def with_curves(run: Record, columns: Iterable[str]) -> Run:
    """A run that can be compared, with its curves.

    Args:
        run: Its record.
        columns: The metrics to read, where the run has them.

    Raises:
        UnusableError: says why it cannot.
    """
    if run.status != FINISHED:
        raise UnusableError(run.status if run.status in STATES else "broken", _why(run))
    curves, notes = _read_curves(run.folder / METRICS_FILE, list(columns))
    kept = {item.name: getattr(run, item.name) for item in dataclasses.fields(Record)}
    return Run(**kept, curves=curves, notes=notes)


def _why(run: Record) -> str:
    at = f"step {run.step:,} of {run.budget:,}"
    if run.status == "running":
        return f"is still running, at {at}"
    if run.status == "failed":
        return f"failed at {at}: {last_reason(run.folder) or 'see its train.log'}"
    if run.status == "interrupted":
        return f"was interrupted at {at}"
    return f"is {run.status[:40]!r} at {at}" if run.status != "pruned" else f"was pruned at {at}"


def _read_curves(path: Path, columns: Sequence[str]) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The columns of a ``metrics.csv`` that it has, in the order of steps, and what was passed over."""
    head, rows = _cells(path)
    if STEP not in head:
        raise UnusableError("broken", "metrics.csv has no column step")
    wanted = list(dict.fromkeys([STEP, ELAPSED, *columns]))
    places = [head.index(name) if name in head else -1 for name in wanted]
    table = _all_numbers(rows, places, len(head))
    if table is None:
        good = [cells for row in rows if (cells := _numbers(row, places, len(head))) is not None]
        table = np.array(good).reshape(len(good), len(places))
    if not len(table):
        raise UnusableError("broken", "metrics.csv has no rows")
    lost = len(rows) - len(table)
    notes = [f"{counted(lost, 'row')} of metrics.csv could not be read"] if lost else []
    order = _increasing(table[:, 0])
    if len(order) < len(table):
        again = counted(len(table) - len(order), "row")
        notes.append(f"found twice or in the wrong place: {again} of metrics.csv; the last count")
    table = table[order]
    return {name: table[:, index] for index, name in enumerate(wanted)}, tuple(notes)


def metrics_of(folder: Path) -> list[str]:
    """The metrics that a run's ``metrics.csv`` has a value of, in its order.

    Raises:
        UnusableError: if there is none, or it is damaged.
    """
    head, rows = _cells(folder / METRICS_FILE)
    return [name for place, name in enumerate(head) if "/" in name and any(any(row[place : place + 1]) for row in rows)]


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a ``metrics.csv``, as far as its lines are whole."""
    try:
        text = read_file(path).decode("utf-8-sig", "replace")
    except FileNotFoundError:
        raise UnusableError("broken", "has no metrics.csv (logger without csv?)") from None
    except OSError as error:
        raise UnusableError("broken", f"metrics.csv cannot be read: {error.strerror}") from error
    whole = text[: text.rfind("\n") + 1]  # what follows the last line's end was cut off
    try:
        head, *rows = csv.reader(whole.split("\n")[:-1])
    except (csv.Error, ValueError) as error:
        raise UnusableError("broken", "metrics.csv is empty or damaged") from error
    return head, rows


def _all_numbers(rows: Sequence[list[str]], places: Sequence[int], width: int) -> Array | None:
    """What :func:`_numbers` makes of each row, in a fraction of the time; ``None`` where some row is damaged."""
    if any(len(row) != width for row in rows):
        return None
    cells = [row[place] if place >= 0 else "" for row in rows for place in places]
    try:
        values = np.array([*map(float, [cell or "0" for cell in cells])])
    except ValueError:
        return None
    table = np.where([not cell for cell in cells], np.nan, diverged(values)).reshape(len(rows), len(places))
    steps = table[:, 0]
    return table if (np.isfinite(steps) & (steps >= 0)).all() else None


def _numbers(row: list[str], places: Sequence[int], width: int) -> list[float] | None:
    """The wanted cells of a row, NaN for an empty one, infinite for what is NaN; ``None`` if the row is damaged."""
    if len(row) != width:
        return None
    try:
        found = [number(row[place]) if place >= 0 else math.nan for place in places]
    except ValueError:
        return None
    return found if math.isfinite(found[0]) and found[0] >= 0 else None


def number(cell: str) -> float:
    """A cell's number; an empty one is NaN, and what is no number to reckon with is infinite, to be told from that."""
    if not cell:
        return math.nan
    value = float(cell)
    return value if abs(value) < BEYOND else math.inf


def diverged(values: Array) -> Array:
    """Values that came as numbers, likewise: NaN is what a run came to, and not that there is nothing."""
    return np.where(np.abs(values) < BEYOND, values, math.inf)


def _increasing(steps: Array) -> NDArray[np.intp]:
    """The rows to keep so that steps increase: of those that a later row takes back, none."""
    least_after = np.minimum.accumulate(np.append(steps[1:], np.inf)[::-1])[::-1]
    return np.flatnonzero(steps < least_after)
