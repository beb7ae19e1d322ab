"""Heads of continuous actions: normal distributions, plain, squashed and with state-dependent noise, and Beta."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ppo_cli.config import ContinuousConfig
from ppo_cli.devices import Constant
from ppo_cli.networks.heads import Linear, as_table
from ppo_cli.spec import ActionPart

LOG_2PI = math.log(2.0 * math.pi)
CANDIDATES = 8  # a draw of the gamma distribution is refused with probability below 0.05, all of these below 4e-11
NODES = 33  # of the entropy's integral under tanh, over ±5 deviations; wrong by less than 0.01 up to a deviation of e²
SMALLEST_VARIANCE = 1e-6


def _normal_log_prob_and_entropy(mean: Tensor, log_std: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Log-density and entropy of independent normals, summed over the last axis."""
    standard = (actions - mean) * (-log_std).exp()
    log_probs = -0.5 * (standard.square() + LOG_2PI) - log_std
    return log_probs.sum(-1), (log_std + 0.5 * (1.0 + LOG_2PI)).sum(-1)


class GaussianHead(Linear):
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

    def precompute(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Deviations of their own within their bounds."""
        weight, bias, *log_std = parameters
        return [weight, bias, *map(self._bounded, log_std)]

    def project(self, precomputed: Sequence[Tensor], features: Tensor) -> Tensor:
        """Means, and deviations that start at ``initial_log_std`` whatever the features are."""
        outputs = super().project(precomputed, features)
        if self._free:
            return torch.cat((outputs, precomputed[2].expand(len(outputs), -1)), -1)
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

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Of independent normals."""
        mean, log_std = outputs.chunk(2, -1)
        return _normal_log_prob_and_entropy(mean, log_std, actions)


class SquashedHead(GaussianHead):
    """The hyperbolic tangent of independent normals, stretched to the bounds (Haarnoja et al. 2018, appendix C).

    Actions are stored before the tangent, where they lose no digits; their log-probability is the density of what
    comes after it, on (-1, 1).
    """

    def __init__(self, part: ActionPart, config: ContinuousConfig, width: int) -> None:
        super().__init__(part, config, width)
        low, high = torch.tensor(part.low), torch.tensor(part.high)
        self._middle, self._half = Constant((low + high) / 2.0), Constant((high - low) / 2.0)

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """With the change of variables; the entropy's integral is a sum over equal steps.

        Of a smooth function under a normal density those err less than as many nodes of Gauss and Hermite, which lie
        farther apart in the middle, where tanh bends.
        """
        mean, log_std = outputs.chunk(2, -1)
        log_probs, entropies = _normal_log_prob_and_entropy(mean, log_std, actions)
        nodes = torch.linspace(-5.0, 5.0, NODES, device=outputs.device)
        weights = torch.softmax(-0.5 * nodes.square(), 0)
        spots = mean.unsqueeze(-1) + log_std.exp().unsqueeze(-1) * nodes
        stretch = (_log_slope(spots) * weights).sum((-1, -2))
        return log_probs - _log_slope(actions).sum(-1), entropies + stretch

    def to_env(self, actions: Tensor) -> Tensor:
        """Squashed and stretched to the bounds."""
        return self._middle.on(actions.device) + self._half.on(actions.device) * actions.tanh()


def _log_slope(spots: Tensor) -> Tensor:
    """ln(1 − tanh²x), written so that large x lose nothing."""
    return 2.0 * (math.log(2.0) - spots - softplus(-2.0 * spots))


class BetaHead(Linear):
    """Beta distributions over the bounds (Chou et al. 2017), each with one hump: both parameters are above 1.

    Actions are stored, and their density is taken, on (0, 1).
    """

    def __init__(self, part: ActionPart, width: int) -> None:
        super().__init__(2 * part.size, width)
        self.size = part.size
        self.num_noise = 4 * part.size * CANDIDATES
        self._low, self._high = Constant(torch.tensor(part.low)), Constant(torch.tensor(part.high))

    def project(self, precomputed: Sequence[Tensor], features: Tensor) -> Tensor:
        """α and β, in this order."""
        return 1.0 + softplus(super().project(precomputed, features))

    def noise(self, steps: int, envs: int, generator: torch.Generator) -> Tensor:
        """Candidates for two gamma draws per entry: a normal and a uniform number each."""
        shape = (steps, envs, 2 * self.size * CANDIDATES)
        normal = torch.randn(shape, generator=generator)
        return torch.cat((normal, torch.rand(shape, generator=generator)), -1)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """X / (X + Y) with gamma draws X and Y, by the method of Marsaglia and Tsang (2000)."""
        normal, uniform = (as_table(part, 2 * self.size, CANDIDATES) for part in noise.chunk(2, -1))
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

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Of independent beta distributions."""
        alpha, beta = outputs.chunk(2, -1)
        both = alpha + beta
        normaliser = alpha.lgamma() + beta.lgamma() - both.lgamma()
        log_probs = (alpha - 1.0) * actions.log() + (beta - 1.0) * torch.log1p(-actions) - normaliser
        entropies = normaliser - (alpha - 1.0) * alpha.digamma() - (beta - 1.0) * beta.digamma()
        return log_probs.sum(-1), (entropies + (both - 2.0) * both.digamma()).sum(-1)

    def to_env(self, actions: Tensor) -> Tensor:
        """Stretched to the bounds."""
        low, high = self._low.on(actions.device), self._high.on(actions.device)
        return low + (high - low) * actions


class StateDependentNoiseHead(Linear):
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
        self._every = self.noise_lasts = config.resample_every

    def precompute(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """The scale of each random weight."""
        weight, bias, log_std = parameters
        return [weight, bias, (log_std + self._start).clamp(self._least, self._most).exp()]

    def project(self, precomputed: Sequence[Tensor], features: Tensor) -> Tensor:
        """Means, log-deviations and scaled features; exploration does not shape the features (section 3.2)."""
        mean, scales = super().project(precomputed, features), precomputed[2]
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
        return mean + as_table(spread * noise, self._width, self.size).sum(-2)

    def mode(self, outputs: Tensor) -> Tensor:
        """The means."""
        return outputs[..., : self.size]

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Of independent normals with the deviations that the random function has."""
        return _normal_log_prob_and_entropy(outputs[..., : self.size], outputs[..., self.size : 2 * self.size], actions)
