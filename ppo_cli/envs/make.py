"""The edge to Gymnasium: building environments, trying them out and reading their spaces."""

from __future__ import annotations

import importlib.util
import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from ppo_cli.algorithm.rollout import Rows
from ppo_cli.config import EnvConfig, show
from ppo_cli.envs.ids import import_family, unknown_id
from ppo_cli.envs.spaces import MASK_KEY, describe, flat_mask, leaves, values
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.seeding import stream_seed
from ppo_cli.spec import Spec

log = logging.getLogger("ppo_cli")

TRIAL_STEPS = 16  # random steps that an environment is tried for before training


def make_env(config: EnvConfig, render_mode: str | None = None, index: int = 0) -> gym.Env[Any, Any]:
    """Build one environment with its wrappers.

    Args:
        config: Which, and how.
        render_mode: As Gymnasium has it.
        index: Its number among those that step side by side, for messages.

    Raises:
        ConfigError: if Gymnasium does not know the id, a package is missing, or the constructor refuses its arguments.
    """
    return Watched(partial(_make_wrapped, config, render_mode), index, config.restart_crashed)


def _make_wrapped(config: EnvConfig, render_mode: str | None) -> gym.Env[Any, Any]:
    env = _make_bare(config, render_mode)
    for entry in config.wrappers:
        env = _wrapped(env, entry)
    if config.frame_stack is not None:
        # before an episode's first observation there is nothing: that is what vector programs which stack show, too
        env = gym.wrappers.FrameStackObservation(env, config.frame_stack, padding_type="zero")
    return env


def _make_bare(config: EnvConfig, render_mode: str | None) -> gym.Env[Any, Any]:
    kwargs = dict(config.kwargs) if render_mode is None else {**config.kwargs, "render_mode": render_mode}
    import_family(config.id)
    _listen_to_mujoco(config.id)
    try:
        with warnings.catch_warnings():
            # deprecated and outdated ids are answered in one place, with the id to type
            warnings.simplefilter("ignore", DeprecationWarning)
            return gym.make(config.id, max_episode_steps=config.max_episode_steps, disable_env_checker=True, **kwargs)
    except gym.error.DependencyNotInstalled as error:
        raise ConfigError(Problem(f"{config.id} needs a package that is missing", _pip_line(str(error)))) from error
    except ModuleNotFoundError as error:
        raise ConfigError(Problem(f"{config.id}: {error}", f"pip install {error.name}, or another env=")) from error
    except gym.error.UnregisteredEnv as error:
        raise ConfigError(unknown_id(config.id), "Unknown environment") from error
    except (Exception, SystemExit) as error:  # whatever a constructor raises, it is the configuration that it refuses
        what = f"{config.id} cannot be built: {_told(error)}"
        if config.kwargs:
            raise ConfigError(
                Problem(f"{what} (with env.kwargs={show(config.kwargs)})", "other env.kwargs.…")
            ) from error
        if isinstance(error, TypeError):  # most likely of an argument that is missing
            raise ConfigError(Problem(what, "env.kwargs.<name>=<value>, as its constructor has them")) from error
        raise ConfigError(Problem(what, "env=CartPole-v1, or another environment")) from error


def _listen_to_mujoco(env_id: str) -> None:
    """Let MuJoCo's warnings reach the log, once a process; by itself it prints them and writes a file beside one."""
    registered = gym.registry.get(env_id.rpartition(":")[2])
    of_gymnasium = registered is not None and str(registered.entry_point).startswith("gymnasium.envs.mujoco")
    if of_gymnasium and importlib.util.find_spec("mujoco") is not None:
        with suppress(Exception):  # one that is broken is answered where the environment is built
            importlib.import_module("mujoco")
    mujoco = sys.modules.get("mujoco")  # or somebody else's environment brought it
    if mujoco is not None and mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_mujoco_warns)


@cache
def _log_once(level: int, message: str) -> None:
    log.log(level, "MuJoCo: %s", message)


def _mujoco_warns(message: str) -> None:
    # what it says of old words in a robot's file is for whoever wrote that
    _log_once(logging.DEBUG if "deprecated" in message else logging.WARNING, message.partition(" Time = ")[0])


