"""Which head an agent's actions take, and several heads as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ppo_cli.config import ContinuousConfig
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.networks.categorical import CategoricalHead, MultiCategoricalHead
from ppo_cli.networks.continuous import BetaHead, GaussianHead, SquashedHead, StateDependentNoiseHead
from ppo_cli.networks.heads import Head
from ppo_cli.spec import ActionPart, Shapes, Spec


def make_head(spec: Spec, config: ContinuousConfig, width: int) -> Head:
    """The head for a spec's actions.

    Args:
        spec: The actions.
        config: What continuous actions are drawn from.
        width: Numbers among the features.

    Raises:
        ConfigError: if a distribution needs bounds that the environment does not give.
    """
    heads = [_make_part(part, config, width) for part in spec.actions]
    return heads[0] if len(heads) == 1 else JointHead(heads, [part.size for part in spec.actions])


def _make_part(part: ActionPart, config: ContinuousConfig, width: int) -> Head:
    if part.kind == "categorical":
        return CategoricalHead(part.counts[0], width) if part.size == 1 else MultiCategoricalHead(part.counts, width)
    if config.distribution in ("squashed", "beta") and not part.bounded:
        what = f"continuous.distribution={config.distribution} needs bounds, and the environment's actions have none"
        raise ConfigError(Problem(what, "continuous.distribution=gaussian"))
    if config.distribution == "beta":
        return BetaHead(part, width)
    if config.distribution == "gsde":
        return StateDependentNoiseHead(part, config, width)
    kind = SquashedHead if config.distribution == "squashed" else GaussianHead
    return kind(part, config, width)


class JointHead:
    """Several heads side by side, for Dict and Tuple actions; all logits come first among the outputs.

    Args:
        heads: One per part of the action.
        sizes: Columns of the action that each takes.
    """

    def __init__(self, heads: Sequence[Head], sizes: Sequence[int]) -> None:
        self._heads, self._sizes = list(heads), list(sizes)
        self.shapes: Shapes = {
            f"{index}.{name}": shape for index, head in enumerate(heads) for name, shape in head.shapes.items()
        }
        self.num_options = sum(head.num_options for head in heads)
        self._order = sorted(range(len(heads)), key=lambda index: heads[index].num_options == 0)
        self.num_outputs = sum(head.num_outputs for head in heads)
        self.num_noise = sum(head.num_noise for head in heads)
        lasting = [head.noise_lasts for head in heads]
        self.noise_lasts = None if None in lasting else max(number for number in lasting if number is not None)
        self._dtype = torch.float32 if any(head.num_options == 0 for head in heads) else torch.int64

    def precompute(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Every head's, in a row."""
        return [tensor for head, own in self._shared_out(parameters) for tensor in head.precompute(own)]

    def project(self, precomputed: Sequence[Tensor], features: Tensor) -> Tensor:
        """Every head's outputs of the same features."""
        parts = [head.project(own, features) for head, own in self._shared_out(precomputed)]
        return torch.cat([parts[index] for index in self._order], -1)

    def _shared_out(self, tensors: Sequence[Tensor]) -> Iterator[tuple[Head, Sequence[Tensor]]]:
        """Every head with its share of what has one tensor for each of :attr:`shapes`."""
        start = 0
        for head in self._heads:
            yield head, tensors[start : start + len(head.shapes)]
            start += len(head.shapes)

    def _split(self, outputs: Tensor) -> list[Tensor]:
        ordered = torch.split(outputs, [self._heads[index].num_outputs for index in self._order], -1)
        by_place = dict(zip(self._order, ordered, strict=True))
        return [by_place[index] for index in range(len(self._heads))]

    def noise(self, steps: int, envs: int, generator: torch.Generator) -> Tensor:
        """Every head's noise in a row."""
        return torch.cat([head.noise(steps, envs, generator) for head in self._heads], -1)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Every head's sample in a row."""
        noises = torch.split(noise, [head.num_noise for head in self._heads], -1)
        triples = zip(self._heads, self._split(outputs), noises, strict=True)
        return torch.cat([head.sample(part, own).to(self._dtype) for head, part, own in triples], -1)

    def mode(self, outputs: Tensor) -> Tensor:
        """Every head's mode in a row."""
        pairs = zip(self._heads, self._split(outputs), strict=True)
        return torch.cat([head.mode(part).to(self._dtype) for head, part in pairs], -1)

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over the heads, which are independent."""
        columns = torch.split(actions, self._sizes, -1)
        scores = []
        for head, part, own in zip(self._heads, self._split(outputs), columns, strict=True):
            scores.append(head.log_prob_and_entropy(part, own.long() if head.num_options else own))
        log_probs, entropies = zip(*scores, strict=True)
        return torch.stack(log_probs).sum(0), torch.stack(entropies).sum(0)

    def to_env(self, actions: Tensor) -> Tensor:
        """Every head's actions in the environment's units."""
        pairs = zip(self._heads, torch.split(actions, self._sizes, -1), strict=True)
        return torch.cat([head.to_env(own) for head, own in pairs], -1)
