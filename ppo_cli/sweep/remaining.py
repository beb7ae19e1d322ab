"""How long a sweep still takes."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from ppo_cli.sweep.view import FINISHED, RUNNING, WAITING, JobView


def remaining(views: Sequence[JobView], n_jobs: int) -> float | None:
    """Seconds to the end of the sweep; ``None`` until some job's speed is known.

    Those that run go on as fast as they have been so far, evaluations included; the waiting ones follow wherever one
    ends, in their order and at the mean speed. So the last few count as what they are: jobs beside free places.

    Args:
        views: All jobs.
        n_jobs: How many run at a time.
    """
    running = [view for view in views if view.state == RUNNING]
    waiting = [view for view in views if view.state == WAITING]
    if not running and not waiting:
        return 0.0
    speeds = [speed for view in running if (speed := _speed(view)) is not None]
    # Between two jobs nothing runs that has a speed yet; those that have ended tell as well.
    speeds = speeds or [speed for view in views if view.state == FINISHED and (speed := _speed(view)) is not None]
    if not speeds:
        return None
    usual = sum(speeds) / len(speeds)
    free_at = [_left(view, _speed(view) or usual) for view in running]
    free_at += [0.0] * (max(1, n_jobs) - len(free_at))
    heapq.heapify(free_at)
    for view in waiting:
        heapq.heappush(free_at, heapq.heappop(free_at) + _left(view, usual))
    return max(free_at)


def left(view: JobView) -> float | None:
    """Seconds to the end of a job at its own speed so far; ``None`` if none is known."""
    speed = _speed(view)
    return None if speed is None else _left(view, speed)


def _left(view: JobView, speed: float) -> float:
    return max(0, view.total - view.step) / speed


def _speed(view: JobView) -> float | None:
    """Steps a second so far."""
    speed = view.step / view.elapsed if view.elapsed > 0 else view.steps_per_second
    return speed if speed and speed > 0 and math.isfinite(speed) else None
