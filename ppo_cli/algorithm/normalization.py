"""Running statistics of observations, rewards and value targets.

All are updated once per rollout. Those of observations are frozen while it is collected and learnt from, so that an
update works with the numbers that the policy acted on; those of rewards and value targets take it in just before.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ppo_cli.config import PPOConfig
from ppo_cli.spec import Spec

CLIP = 10.0
EPS = 1e-8
SMALLEST_DEVIATION = 1e-2

State = dict[str, Tensor]


class RunningMoments:
    """Mean and variance of all rows seen, merged batch by batch (Chan, Golub & LeVeque 1983, equations 2.1)."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self.count = torch.zeros((), dtype=torch.float64, device=device)
        self.mean = torch.zeros(shape, dtype=torch.float64, device=device)
        self.var = torch.ones(shape, dtype=torch.float64, device=device)

    def update(self, rows: Tensor) -> None:
        """Merge ``rows`` of shape (rows, *shape)."""
        if len(rows) == 0:
            return
        rows = rows.to(torch.float64)
        count = self.count + len(rows)
        mean, var = rows.mean(0), rows.var(0, correction=0)
        delta = mean - self.mean
        spread = self.var * self.count + var * len(rows) + delta.square() * self.count * len(rows) / count
        self.mean = self.mean + delta * (len(rows) / count)
        self.var = spread / count
        self.count = count

    def state_dict(self) -> State:
        """What a checkpoint keeps."""
        return {"count": self.count, "mean": self.mean, "var": self.var}

    def load_state_dict(self, state: State) -> None:
        """Take :meth:`state_dict`'s tensors over."""
        self.count, self.mean, self.var = (state[name].to(self.mean.device) for name in ("count", "mean", "var"))


class Part(Protocol):
    """What a checkpoint knows of each of an agent's normalisers."""

    def state_dict(self) -> State:
        """What a checkpoint keeps."""

    def load_state_dict(self, state: State) -> None:
        """Take :meth:`state_dict`'s tensors over."""


class ObservationPart(Part, Protocol):
    """What reads observations on their way into the network."""

    def __call__(self, observations: Tensor, /) -> Tensor:
        """Observations as the network reads them."""

    def update(self, observations: Tensor, /) -> None:
        """Count real observations (rows, row_size)."""


class RewardPart(Part, Protocol):
    """What rewards pass on their way into the advantages."""

    def __call__(self, rewards: Tensor, done: Tensor, weights: Tensor, /) -> Tensor:
        """A rollout's rewards, (steps, envs), as the advantages are made of."""

    def begin_episodes(self) -> None:
        """Forget the episodes in progress: every environment begins a new one."""


class ValuePart(Part, Protocol):
    """The units of the value head."""

    def normalize(self, returns: Tensor) -> Tensor:
        """Returns in the head's units."""

    def denormalize(self, outputs: Tensor) -> Tensor:
        """The head's outputs in units of the return."""

    def update(self, returns: Tensor, weight: Tensor, bias: Tensor, /) -> None:
        """Count returns (rows,) and keep the meaning of a head with this last layer, changed in place."""


class Unchanged:
    """A normaliser that is switched off: everything passes as it is."""

    def __call__(self, numbers: Tensor, *_: Tensor) -> Tensor:
        """The numbers."""
        return numbers

    def normalize(self, returns: Tensor) -> Tensor:
        """The returns."""
        return returns

    def denormalize(self, outputs: Tensor) -> Tensor:
        """The outputs."""
        return outputs

    def update(self, *_: Tensor) -> None:
        """Nothing is counted."""

    def begin_episodes(self) -> None:
        """Nothing is forgotten."""

    def state_dict(self) -> State:
        """Nothing is kept."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Nothing is taken."""


class Normalizers(NamedTuple):
    """An agent's three."""

    observation: ObservationPart
    reward: RewardPart
    value: ValuePart


def make_normalizers(config: PPOConfig, spec: Spec, row_size: int, num_envs: int, device: torch.device) -> Normalizers:
    """The normalisers that ``config`` asks for; of observations only measurements are standardised."""
    measured = torch.zeros(row_size, dtype=torch.bool)
    for part, columns in spec.obs_columns():
        measured[columns] = part.floating
    return Normalizers(
        ObservationNormalizer(measured, device) if config.normalize_obs and measured.any() else Unchanged(),
        RewardScaler(num_envs, config.gamma, device) if config.normalize_reward else Unchanged(),
        ValueNormalizer(device) if config.normalize_value else Unchanged(),
    )


class _Running:
    """What the three that are switched on have in common: moments that a checkpoint keeps."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self.moments = RunningMoments(shape, device)

    def _freeze(self) -> None:
        """Have the moments as they are now in the form in which they are read."""

    def state_dict(self) -> State:
        """What a checkpoint keeps."""
        return self.moments.state_dict()

    def load_state_dict(self, state: State) -> None:
        """Take :meth:`state_dict`'s tensors over."""
        self.moments.load_state_dict(state)
        self._freeze()


