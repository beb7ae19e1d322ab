"""Running statistics of observations, rewards and value targets.

All are updated once per rollout. Those of observations are frozen while it is collected and learnt from, so that an
update works with the numbers that the policy acted on; only the very first rollout, which is acted on without any, is
counted before it is learnt from. Those of rewards and value targets take each rollout in just before.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ppo_cli.algorithm.moments import RunningMoments, State
from ppo_cli.config import PPOConfig
from ppo_cli.devices import with_float64
from ppo_cli.spec import Spec

CLIP = 10.0
EPS = 1e-8
SMALLEST_DEVIATION = 1e-2
VALUE_RATE = 3e-4
"""Weight of a new return in the moving average of value targets (Hessel et al. 2019, arXiv:1809.04474, appendix)."""


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

    @property
    def empty(self) -> bool:
        """Whether it waits for its first observations."""

    def standard(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Mean, scale and limit by which it reads them, one number per column each; ``None``: as they are."""

    def update(self, observations: Tensor, valid: Tensor, /) -> None:
        """Count the ``valid`` of observations (rows, row_size)."""


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

    empty = False

    def __call__(self, numbers: Tensor, *_: Tensor) -> Tensor:
        """The numbers."""
        return numbers

    def standard(self) -> None:
        """Numbers are read as they are."""

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


def make_normalizers(
    config: PPOConfig, spec: Spec, row_size: int, row_dtype: npt.DTypeLike, num_envs: int, device: torch.device
) -> Normalizers:
    """The normalisers that ``config`` asks for; of observations only measurements are standardised."""
    dtype = getattr(torch, np.dtype(row_dtype).name)
    measured = torch.zeros(row_size, dtype=torch.bool)
    for part, columns in spec.obs_columns():
        measured[columns] = part.measured
    return Normalizers(
        ObservationNormalizer(measured, dtype, device) if config.normalize_obs and measured.any() else Unchanged(),
        RewardScaler(num_envs, config.gamma, device) if config.normalize_reward else Unchanged(),
        ValueNormalizer(device) if config.normalize_value else Unchanged(),
    )


class _Running:
    """What the three that are switched on have in common: moments that a checkpoint keeps."""

    def __init__(self, shape: tuple[int, ...], device: torch.device, rate: float = 0.0) -> None:
        self.moments = RunningMoments(shape, device, rate)

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
        dtype: Of the rows that come.
        device: Where they are.
    """

    def __init__(self, measured: Tensor, dtype: torch.dtype, device: torch.device) -> None:
        device = with_float64(device)
        self._columns = measured.nonzero().squeeze(-1).to(device)
        self._all = bool(measured.all())
        super().__init__((len(self._columns),), device)
        self._size, self._dtype = len(measured), dtype
        self._limit = self._per_column(torch.full_like(self.moments.var, CLIP), torch.inf)
        self._freeze()

    def _per_column(self, numbers: Tensor, other: float) -> Tensor:
        """One number per column: the measured ones', and ``other``."""
        wide = torch.full((self._size,), other, dtype=self._dtype, device=numbers.device)
        wide[self._columns] = numbers.to(self._dtype)
        return wide

    def _freeze(self) -> None:
        self._mean = self._per_column(self.moments.mean, 0.0)
        self._scale = self._per_column((self.moments.var + EPS).rsqrt(), 1.0)

    @property
    def empty(self) -> bool:
        """Whether nothing was counted yet."""
        return self.moments.count.item() == 0

    def standard(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, scale and limit of each column."""
        return self._mean, self._scale, self._limit

    def __call__(self, observations: Tensor) -> Tensor:
        """Observations (rows, row_size), standardised."""
        standard = (observations - self._mean) * self._scale
        return standard.clamp(-CLIP, CLIP) if self._all else standard.clamp(-self._limit, self._limit)

    def update(self, observations: Tensor, valid: Tensor) -> None:
        """Count the ``valid`` of observations (rows, row_size)."""
        observations = observations[valid.to(observations.device)]
        self.moments.update(observations if self._all else observations[:, self._columns])
        self._freeze()


class RewardScaler(_Running):
    """Rewards divided by the deviation of the discounted return so far, clipped to ±10; nothing is subtracted.

    Engstrom et al. 2020 (arXiv:2005.12729), section 3; here a rollout enters the statistics before it is scaled.
    """

    def __init__(self, num_envs: int, gamma: float, device: torch.device) -> None:
        super().__init__((), device)
        self.gamma = gamma
        self.discounted = torch.zeros(num_envs, dtype=torch.float64, device=with_float64(device))

    def __call__(self, rewards: Tensor, done: Tensor, weights: Tensor) -> Tensor:
        """Update the statistics with a rollout, (steps, envs) each, and return its rewards scaled.

        ``done`` is 1 where an episode ended in any way; rows of weight 0 are no steps and count nowhere.
        """
        exact, valid, goes_on = (part.to(self.discounted.device) for part in (rewards, weights > 0, 1.0 - done))
        totals = torch.empty_like(exact, dtype=torch.float64)
        for step in range(len(exact)):
            total = self.gamma * self.discounted + exact[step]
            totals[step] = self.discounted = torch.where(valid[step], total, self.discounted)
            self.discounted = self.discounted * goes_on[step]
        self.moments.update(totals[valid])
        return (rewards * (self.moments.var + EPS).rsqrt().float().to(rewards.device)).clamp(-CLIP, CLIP)

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

    The statistics are moving averages, for returns grow with what is learnt. Whenever they change, the head's last
    layer is rescaled so that its outputs keep their meaning.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__((), device, VALUE_RATE)
        self._device = device
        self._freeze()

    def _freeze(self) -> None:
        self._mean = self.moments.mean.float().to(self._device)
        # a floor, or returns that are all alike (no reward yet) would blow the head's weights up beyond repair
        self._deviation = self.moments.var.sqrt().clamp(min=SMALLEST_DEVIATION).float().to(self._device)

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
