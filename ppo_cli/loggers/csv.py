"""``metrics.csv``: one row per iteration, for pandas, spreadsheets and bit-by-bit comparison."""

from __future__ import annotations

import csv
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ppo_cli.loggers.base import RunInfo
from ppo_cli.metrics import COLUMNS, Row


class CsvLogger:
    """Writes every metric of every iteration.

    Floats are written so that reading them back gives the same bits; a metric without a value is an empty cell.

    Args:
        path: The file to write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open = ExitStack()

    def start(self, run: RunInfo) -> None:  # noqa: ARG002
        """Create the file and its header."""
        self._file = self._open.enter_context(self._path.open("w", newline="", encoding="utf-8"))
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)
        self._file.flush()

    def log(self, row: Row) -> None:
        """Append one row; it reaches the disk at once, so that a crash leaves whole rows."""
        self._writer.writerow([row[name] for name in COLUMNS])
        self._file.flush()

    def close(self, summary: dict[str, Any]) -> None:  # noqa: ARG002
        """Close the file."""
        self._open.close()
