"""Recurrent layers as pure functions: one step for rows that carry their own state, or sequences of rows.

A state is a row of numbers, so it travels with the observation it belongs to: through the rollout, into minibatches, to
evaluation. Where an episode starts, the state is 0, in the rollout and in the update alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from ppo_cli.spec import Shapes


class Recurrence(Protocol):
    """What the network needs of a recurrent layer."""

    shapes: Shapes
    width: int
    state_size: int
    """Numbers in one row's state, over all trunks."""
    first_bias: float
    """What the first gate's bias starts at."""

    def __call__(
        self, parameters: Sequence[Tensor], features: Tensor, states: Tensor, starts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Go through sequences.

        Args:
            parameters: In the order of :attr:`shapes`.
            features: (trunks, sequences, steps, inputs).
            states: (sequences, state_size) before each sequence's first step.
            starts: (sequences, steps), 1 where an episode starts, before which the state is cleared.

        Returns:
            Outputs (trunks, sequences, steps, width) and the states (sequences, state_size) after the last step.
        """


class _Gated:
    """What LSTM and GRU share: gates that read input and state, step by step."""

    gates: int
    states: int
    first_bias = 0.0

    def __init__(self, inputs: int, width: int, trunks: int) -> None:
        self.width, self._trunks = width, trunks
        self.state_size = trunks * self.states * width
        self.shapes: Shapes = {
            "input": (trunks, inputs, self.gates * width),
            "recurrent": (trunks, width, self.gates * width),
            "bias": (trunks, 1, self.gates * width),
        }

    def __call__(
        self, parameters: Sequence[Tensor], features: Tensor, states: Tensor, starts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As :class:`Recurrence` says."""
        from_input, recurrent, bias = parameters
        _, sequences, steps, inputs = features.shape
        flat = features.expand(self._trunks, -1, -1, -1).reshape(self._trunks, sequences * steps, inputs)
        drive = torch.baddbmm(bias, flat, from_input).view(self._trunks, sequences, steps, -1)
        # (sequences, trunks, states, width) → (states, trunks, sequences, width)
        state = states.view(sequences, self._trunks, self.states, self.width).permute(2, 1, 0, 3).unbind(0)
        going_on = (1.0 - starts).t().unsqueeze(-1)  # (steps, sequences, 1)
        outputs = []
        for inputs_now, keep in zip(drive.unbind(2), going_on.unbind(0), strict=True):
            state = tuple(self._step(inputs_now, [part * keep for part in state], recurrent))
            outputs.append(state[0])
        after = torch.stack(tuple(state)).permute(2, 1, 0, 3).reshape(sequences, self.state_size)
        return torch.stack(outputs, 2), after

    def _step(self, drive: Tensor, state: Sequence[Tensor], recurrent: Tensor) -> Sequence[Tensor]:
        raise NotImplementedError


class LSTM(_Gated):
    """Long short-term memory (Hochreiter & Schmidhuber 1997, with forget gates by Gers et al. 2000)."""

    gates, states = 4, 2
    first_bias = 1.0  # the forget gate's: remember at first (Jozefowicz et al. 2015)

    def _step(self, drive: Tensor, state: Sequence[Tensor], recurrent: Tensor) -> Sequence[Tensor]:
        hidden, cell = state
        sums = torch.baddbmm(drive, hidden, recurrent)
        forget, enter, leave = sums[..., : 3 * self.width].sigmoid().chunk(3, -1)
        cell = torch.addcmul(forget * cell, enter, sums[..., 3 * self.width :].tanh())
        return leave * cell.tanh(), cell


class GRU(_Gated):
    """Gated recurrent unit (Cho et al. 2014), its reset gate applied after the product, so that one product does."""

    gates, states = 3, 1

    def _step(self, drive: Tensor, state: Sequence[Tensor], recurrent: Tensor) -> Sequence[Tensor]:
        (hidden,) = state
        product = torch.bmm(hidden, recurrent)
        update_in, reset_in, candidate_in = drive.chunk(3, -1)
        update_state, reset_state, candidate_state = product.chunk(3, -1)
        update = (update_in + update_state).sigmoid()
        candidate = (candidate_in + (reset_in + reset_state).sigmoid() * candidate_state).tanh()
        return (torch.lerp(candidate, hidden, update),)


KINDS: dict[str, type[_Gated]] = {"lstm": LSTM, "gru": GRU}
