"""From a device's name to a device that is really there, and how many threads serve it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch

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


def available_devices() -> list[str]:
    """Kinds of device on this machine."""
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


THREADING_PAYS = 4_000_000
"""Multiplications in the largest layer's product of one minibatch from which a second thread is worth waking."""


def suitable_threads(widths: list[int], batch_size: int) -> int:
    """Intra-op threads for layers of these widths: one for small products, which waiting for others only slows."""
    largest = max((rows * columns for rows, columns in pairwise(widths)), default=0) * batch_size
    return torch.get_num_threads() if largest >= THREADING_PAYS else 1


@contextmanager
def intra_op_threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
