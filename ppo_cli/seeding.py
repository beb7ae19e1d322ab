"""Named random streams: every draw of a run comes from one of them, and no two share a state."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def global_streams(root: int, name: str, *index: int) -> Iterator[None]:
    """Let the global generators of Python, NumPy and torch draw from a named stream inside the block.

    That is for code of the user's, which knows no other generators; afterwards they are as they were before.
    """
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        seed = stream_seed(root, name, *index)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
