"""What a run that goes on left behind up to its checkpoint: rows of metrics, and the time that they took."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ppo_cli.loggers.csv import read_rows
from ppo_cli.loggers.metrics import Metrics
from ppo_cli.runs.names import METRICS_FILE
from ppo_cli.runs.resume import Saved

log = logging.getLogger("ppo_cli")


def rows_so_far(run_dir: Path, saved: Saved) -> Sequence[Metrics]:
    """The rows up to the checkpoint."""
    rows = read_rows(run_dir / METRICS_FILE, saved.progress.step)
    # an iteration that was skipped before its first step has the step of the one before it
    history = [row for row in rows if (row["iteration"] or 0) <= saved.progress.iteration]
    if "csv" in saved.config.logger and len(history) < saved.progress.iteration:
        log.warning(
            "metrics.csv has %d of the %d rows up to the checkpoint; the others are lost",
            len(history),
            saved.progress.iteration,
        )
    return history


def seconds_so_far(saved: Saved, history: Sequence[Metrics]) -> float | None:
    """The seconds that the run had taken up to the checkpoint; ``None`` where nothing tells.

    Checkpoints do not hold them, for those of equal runs are equal.
    """
    if not saved.progress.iteration:
        return 0.0
    if history and history[-1]["iteration"] == saved.progress.iteration:
        return history[-1]["time/elapsed"]
    seconds, step = saved.summary.get("wall_time"), saved.summary.get("step")
    # without metrics.csv, as many as its record has for a step, which was written before the checkpoint or after it
    return seconds * saved.progress.step / step if seconds and step else None
