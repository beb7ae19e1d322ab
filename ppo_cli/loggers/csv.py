"""``metrics.csv``: one row per iteration, for pandas, spreadsheets and bit-by-bit comparison."""

from __future__ import annotations

import csv
import io
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from ppo_cli.loggers.base import RunInfo
from ppo_cli.loggers.metrics import COLUMNS, Metrics
from ppo_cli.runs.files import read_file, write_atomically


class CsvLogger:
    """Writes every metric of every iteration.

    Floats are written so that reading them back gives the same bits; a metric without a value is an empty cell.

    Args:
        path: The file to write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open = ExitStack()

    def start(self, run: RunInfo) -> None:
        """Create the file with its header; of a run that goes on, with the rows up to there and none beyond."""
        self._columns = run.columns
        rows = [self._columns, *([row.get(name) for name in self._columns] for row in run.history)]
        write_atomically(self._path, partial(_write_rows, rows))
        self._file = self._open.enter_context(self._path.open("a", newline="", encoding="utf-8"))
        self._writer = csv.writer(self._file, lineterminator="\n")

    def log(self, row: Metrics) -> None:
        """Append one row; it reaches the disk at once, so that a crash leaves whole rows."""
        self._writer.writerow([row[name] for name in self._columns])
        self._file.flush()

    def close(self, summary: dict[str, Any]) -> None:  # noqa: ARG002
        """Close the file."""
        self._open.close()


def _write_rows(rows: list[Any], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def read_rows(path: Path, last_step: int) -> list[Metrics]:
    """The whole rows of a ``metrics.csv`` up to ``last_step``; none where there is no file.

    A column that the file lacks has no value: it was written by an older version, or before a part of the user's that
    reports it was there.
    """
    try:
        text = read_file(path).decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    whole = text[: text.rfind("\n") + 1]  # what follows the last line's end was cut off
    found = [_row(cells) for cells in csv.DictReader(io.StringIO(whole))]
    return [row for row in found if row is not None and (row["step"] or 0) <= last_step]


def _row(cells: dict[str, str]) -> Metrics | None:
    """A row's numbers; ``None`` if they are none of ours."""
    try:
        found = {name: _number(cell) for name, cell in cells.items()}
        own: Metrics = {name: found.get(name) for name in COLUMNS}
        return own | found if None not in (own["iteration"], own["step"]) else None
    except (TypeError, ValueError):
        return None


def _number(cell: str) -> float | int | None:
    """A cell's number, of the type that writes it the same again."""
    if cell == "":
        return None
    try:
        return int(cell)
    except ValueError:
        return float(cell)
