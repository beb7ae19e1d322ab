"""Numbers, durations and the remaining time, as people read them."""

from __future__ import annotations

import math
from collections import deque

from ppo_cli.loggers.metrics import Metrics

MISSING = "–"


def number(value: float | None, decimals: int = 3) -> str:
    """A metric with fixed decimals, in scientific notation where these would hide it, or a dash if there is none."""
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return str(value)
    if value and not 10.0**-decimals <= abs(value) < 1e6:
        return f"{value:.2e}"
    return f"{value:,.{decimals}f}"


def duration(seconds: float) -> str:
    """Seconds as ``h:mm:ss``, with days in front where there are any."""
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days} d {hour}:{minute:02}:{second:02}" if days else f"{hour}:{minute:02}:{second:02}"


def counted(count: int, noun: str) -> str:
    """How many there are: ``1 job``, ``2,000 jobs``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


class Pace:
    """The time a run still needs, judged by its last iterations (evaluations included)."""

    def __init__(self, total_timesteps: int, window: int = 100) -> None:
        self._total = total_timesteps
        self._points: deque[tuple[float, float]] = deque(maxlen=window)

    def add(self, row: Metrics) -> None:
        """Take one more iteration into account."""
        step, elapsed = row["step"], row["time/elapsed"]
        if step is not None and elapsed is not None:
            self._points.append((step, elapsed))

    def remaining(self) -> float | None:
        """Seconds from the last iteration to the end; None until two iterations are known."""
        if len(self._points) < 2:
            return None
        (first_step, first_time), (last_step, last_time) = self._points[0], self._points[-1]
        return (self._total - last_step) * (last_time - first_time) / (last_step - first_step)
