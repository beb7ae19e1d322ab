"""Scalars out of TensorBoard's event files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ppo_cli.report.reading import diverged
from ppo_cli.report.statistics import Array
from ppo_cli.runs.files import check_regular

MOST_TAGS = 200


def read_events(paths: Sequence[Path]) -> dict[str, tuple[Array, Array, Array]]:
    """Steps, values and seconds since the first of them, by tag, of all files of one run.

    Raises:
        ValueError: if there is nothing to be read.
        OSError: if a file is none that can be opened.
    """
    found: dict[str, list[tuple[float, float, float]]] = {}
    for path in paths:
        check_regular(path)
        for tag, step, value, time in _scalars(path):
            if tag in found or len(found) < MOST_TAGS:
                found.setdefault(tag, []).append((step, value, time))
    if not found:
        raise ValueError("no scalars in the event files")
    start = min(points[0][2] for points in found.values())
    tables = {tag: np.array(points) for tag, points in found.items()}
    return {tag: (table[:, 0], diverged(table[:, 1]), table[:, 2] - start) for tag, table in tables.items()}


def _scalars(path: Path) -> Iterator[tuple[str, float, float, float]]:
    """Tag, step, value and time of each number; a damaged file ends where it is damaged."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    try:
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                number = make_ndarray(value.tensor) if value.HasField("tensor") else None
                if number is not None and number.ndim == 0 and number.dtype.kind in "fiu":
                    yield value.tag, float(event.step), float(number), event.wall_time
    except Exception:  # it raises whatever the bytes of a damaged file make it raise
        return
