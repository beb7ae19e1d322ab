"""What a machine has for jobs: memory that is left, memory that they take, and GPUs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Bytes that can be had without swapping, in a container those of its own; ``None`` where nothing tells."""
    found = [free for free in (_of_machine(), _of_container()) if free is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def _of_container() -> int | None:
    try:
        most, used = (int((_CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        cached = (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
        return most - used + sum(int(line.split()[1]) for line in cached if line.startswith("inactive_file "))
    except (OSError, ValueError):
        return None


def peak_memory(pid: int) -> tuple[int, int]:
    """Bytes that a process has taken at most, and those it takes now; zeros where nothing tells."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0, 0
    kept = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in lines)
        if name in ("VmHWM", "VmRSS")
    }
    return kept.get("VmHWM", 0), kept.get("VmRSS", 0)


class Gpus:
    """The GPUs of this machine, as places for jobs.

    Args:
        visible: Each as ``CUDA_VISIBLE_DEVICES`` names it.
        jobs_per_gpu: How many jobs share one.
    """

    def __init__(self, visible: Sequence[str], jobs_per_gpu: int) -> None:
        self._visible, self._each = list(visible), jobs_per_gpu
        self._taken: Counter[str] = Counter()

    def free(self) -> bool:
        """Whether there is a place."""
        return any(self._taken[gpu] < self._each for gpu in self._visible)

    def take(self) -> str:
        """A place on the GPU that has the fewest jobs."""
        gpu = min(self._visible, key=lambda gpu: self._taken[gpu])
        self._taken[gpu] += 1
        return gpu

    def give_back(self, gpu: str) -> None:
        """Leave a place."""
        self._taken[gpu] -= 1


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, each as ``CUDA_VISIBLE_DEVICES`` names it."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
