"""A gradient step recorded once as a CUDA graph and replayed from then on: one launch where there were a hundred."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from ppo_cli.algorithm.adam import LearnerState
from ppo_cli.algorithm.minibatches import Minibatch
from ppo_cli.algorithm.ppo import Coefficients, UpdateStep

log = logging.getLogger("ppo_cli")


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


def record_cuda(device: torch.device, compute: Compute) -> Recorded:
    """Record a computation as a CUDA graph; what it allocates and chooses at first happens before, on a side stream.

    Args:
        device: Where all of it happens; streams are a GPU's own, and another one's would record nothing.
        compute: The computation.
    """
    with torch.cuda.device(device):
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
