"""The actor-critic as a pure function of one flat parameter vector.

A flat vector makes the gradient's norm, its clip and Adam one call each, whatever the number of layers, and lets many
runs be stacked as rows of a matrix. Two trunks of the same shape are one stacked trunk: a batched product costs one
call where two products cost two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ppo_cli.config import NetworkConfig

ACTIVATION_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "elu": torch.nn.functional.elu,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
}
BODY_GAIN, POLICY_GAIN, VALUE_GAIN = math.sqrt(2.0), 0.01, 1.0

Parameters = Sequence[Tensor]
"""Views of the flat vector in the order of :attr:`ActorCritic.shapes`."""


class ActorCritic:
    """A multi-layer perceptron with a policy head and a value head.

    Args:
        obs_size: Numbers in one observation; observations are flattened.
        num_outputs: Numbers the action head needs.
        config: Widths, activation, and whether both heads share one trunk.
    """

    def __init__(self, obs_size: int, num_outputs: int, config: NetworkConfig) -> None:
        self.trunks = 1 if config.shared else 2
        self.activation = ACTIVATION_FUNCTIONS[config.activation]
        widths = [obs_size, *config.hidden_sizes]
        self.num_layers = len(config.hidden_sizes)
        self.shapes: dict[str, tuple[int, ...]] = {}
        for layer, (width_in, width_out) in enumerate(pairwise(widths)):
            self.shapes[f"body.{layer}.weight"] = (self.trunks, width_in, width_out)
            self.shapes[f"body.{layer}.bias"] = (self.trunks, 1, width_out)
        self.shapes["policy.weight"] = (widths[-1], num_outputs)
        self.shapes["policy.bias"] = (num_outputs,)
        self.shapes["value.weight"] = (widths[-1], 1)
        self.shapes["value.bias"] = (1,)
        self._sizes = [math.prod(shape) for shape in self.shapes.values()]
        self._shapes = list(self.shapes.values())

    @property
    def num_parameters(self) -> int:
        """Length of the flat vector."""
        return sum(self._sizes)

    def init(self, generator: torch.Generator) -> Tensor:
        """Fresh parameters, flat: orthogonal weights (Saxe et al. 2014) with the gains usual for PPO, biases 0."""
        parts = []
        for name, shape in self.shapes.items():
            part = torch.zeros(shape)
            if name.endswith("weight"):
                gain = {"policy": POLICY_GAIN, "value": VALUE_GAIN}.get(name.split(".")[0], BODY_GAIN)
                for matrix in part if part.dim() == 3 else (part,):
                    torch.nn.init.orthogonal_(matrix, gain, generator=generator)
            parts.append(part.reshape(-1))
        return torch.cat(parts)

    def unflatten(self, flat: Tensor) -> list[Tensor]:
        """Views of ``flat`` with the layers' shapes."""
        return [part.view(shape) for part, shape in zip(torch.split(flat, self._sizes), self._shapes, strict=True)]

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """The same views by name."""
        return dict(zip(self.shapes, self.unflatten(flat), strict=True))

    def forward(self, parameters: Parameters, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Head outputs (batch, num_outputs) and values (batch,) for observations (batch, obs_size)."""
        features = self._body(parameters, observations.expand(self.trunks, *observations.shape))
        *_, policy_weight, policy_bias, value_weight, value_bias = parameters
        outputs = torch.addmm(policy_bias, features[0], policy_weight)
        return outputs, torch.addmm(value_bias, features[-1], value_weight).squeeze(-1)

    def policy(self, parameters: Parameters, observations: Tensor) -> Tensor:
        """Head outputs alone, at the cost of one trunk: all that acting needs."""
        hidden = observations
        for layer in range(self.num_layers):
            hidden = self.activation(torch.addmm(parameters[2 * layer + 1][0], hidden, parameters[2 * layer][0]))
        return torch.addmm(parameters[-3], hidden, parameters[-4])

    def _body(self, parameters: Parameters, stacked: Tensor) -> Tensor:
        for layer in range(self.num_layers):
            stacked = self.activation(torch.baddbmm(parameters[2 * layer + 1], stacked, parameters[2 * layer]))
        return stacked  # (trunks, batch, width)
