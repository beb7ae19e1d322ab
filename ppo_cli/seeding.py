"""Named random streams: every draw of a run comes from one of them, and no two share a state."""

from __future__ import annotations

import zlib

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
