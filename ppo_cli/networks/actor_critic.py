"""The actor-critic as a pure function of one flat parameter vector.

A flat vector makes the gradient's norm, its clip and Adam one call each, whatever the number of layers, and lets many
runs be stacked as rows of a matrix. Two trunks of the same shape are one stacked trunk: a batched product costs one
call where two products cost two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ppo_cli.config import NetworkConfig, PPOConfig
from ppo_cli.networks.categorical import FORBIDDEN
from ppo_cli.networks.distributions import make_head
from ppo_cli.networks.encoders import Numbers, make_encoder
from ppo_cli.networks.heads import Head
from ppo_cli.networks.recurrent import KINDS, Recurrence
from ppo_cli.networks.user_module import UserModule
from ppo_cli.spec import Spec

ACTIVATION_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "elu": torch.nn.functional.elu,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
}
BODY_GAIN, RECURRENT_GAIN, POLICY_GAIN, VALUE_GAIN = math.sqrt(2.0), 1.0, 0.01, 1.0

Parameters = Sequence[Tensor]
"""Views of the flat vector in the order of :attr:`ActorCritic.shapes`."""


class Forward(NamedTuple):
    """What the network makes of a batch of rows."""

    outputs: Tensor  # (batch, outputs of the head)
    values: Tensor  # (batch,)
    states: Tensor | None  # (batch, state_size) after the rows, where there is memory


class ActorCritic:
    """Encoders, hidden layers, perhaps a recurrent one, an action head and a value.

    A row that comes in has the observation's columns, among them a mask where there are masks. With memory, a column
    that is 1 where an episode starts follows, and then the state that the network had before it.

    Args:
        spec: What an observation's row holds.
        make_head: Makes the action head for features of a given width.
        config: Encoders, widths, activation, memory, and whether both heads share one trunk.
    """

    def __init__(self, spec: Spec, make_head: Callable[[int], Head], config: NetworkConfig) -> None:
        self.trunks = 1 if config.shared else 2
        self.activation = ACTIVATION_FUNCTIONS[config.activation]
        self.encoder = make_encoder(spec, config, self.trunks)
        widths = [self.encoder.width, *config.hidden_sizes]
        self.num_layers = len(config.hidden_sizes)
        self.recurrence: Recurrence | None = None
        width = widths[-1]
        if config.recurrent is not None:
            self.recurrence = KINDS[config.recurrent](width, config.recurrent_size, self.trunks)
            width = config.recurrent_size
        self.head = make_head(width)
        self._mask = next((columns for part, columns in spec.obs_columns() if part.kind == "mask"), None)
        self._obs_size = spec.obs_size
        self.shapes: dict[str, tuple[int, ...]] = {f"encoder.{k}": shape for k, shape in self.encoder.shapes.items()}
        self._per_layer = 4 if config.layer_norm else 2
        for layer, (width_in, width_out) in enumerate(pairwise(widths)):
            self.shapes[f"body.{layer}.weight"] = (self.trunks, width_in, width_out)
            self.shapes[f"body.{layer}.bias"] = (self.trunks, 1, width_out)
            if config.layer_norm:
                self.shapes[f"body.{layer}.gain"] = self.shapes[f"body.{layer}.shift"] = (self.trunks, 1, width_out)
        if self.recurrence is not None:
            self.shapes |= {f"recurrent.{name}": shape for name, shape in self.recurrence.shapes.items()}
        self.shapes |= {f"policy.{name}": shape for name, shape in self.head.shapes.items()}
        self.shapes["value.weight"] = (width, 1)
        self.shapes["value.bias"] = (1,)
        self._sizes = [math.prod(shape) for shape in self.shapes.values()]
        self._shapes = list(self.shapes.values())
        ends = [len(self.encoder.shapes), self._per_layer * self.num_layers]
        ends += [len(self.recurrence.shapes) if self.recurrence else 0, len(self.head.shapes)]
        starts = [sum(ends[:index]) for index in range(len(ends) + 1)]
        self._at_encoder, self._at_body, self._at_recurrent, self._at_head = (slice(*pair) for pair in pairwise(starts))

    @property
    def num_parameters(self) -> int:
        """Length of the flat vector."""
        return sum(self._sizes)

    @property
    def work(self) -> int:
        """Multiplications a row in the largest layer."""
        matrices = [shape for name, shape in self.shapes.items() if name.startswith("body") and len(shape) == 3]
        return max(self.encoder.work, *(rows * columns for _, rows, columns in matrices))

    @property
    def state_size(self) -> int:
        """Numbers that the network remembers from row to row."""
        return 0 if self.recurrence is None else self.recurrence.state_size

    def init(self, generator: torch.Generator) -> Tensor:
        """Fresh parameters, flat: orthogonal weights (Saxe et al. 2014) with the gains usual for PPO, biases 0."""
        parts = []
        own = self.encoder.init(generator) if isinstance(self.encoder, UserModule) else {}
        for name, shape in self.shapes.items():
            room, _, rest = name.partition(".")
            part = torch.zeros(shape)
            if room == "encoder" and rest in own:
                part = own[rest]
            elif name.endswith("gain"):
                part = torch.ones(shape)
            elif room == "recurrent" and name.endswith("bias"):
                assert self.recurrence is not None
                part[..., : self.recurrence.width] = self.recurrence.first_bias
            elif name.endswith(("weight", "input", "recurrent")):
                _orthogonal(part, name, generator)
            parts.append(part.reshape(-1))
        return torch.cat(parts)

    def unflatten(self, flat: Tensor) -> list[Tensor]:
        """Views of ``flat`` with the layers' shapes."""
        parts = flat.split_with_sizes(self._sizes)
        return [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """The same views by name."""
        return dict(zip(self.shapes, self.unflatten(flat), strict=True))

    def forward(self, parameters: Parameters, rows: Tensor, steps: int = 1) -> Forward:
        """What the network makes of rows (batch, columns).

        Args:
            parameters: Views of the flat vector.
            rows: With memory, whole sequences one after the other, of which the first row's state counts.
            steps: Rows to a sequence.
        """
        features = self._body(parameters, self.encoder(parameters[self._at_encoder], rows))
        states = None
        if self.recurrence is not None:
            features, states = self._remember(parameters, features, rows, steps)
        values = torch.addmm(parameters[-1], features[-1], parameters[-2]).squeeze(-1)
        precomputed = self.head.precompute(parameters[self._at_head])
        return Forward(self._outputs(precomputed, features[0], rows), values, states)

    def acting(self, parameters: Parameters) -> list[Tensor]:
        """What :meth:`policy` reads: views of the policy's trunk alone, and the head's part precomputed."""
        first = list(parameters)
        first[self._at_encoder] = [part[:1] for part in parameters[self._at_encoder]]
        first[self._at_body] = [part[0] for part in parameters[self._at_body]]
        first[self._at_head] = self.head.precompute(parameters[self._at_head])
        return first

    def policy(self, acting: Parameters, rows: Tensor) -> Tensor:
        """Head outputs alone, at the cost of one trunk: all that acting without memory needs."""
        hidden = self.encoder(acting[self._at_encoder], rows)[0]
        body = acting[self._at_body]
        for start in range(0, len(body), self._per_layer):
            weight, bias, *norm = body[start : start + self._per_layer]
            hidden = self.activation(_normed(torch.addmm(bias, hidden, weight), norm))
        return self._outputs(acting[self._at_head], hidden, rows)

    @property
    def dense(self) -> bool:
        """Whether the policy is products and hyperbolic tangents of a row's numbers, and nothing else."""
        plain = isinstance(self.encoder, Numbers) and self.encoder.unchanged and self.recurrence is None
        return plain and self._mask is None and self.activation is torch.tanh and self._per_layer == 2

    def layers(self, acting: Parameters) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases of a dense policy from the first layer to the head."""
        parts = [*acting[self._at_body], *acting[self._at_head]]
        return list(zip(parts[::2], parts[1::2], strict=True))

    def _outputs(self, precomputed: Parameters, features: Tensor, rows: Tensor) -> Tensor:
        outputs = self.head.project(precomputed, features)
        if self._mask is None:
            return outputs
        allowed, free = rows[:, self._mask] > 0, self.head.num_outputs - self.head.num_options
        if free:
            allowed = torch.nn.functional.pad(allowed, (0, free), value=True)
        return torch.where(allowed, outputs, FORBIDDEN)

    def _body(self, parameters: Parameters, features: Tensor) -> Tensor:
        """Features (trunks, batch, width) after the hidden layers."""
        features = features.expand(self.trunks, -1, -1)
        body = parameters[self._at_body]
        for start in range(0, len(body), self._per_layer):
            weight, bias, *norm = body[start : start + self._per_layer]
            features = self.activation(_normed(torch.baddbmm(bias, features, weight), norm))
        return features

    def _remember(self, parameters: Parameters, features: Tensor, rows: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        assert self.recurrence is not None
        memory = rows[:, self._obs_size :].view(-1, steps, 1 + self.state_size)
        features = features.view(self.trunks, -1, steps, features.shape[-1])
        outputs, states = self.recurrence(parameters[self._at_recurrent], features, memory[:, 0, 1:], memory[:, :, 0])
        return outputs.flatten(1, 2), states


def make_network(spec: Spec, config: PPOConfig) -> ActorCritic:
    """The network of an agent for these spaces.

    Raises:
        ConfigError: if encoder or action head do not fit the spaces.
    """
    return ActorCritic(spec, partial(make_head, spec, config.continuous), config.network)


def _normed(hidden: Tensor, norm: Sequence[Tensor]) -> Tensor:
    """Layer normalisation (Ba et al. 2016) with the gain and shift given, if any."""
    if not norm:
        return hidden
    gain, shift = norm
    return torch.nn.functional.layer_norm(hidden, hidden.shape[-1:]) * gain + shift


def _orthogonal(part: Tensor, name: str, generator: torch.Generator) -> None:
    """Fill a weight, or a stack of them, with orthogonal matrices."""
    room = name.partition(".")[0]
    gain = {"policy": POLICY_GAIN, "value": VALUE_GAIN, "recurrent": RECURRENT_GAIN}.get(room, BODY_GAIN)
    stacked = room in ("encoder", "body", "recurrent")
    for matrix in part if stacked else (part,):
        # a gate's block is a matrix of its own
        blocks = matrix.split(matrix.shape[0], 1) if name == "recurrent.recurrent" else (matrix,)
        for block in blocks:
            fresh = torch.empty(block.shape)
            torch.nn.init.orthogonal_(fresh, gain, generator=generator)
            block.copy_(fresh)
