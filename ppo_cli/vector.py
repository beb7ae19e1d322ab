"""Environments stepped side by side: which program steps them, and what a step led to."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from ppo_cli.buffer import FinalObservations, Floats
from ppo_cli.config import EnvConfig
from ppo_cli.envs import make_env
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.specs import Spec


class Transition(NamedTuple):
    """What one vector step led to."""

    observations: Floats  # (envs, obs_size) to act on next
    rewards: npt.NDArray[np.floating[Any]]  # (envs,)
    terminated: npt.NDArray[np.bool_]  # (envs,)
    truncated: npt.NDArray[np.bool_]  # (envs,) and not terminated
    real: npt.NDArray[np.bool_] | None  # (envs,) false where the step only fetched an observation; None: all are
    finals: FinalObservations | None  # of the truncated, where ``observations`` begins the next episode already


class VectorEnv:
    """One interface to vector environments of either habit of starting the next episode.

    With SAME_STEP, an episode's last step returns the next one's first observation, and the true last one beside it.
    With NEXT_STEP, it returns the true last observation, and the step after it, whose action is ignored, fetches the
    next episode's first one: such a step is no transition, and ``Transition.real`` says so.

    Args:
        backend: ``native``, ``envpool``, ``sync`` or ``async``.
        config: The environment.
        spec: Its spaces.
        seeds: One per environment.
    """

    def __init__(self, backend: str, config: EnvConfig, spec: Spec, seeds: Sequence[int]) -> None:
        self.num_envs = len(seeds)
        self._spec = spec
        with warnings.catch_warnings():
            # outdated ids are answered in one place, and to what type EnvPool casts its bounds is nobody's concern
            warnings.simplefilter("ignore")
            self._envs, self._reset_seed = _BUILDERS[backend](config, list(seeds))
        mode = self._envs.metadata.get("autoreset_mode")
        if mode not in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
            raise ConfigError(Problem(f"vector_backend={backend}: autoreset mode {mode}", "vector_backend=sync"))
        if backend == "native" and self._envs.single_observation_space.shape != spec.obs_shape:
            shape = self._envs.single_observation_space.shape
            what = f"vector_backend=native: {config.id} has other observations there, {shape}"
            raise ConfigError(Problem(what, "vector_backend=sync"))
        self._next_step = mode == AutoresetMode.NEXT_STEP
        self._ended = np.zeros(self.num_envs, np.bool_)

    def reset(self) -> Floats:
        """Seed and reset every environment; returns observations (envs, obs_size)."""
        observations, _ = self._envs.reset(seed=self._reset_seed)
        self._ended[:] = False
        return self._flat(observations)

    def step(self, actions: npt.NDArray[np.int64]) -> Transition:
        """Apply actions (envs,), counted from 0."""
        if self._spec.action_start:
            actions = actions + self._spec.action_start
        observations, rewards, terminated, truncated, infos = self._envs.step(actions)
        cut = truncated & ~terminated
        real = finals = None
        if self._next_step:
            real = ~self._ended if self._ended.any() else None
            self._ended = terminated | truncated
        elif cut.any():
            where = cut.nonzero()[0]
            finals = FinalObservations(where, self._flat(np.stack([infos["final_obs"][index] for index in where])))
        return Transition(self._flat(observations), rewards, terminated, cut, real, finals)

    def close(self) -> None:
        """Close every environment."""
        self._envs.close()

    def _flat(self, observations: npt.NDArray[Any]) -> Floats:
        # a copy, for environments write their next observations into the same array
        return np.array(observations, np.float32).reshape(len(observations), -1)


Built = tuple[Any, Any]
"""A vector environment, and what its ``reset`` takes as seed."""


def _native(config: EnvConfig, seeds: list[int]) -> Built:
    envs = gym.make_vec(config.id, len(seeds), vectorization_mode="vector_entry_point", **_arguments(config))
    return envs, seeds[0]  # one generator serves all its environments


def _envpool(config: EnvConfig, seeds: list[int]) -> Built:
    import envpool  # type: ignore[import-not-found,unused-ignore]

    name = config.id.rpartition(":")[2]
    envs = envpool.make_gymnasium(name, num_envs=len(seeds), seed=seeds, **_arguments(config))
    _ = envs.observation_space  # made when first asked for, with warnings that are to fall here
    return envs, None


def _sync(config: EnvConfig, seeds: list[int]) -> Built:
    makers = [lambda: make_env(config)] * len(seeds)
    return SyncVectorEnv(makers, copy=False, autoreset_mode=AutoresetMode.SAME_STEP), seeds


def _async(config: EnvConfig, seeds: list[int]) -> Built:
    makers = [lambda: make_env(config)] * len(seeds)
    return AsyncVectorEnv(makers, copy=False, autoreset_mode=AutoresetMode.SAME_STEP), seeds


_BUILDERS = {"native": _native, "envpool": _envpool, "sync": _sync, "async": _async}


def _arguments(config: EnvConfig) -> dict[str, Any]:
    limit = {} if config.max_episode_steps is None else {"max_episode_steps": config.max_episode_steps}
    return {**config.kwargs, **limit}


def choose_backend(wanted: str, config: EnvConfig) -> tuple[str, str]:
    """The backend that ``vector_backend=wanted`` means here, and why.

    ``auto`` takes the environment's own vector program, then EnvPool where it is installed and knows the environment,
    then Gymnasium's loop. Processes are never taken unasked: for most environments they cost more than they bring.

    Raises:
        ConfigError: if the wanted one cannot serve this environment.
    """
    if wanted != "auto":
        if wanted in _WHY_NOT and (reason := _WHY_NOT[wanted](config)):
            raise ConfigError(Problem(f"vector_backend={wanted}: {reason}", "vector_backend=auto"))
        return wanted, "as asked"
    reasons = []
    for backend, why_not in _WHY_NOT.items():  # asked one by one, for EnvPool takes a second or two to import
        reason = why_not(config)
        if not reason:
            return backend, f"{config.id} has it, and it is the fastest"
        reasons.append(reason)
    return "sync", "; ".join(reasons)


def _why_not_native(config: EnvConfig) -> str:
    if gym.registry[config.id.rpartition(":")[2]].vector_entry_point is None:
        return f"{config.id} has no vector program of its own"
    return ""


def _why_not_envpool(config: EnvConfig) -> str:
    if importlib.util.find_spec("envpool") is None:
        return "EnvPool is not installed (pip install envpool)"
    if config.kwargs:
        return "EnvPool's environments take other env.kwargs"
    import envpool

    return "" if config.id in envpool.list_all_envs() else f"EnvPool does not know {config.id}"


_WHY_NOT = {"native": _why_not_native, "envpool": _why_not_envpool}
