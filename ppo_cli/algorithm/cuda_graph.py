"""A gradient step recorded once as a CUDA graph and replayed from then on: one launch where there were a hundred."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ppo_cli.algorithm.adam import LearnerState
from ppo_cli.algorithm.minibatches import Minibatch
from ppo_cli.algorithm.ppo import Coefficients, UpdateStep
from ppo_cli.algorithm.steps import EACH_STEP, entries_in_turn, one_step, run_steps

log = logging.getLogger("ppo_cli")

Compute = Callable[[], Tensor]
Recorded = tuple[Callable[[], None], Tensor]
"""What repeats a recorded computation, and the tensor that its result lies in each time."""


class Replayed:
    """Gradient steps in turn, by a step recorded once, at the first call, and replayed from then on.

    A recording reads and writes the same memory each time. So the state goes there once a call and is changed there,
    and each minibatch is copied in, all of it that is of one type by one launch. A step that cannot be recorded runs as
    it is.

    Args:
        step: The step; the shapes of its arguments never change.
        record: Records a computation.
    """

    def __init__(self, step: UpdateStep, record: Callable[[Compute], Recorded]) -> None:
        self._step, self._record = step, record
        self._state, self._entries, self._constants = _Places(()), _Places(()), _Places(())
        self._recorded: Recorded | None = None
        self._works = True

    def __call__(self, state: LearnerState, batches: Minibatch, coefs: Coefficients) -> tuple[LearnerState, Tensor]:
        """As :func:`~ppo_cli.algorithm.steps.run_steps` does."""
        if self._recorded is None and self._works:
            self._prepare(state, batches, coefs)
        if self._recorded is None:
            return run_steps(self._step)(state, batches, coefs)
        replay, metrics = self._recorded
        self._state.take(state)
        self._constants.take(coefs[EACH_STEP:])
        history = []
        for entries in entries_in_turn(batches, coefs):
            self._entries.take(entries)
            replay()
            history.append(metrics.clone())
        return LearnerState(*(part.clone() for part in self._state.tensors)), torch.stack(history)

    def _prepare(self, state: LearnerState, batches: Minibatch, coefs: Coefficients) -> None:
        self._state, self._constants = _Places(state), _Places(coefs[EACH_STEP:])
        self._entries = _Places(next(entries_in_turn(batches, coefs)))
        own, arguments = self._state.tensors, one_step((*self._entries.tensors, *self._constants.tensors))

        def compute() -> Tensor:
            after, metrics = self._step(LearnerState(*own), *arguments)
            self._state.take(after)
            return metrics

        try:
            self._recorded = self._record(compute)
        except RuntimeError as error:
            self._works = False
            log.warning("the gradient step cannot be recorded as a CUDA graph and runs without: %s", error)


class _Places:
    """Where a recording finds some tensors; others get there with one launch for all of one type.

    Args:
        tensors: The first that lie there.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = [tensor.clone() for tensor in tensors]
        alike: dict[torch.dtype, list[int]] = {}
        for place, tensor in enumerate(self.tensors):
            alike.setdefault(tensor.dtype, []).append(place)
        self._alike = list(alike.values())

    def take(self, given: Sequence[Tensor]) -> None:
        """Copy tensors there, as many as there are places."""
        for places in self._alike:
            torch._foreach_copy_([self.tensors[place] for place in places], [given[place] for place in places])


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
            result = compute()
    return graph.replay, result
