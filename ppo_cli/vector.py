"""Environments stepped side by side: which program steps them, and what a step led to."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from ppo_cli.buffer import FinalObservations, Rows
from ppo_cli.config import EnvConfig
from ppo_cli.envs import make_env
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.spaces import Codec, describe
from ppo_cli.specs import Spec


class Transition(NamedTuple):
    """What one vector step led to."""

    observations: Rows  # (envs, obs_size) to act on next
    rewards: npt.NDArray[np.floating[Any]]  # (envs,)
    terminated: npt.NDArray[np.bool_]  # (envs,)
    truncated: npt.NDArray[np.bool_]  # (envs,) and not terminated
    ended: npt.NDArray[np.bool_] | None  # (envs,) terminated or truncated; None: none is
    starts: npt.NDArray[np.bool_] | None  # (envs,) whose ``observations`` begin an episode; None: none does
    real: npt.NDArray[np.bool_] | None  # (envs,) false where the step only fetched an observation; None: all are
    finals: FinalObservations | None  # of the truncated, where ``observations`` begins the next episode already


class VectorEnv:
    """One interface to vector environments of every habit of starting the next episode.

    With SAME_STEP, an episode's last step returns the next one's first observation, and the true last one beside it.
    With NEXT_STEP, it returns the true last observation, and the step after it, whose action is ignored, fetches the
    next episode's first one: such a step is no transition, and ``Transition.real`` says so. With DISABLED, episodes
    that ended are reset here, within the step.

    Args:
        backend: ``native``, ``envpool``, ``sync`` or ``async``.
        config: The environment.
        spec: Its spaces.
        seeds: One per environment.
        autoreset: The habit of those that are built here, ``sync`` and ``async``.
    """

    def __init__(
        self,
        backend: str,
        config: EnvConfig,
        spec: Spec,
        seeds: Sequence[int],
        autoreset: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> None:
        self.num_envs = len(seeds)
        self._spec = spec
        with warnings.catch_warnings():
            # outdated ids are answered in one place, and to what type EnvPool casts its bounds is nobody's concern
            warnings.simplefilter("ignore")
            self._envs, self._reset_seed = _BUILDERS[backend](config, list(seeds), autoreset)
        self._mode = self._envs.metadata.get("autoreset_mode")
        if self._mode not in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED):
            raise ConfigError(Problem(f"vector_backend={backend}: autoreset mode {self._mode}", "vector_backend=sync"))
        observations, actions = self._envs.single_observation_space, self._envs.single_action_space
        if backend in ("native", "envpool"):
            _check_same(backend, config, spec, describe(config.id, observations, actions, spec.mask))
        self._codec = Codec(spec, observations, actions)
        self._asks = spec.mask == "method"
        self._ended = np.zeros(self.num_envs, np.bool_)

    def reset(self) -> Rows:
        """Seed and reset every environment; returns observations (envs, obs_size)."""
        observations, infos = self._envs.reset(seed=self._reset_seed)
        self._ended[:] = False
        return self._pack(observations, infos)

    def step(self, actions: Rows) -> Transition:
        """Apply actions (envs, action_size) in the environment's units."""
        observations, rewards, terminated, truncated, infos = self._envs.step(self._codec.unpack(actions))
        ended = terminated | truncated
        cut = truncated & ~terminated
        any_ended = bool(ended.any())
        starts = real = finals = None
        if self._mode == AutoresetMode.NEXT_STEP:
            if self._ended.any():
                starts = self._ended
                real = ~starts
            self._ended = ended
        elif any_ended:
            starts = ended
            where = cut.nonzero()[0]
            if self._mode == AutoresetMode.DISABLED:
                if len(where):
                    finals = FinalObservations(where, self._pack(observations, infos)[where])
                observations, infos = self._envs.reset(options={"reset_mask": ended})
            elif len(where):
                lasts = [self._codec.pack_one(infos["final_obs"][index], {}) for index in where]
                finals = FinalObservations(where, np.concatenate(lasts))
        rows = self._pack(observations, infos)
        return Transition(rows, rewards, terminated, cut, ended if any_ended else None, starts, real, finals)

    def close(self) -> None:
        """Close every environment."""
        self._envs.close()

    def _pack(self, observations: Any, infos: dict[str, Any]) -> Rows:
        return self._codec.pack(observations, infos, self._envs.call("action_masks") if self._asks else None)


def _check_same(backend: str, config: EnvConfig, spec: Spec, theirs: Spec) -> None:
    """Refuse a vector program that shows something else than the environment itself."""

    def form(one: Spec) -> list[tuple[Any, ...]]:
        parts: list[tuple[Any, ...]] = [(part.kind, part.shape, part.counts) for part in one.observations]
        return parts + [(part.kind, part.size, part.counts) for part in one.actions]

    if form(spec) != form(theirs):
        shapes = ", ".join(str(part.shape) for part in theirs.observations)
        what = f"vector_backend={backend}: {config.id} has other spaces there (observations {shapes})"
        raise ConfigError(Problem(what, "vector_backend=sync"))


Built = tuple[Any, Any]
"""A vector environment, and what its ``reset`` takes as seed."""


def _native(config: EnvConfig, seeds: list[int], _: AutoresetMode) -> Built:
    envs = gym.make_vec(config.id, len(seeds), vectorization_mode="vector_entry_point", **_arguments(config))
    return envs, seeds[0]  # one generator serves all its environments


def _envpool(config: EnvConfig, seeds: list[int], _: AutoresetMode) -> Built:
    import envpool  # type: ignore[import-not-found,unused-ignore]

    name = config.id.rpartition(":")[2]
    envs = envpool.make_gymnasium(name, num_envs=len(seeds), seed=seeds, **_arguments(config))
    _ = envs.observation_space  # made when first asked for, with warnings that are to fall here
    return envs, None


def _sync(config: EnvConfig, seeds: list[int], autoreset: AutoresetMode) -> Built:
    makers = [partial(make_env, config, index=index) for index in range(len(seeds))]
    return SyncVectorEnv(makers, copy=False, autoreset_mode=autoreset), seeds


def _async(config: EnvConfig, seeds: list[int], autoreset: AutoresetMode) -> Built:
    makers = [partial(make_env, config, index=index) for index in range(len(seeds))]
    return AsyncVectorEnv(makers, copy=False, autoreset_mode=autoreset), seeds


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


def _single_only(config: EnvConfig) -> str:
    """The setting that needs environments of one's own building, if there is one."""
    for key in ("wrappers", "frame_stack", "restart_crashed"):
        if getattr(config, key):
            return f"env.{key} is for environments that Gymnasium steps one by one"
    return ""


def _why_not_native(config: EnvConfig) -> str:
    if reason := _single_only(config):
        return reason
    if gym.registry[config.id.rpartition(":")[2]].vector_entry_point is None:
        return f"{config.id} has no vector program of its own"
    return ""


def _why_not_envpool(config: EnvConfig) -> str:
    if importlib.util.find_spec("envpool") is None:
        return "EnvPool is not installed (pip install envpool)"
    if reason := _single_only(config):
        return reason
    if config.kwargs:
        return "EnvPool's environments take other env.kwargs"
    import envpool

    return "" if config.id in envpool.list_all_envs() else f"EnvPool does not know {config.id}"


_WHY_NOT = {"native": _why_not_native, "envpool": _why_not_envpool}
