"""How many processor cores this process may count on."""

from __future__ import annotations

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_share: int | None = None


def usable() -> int:
    """The cores that the operating system lets this process use: all, those it was bound to, or a container's."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return min(allowed, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or one without a limit
        return allowed


def take_share(count: int) -> None:
    """Note that other jobs run beside this process, and that so many cores are its own."""
    global _share
    _share = count


def share() -> int | None:
    """The cores that are left to this process beside others; ``None`` where it has the machine to itself."""
    return _share
