"""Rewards as a transform of the user's makes them, before they are clipped, scaled and learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ppo_cli.algorithm.finite import check_rollout
from ppo_cli.algorithm.rollout import ObsRows, RolloutBuffer
from ppo_cli.config import TrainConfig
from ppo_cli.errors import BadNumbersError, CheckpointError, Problem, RunError, add_note
from ppo_cli.loggers.metrics import Metrics
from ppo_cli.seeding import global_streams
from ppo_cli.spec import Spec
from ppo_cli.training import user_classes


class Experience(NamedTuple):
    """A rollout as a reward transform sees it, on the run's device.

    Rows that are no real steps have ``valid`` false; what a transform makes of them is not used.
    """

    observations: Tensor  # (steps, envs, obs_size) as rows of 8- or 32-bit numbers, before any normalisation
    actions: Tensor  # (steps, envs, action_size)
    next_observations: Tensor  # (steps, envs, obs_size) that really followed, an episode's last one included
    rewards: Tensor  # (steps, envs) of the environment
    terminated: Tensor  # (steps, envs) bool
    truncated: Tensor  # (steps, envs) bool
    valid: Tensor  # (steps, envs) bool


class RewardTransform:
    """Base of what makes other rewards of a rollout: intrinsic ones, or a shaping of the environment's.

    It is built as ``Class(spec, device, **reward_kwargs)`` and called once a rollout, before advantages are computed.
    Reported returns stay the environment's. Random numbers that it draws from the global generators of Python, NumPy
    and torch follow from the run's seed and touch no other stream.

    Args:
        spec: The rows of observations and actions.
        device: Where the run's tensors live.

    Attributes:
        metrics: Names of the metrics that :meth:`report` gives, each with a ``/``.
    """

    metrics: Sequence[str] = ()

    def __init__(self, spec: Spec, device: torch.device) -> None:
        self.spec, self.device = spec, device

    def __call__(self, experience: Experience) -> Tensor:
        """Rewards (steps, envs) to learn from."""
        raise NotImplementedError

    def report(self) -> Mapping[str, float | int | None]:
        """Metrics of its own about the last rollout, by the names in :attr:`metrics`."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on must know: plain data and tensors, such as those of modules and optimisers."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take :meth:`state_dict` over."""


class Rewards(Protocol):
    """What stands between a rollout's rewards and the learner."""

    metrics: tuple[str, ...]
    all_finals: bool
    """Whether it looks at the last observations of terminated episodes too."""

    def apply(self, memory: RolloutBuffer, iteration: int) -> None:
        """Put other rewards into a rollout."""

    def report(self) -> Metrics:
        """Metrics about the last rollout."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""

    def load_state_dict(self, state: Any) -> None:
        """Take :meth:`state_dict` over."""


class RawRewards:
    """Rewards as the environment gives them."""

    metrics: tuple[str, ...] = ()
    all_finals = False

    def apply(self, memory: RolloutBuffer, iteration: int) -> None:
        """Nothing changes."""

    def report(self) -> Metrics:
        """Nothing is reported."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Nothing is kept."""
        return {}

    def load_state_dict(self, state: Any) -> None:
        """Nothing is taken."""


class TransformedRewards:
    """Rewards that a transform of the user's makes.

    Args:
        transform: Makes them.
        spec: The rows of observations and actions.
        device: Where tensors live.
        seed: Root of the stream that it draws from.
    """

    all_finals = True

    def __init__(self, transform: RewardTransform, spec: Spec, device: torch.device, seed: int) -> None:
        self._transform, self._device, self._seed = transform, device, seed
        self._obs_size, self._dtype = spec.obs_size, spec.network_dtype
        (self._name,) = user_classes.names_of([transform])
        self.metrics = tuple(transform.metrics)
        user_classes.check_metrics(self._name, self.metrics)
        self.state_dict()  # one that no checkpoint could hold is found now and not at the first one

    def apply(self, memory: RolloutBuffer, iteration: int) -> None:
        """Put the transform's rewards into a rollout.

        Raises:
            BadNumbersError: if the rollout, or what comes back, holds a number that is NaN or infinite.
            RunError: if what comes back is of another shape.
        """
        check_rollout(memory, memory.size, self._transform.spec)
        experience = self._experience(memory)
        try:
            with global_streams(self._seed, "reward_transform", iteration):
                rewards = self._transform(experience)
        except Exception as error:
            add_note(error, f"in {self._name}")
            raise
        if not isinstance(rewards, Tensor) or rewards.shape != experience.rewards.shape:
            came = tuple(rewards.shape) if isinstance(rewards, Tensor) else type(rewards).__name__
            what = f"{self._name} made {came} of rewards of shape {tuple(experience.rewards.shape)}"
            raise RunError(Problem(what, "a tensor of the same shape, (steps, envs)"))
        made = rewards.detach().to("cpu", torch.float32).numpy()
        valid = memory["weights"] > 0
        bad = np.argwhere(~np.isfinite(made) & valid)
        if len(bad):
            row, env = bad[0].tolist()
            what = f"{self._name} makes the reward of environment {env} {made[row, env]}"
            raise BadNumbersError(Problem(what, "a transform whose rewards stay finite"), row)
        np.copyto(memory["rewards"], made, where=valid)

    def _experience(self, memory: RolloutBuffer) -> Experience:
        observations = memory["observations"][..., : self._obs_size].astype(self._dtype, copy=False)
        assert memory.next_observations is not None
        last = memory.next_observations[None, :, : self._obs_size].astype(self._dtype, copy=False)
        following = np.concatenate((observations[1:], last))
        for row, finals in memory.finals:
            following[row, finals.envs] = finals.observations[:, : self._obs_size]
        flags = [memory[name] > 0 for name in ("terminated", "truncated", "weights")]
        columns: list[ObsRows] = [observations, memory["actions"], following, memory["rewards"], *flags]
        return Experience(*(torch.from_numpy(np.array(column)).to(self._device) for column in columns))

    def report(self) -> Metrics:
        """What the transform reports."""
        return user_classes.added(self._transform, self.metrics, self._transform.report())

    def state_dict(self) -> dict[str, Any]:
        """The transform's state under its name."""
        return {self._name: user_classes.kept(self._transform, self._transform.state_dict())}

    def load_state_dict(self, state: Any) -> None:
        """Take :meth:`state_dict` over; a transform that the checkpoint does not know begins anew.

        Raises:
            CheckpointError: if it is none.
        """
        if not isinstance(state, dict):
            raise CheckpointError(
                Problem("the checkpoint's reward transform should be a mapping", "another checkpoint")
            )
        if self._name in state:
            self._transform.load_state_dict(state[self._name])


def transform_class(config: TrainConfig) -> type[RewardTransform] | None:
    """The class that ``reward_transform`` names, which ``reward_kwargs`` fits.

    Raises:
        ConfigError: if there is no such class, or an argument does not fit.
    """
    name = config.reward_transform
    kinds = [] if name is None else [user_classes.find_class("reward_transform", name, RewardTransform)]
    user_classes.arguments_of(kinds, "reward_kwargs", config.reward_kwargs, fixed=2)
    return kinds[0] if kinds else None


def make_rewards(config: TrainConfig, spec: Spec, device: torch.device) -> Rewards:
    """What stands between rollouts and learner in a run.

    Raises:
        ConfigError: as :func:`transform_class` does.
    """
    kind = transform_class(config)
    if kind is None:
        return RawRewards()
    with global_streams(config.seed, "reward_transform/build"):
        transform = kind(spec, device, **deepcopy(config.reward_kwargs))
        return TransformedRewards(transform, spec, device, config.seed)
