"""The edge to Gymnasium: building environments and reading their spaces."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np

from ppo_cli.config import EnvConfig, show
from ppo_cli.env_ids import unknown_id
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.specs import Spec


def make_env(config: EnvConfig, render_mode: str | None = None) -> gym.Env[Any, Any]:
    """Build one environment.

    Raises:
        ConfigError: if Gymnasium does not know the id, a package is missing, or the constructor refuses its arguments.
    """
    kwargs = dict(config.kwargs) if render_mode is None else {**config.kwargs, "render_mode": render_mode}
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
    except Exception as error:  # whatever a constructor raises, it is the configuration that it refuses
        what = f"{config.id} cannot be built: {error}"
        if config.kwargs:
            raise ConfigError(
                Problem(f"{what} (with env.kwargs={show(config.kwargs)})", "other env.kwargs.…")
            ) from error
        raise ConfigError(Problem(what, "env=CartPole-v1, or another environment")) from error


def _pip_line(message: str) -> str:
    """The installation command in Gymnasium's own message; of several, the last, which brings the environment."""
    lines = [part for part in message.split("`") if part.startswith("pip install")]
    return lines[-1] if lines else 'pip install "gymnasium[all]"'


def read_spec(config: EnvConfig) -> Spec:
    """Shapes and ranges of the environment's spaces.

    Raises:
        ConfigError: if it cannot be built, or a space is of a kind the agent has no network or head for.
    """
    env = make_env(config)
    try:
        observations, actions = env.observation_space, env.action_space
    finally:
        env.close()
    problems = []
    if not isinstance(observations, gym.spaces.Box):
        problems.append(
            Problem(
                f"{config.id} has observations of kind {type(observations).__name__}; only Box is supported",
                "an environment with Box observations, or a wrapper that makes them so",
            )
        )
    if not isinstance(actions, gym.spaces.Discrete):
        kind = "continuous (Box)" if isinstance(actions, gym.spaces.Box) else f"of kind {type(actions).__name__}"
        problems.append(
            Problem(
                f"{config.id} has actions that are {kind}; only Discrete actions are supported so far",
                "an environment with Discrete actions, such as env=CartPole-v1 or env=LunarLander-v3",
            )
        )
    if problems:
        raise ConfigError(problems, "Unsupported environment")
    assert isinstance(observations, gym.spaces.Box)
    assert isinstance(actions, gym.spaces.Discrete)
    scale = 1.0 / 255.0 if observations.dtype == np.uint8 and len(observations.shape) >= 2 else 1.0
    return Spec(tuple(observations.shape), int(actions.n), scale, int(actions.start))
