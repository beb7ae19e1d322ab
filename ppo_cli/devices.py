"""From a device's name to a device that is really there."""

from __future__ import annotations

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
