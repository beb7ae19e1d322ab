"""What is reported of a rollout and steers nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from ppo_cli.algorithm.minibatches import as_mean_weights
from ppo_cli.algorithm.ppo import mean


def explained_variance(values: Tensor, returns: Tensor, weights: Tensor) -> Tensor:
    """1 − Var(R − V) / Var(R), always a number: 0 where all returns are equal, be it only up to rounding.

    All of one shape; rows of weight 0 do not count.
    """
    mean_weights = as_mean_weights(weights.flatten())

    def variance(numbers: Tensor) -> Tensor:
        return mean((numbers.flatten() - mean(numbers.flatten(), mean_weights)).square(), mean_weights)

    total = variance(returns)
    # returns are sums with values: equal ones differ by the rounding of both
    size = mean((returns.square() + values.square()).flatten(), mean_weights)
    rounding = size * (8.0 * torch.finfo(returns.dtype).eps) ** 2
    return torch.where(total > rounding, 1.0 - variance(returns - values) / total, torch.zeros_like(total))
