"""Adam on flat parameters, as a pure function (Kingma & Ba 2015, arXiv:1412.6980)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ADAM_BETA1, ADAM_BETA2, ADAM_EPS = 0.9, 0.999, 1e-5


class LearnerState(NamedTuple):
    """All that an update step changes."""

    parameters: Tensor  # (parameters,) flat
    first_moment: Tensor  # (parameters,) Adam's mean of gradients
    second_moment: Tensor  # (parameters,) Adam's mean of squared gradients


def adam_sizes(lr: float, done: int, count: int) -> Tensor:
    """Step sizes and epsilons of Adam with bias correction (Kingma & Ba 2015, end of section 2).

    With them, ``parameters − size · m / (√v + epsilon)`` equals algorithm 1 exactly.

    Args:
        lr: Adam's step size α.
        done: Steps taken before.
        count: Steps to come.

    Returns:
        Sizes and epsilons, (2, count).
    """
    steps = torch.arange(done + 1, done + count + 1, dtype=torch.float64)
    second = (1.0 - ADAM_BETA2**steps).sqrt()
    return torch.stack((lr * second / (1.0 - ADAM_BETA1**steps), ADAM_EPS * second)).float()


def adam(state: LearnerState, gradient: Tensor, step_size: Tensor, eps: Tensor) -> LearnerState:
    """One step of Adam (Kingma & Ba 2015) on flat parameters, with :func:`adam_sizes`."""
    first = torch.lerp(state.first_moment, gradient, 1.0 - ADAM_BETA1)
    second = torch.addcmul(state.second_moment * ADAM_BETA2, gradient, gradient, value=1.0 - ADAM_BETA2)
    parameters = torch.addcdiv(state.parameters, first * step_size, second.sqrt() + eps, value=-1.0)
    return LearnerState(parameters, first, second)
