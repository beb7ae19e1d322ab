"""What the parts of the GPU check share: a table's rows, the setting they run in, agents and pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch

from ppo_cli.config import EnvConfig, NetworkConfig, TrainConfig

PICTURES = "GpuCheckPictures-v0"


class Row(NamedTuple):
    """One line of the table."""

    part: str
    what: str
    verdict: str  # "ok", "FAILED", "told" where a difference is no error, or empty
    found: str


@dataclass(frozen=True)
class Setting:
    """Where and how a part runs."""

    device: torch.device
    folder: Path
    quick: bool
    tiny: bool

    @property
    def cuda(self) -> bool:
        """Whether it is a GPU."""
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Wait until the device has done all that it was told."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def median_us(self, call: Callable[[], object], repeats: int) -> float:
        """The median time of a call, µs, waited for each time."""
        call()
        times = []
        for _ in range(2 if self.tiny else repeats):
            self.wait()
            began = time.perf_counter()
            call()
            self.wait()
            times.append(time.perf_counter() - began)
        return float(np.median(times)) * 1e6

    @contextmanager
    def peak(self) -> Iterator[list[str]]:
        """The most memory that tensors took inside the block, in words; nothing of a CPU's is known."""
        found: list[str] = []
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        yield found
        found.append(f"; peak {torch.cuda.max_memory_allocated(self.device) / 2**20:,.0f} MiB" if self.cuda else "")


@contextmanager
def cudnn(**switches: bool) -> Iterator[None]:
    """Have some of cuDNN's switches otherwise inside the block."""
    before = {name: getattr(torch.backends.cudnn, name) for name in switches}

    def set_to(values: dict[str, bool]) -> None:
        for name, value in values.items():
            setattr(torch.backends.cudnn, name, value)

    set_to(switches)
    try:
        yield
    finally:
        set_to(before)


class Pictures(gymnasium.Env[Any, Any]):
    """Random pictures as an Atari game's stacked frames are: (4, 84, 84) of 8 bits, six choices, lives of 200 steps."""

    observation_space = gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    action_space = gymnasium.spaces.Discrete(6)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Draw the pictures that it goes round."""
        super().reset(seed=seed, options=options)
        self._pictures = self.np_random.integers(0, 256, (16, 4, 84, 84), np.uint8)
        self._step = 0
        return self._pictures[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """The next picture; one choice of the six is right, and changes."""
        self._step += 1
        reward = float(int(action) == self._step % 6)
        return self._pictures[self._step % 16], reward, self._step >= 200, False, {}


if PICTURES not in gymnasium.registry:
    gymnasium.register(PICTURES, Pictures)


def w1_config(**changes: Any) -> TrainConfig:
    """The work W1 of the throughput benchmark."""
    from benchmarks.throughput import W1

    spec = {**W1, "eval_every": None, "normalize_value": False, "logger": ["csv"], **changes}
    return TrainConfig(env=EnvConfig(spec.pop("env")), network=NetworkConfig(**spec.pop("network")), **spec)


def pictures_config(**changes: Any) -> TrainConfig:
    """PPO on Atari as it is usually set: 8 games, 128 steps, minibatches of 256, 4 epochs, Nature's network."""
    spec: dict[str, Any] = {"num_envs": 8, "buffer_size": 1024, "batch_size": 256, "epochs": 4, "lr": 2.5e-4}
    spec |= {"eval_every": None, "logger": ["csv"], "seed": 0, "vector_backend": "sync", "normalize_obs": False}
    network = NetworkConfig(encoder="cnn", hidden_sizes=[512], activation="relu", shared=True)
    return TrainConfig(env=EnvConfig(PICTURES), network=network, **{**spec, **changes})


def show(rows: list[Row]) -> None:
    """Print rows as one table."""
    heads = Row("part", "what", "verdict", "found")
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(3)]
    for row in (heads, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row.found, sep="  ")
