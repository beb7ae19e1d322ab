"""Named random streams: every draw of a run comes from one of them, and no two share a state."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


def _sequence(root: int, name: str, *index: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(root, spawn_key=(zlib.crc32(name.encode()), *index))


def stream_seed(root: int, name: str, *index: int) -> int:
    """A seed in [0, 2**31) for the stream ``name`` (and ``index`` within it) of a run with seed ``root``.

    Streams of different roots, names or indices are independent: environment 1 of seed 0 shares nothing with
    environment 0 of seed 1, as it would with ``seed + index``.
    """
    return int(_sequence(root, name, *index).generate_state(1, np.uint32)[0] >> 1)


def stream_generator(root: int, name: str, *index: int) -> torch.Generator:
    """A torch generator on the CPU, seeded with 64 bits from the stream."""
    low, high = _sequence(root, name, *index).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(high) << 32 | int(low))


@dataclass(frozen=True)
class Globals:
    """States of the global generators of Python, NumPy and torch, which code of the user's draws from."""

    python: Any
    numpy: Any
    torch: list[torch.Tensor]  # the CPU's, then each GPU's if this process has used one

    @classmethod
    def now(cls) -> Globals:
        """As they are."""
        # to ask a GPU that nobody has used yet would take seconds, and hundreds of MiB of its memory
        used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        devices = torch.cuda.get_rng_state_all() if used else []
        return cls(random.getstate(), np.random.get_state(), [torch.get_rng_state(), *devices])

    def take_effect(self) -> None:
        """Make the generators go on from here."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.torch[0])
        if len(self.torch) > 1:
            torch.cuda.set_rng_state_all(self.torch[1:])
        elif torch.cuda.is_available():  # unused then, they had the seed that they share with the CPU's
            torch.cuda.manual_seed_all(torch.initial_seed())

    def same_as(self, other: Globals) -> bool:
        """Whether nothing was drawn in between."""
        alike = self.python == other.python and all(map(np.array_equal, self.numpy, other.numpy))
        return alike and all(map(torch.equal, self.torch, other.torch))


def seed_globals(root: int, name: str, *index: int) -> None:
    """Let the global generators begin anew with a named stream."""
    seed = stream_seed(root, name, *index)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def kept_globals() -> Iterator[None]:
    """Whatever is drawn inside the block, the global generators are afterwards as they were."""
    before = Globals.now()
    try:
        yield
    finally:
        before.take_effect()


@contextmanager
def global_streams(root: int, name: str, *index: int) -> Iterator[None]:
    """Let the global generators draw from a named stream inside the block; afterwards they are as they were."""
    with kept_globals():
        seed_globals(root, name, *index)
        yield
