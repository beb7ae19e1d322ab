"""What a command line comes to, in this process: its settings, or what is wrong with it."""

from __future__ import annotations

import pytest

from ppo_cli.config import TrainConfig
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.hydra_ext import argv
from ppo_cli.hydra_ext.compose import checked, loader, prepare


def composed(*typed: str) -> TrainConfig:
    """The settings of a run."""
    line = argv.parse(typed, TrainConfig)
    prepare(line.user_dir)
    with loader("train") as load:
        config: TrainConfig = checked(TrainConfig, load, line.overrides)
    return config


def refused(*typed: str) -> Problem:
    """The one thing that is wrong."""
    with pytest.raises(ConfigError) as caught:
        composed(*typed)
    (problem,) = caught.value.problems
    return problem
