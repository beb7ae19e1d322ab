"""What makes a run fast without changing what it computes: threads, and the compiled gradient step.

Every choice follows from the configuration and fixed facts about the machine, never from a timing or a cache of this
run, so that the same command gives the same bits.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from types import FunctionType
from typing import Any, NamedTuple

import torch

from ppo_cli.ppo import UpdateStep


class Costs(NamedTuple):
    """Fixed constants behind ``auto``; ``python -m benchmarks.update_cost`` measures them."""

    threading_pays: int  # multiplications in the largest layer's product of a minibatch from which threads help
    compile_seconds: float  # to compile the gradient step with nothing cached
    saved_seconds: float  # by a compiled gradient step over an eager one: dispatch, whatever the network's size


COMPILES_SINCE = (2, 13)
"""The first PyTorch in which the gradient of a graph has been seen to compile as part of it."""

COSTS = Costs(threading_pays=4_000_000, compile_seconds=25.0, saved_seconds=0.5e-3)


def choose_threads(wanted: int | str, widths: list[int], batch_size: int) -> tuple[int, str]:
    """Intra-op threads for a multi-layer perceptron of these widths, and why."""
    if isinstance(wanted, int):
        return wanted, "as asked"
    largest = max((rows * columns for rows, columns in pairwise(widths)), default=0) * batch_size
    if largest >= COSTS.threading_pays:
        return torch.get_num_threads(), f"{largest:,} multiplications in the largest layer"
    return 1, "small products gain nothing from waiting for a second thread"


def choose_compile(wanted: bool | str, device: torch.device, updates: int) -> tuple[bool, str]:
    """Whether to compile a gradient step that is taken ``updates`` times, and why."""
    missing = _missing_compiler(device)
    if wanted is False:
        return False, "as asked"
    if missing:
        return False, missing
    if wanted is True:
        return True, "as asked"
    saved = updates * COSTS.saved_seconds
    verdict = "more" if saved > COSTS.compile_seconds else "no more"
    reason = f"{updates:,} updates save about {saved:.0f} s, {verdict} than compiling costs"
    return saved > COSTS.compile_seconds, reason


def _missing_compiler(device: torch.device) -> str:
    """Why the gradient step cannot be compiled here; empty if it can."""
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < COMPILES_SINCE:
        return f"PyTorch {torch.__version__} cannot compile the gradient step; {'.'.join(map(str, COMPILES_SINCE))} can"
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        return f"there is no C++ compiler here ({compiler}), so the gradient step is not compiled"
    return ""


def accelerated(step: UpdateStep, compiled: bool) -> UpdateStep:
    """The same step, by the fastest program that was chosen for it."""
    if not compiled:
        return step
    import torch._dynamo

    torch._dynamo.config.trace_autograd_ops = True  # the gradient is part of the graph, not a break in it
    options: dict[str, Any] = {"cpp_wrapper": True, "guard_filter_fn": _shapes_only}
    program: UpdateStep = torch.compile(_own_code(step), fullgraph=True, dynamic=False, options=options)
    return program


def _shapes_only(guards: Sequence[Any]) -> list[bool]:
    """Check before each call what may differ between calls of one step: its tensors, and which of them are one.

    All else that the graph was made from is fixed in the step's closure, and checking it costs as much as the step.
    """
    return [guard.guard_type in ("TENSOR_MATCH", "DUPLICATE_INPUT") for guard in guards]


def _own_code(step: UpdateStep) -> UpdateStep:
    """A copy with a code object of its own, which is what compiled programs are filed under.

    Steps of different networks share their source; without this, the second would be given the first one's program.
    """
    assert isinstance(step, FunctionType)
    return FunctionType(step.__code__.replace(), step.__globals__, step.__name__, None, step.__closure__)


@contextmanager
def intra_op_threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
