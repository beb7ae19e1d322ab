"""Action heads: what a policy's features mean as a distribution over actions.

A head turns features into ``outputs``, a row of numbers that says all about the distribution, and everything else is a
function of those: a sample, the most probable action, and a log-probability and an entropy, in nats. Randomness comes
in as noise drawn before, so that all of it is pure. Actions are rows of ``action_size`` numbers, as a spec has them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ppo_cli.config import ContinuousConfig
from ppo_cli.devices import Constant
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.specs import ActionPart, Shapes, Spec

FORBIDDEN = -1e8
"""A masked choice's logit: its probability is exactly 0, and 0 times its logarithm is 0 and not NaN."""
LOG_2PI = math.log(2.0 * math.pi)
CANDIDATES = 8  # a draw of the gamma distribution is refused with probability below 0.05, all of these below 4e-11
NODES = 33  # of the entropy's integral under tanh, over ±5 deviations; wrong by less than 0.01 up to a deviation of e²
SMALLEST_VARIANCE = 1e-6


def _table(rows: Tensor, entries: int, each: int) -> Tensor:
    """(…, entries · each) as (…, entries, each)."""
    return rows.reshape(*rows.shape[:-1], entries, each)


def _gumbel(steps: int, envs: int, numbers: int, generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise (steps, envs, numbers)."""
    return -torch.empty(steps, envs, numbers).exponential_(generator=generator).log()


class Head(Protocol):
    """What every action head does. ``…`` stands for any leading axes."""

    shapes: Shapes
    """Its parameters' shapes by name; the matrix that reads the features is ``weight``."""
    num_outputs: int
    num_noise: int
    """Numbers that a draw takes."""
    num_options: int
    """Leading outputs that are logits, which masks apply to."""

    def settle(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """What :meth:`project` reads, one tensor for each of :attr:`shapes`: all that needs no features is done."""

    def project(self, settled: Sequence[Tensor], features: Tensor) -> Tensor:
        """Outputs (batch, outputs) for features (batch, width)."""

    def noise(self, steps: int, envs: int, generator: torch.Generator) -> Tensor:
        """Standard noise (steps, envs, numbers), all that :meth:`sample` needs of randomness."""

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Actions (…, action_size), drawn with noise (…, numbers)."""

    def mode(self, outputs: Tensor) -> Tensor:
        """The actions (…, action_size) to take where nothing is left to chance."""

    def score(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of ``actions`` and entropies, each (…)."""

    def emit(self, actions: Tensor) -> Tensor:
        """The same actions in the environment's units."""


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


class _Linear:
    """What heads of one matrix have in common."""

    num_options = 0

    def __init__(self, num_outputs: int, width: int) -> None:
        self.shapes: Shapes = {"weight": (width, num_outputs), "bias": (num_outputs,)}
        self.num_outputs = self.num_noise = num_outputs

    def settle(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """The parameters as they are."""
        return list(parameters)

    def project(self, settled: Sequence[Tensor], features: Tensor) -> Tensor:
        """A linear map of the features."""
        return torch.addmm(settled[1], features, settled[0])

    def emit(self, actions: Tensor) -> Tensor:
        """Actions are in the environment's units already."""
        return actions


class CategoricalHead(_Linear):
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

    def score(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Of one choice."""
        log_probs = torch.log_softmax(outputs, -1)
        chosen = log_probs.gather(-1, actions).squeeze(-1)
        return chosen, -(log_probs.exp() * log_probs).sum(-1)


class MultiCategoricalHead(_Linear):
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
        return _table(table, *self._grid)

    def noise(self, steps: int, envs: int, generator: torch.Generator) -> Tensor:
        """Standard Gumbel noise."""
        return _gumbel(steps, envs, self.num_noise, generator)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """As :meth:`CategoricalHead.sample`, entry by entry."""
        return (self._logits(outputs) + _table(noise, *self._grid)).argmax(-1)

    def mode(self, outputs: Tensor) -> Tensor:
        """Each entry's most probable choice."""
        return self._logits(outputs).argmax(-1)

    def score(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over the entries, which are independent."""
        log_probs = torch.log_softmax(self._logits(outputs), -1)
        chosen = log_probs.gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)
        return chosen.sum(-1), -(log_probs.exp() * log_probs).sum((-1, -2))


def _normal_score(mean: Tensor, log_std: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Log-density and entropy of independent normals, summed over the last axis."""
    standard = (actions - mean) * (-log_std).exp()
    log_probs = -0.5 * (standard.square() + LOG_2PI) - log_std
    return log_probs.sum(-1), (log_std + 0.5 * (1.0 + LOG_2PI)).sum(-1)


class GaussianHead(_Linear):
    """Independent normal distributions; the outputs are their means and the logarithms of their deviations.

    Deviations are parameters of their own or, with ``state_dependent_std``, read from the features. An action is
    stored and scored as it was drawn; clipping it to its bounds is the environment's side of things.
    """

    def __init__(self, part: ActionPart, config: ContinuousConfig, width: int) -> None:
        self.size = part.size
        super().__init__(part.size * (2 if config.state_dependent_std else 1), width)
        self._free = not config.state_dependent_std
        self.num_outputs, self.num_noise = 2 * part.size, part.size
        if self._free:
            self.shapes["log_std"] = (part.size,)
        self._start, self._least, self._most = config.initial_log_std, config.min_log_std, config.max_log_std

    def settle(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Deviations of their own within their bounds."""
        weight, bias, *log_std = parameters
        return [weight, bias, *map(self._bounded, log_std)]

    def project(self, settled: Sequence[Tensor], features: Tensor) -> Tensor:
        """Means, and deviations that start at ``initial_log_std`` whatever the features are."""
        outputs = super().project(settled, features)
        if self._free:
            return torch.cat((outputs, settled[2].expand(len(outputs), -1)), -1)
        mean, log_std = outputs.chunk(2, -1)
        return torch.cat((mean, self._bounded(log_std)), -1)

    def _bounded(self, log_std: Tensor) -> Tensor:
        return (log_std + self._start).clamp(self._least, self._most)

    def noise(self, steps: int, envs: int, generator: torch.Generator) -> Tensor:
        """Standard normal noise."""
        return torch.randn(steps, envs, self.size, generator=generator)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Mean plus deviation times noise."""
        mean, log_std = outputs.chunk(2, -1)
        return torch.addcmul(mean, log_std.exp(), noise)

    def mode(self, outputs: Tensor) -> Tensor:
        """The means."""
        return outputs.chunk(2, -1)[0]

    def score(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Of independent normals."""
        mean, log_std = outputs.chunk(2, -1)
        return _normal_score(mean, log_std, actions)


class SquashedHead(GaussianHead):
    """The hyperbolic tangent of independent normals, stretched to the bounds (Haarnoja et al. 2018, appendix C).

    Actions are stored before the tangent, where they lose no digits; their log-probability is the density of what
    comes after it, on (-1, 1).
    """

    def __init__(self, part: ActionPart, config: ContinuousConfig, width: int) -> None:
        super().__init__(part, config, width)
        low, high = torch.tensor(part.low), torch.tensor(part.high)
        self._middle, self._half = Constant((low + high) / 2.0), Constant((high - low) / 2.0)

    def score(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """With the change of variables; the entropy's integral is a sum over equal steps.

        Of a smooth function under a normal density those err less than as many nodes of Gauss and Hermite, which lie
        farther apart in the middle, where tanh bends.
        """
        mean, log_std = outputs.chunk(2, -1)
        log_probs, entropies = _normal_score(mean, log_std, actions)
        nodes = torch.linspace(-5.0, 5.0, NODES, device=outputs.device)
        weights = torch.softmax(-0.5 * nodes.square(), 0)
        spots = mean.unsqueeze(-1) + log_std.exp().unsqueeze(-1) * nodes
        stretch = (_log_slope(spots) * weights).sum((-1, -2))
        return log_probs - _log_slope(actions).sum(-1), entropies + stretch

    def emit(self, actions: Tensor) -> Tensor:
        """Squashed and stretched to the bounds."""
        return self._middle.on(actions.device) + self._half.on(actions.device) * actions.tanh()


def _log_slope(spots: Tensor) -> Tensor:
    """ln(1 − tanh²x), written so that large x lose nothing."""
    return 2.0 * (math.log(2.0) - spots - softplus(-2.0 * spots))


class BetaHead(_Linear):
    """Beta distributions over the bounds (Chou et al. 2017), each with one hump: both parameters are above 1.

    Actions are stored, and their density is taken, on (0, 1).
    """

    def __init__(self, part: ActionPart, width: int) -> None:
        super().__init__(2 * part.size, width)
        self.size = part.size
        self.num_noise = 4 * part.size * CANDIDATES
        self._low, self._high = Constant(torch.tensor(part.low)), Constant(torch.tensor(part.high))

    def project(self, settled: Sequence[Tensor], features: Tensor) -> Tensor:
        """α and β, in this order."""
        return 1.0 + softplus(super().project(settled, features))

    def noise(self, steps: int, envs: int, generator: torch.Generator) -> Tensor:
        """Candidates for two gamma draws per entry: a normal and a uniform number each."""
        shape = (steps, envs, 2 * self.size * CANDIDATES)
        normal = torch.randn(shape, generator=generator)
        return torch.cat((normal, torch.rand(shape, generator=generator)), -1)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """X / (X + Y) with gamma draws X and Y, by the method of Marsaglia and Tsang (2000)."""
        normal, uniform = (_table(part, 2 * self.size, CANDIDATES) for part in noise.chunk(2, -1))
        third = (outputs - 1.0 / 3.0).unsqueeze(-1)
        cubed = (1.0 + normal / (9.0 * third).sqrt()).clamp(min=1e-6) ** 3
        accepted = uniform.log() < 0.5 * normal.square() + third * (1.0 - cubed + cubed.log())
        first = accepted.to(torch.int8).argmax(-1, keepdim=True)
        x, y = (third * cubed).gather(-1, first).squeeze(-1).chunk(2, -1)
        return (x / (x + y)).clamp(1e-6, 1.0 - 1e-6)

    def mode(self, outputs: Tensor) -> Tensor:
        """The hump's place; the middle where there is none."""
        alpha, beta = outputs.chunk(2, -1)
        return (alpha - 1.0 + 1e-6) / (alpha + beta - 2.0 + 2e-6)

    def score(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Of independent beta distributions."""
        alpha, beta = outputs.chunk(2, -1)
        both = alpha + beta
        normaliser = alpha.lgamma() + beta.lgamma() - both.lgamma()
        log_probs = (alpha - 1.0) * actions.log() + (beta - 1.0) * torch.log1p(-actions) - normaliser
        entropies = normaliser - (alpha - 1.0) * alpha.digamma() - (beta - 1.0) * beta.digamma()
        return log_probs.sum(-1), (entropies + (both - 2.0) * both.digamma()).sum(-1)

    def emit(self, actions: Tensor) -> Tensor:
        """Stretched to the bounds."""
        low, high = self._low.on(actions.device), self._high.on(actions.device)
        return low + (high - low) * actions


class StateDependentNoiseHead(_Linear):
    """Generalised state-dependent exploration (Raffin et al. 2022, arXiv:2005.05719).

    The noise is a random linear function of the features, kept for ``resample_every`` steps, so that equal states are
    explored alike. The outputs are means, the logarithms of the deviations that follow, and the features times the
    scale of each random weight, all flattened.
    """

    def __init__(self, part: ActionPart, config: ContinuousConfig, width: int) -> None:
        super().__init__(part.size, width)
        self.size, self._width = part.size, width
        self.shapes["log_std"] = (width, part.size)
        self.num_noise = width * part.size
        self.num_outputs = 2 * part.size + self.num_noise
        self._start, self._least, self._most = config.initial_log_std, config.min_log_std, config.max_log_std
        self._every = config.resample_every

    def settle(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """The scale of each random weight."""
        weight, bias, log_std = parameters
        return [weight, bias, (log_std + self._start).clamp(self._least, self._most).exp()]

    def project(self, settled: Sequence[Tensor], features: Tensor) -> Tensor:
        """Means, log-deviations and scaled features; exploration does not shape the features (section 3.2)."""
        mean, scales = super().project(settled, features), settled[2]
        still = features.detach()
        log_std = 0.5 * (still.square() @ scales.square() + SMALLEST_VARIANCE).log()
        spread = (still.unsqueeze(-1) * scales).flatten(-2)
        return torch.cat((mean, log_std, spread), -1)

    def noise(self, steps: int, envs: int, generator: torch.Generator) -> Tensor:
        """A standard normal weight per feature and entry, drawn anew every ``resample_every`` steps."""
        every = self._every or steps
        draws = torch.randn(-(-steps // every), envs, self.num_noise, generator=generator)
        return draws.repeat_interleave(every, 0)[:steps] if every > 1 else draws

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Mean plus the random function's value."""
        mean, _, spread = torch.split(outputs, [self.size, self.size, self.num_noise], -1)
        return mean + _table(spread * noise, self._width, self.size).sum(-2)

    def mode(self, outputs: Tensor) -> Tensor:
        """The means."""
        return outputs[..., : self.size]

    def score(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Of independent normals with the deviations that the random function has."""
        return _normal_score(outputs[..., : self.size], outputs[..., self.size : 2 * self.size], actions)


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
        self._dtype = torch.float32 if any(head.num_options == 0 for head in heads) else torch.int64

    def settle(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Every head's, in a row."""
        return [tensor for head, own in self._shared_out(parameters) for tensor in head.settle(own)]

    def project(self, settled: Sequence[Tensor], features: Tensor) -> Tensor:
        """Every head's outputs of the same features."""
        parts = [head.project(own, features) for head, own in self._shared_out(settled)]
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

    def score(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over the heads, which are independent."""
        columns = torch.split(actions, self._sizes, -1)
        scores = []
        for head, part, own in zip(self._heads, self._split(outputs), columns, strict=True):
            scores.append(head.score(part, own.long() if head.num_options else own))
        log_probs, entropies = zip(*scores, strict=True)
        return torch.stack(log_probs).sum(0), torch.stack(entropies).sum(0)

    def emit(self, actions: Tensor) -> Tensor:
        """Every head's actions in the environment's units."""
        pairs = zip(self._heads, torch.split(actions, self._sizes, -1), strict=True)
        return torch.cat([head.emit(own) for head, own in pairs], -1)
