"""A run's folder, read whatever is in it: a run to compare, or the reason why it is none."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppo_cli.config import ARGUMENTS, TrainConfig, show
from ppo_cli.plain import up_to_date
from ppo_cli.report.options import STATES
from ppo_cli.report.statistics import Array
from ppo_cli.runs.lock import is_locked

FINISHED = "finished"
STEP, ELAPSED = "step", "time/elapsed"
BEYOND = 1e150
"""Whose square is no number any more."""
MOST_STEPS = 10**15
MOST_CHARACTERS = 2_000
"""Of a text out of a file, in what is told of it."""


@dataclass(frozen=True)
class LeftOut:
    """A folder that is not compared.

    Attributes:
        folder: Where it is.
        state: ``foreign``, ``broken``, ``repeated``, or how the run stands: one of ``options.STATES``.
        reason: Why, in words.
        run: What is known of it; ``None`` if it could not be read.
        side: ``new`` or ``old`` where two sides are compared, else empty.
    """

    folder: Path
    state: str
    reason: str
    run: Run | None = None
    side: str = ""


class UnusableError(Exception):
    """A folder holds nothing to compare.

    Attributes:
        state: As :class:`LeftOut` has it.
    """

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state = state


@dataclass(frozen=True)
class Run:
    """A run as its record has it, and its curves.

    Attributes:
        folder: Where it is.
        env: Its environment.
        seed: Its seed.
        settings: All of its settings as one types them, by dotted key, those of an environment's constructor too.
        status: How it stands.
        step: How far it came.
        budget: Steps it was to make.
        facts: The rest of ``summary.json``.
        curves: Columns of ``metrics.csv`` by name, each as long as ``step``, NaN where a row has no value.
        notes: What was found and passed over.
    """

    folder: Path
    env: str
    seed: int
    settings: dict[str, str]
    status: str
    step: int
    budget: int
    facts: dict[str, Any] = field(repr=False)
    curves: dict[str, Array] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

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


def read_summary_file(folder: Path) -> dict[str, Any]:
    """What ``summary.json`` says.

    Raises:
        UnusableError: if there is none, or it is damaged.
    """
    path = folder / "summary.json"
    try:
        content = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise _without_summary(folder) from None
    except OSError as error:
        raise UnusableError("broken", f"summary.json cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnusableError("broken", "summary.json is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise UnusableError("broken", "summary.json is empty or cut off, and no JSON") from error
    if not isinstance(content, dict) or not isinstance(content.get("status"), str):
        raise UnusableError("broken", "summary.json is not a run's record")
    return content


def _without_summary(folder: Path) -> UnusableError:
    try:
        if is_locked(folder):
            return UnusableError("running", "is about to begin")
        if (folder / "job.json").is_file():
            return UnusableError("waiting", "has not begun")
        if (folder / "checkpoints").is_dir():
            return UnusableError("broken", "has no summary.json")
    except OSError as error:
        return UnusableError("broken", f"cannot be read: {error.strerror}")
    return UnusableError("foreign", "has a metrics.csv, but no summary.json")


def with_curves(run: Run, columns: Iterable[str]) -> Run:
    """A run that can be compared, with its curves.

    Args:
        run: Its record.
        columns: The metrics to read, where the run has them.

    Raises:
        UnusableError: says why it cannot.
    """
    if run.status != FINISHED:
        raise UnusableError(run.status if run.status in STATES else "broken", _why(run))
    curves, notes = _read_curves(run.folder / "metrics.csv", list(columns))
    return dataclasses.replace(run, curves=curves, notes=notes)


def read_record(folder: Path) -> Run:
    """A run without its curves; its status is how it really stands.

    Raises:
        UnusableError: if the record cannot be used.
    """
    content = read_summary_file(folder)
    config, seed, env = content.get("config"), content.get("seed"), content.get("env")
    if not isinstance(config, dict) or not isinstance(env, str) or isinstance(seed, bool) or not isinstance(seed, int):
        raise UnusableError("broken", "summary.json lacks the run's environment, seed or settings")
    step, budget = (_whole(content.get(name)) for name in ("step", "total_timesteps"))
    if step is None or budget is None:
        raise UnusableError("broken", "summary.json lacks the run's steps")
    try:
        settings = {key: text(value) for key, value in flat(up_to_date(TrainConfig, config)).items()}
    except (TypeError, AttributeError, RecursionError) as error:
        raise UnusableError("broken", "summary.json holds no settings of a run") from error
    return Run(folder, env, seed, settings, standing(folder, content["status"]), step, budget, content)


def standing(folder: Path, status: str) -> str:
    """How a run stands whose record says ``status``: one that was killed says it is running for ever."""
    if status != "running":
        return status
    try:
        return "running" if is_locked(folder) else "interrupted"
    except OSError:
        return "running"


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and (value or name not in ARGUMENTS):
            found |= flat(value, f"{name}.")
        elif value != {}:
            found[name] = value
    return found


def text(value: Any) -> str:
    """A setting as one types it; 1.0 is 1, since neither file nor person always tells them apart."""
    return show(int(value) if isinstance(value, float) and value.is_integer() and abs(value) < MOST_STEPS else value)


def _why(run: Run) -> str:
    at = f"step {run.step:,} of {run.budget:,}"
    if run.status == "running":
        return f"is still running, at {at}"
    if run.status == "failed":
        return f"failed at {at}: {_last_reason(run.folder) or 'see its train.log'}"
    if run.status == "interrupted":
        return f"was interrupted at {at}"
    return f"is {run.status[:40]!r} at {at}" if run.status != "pruned" else f"was pruned at {at}"


def _last_reason(folder: Path) -> str | None:
    """What a sweep has written down of a job that died."""
    try:
        reason = json.loads((folder / "attempts.json").read_text(encoding="utf-8"))["attempts"][-1]["reason"]
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    return str(reason)[:MOST_CHARACTERS] if reason else None


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and 0 <= value < MOST_STEPS else None


def _read_curves(path: Path, columns: Sequence[str]) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The columns of a ``metrics.csv`` that it has, in the order of steps, and what was passed over."""
    try:
        text = path.read_bytes().decode("utf-8-sig", "replace")
    except FileNotFoundError:
        raise UnusableError("broken", "has no metrics.csv (logger without csv?)") from None
    except OSError as error:
        raise UnusableError("broken", f"metrics.csv cannot be read: {error.strerror}") from error
    whole = text[: text.rfind("\n") + 1]  # what follows the last line's end was cut off
    try:
        head, *rows = csv.reader(whole.split("\n")[:-1])
    except (csv.Error, ValueError) as error:
        raise UnusableError("broken", "metrics.csv is empty or damaged") from error
    if STEP not in head:
        raise UnusableError("broken", "metrics.csv has no column step")
    wanted = list(dict.fromkeys([STEP, ELAPSED, *columns]))
    places = [head.index(name) if name in head else -1 for name in wanted]
    good = [cells for row in rows if (cells := _numbers(row, places, len(head))) is not None]
    if not good:
        raise UnusableError("broken", "metrics.csv has no rows")
    notes = [f"{len(rows) - len(good)} rows of metrics.csv could not be read"] if len(good) < len(rows) else []
    table = np.array(good)
    order = _increasing(table[:, 0])
    if len(order) < len(table):
        notes.append(f"{len(table) - len(order)} rows of metrics.csv stand twice or in the wrong place; the last count")
    table = table[order]
    return {name: table[:, index] for index, name in enumerate(wanted)}, tuple(notes)


def _numbers(row: list[str], places: Sequence[int], width: int) -> list[float] | None:
    """The wanted cells of a row, NaN for an empty one, infinite for what is NaN; ``None`` if the row is damaged."""
    if len(row) != width:
        return None
    try:
        found = [_number(row[place]) if place >= 0 else math.nan for place in places]
    except ValueError:
        return None
    return found if math.isfinite(found[0]) and found[0] >= 0 else None


def _number(cell: str) -> float:
    """A cell's number; an empty one is NaN, and what is no number to reckon with is infinite, to be told from that."""
    if not cell:
        return math.nan
    value = float(cell)
    return value if abs(value) < BEYOND else math.inf


def _increasing(steps: Array) -> NDArray[np.intp]:
    """The rows to keep so that steps increase: of those that a later row takes back, none."""
    least_after = np.minimum.accumulate(np.append(steps[1:], np.inf)[::-1])[::-1]
    return np.flatnonzero(steps < least_after)
