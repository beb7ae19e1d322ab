"""``results.csv``: a row a job, for spreadsheets and for what comes after a sweep."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppo_cli.runs.files import write_atomically
from ppo_cli.runs.names import BEST_FILE, CHECKPOINTS_FOLDER, RESULTS_FILE
from ppo_cli.sweep.view import JobView, told
from ppo_cli.sweep.watch import Watched

BEFORE = ("number", "folder")
AFTER = ("state", "reason", "seed", "step", "final_return", "best_return", "wall_time", "best_checkpoint")


class Results:
    """Writes ``results.csv`` anew whenever something has changed; the old file is whole until the new one is.

    Args:
        folder: The sweep's folder.
        jobs: All of its jobs, by number; there may be more by and by.
    """

    def __init__(self, folder: Path, jobs: Mapping[int, Watched]) -> None:
        self._path, self._jobs = folder / RESULTS_FILE, jobs
        self._rows: dict[int, tuple[JobView, dict[str, Any]]] = {}

    def write(self) -> None:
        """Write how all jobs stand.

        Raises:
            OSError: if that fails.
        """
        for one in self._jobs.values():
            if one.job.number not in self._rows or self._rows[one.job.number][0] is not one.view:
                self._rows[one.job.number] = one.view, _row(one)
        write_atomically(self._path, self._write)

    def _write(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            swept = dict.fromkeys(key for one in self._jobs.values() for key in one.job.swept)
            columns = [*BEFORE, *(key for key in swept if key != "seed"), *AFTER]
            writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for _, row in self._rows.values())


def _row(one: Watched) -> dict[str, Any]:
    view, summary = one.view, one.now.summary
    best = Path(CHECKPOINTS_FOLDER, BEST_FILE)
    return {
        **{key: told(value) for key, value in one.job.swept.items()},
        "number": view.number,
        "folder": view.folder.name,
        "state": view.state,
        "reason": view.reason,
        "seed": one.job.config.seed,
        "step": view.step,
        "final_return": view.final_return,
        "best_return": view.best_return,
        "wall_time": summary.get("wall_time"),
        "best_checkpoint": f"{view.folder.name}/{best.as_posix()}" if (view.folder / best).is_file() else None,
    }
