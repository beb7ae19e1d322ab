"""Modules of the user's that settings name: out of a file, they are imported only if a command names them, too."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from operator import attrgetter
from typing import Any

from ppo_cli.config import TrainConfig, own_modules, show
from ppo_cli.errors import ConfigError, Problem

KEYS = {"env": "env.id", "network": "network.module"}
"""The settings behind what is typed of the user's modules, where they are called otherwise."""
NAMES = {setting: name for name, setting in KEYS.items()}
"""The other way round."""


def modules_to_name(config: TrainConfig) -> dict[str, str]:
    """The settings that name modules of the user's, which ``resume`` imports only if they are typed again."""
    named = own_modules(config)
    named |= {"objective": config.objective} if ":" in config.objective else {}
    named |= {"logger": show(config.logger)} if ":" in show(config.logger) else {}
    named |= {"callbacks": show(config.callbacks)} if config.callbacks else {}
    named |= {"reward_transform": config.reward_transform} if config.reward_transform is not None else {}
    return {"env.wrappers" if key == "wrappers" else key: value for key, value in named.items()}


def modules_again(config: TrainConfig, named: Collection[str]) -> dict[str, Any]:
    """The settings that name modules of the user's, as they have to be given again to go on."""
    keys = [KEYS.get(key, key) for key in modules_to_name(config) if key in named]
    return {key: attrgetter(key)(config) for key in keys}


def check_modules_named(config: TrainConfig, given: Collection[str], whose: str = "") -> None:
    """See that no code of a module that a file names is run unless the user names it too.

    Args:
        config: The settings in the file.
        given: Those that are given again, as :func:`modules_again` has them.
        whose: Whose settings they are, as words before their names.

    Raises:
        ConfigError: says what to name.
    """
    problems = [
        Problem(
            f"{whose}{key}={value} lives in a module, which is imported only if you say so",
            shlex.quote(f"{key}={value}"),
        )
        for key, value in modules_to_name(config).items()
        if KEYS.get(key, key) not in given
    ]
    if problems:
        raise ConfigError(problems)
