"""What makes a run fast without changing what it computes: threads, and the compiled gradient step.

Every choice follows from the configuration and fixed facts about the machine, never from a timing or a cache of this
run, so that the same command gives the same bits.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from ppo_cli.algorithm import ppo
from ppo_cli.algorithm.compiled import Compiled
from ppo_cli.algorithm.ppo import Coefficients, LearnerState, Minibatch, UpdateStep, UpdateSteps

log = logging.getLogger("ppo_cli")

CPU = torch.device("cpu")


class Costs(NamedTuple):
    """Fixed constants behind ``auto``; ``python -m benchmarks.update_cost`` measures them."""

    threading_pays: int  # multiplications in the largest layer's product of a minibatch from which threads help
    compile_seconds: float  # to compile the gradient step with nothing cached
    saved_seconds: float  # by a compiled gradient step over an eager one: dispatch, whatever the network's size
    compile_seconds_more: float  # per step of a recurrent layer's sequence
    saved_seconds_more: float  # likewise


COMPILES_SINCE = (2, 13)
"""The first PyTorch in which a loop around a gradient has been seen to compile."""

COSTS = Costs(
    threading_pays=4_000_000,
    compile_seconds=24.0,
    saved_seconds=0.8e-3,
    compile_seconds_more=2.0,
    saved_seconds_more=0.2e-3,
)


def choose_threads(wanted: int | str, work: int, batch_size: int) -> tuple[int, str]:
    """Intra-op threads for a network whose largest layer makes ``work`` multiplications a row, and why."""
    if isinstance(wanted, int):
        return wanted, "as asked"
    largest = work * batch_size
    if largest >= COSTS.threading_pays:
        return torch.get_num_threads(), f"{largest:,} multiplications in the largest layer"
    return 1, "small products gain nothing from waiting for a second thread"


def choose_compile(wanted: bool | str, device: torch.device, updates: int, sequence: int = 1) -> tuple[bool, str]:
    """Whether to compile a gradient step that is taken ``updates`` times, and why.

    Args:
        wanted: ``auto``, or what it is to be.
        device: Where it runs.
        updates: How often.
        sequence: Steps that it goes back through a recurrent layer; 1 where there is none.
    """
    missing = _missing_compiler(device)
    if wanted is False:
        return False, "as asked"
    if missing:
        return False, missing
    if wanted is True:
        return True, "as asked"
    if device.type == "cuda":
        return True, "on a GPU the gradient step is recorded, which takes no time"
    saved = updates * (COSTS.saved_seconds + (sequence - 1) * COSTS.saved_seconds_more)
    cost = COSTS.compile_seconds + (sequence - 1) * COSTS.compile_seconds_more
    verdict = "more" if saved > cost else "no more"
    return saved > cost, f"{updates:,} updates save about {saved:.0f} s, {verdict} than compiling costs"


def _missing_compiler(device: torch.device) -> str:
    """Why the gradient step cannot be compiled here; empty if it can. On a GPU it is recorded, which needs nothing."""
    if device.type == "cuda":
        return ""
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < COMPILES_SINCE:
        return f"PyTorch {torch.__version__} cannot compile the gradient step; {'.'.join(map(str, COMPILES_SINCE))} can"
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler here ({compiler}), so the gradient step is not compiled"
    return ""


def accelerated(step: UpdateStep, compiled: bool, full: int, device: torch.device = CPU) -> UpdateSteps:
    """Gradient steps in turn, by the fastest program that was chosen for them.

    Args:
        step: The step; the shapes of its arguments never change.
        compiled: Whether to make a program of it: on a CPU one compiled graph, on a GPU one that is replayed.
        full: Minibatches of a full rollout.
        device: Where it runs.
    """
    if not compiled:
        return ppo.in_turn(step)
    if device.type == "cuda":
        return ppo.in_turn(Replayed(step, record_cuda))
    return Compiled(step, full)


Compute = Callable[[], tuple[LearnerState, Tensor]]
Recorded = tuple[Callable[[], None], tuple[LearnerState, Tensor]]
"""What repeats a recorded computation, and the tensors that its results lie in each time."""


class Replayed:
    """A step recorded once, at its first call, and replayed from then on: one launch where there were a hundred.

    A recording reads and writes the same memory each time, so arguments are copied in and results out. A step that
    cannot be recorded runs as it is.

    Args:
        step: The step; the shapes of its arguments never change.
        record: Records a computation.
    """

    def __init__(self, step: UpdateStep, record: Callable[[Compute], Recorded]) -> None:
        self._step, self._record = step, record
        self._inputs: list[Tensor] = []
        self._recorded: Recorded | None = None
        self._works = True

    def __call__(
        self, state: LearnerState, batch: Minibatch, coefficients: Coefficients
    ) -> tuple[LearnerState, Tensor]:
        """As the step does."""
        if self._recorded is None and self._works:
            self._prepare(state, batch, coefficients)
        if self._recorded is None:
            return self._step(state, batch, coefficients)
        for own, given in zip(self._inputs, (*state, *batch, *coefficients), strict=True):
            own.copy_(given)
        replay, (after, metrics) = self._recorded
        replay()
        return LearnerState(*(part.clone() for part in after)), metrics.clone()

    def _prepare(self, state: LearnerState, batch: Minibatch, coefficients: Coefficients) -> None:
        self._inputs = [tensor.clone() for tensor in (*state, *batch, *coefficients)]
        places = iter(self._inputs)
        own_state = LearnerState(*(next(places) for _ in state))
        own_batch = Minibatch(*(next(places) for _ in batch))
        own_coefficients = Coefficients(*(next(places) for _ in coefficients))
        try:
            self._recorded = self._record(lambda: self._step(own_state, own_batch, own_coefficients))
        except RuntimeError as error:
            self._works = False
            log.warning("the gradient step cannot be recorded as a CUDA graph and runs without: %s", error)


def record_cuda(compute: Compute) -> Recorded:
    """Record a computation as a CUDA graph; what it allocates and chooses at first happens before, on a side stream."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            compute()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = compute()
    return graph.replay, results


@contextmanager
def intra_op_threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
