"""From a device's name to a device that is really there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from ppo_cli.errors import ConfigError, Problem


def resolve_device(name: str) -> torch.device:
    """The torch device called ``name``.

    Raises:
        ConfigError: if torch has no such device, or this machine has none.
    """
    available = available_devices()
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(
            Problem(f"device={name} is no device; this machine has {', '.join(available)}", f"device={available[-1]}")
        ) from error
    if str(device) not in available and device.type not in available:
        raise ConfigError(
            Problem(
                f"device={name} is not on this machine, which has {', '.join(available)}", f"device={available[-1]}"
            )
        )
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ConfigError(Problem(f"device={name}, but this machine has {count} CUDA device(s)", "device=cuda"))
    return device


def is_device(name: str) -> bool:
    """Whether torch knows devices of that name, on whatever machine."""
    try:
        return torch.device(name).type in ("cpu", "cuda", "mps")
    except RuntimeError:
        return False


def with_float64(device: torch.device) -> torch.device:
    """Where a device's 64-bit numbers are: Apple's GPUs have none, and leave them to the CPU."""
    return torch.device("cpu") if device.type == "mps" else device


def make_transfer(device: torch.device) -> Callable[[npt.NDArray[Any]], Tensor]:
    """What takes arrays of one shape to ``device``: without a copy on a CPU, by pinned memory to a GPU."""
    if device.type != "cuda":
        return lambda array: torch.from_numpy(array).to(device)
    room: list[Tensor] = []

    def transfer(array: npt.NDArray[Any]) -> Tensor:
        source = torch.from_numpy(array)
        if not room or room[0].shape != source.shape or room[0].dtype != source.dtype:
            room[:] = [torch.empty_like(source, pin_memory=True)]
        room[0].copy_(source)  # free again: whoever acts waits for the actions before the next observations come
        return room[0].to(device, non_blocking=True)

    return transfer


class Constant:
    """A fixed tensor on whatever device it is asked for; copied there once, for no recording holds a copy."""

    def __init__(self, tensor: Tensor) -> None:
        self._here = tensor
        self._there: dict[torch.device, Tensor] = {}

    def on(self, device: torch.device) -> Tensor:
        """The tensor on ``device``."""
        if device.type == "cpu":
            return self._here
        if device not in self._there:
            with torch.inference_mode(False):  # whoever asks first may be acting, and gradients need it later
                self._there[device] = self._here.to(device)
        return self._there[device]


def available_devices() -> list[str]:
    """Kinds of device on this machine."""
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


@contextmanager
def intra_op_threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class TorchSettings:
    """Torch's default type and whether it notes gradients, as an environment has set them: for itself alone.

    They are a process's, so a simulator that changes them would change the training beside it.
    """

    def __init__(self) -> None:
        self._outside = self._inside = self._now()

    def _now(self) -> tuple[torch.dtype, bool]:
        return torch.get_default_dtype(), torch.is_grad_enabled()

    def _set(self, settings: tuple[torch.dtype, bool]) -> None:
        torch.set_default_dtype(settings[0])
        torch.set_grad_enabled(settings[1])

    def restore(self) -> None:
        """Remember what has been set inside, and have it as it was outside."""
        self._inside = self._now()
        if self._inside != self._outside:
            self._set(self._outside)

    def __enter__(self) -> None:
        """Have it as it was set inside."""
        if self._inside != self._outside:
            self._set(self._inside)

    def __exit__(self, *_: object) -> None:
        """Leave."""
        self.restore()