class ObservationNormalizer(_Running):
    """Observations with mean 0 and deviation 1 per entry, clipped to ±10; every real observation counts once.

    Args:
        measured: (row_size,) which columns are standardised; the others pass.
        device: Where tensors live.
    """

    def __init__(self, measured: Tensor, device: torch.device) -> None:
        self._columns = measured.nonzero().squeeze(-1).to(device)
        self._all = bool(measured.all())
        super().__init__((len(self._columns),), device)
        self._size = len(measured)
        self._limit = self._wide(torch.full_like(self.moments.mean, CLIP), torch.inf)
        self._freeze()

    def _wide(self, numbers: Tensor, other: float) -> Tensor:
        """One number per column: the measured ones', and ``other``."""
        wide = torch.full((self._size,), other, device=numbers.device)
        wide[self._columns] = numbers.float()
        return wide

    def _freeze(self) -> None:
        self._mean = self._wide(self.moments.mean, 0.0)
        self._scale = self._wide((self.moments.var + EPS).rsqrt(), 1.0)

    def __call__(self, observations: Tensor) -> Tensor:
        """Observations (rows, row_size), standardised."""
        standard = (observations - self._mean) * self._scale
        return standard.clamp(-CLIP, CLIP) if self._all else standard.clamp(-self._limit, self._limit)

    def update(self, observations: Tensor) -> None:
        """Count observations of shape (rows, row_size)."""
        self.moments.update(observations if self._all else observations[:, self._columns])
        self._freeze()


class RewardScaler(_Running):
    """Rewards divided by the deviation of the discounted return so far, clipped to ±10; nothing is subtracted.

    Engstrom et al. 2020 (arXiv:2005.12729), section 3; here a rollout enters the statistics before it is scaled.
    """

    def __init__(self, num_envs: int, gamma: float, device: torch.device) -> None:
        super().__init__((), device)
        self.gamma = gamma
        self.discounted = torch.zeros(num_envs, dtype=torch.float64, device=device)

    def __call__(self, rewards: Tensor, done: Tensor, weights: Tensor) -> Tensor:
        """Update the statistics with a rollout, (steps, envs) each, and return its rewards scaled.

        ``done`` is 1 where an episode ended in any way; rows of weight 0 are no steps and count nowhere.
        """
        totals = torch.empty_like(rewards, dtype=torch.float64)
        for step in range(len(rewards)):
            valid = weights[step] > 0
            self.discounted = torch.where(valid, self.gamma * self.discounted + rewards[step], self.discounted)
            totals[step] = self.discounted
            self.discounted = self.discounted * (1.0 - done[step])
        self.moments.update(totals[weights > 0])
        return (rewards * (self.moments.var + EPS).rsqrt().float()).clamp(-CLIP, CLIP)

    def begin_episodes(self) -> None:
        """Start the sums of all environments at 0."""
        self.discounted = torch.zeros_like(self.discounted)

    def state_dict(self) -> State:
        """What a checkpoint keeps."""
        return {**super().state_dict(), "discounted": self.discounted}

    def load_state_dict(self, state: State) -> None:
        """Take :meth:`state_dict`'s tensors over; a run with another number of environments starts their sums at 0."""
        super().load_state_dict(state)
        if state["discounted"].shape == self.discounted.shape:
            self.discounted = state["discounted"].to(self.discounted.device)


class ValueNormalizer(_Running):
    """PopArt (van Hasselt et al. 2016, arXiv:1602.07714): the value head learns standardised returns.

    Whenever the statistics change, the head's last layer is rescaled so that its outputs keep their meaning.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__((), device)
        self._freeze()

    def _freeze(self) -> None:
        self._mean = self.moments.mean.float()
        # a floor, or returns that are all alike (no reward yet) would blow the head's weights up beyond repair
        self._deviation = self.moments.var.sqrt().clamp(min=SMALLEST_DEVIATION).float()

    def normalize(self, returns: Tensor) -> Tensor:
        """Returns in the head's units."""
        return (returns - self._mean) / self._deviation

    def denormalize(self, outputs: Tensor) -> Tensor:
        """The head's outputs in units of the return."""
        return outputs * self._deviation + self._mean

    def update(self, returns: Tensor, weight: Tensor, bias: Tensor) -> None:
        """Count ``returns`` (rows,) and rescale the head's ``weight`` and ``bias`` in place (equation 9)."""
        mean, deviation = self._mean, self._deviation
        self.moments.update(returns)
        self._freeze()
        weight.mul_(deviation / self._deviation)
        bias.mul_(deviation).add_(mean - self._mean).div_(self._deviation)
