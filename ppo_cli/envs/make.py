"""Building one environment with its wrappers, and what to say where that fails."""

from __future__ import annotations

import importlib.util
import logging
import re
import traceback
import warnings
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium as gym

from ppo_cli.config import EnvConfig, show
from ppo_cli.devices import TorchSettings
from ppo_cli.envs.edge import Edge, Kept
from ppo_cli.envs.families import import_family, listen_to_mujoco
from ppo_cli.envs.ids import unknown_id
from ppo_cli.envs.restart import RestartOnError
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.spec import Spec

log = logging.getLogger("ppo_cli")


Spaces = tuple[gym.Space[Any], gym.Space[Any]]
"""Of observations and of actions."""


def make_env(
    config: EnvConfig,
    render_mode: str | None = None,
    index: int = 0,
    spec: Spec | None = None,
    spaces: Spaces | None = None,
) -> RestartOnError:
    """Build one environment with its wrappers.

    Args:
        config: Which, and how.
        render_mode: As Gymnasium has it.
        index: Its number among those that step side by side, for messages.
        spec: What is known of it from another one like it: where its masks come from, above all.
        spaces: The spaces that the other one had, to be shown in the place of its own.

    Raises:
        ConfigError: if Gymnasium does not know the id, a package is missing, or the constructor refuses its arguments.
    """

    def make() -> gym.Env[Any, Any]:
        mask, options = (None, 0) if spec is None else (spec.mask, spec.num_options)
        settings = TorchSettings()
        env = _make_wrapped(config, render_mode)
        settings.restore()
        return Edge(env, settings, config.id, index, spaces, mask, options)

    return RestartOnError(make, index, config.restart_crashed)


def _make_wrapped(config: EnvConfig, render_mode: str | None) -> gym.Env[Any, Any]:
    env = _make_bare(config, render_mode)
    for entry in config.wrappers:
        env = _wrapped(env, deepcopy(entry))
    if config.frame_stack is not None:
        # before an episode's first observation there is nothing: that is what vector programs which stack show, too
        env = gym.wrappers.FrameStackObservation(Kept(env), config.frame_stack, padding_type="zero")
    return env


def _make_bare(config: EnvConfig, render_mode: str | None) -> gym.Env[Any, Any]:
    # of each construction its own: constructors take options out of mappings, and keep what they were given
    kwargs = deepcopy(config.kwargs) if render_mode is None else {**deepcopy(config.kwargs), "render_mode": render_mode}
    import_family(config.id)
    listen_to_mujoco(config.id)
    try:
        with warnings.catch_warnings():
            # deprecated and outdated ids are answered in one place, with the id to type
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", ".*render_mode")  # what it refuses is told below
            limit = config.max_episode_steps
            return _with_own_spaces(gym.make(config.id, max_episode_steps=limit, disable_env_checker=True, **kwargs))
    except gym.error.DependencyNotInstalled as error:
        raise ConfigError(Problem(f"{config.id} needs a package that is missing", _pip_line(str(error)))) from error
    except ModuleNotFoundError as error:
        raise ConfigError(Problem(f"{config.id}: {error}", f"pip install {error.name}, or another env=")) from error
    except gym.error.UnregisteredEnv as error:
        raise ConfigError(unknown_id(config.id), "Unknown environment") from error
    except (Exception, SystemExit) as error:  # whatever a constructor raises, it is the configuration that it refuses
        refused = isinstance(error, TypeError | gym.error.Error) and re.search("render_mode|takes no arg", str(error))
        if render_mode is not None and refused:
            raise ConfigError(_not_shown(config.id, render_mode)) from error
        what, fix = f"{config.id} cannot be built: {told(error)}", "env=CartPole-v1, or another environment"
        if config.kwargs:
            what, fix = f"{what} (with env.kwargs={show(config.kwargs)})", "other env.kwargs.…"
        elif isinstance(error, TypeError):  # most likely of an argument that is missing
            fix = "env.kwargs.<name>=<value>, as its constructor has them"
        raise ConfigError(Problem(what, fix)) from error


def _not_shown(env_id: str, render_mode: str) -> Problem:
    """What is wrong where an environment has no pictures, or no window."""
    verb, off = ("shown", "render=null") if render_mode == "human" else ("filmed", "video=false")
    what = f"{env_id} has no render_mode={render_mode}, so it cannot be {verb}"
    return Problem(what, f"{off}, or a constructor that takes render_mode, with a render() that goes by it")


def _with_own_spaces(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """The environment with spaces of its own: many a class has them for all its instances, and samples from them."""
    for name in ("observation_space", "action_space"):
        with suppress(AttributeError):  # it has none, or works it out anew each time
            setattr(env.unwrapped, name, deepcopy(getattr(env.unwrapped, name)))
    return env


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


def told(error: BaseException, notes: str = "") -> str:
    """An error and where it was raised, in one line."""
    said_again = "was raised from the environment creator for" in str(error)  # by Gymnasium, at length
    if error.__cause__ is not None and (said_again or isinstance(error.__cause__, SystemExit)):
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{notes}{place}"


def _pip_line(message: str) -> str:
    """The installation command in Gymnasium's own message; of several, the last, which brings the environment."""
    lines = [part for part in message.split("`") if part.startswith("pip install")]
    return lines[-1] if lines else 'pip install "gymnasium[all]"'
