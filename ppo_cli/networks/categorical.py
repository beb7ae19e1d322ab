"""Heads of discrete actions: choices among options, whose outputs are logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ppo_cli.devices import Constant
from ppo_cli.networks.heads import Linear, as_table

FORBIDDEN = -1e8
"""A masked choice's logit: its probability is exactly 0, and 0 times its logarithm is 0 and not NaN."""


def _gumbel(steps: int, envs: int, numbers: int, generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise (steps, envs, numbers)."""
    return -torch.empty(steps, envs, numbers).exponential_(generator=generator).log()


class CategoricalHead(Linear):
    """A choice among ``num_actions``; the outputs are logits (…, num_actions)."""

    def __init__(self, num_actions: int, width: int) -> None:
        super().__init__(num_actions, width)
        self.num_options = num_actions

    def noise(self, steps: int, envs: int, generator: torch.Generator) -> Tensor:
        """Standard Gumbel noise."""
        return _gumbel(steps, envs, self.num_noise, generator)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Draw actions by the Gumbel-max trick (Gumbel 1954): the argmax of logits + noise is a sample."""
        return (outputs + noise).argmax(-1, keepdim=True)

    def mode(self, outputs: Tensor) -> Tensor:
        """The most probable actions."""
        return outputs.argmax(-1, keepdim=True)

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Of one choice."""
        log_probs = torch.log_softmax(outputs, -1)
        chosen = log_probs.gather(-1, actions).squeeze(-1)
        return chosen, -(log_probs.exp() * log_probs).sum(-1)


class MultiCategoricalHead(Linear):
    """Several independent choices, ``counts[i]`` for entry i; the outputs are all their logits in a row."""

    def __init__(self, counts: Sequence[int], width: int) -> None:
        super().__init__(sum(counts), width)
        self.num_options = sum(counts)
        longest, start = max(counts), 0
        places, filled = [], []
        for count in counts:
            places += [start + min(choice, count - 1) for choice in range(longest)]
            filled += [choice >= count for choice in range(longest)]
            start += count
        self._grid = (len(counts), longest)
        self._places, self._filled = Constant(torch.tensor(places)), Constant(torch.tensor(filled))
        self.num_noise = len(places)

    def _logits(self, outputs: Tensor) -> Tensor:
        """Logits (…, entries, choices); those that only fill lie below any forbidden one, and are never drawn."""
        table = outputs.index_select(-1, self._places.on(outputs.device))
        table = torch.where(self._filled.on(outputs.device), 2.0 * FORBIDDEN, table)
        return as_table(table, *self._grid)

    def noise(self, steps: int, envs: int, generator: torch.Generator) -> Tensor:
        """Standard Gumbel noise."""
        return _gumbel(steps, envs, self.num_noise, generator)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """As :meth:`CategoricalHead.sample`, entry by entry."""
        return (self._logits(outputs) + as_table(noise, *self._grid)).argmax(-1)

    def mode(self, outputs: Tensor) -> Tensor:
        """Each entry's most probable choice."""
        return self._logits(outputs).argmax(-1)

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over the entries, which are independent."""
        log_probs = torch.log_softmax(self._logits(outputs), -1)
        chosen = log_probs.gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)
        return chosen.sum(-1), -(log_probs.exp() * log_probs).sum((-1, -2))
