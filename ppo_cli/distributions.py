"""Action heads: what the network's outputs mean as a distribution over actions."""

from __future__ import annotations

import torch
from torch import Tensor


class CategoricalHead:
    """A choice among ``num_actions``; the outputs are logits of shape (..., num_actions)."""

    def __init__(self, num_actions: int) -> None:
        self.num_outputs = num_actions

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Standard Gumbel noise of shape (*shape, num_actions), all that :meth:`sample` needs of randomness."""
        return -torch.empty(*shape, self.num_outputs).exponential_(generator=generator).log()

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Draw actions by the Gumbel-max trick (Gumbel 1954): the argmax of logits + noise is a sample."""
        return (outputs + noise).argmax(-1)

    def mode(self, outputs: Tensor) -> Tensor:
        """The most probable actions."""
        return outputs.argmax(-1)

    def score(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of ``actions`` and entropies in nats, each of shape (...)."""
        log_probs = torch.log_softmax(outputs, -1)
        chosen = log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        return chosen, -(log_probs.exp() * log_probs).sum(-1)