class Watched(gym.Wrapper[Any, Any, Any, Any]):
    """Says of an error in which environment and in what it was raised and, if asked to, builds that one anew.

    An environment that was built anew ends its episode there, cut short, with the last observation that there was.

    Args:
        make: Builds the environment, wrappers and all.
        index: Its number among those that step side by side.
        restart: Go on after an error.
    """

    def __init__(self, make: Callable[[], gym.Env[Any, Any]], index: int, restart: bool) -> None:
        super().__init__(make())
        self._make, self._index, self._restart = make, index, restart
        self._seed: int | None = None
        self._restarts = 0
        self._last: Any = None

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment does."""
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
        except Exception as error:
            self._note(error, "step")
            if not self._restart:
                raise
            self._warn(error, "step")
        else:
            if truncated:  # the reset that comes before it is read may write into the same array
                observation = deepcopy(observation)
            self._last = observation
            return observation, reward, terminated, truncated, info
        last = self._last
        self._rebuild()
        _, info = self._begin(stream_seed(self._seed or 0, "restart", self._restarts), None)
        return last, 0.0, False, True, info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the environment does."""
        self._seed = self._seed if seed is None else seed
        try:
            return self._begin(seed, options)
        except Exception as error:
            if not self._restart:
                raise
            self._warn(error, "reset")
        self._rebuild()
        return self._begin(seed, options)

    def _begin(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        try:
            self._last, info = self.env.reset(seed=seed, options=options)
        except Exception as error:
            self._note(error, "reset")
            raise
        return self._last, info

    def _note(self, error: Exception, method: str) -> None:
        note = f"in {method}() of environment {self._index}"
        error.__notes__ = [*getattr(error, "__notes__", ()), note]  # Python 3.10 has no add_note

    def _warn(self, error: Exception, method: str) -> None:
        told = f"{type(error).__name__}: {error}"
        log.warning("environment %d raised in %s() and is built anew: %s", self._index, method, told)
        log.debug("its traceback", exc_info=error)

    def _rebuild(self) -> None:
        try:
            self.env.close()
        except Exception:  # it is broken already
            log.debug("a broken environment could not be closed", exc_info=True)
        self._restarts += 1
        self.env = self._make()


_LEARNS = "learns as it goes, and an evaluation's fresh environments would know nothing"
_REFUSED = (
    (gym.wrappers.NormalizeObservation, _LEARNS, "normalize_obs=true, whose statistics are saved with the run"),
    (gym.wrappers.NormalizeReward, _LEARNS, "normalize_reward=true, whose statistics are saved with the run"),
    (  # of a stranger's checkpoint, too
        gym.wrappers.RecordVideo,
        "writes files wherever its arguments say",
        "ppo-eval checkpoint=<run folder> video=true, which films episodes",
    ),
)
"""Gymnasium's wrappers that are not put on: why, and what serves in their place."""


def _wrapped(env: gym.Env[Any, Any], entry: Any) -> gym.Env[Any, Any]:
    """``env`` in the wrapper that an entry of ``env.wrappers`` names, with its arguments."""
    name, arguments = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else (entry, {})
    fix = "env.wrappers=[TimeAwareObservation,{RescaleAction:{min_action:-1,max_action:1}},module:Class]"
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ConfigError(
            Problem(f"env.wrappers: {show(entry)} is neither a name nor {{name: {{argument: value}}}}", fix)
        )
    module_name, colon, class_name = name.partition(":")
    try:
        wrapper = getattr(importlib.import_module(module_name), class_name) if colon else getattr(gym.wrappers, name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(Problem(f"env.wrappers: there is no wrapper {name} ({error})", fix)) from error
    for kind, why, instead in _REFUSED:
        if wrapper is kind:  # under whatever name: modules hand it on
            raise ConfigError(Problem(f"env.wrappers: {name} {why}", instead))
    try:
        wrapped: gym.Env[Any, Any] = wrapper(env, **arguments)
    except gym.error.DependencyNotInstalled as error:
        what = f"env.wrappers: {name} needs a package that is missing"
        raise ConfigError(Problem(what, _pip_line(str(error)))) from error
    except Exception as error:  # whatever its constructor raises, it is the configuration that it refuses
        raise ConfigError(Problem(f"env.wrappers: {name} refuses {show(arguments)}: {error}", fix)) from error
    if not isinstance(wrapped, gym.Env):
        raise ConfigError(Problem(f"env.wrappers: {name} makes no environment, but {type(wrapped).__name__}", fix))
    return wrapped


def _told(error: BaseException, notes: str = "") -> str:
    """An error and where it was raised, in one line."""
    if "was raised from the environment creator for" in str(error) and error.__cause__ is not None:
        error = error.__cause__  # which Gymnasium says again at length
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{notes}{place}"


def _pip_line(message: str) -> str:
    """The installation command in Gymnasium's own message; of several, the last, which brings the environment."""
    lines = [part for part in message.split("`") if part.startswith("pip install")]
    return lines[-1] if lines else 'pip install "gymnasium[all]"'


def read_spec(config: EnvConfig) -> Spec:
    """Shapes and ranges of the environment's spaces.

    Raises:
        ConfigError: if it cannot be built or reset, or a space is of a kind the agent has no network or head for.
    """
    env = make_env(config)
    try:
        try:
            source, mask = _first_mask(env, *env.reset(seed=0))
            spaces = env.observation_space, env.action_space
        except (Exception, SystemExit) as error:  # whatever it raises now it would raise in training
            raise _raised(config, error) from error
        spec = describe(config.id, *spaces, source)
        if mask is not None and len(flat_mask(mask)) != spec.num_options:
            what = f"{config.id}: the mask has {len(flat_mask(mask))} entries for {spec.num_options} choices"
            raise ConfigError(Problem(what, "a mask with one entry for every choice"), "Broken environment")
        return spec
    finally:
        _close(env)


def _close(env: gym.Env[Any, Any]) -> None:
    try:
        env.close()
    except Exception:  # all that was wanted of it is known
        log.debug("an environment could not be closed", exc_info=True)


def longest_episode(config: EnvConfig) -> int | None:
    """The time limit in steps; ``None`` where none is known."""
    if config.max_episode_steps is not None:
        return config.max_episode_steps
    registered = gym.registry.get(config.id.rpartition(":")[2])  # none where an id leaves its version out
    return None if registered is None else registered.max_episode_steps


def _without_choice(spec: Spec, mask: Rows) -> str:
    """Which entry of the action a mask leaves nothing to choose for; empty if none."""
    counts = [count for part in spec.actions for count in part.counts]
    empty = [entry for entry, part in enumerate(np.split(mask, np.cumsum(counts)[:-1])) if not part.any()]
    return f" for entry {empty[0]} of the action" if empty and len(counts) > 1 else " at all" if empty else ""


def _first_mask(env: gym.Env[Any, Any], observation: Any, info: dict[str, Any]) -> tuple[str, Any]:
    """Where an environment says which actions are allowed, if its observation does not, and what it says first."""
    if isinstance(env.observation_space, gym.spaces.Dict) and MASK_KEY in env.observation_space.spaces:
        return "", observation[MASK_KEY]
    if env.has_wrapper_attr("action_masks"):
        return "method", env.get_wrapper_attr("action_masks")()
    return ("info", info[MASK_KEY]) if MASK_KEY in info else ("", None)


def try_out(config: EnvConfig) -> None:
    """Take a few random steps and compare what comes with what the spaces promise.

    Raises:
        ConfigError: names what is wrong with the environment.
    """
    env = make_env(config)
    try:
        problems = _trial(config, env)
    except (Exception, SystemExit) as error:  # likewise
        raise _raised(config, error) from error
    finally:
        _close(env)
    if problems:
        raise ConfigError(problems, "Broken environment")


def _trial(config: EnvConfig, env: gym.Env[Any, Any]) -> list[Problem]:
    env.action_space.seed(0)
    observation, info = env.reset(seed=0)
    source, mask = _first_mask(env, observation, info)
    spec = describe(config.id, env.observation_space, env.action_space, source)
    if mask is not None and (lost := _without_choice(spec, flat_mask(mask))):
        return [_broken(config, f"the mask after reset allows no choice{lost}")]
    when = "reset"
    for number in range(1, TRIAL_STEPS + 1):
        wrong = _wrong_observation(env, observation)
        if wrong:
            return [_broken(config, f"the observation after {when} {wrong}")]
        if _has_mask(env, info):
            break  # a random action may be a forbidden one
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        when = f"step {number}"
        if wrong := _wrong_reward(reward):
            return [_broken(config, f"the reward of {when} {wrong}")]
        if terminated or truncated:
            observation, info = env.reset()
    return []


def _raised(config: EnvConfig, error: BaseException) -> ConfigError:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    what = f"{config.id} raises {_told(error, notes)}"
    return ConfigError(Problem(what, "env.kwargs.… that it likes, or another env="), "Broken environment")


def _broken(config: EnvConfig, what: str) -> Problem:
    return Problem(f"{config.id}: {what}", "an environment that keeps to its spaces, or a wrapper that mends it")


def _has_mask(env: gym.Env[Any, Any], info: dict[str, Any]) -> bool:
    """Whether not every action is allowed at every time."""
    space = env.observation_space
    in_observation = isinstance(space, gym.spaces.Dict) and MASK_KEY in space.spaces
    return in_observation or MASK_KEY in info or env.has_wrapper_attr("action_masks")


def _wrong_reward(reward: Any) -> str:
    try:
        number = float(reward)
    except (TypeError, ValueError):
        return f"is {reward!r}, which is no number"
    return "" if np.isfinite(number) else f"is {number}"


def _wrong_observation(env: gym.Env[Any, Any], observation: Any) -> str:
    """How an observation breaks its space's promise; values beyond the bounds are common and do no harm."""
    try:
        parts = list(values(env.observation_space, observation))
    except (LookupError, TypeError) as error:
        return f"is {type(observation).__name__} and lacks a part of its space ({type(error).__name__}: {error})"
    for (path, space), value in zip(leaves(env.observation_space), parts, strict=True):
        array, place = np.asarray(value), f"(at {path}) " if path else ""
        if array.shape != (space.shape or ()):
            return f"{place}has shape {array.shape}, and its space {space.shape}"
        if array.dtype.kind not in "fiub":
            return f"{place}is of type {array.dtype}, which is no number"
        if not np.isfinite(array).all():
            return f"{place}is not finite"
        if isinstance(space, gym.spaces.Discrete | gym.spaces.MultiDiscrete) and not space.contains(value):
            return f"{place}is {value}, which is none of {space}"
    return ""
