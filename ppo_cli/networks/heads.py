"""Action heads: what a policy's features mean as a distribution over actions.

A head turns features into ``outputs``, a row of numbers that says all about the distribution, and everything else is a
function of those: a sample, the most probable action, and a log-probability and an entropy, in nats. Randomness comes
in as noise drawn before, so that all of it is pure. Actions are rows of ``action_size`` numbers, as a spec has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from ppo_cli.spec import Shapes


class Head(Protocol):
    """What every action head does. ``…`` stands for any leading axes."""

    shapes: Shapes
    """Its parameters' shapes by name; the matrix that reads the features is ``weight``."""
    num_outputs: int
    num_noise: int
    """Numbers that a draw takes."""
    num_options: int
    """Leading outputs that are logits, which masks apply to."""
    noise_lasts: int | None
    """Steps that one draw of noise is for; ``None``: for as long as one likes."""

    def precompute(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """What :meth:`project` reads, one tensor for each of :attr:`shapes`: all that needs no features is done."""

    def project(self, precomputed: Sequence[Tensor], features: Tensor) -> Tensor:
        """Outputs (batch, outputs) for features (batch, width)."""

    def noise(self, steps: int, envs: int, generator: torch.Generator) -> Tensor:
        """Standard noise (steps, envs, numbers), all that :meth:`sample` needs of randomness."""

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Actions (…, action_size), drawn with noise (…, numbers)."""

    def mode(self, outputs: Tensor) -> Tensor:
        """The actions (…, action_size) to take where nothing is left to chance."""

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of ``actions`` and entropies, each (…)."""

    def to_env(self, actions: Tensor) -> Tensor:
        """The same actions in the environment's units."""


class Linear:
    """What heads of one matrix have in common."""

    num_options = 0
    noise_lasts: int | None = 1

    def __init__(self, num_outputs: int, width: int) -> None:
        self.shapes: Shapes = {"weight": (width, num_outputs), "bias": (num_outputs,)}
        self.num_outputs = self.num_noise = num_outputs

    def precompute(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """The parameters as they are."""
        return list(parameters)

    def project(self, precomputed: Sequence[Tensor], features: Tensor) -> Tensor:
        """A linear map of the features."""
        return torch.addmm(precomputed[1], features, precomputed[0])

    def to_env(self, actions: Tensor) -> Tensor:
        """Actions are in the environment's units already."""
        return actions


def as_table(rows: Tensor, entries: int, each: int) -> Tensor:
    """(…, entries · each) as (…, entries, each)."""
    return rows.reshape(*rows.shape[:-1], entries, each)
