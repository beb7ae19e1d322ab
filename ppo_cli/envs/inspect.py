"""Trying an environment out: what its spaces are, and whether it keeps to them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from ppo_cli.algorithm.finite import without_choice
from ppo_cli.config import EnvConfig
from ppo_cli.envs.edge import form
from ppo_cli.envs.families import registered
from ppo_cli.envs.make import make_env, told
from ppo_cli.envs.spaces import MASK_KEY, describe, flat_mask, leaves, values
from ppo_cli.errors import ConfigError, Problem, RunError, UserError, notes
from ppo_cli.seeding import global_streams
from ppo_cli.spec import Spec

log = logging.getLogger("ppo_cli")


BROKEN = "Broken environment"
TRIAL_STEPS = 16  # random steps that an environment is tried for before training


@dataclass(frozen=True)
class Inspection:
    """What one construction of an environment tells.

    Attributes:
        spec: The rows that its observations and actions become.
        observations: Gymnasium's space of its observations.
        actions: Likewise of its actions.
        metadata: Gymnasium's ``metadata``.
    """

    spec: Spec
    observations: gym.Space[Any]
    actions: gym.Space[Any]
    metadata: dict[str, Any]


def inspect(config: EnvConfig, trial_steps: int = TRIAL_STEPS) -> Inspection:
    """Build an environment, read its spaces, and take a few random steps to see that it keeps to them.

    Args:
        config: Which.
        trial_steps: How many; none are taken where actions may be forbidden.

    Raises:
        ConfigError: if it cannot be built or reset, a space is of a kind the agent has no network or head for, or what
            comes is not what the spaces promise.
    """
    with global_streams(0, "inspect"):
        return _inspect(config, trial_steps)


def _inspect(config: EnvConfig, trial_steps: int) -> Inspection:
    env = make_env(config)
    try:
        with _told(config):
            spaces = env.observation_space, env.action_space
            describe(config.id, *spaces)  # before anything is compared with them
            before = str(spaces[0])
            observation, info = env.reset(seed=0)
            if form(env.observation_space) != form(spaces[0]):
                what = f"{config.id}: reset() changes the observation space from {before} to {env.observation_space}"
                raise ConfigError(Problem(what, "an observation_space that is set in __init__ for good"), BROKEN)
            source, mask = _first_mask(env, observation, info)
        spec = describe(config.id, *spaces, source)
        _check_mask(config, spec, mask)
        if trial_steps:
            with _told(config):
                late = _try_out(config, env, spec, observation, info, trial_steps)
            if late is not None:  # it shows masks, if not at once; until then everything is allowed
                spec = describe(config.id, *spaces, "info")
                _check_mask(config, spec, late)
        return Inspection(spec, *spaces, env.metadata)
    finally:
        _close(env)


def _check_mask(config: EnvConfig, spec: Spec, mask: Any) -> None:
    """See that a mask fits the choices that there are."""
    if mask is not None and len(flat_mask(mask)) != spec.num_options:
        what = f"{config.id}: the mask has {len(flat_mask(mask))} entries for {spec.num_options} choices"
        raise ConfigError(Problem(what, "a mask with one entry for every choice"), BROKEN)


@contextmanager
def _told(config: EnvConfig) -> Iterator[None]:
    """Whatever an environment raises now it would raise in training, and it is the configuration that names it."""
    try:
        yield
    except RunError as error:  # it gave what it must not
        raise ConfigError(error.problems, BROKEN) from error
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise _raised(config, error) from error


def read_spec(config: EnvConfig) -> Spec:
    """Shapes and ranges of an environment's spaces; raises as :func:`inspect` does."""
    return inspect(config, trial_steps=0).spec


def _close(env: gym.Env[Any, Any]) -> None:
    try:
        env.close()
    except Exception:  # all that was wanted of it is known
        log.debug("an environment could not be closed", exc_info=True)


def longest_episode(config: EnvConfig) -> int | None:
    """The time limit in steps; ``None`` where none is known."""
    if config.max_episode_steps is not None:
        return config.max_episode_steps
    known = registered(config.id)
    return None if known is None else known.max_episode_steps


def _first_mask(env: gym.Env[Any, Any], observation: Any, info: dict[str, Any]) -> tuple[str, Any]:
    """Where an environment says which actions are allowed, if its observation does not, and what it says first."""
    if isinstance(env.observation_space, gym.spaces.Dict) and MASK_KEY in env.observation_space.spaces:
        return "", observation[MASK_KEY]
    if env.has_wrapper_attr("action_masks"):
        return "method", env.get_wrapper_attr("action_masks")()
    return ("info", info[MASK_KEY]) if MASK_KEY in info else ("", None)


def _try_out(
    config: EnvConfig, env: gym.Env[Any, Any], spec: Spec, observation: Any, info: dict[str, Any], steps: int
) -> Any:
    """Take random steps and compare what comes with what the spaces promise.

    Returns:
        A mask that came with a step where none came with the reset.

    Raises:
        ConfigError: names what is wrong with the environment.
    """
    _, mask = _first_mask(env, observation, info)
    empty = None if mask is None else without_choice(spec, flat_mask(mask)[None])
    wrong, late = "" if empty is None else f"the mask after reset allows no choice{empty[1] or ' at all'}", None
    env.action_space.seed(0)
    when = "reset"
    for number in range(1, steps + 1):
        found = _wrong_observation(env, observation)
        wrong = wrong or (f"the observation after {when} {found}" if found else "")
        if wrong or mask is not None:
            break  # a random action may be a forbidden one
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        when = f"step {number}"
        wrong = "" if math.isfinite(reward) else f"the reward of {when} is {reward}"
        if terminated or truncated:
            observation, info = env.reset()
        late = mask = _first_mask(env, observation, info)[1]
    if wrong:
        fix = "an environment that keeps to its spaces, or a wrapper that mends it"
        raise ConfigError(Problem(f"{config.id}: {wrong}", fix), BROKEN)
    return late


def _raised(config: EnvConfig, error: BaseException) -> ConfigError:
    what = f"{config.id} raises {told(error, notes(error))}"
    return ConfigError(Problem(what, "env.kwargs.… that it likes, or another env="), BROKEN)


def _wrong_observation(env: gym.Env[Any, Any], observation: Any) -> str:
    """How an observation, which has its space's types already, breaks its promise otherwise.

    Values beyond the bounds are common and do no harm.
    """
    parts = values(env.observation_space, observation)
    for (path, space), value in zip(leaves(env.observation_space), parts, strict=True):
        place = f"(at {path}) " if path else ""
        if not np.isfinite(np.asarray(value)).all():
            return f"{place}is not finite"
        if isinstance(space, gym.spaces.Discrete | gym.spaces.MultiDiscrete) and not space.contains(value):
            return f"{place}is {value}, which is none of {space}"
    return ""
