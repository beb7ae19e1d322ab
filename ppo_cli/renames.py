"""Settings that had another name before, or have one elsewhere: whoever says it is understood or told the right one."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from ppo_cli.errors import ConfigError, Problem

Kind = TypeVar("Kind", bound=type[Any])

ELSEWHERE = {
    "learning_rate": "lr",
    "alpha": "lr",
    "discount": "gamma",
    "gae_lambda": "lam",
    "lambda": "lam",
    "clip_range": "clip_ratio",
    "clip_coef": "clip_ratio",
    "clip_param": "clip_ratio",
    "clip_range_vf": "value_clip",
    "clip_vloss": "value_clip",
    "vf_coef": "value_coef",
    "ent_coef": "entropy_coef",
    "grad_clip": "max_grad_norm",
    "desired_kl": "target_kl",
    "n_steps": "buffer_size",
    "num_steps": "buffer_size",
    "horizon": "buffer_size",
    "minibatch_size": "batch_size",
    "num_minibatches": "batch_size",
    "n_epochs": "epochs",
    "update_epochs": "epochs",
    "n_envs": "num_envs",
    "total_steps": "total_timesteps",
    "steps": "total_timesteps",
    "n_timesteps": "total_timesteps",
    "norm_obs": "normalize_obs",
    "norm_reward": "normalize_reward",
    "eval_freq": "eval_every",
    "n_eval_episodes": "eval_episodes",
    "save_freq": "checkpoint_every",
    "env_id": "env",
    "gym_id": "env",
    "hidden_dim": "network.hidden_sizes",
    "net_arch": "network.hidden_sizes",
    "activation_fn": "network.activation",
    "model": "checkpoint",
}
"""Names in Stable-Baselines3, CleanRL and other code, and ours."""


def told(old: str, new: str, place: str = "") -> str:
    """What a person reads who said ``old``, perhaps in a file."""
    return f"{old}{place and f' in {place}'} is called {new} now"


def warn(old: str, new: str, stacklevel: int) -> None:
    """Tell someone who writes Python; as any warning of its kind, once for each place in the code."""
    warnings.warn(told(old, new), DeprecationWarning, stacklevel=stacklevel + 1)


def check_agreed(given: Mapping[str, Any], names: Mapping[str, str], place: str = "") -> None:
    """See that no setting has two values, one under each name.

    Args:
        given: Values by name.
        names: The names of today by the old ones.
        place: The file that they stand in.

    Raises:
        ConfigError: names each setting that has.
    """
    problems = [
        Problem(
            f"{place and f'{place}: '}{old}={given[old]} and {new}={given[new]}, but {told(old, new)}",
            f"{new}={given[old]} or {new}={given[new]}",
        )
        for old, new in names.items()
        if old in given and new in given and given[old] != given[new]
    ]
    if problems:
        raise ConfigError(problems)


def understands_old_names(kind: Kind) -> Kind:
    """Let a dataclass be made with the names that its settings had before, and those be read and written."""
    names = {item.metadata["was"]: item.name for item in fields(kind) if item.metadata.get("was")}
    make = kind.__init__

    @functools.wraps(make)
    def init(self: Any, *values: Any, **named: Any) -> None:
        check_agreed(named, names)
        for old in names.keys() & named.keys():
            warn(old, names[old], stacklevel=2)
        make(self, *values, **{names.get(name, name): value for name, value in named.items()})

    if names:
        kind.__init__ = init
    for old, new in names.items():
        setattr(kind, old, _alias(old, new))
    return kind


def _alias(old: str, new: str) -> property:
    def read(self: Any) -> Any:
        warn(old, new, stacklevel=2)
        return getattr(self, new)

    def write(self: Any, value: Any) -> None:
        warn(old, new, stacklevel=2)
        setattr(self, new, value)

    return property(read, write)
