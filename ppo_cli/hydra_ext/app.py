"""The whole of Hydra behind three calls: show something, train once, or sweep."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import hydra

from ppo_cli.config import TrainConfig
from ppo_cli.folders import STAMP_VARIABLE, new_stamp
from ppo_cli.hydra_ext.argv import CommandLine
from ppo_cli.hydra_ext.compose import compose, conf_dir, prepare, version_base


def start(line: CommandLine, eval_env: str | None = None) -> None:
    """Make this process ready to compose: our schemas, a stamp for its folders, and modules beside the user."""
    # Last, so that a file of the user's named like a library's module does not take its place.
    sys.path.append(os.getcwd())  # noqa: PTH109 - sys.path holds texts
    os.environ[STAMP_VARIABLE] = new_stamp()
    prepare(line.user_dir, eval_env)


def hydra_main(line: CommandLine, config_name: str, task: Callable[[Any], Any]) -> None:
    """Hand a command line over to Hydra: it prints, runs or sweeps."""
    sys.argv = [sys.argv[0], *line.to_hydra()]
    hydra.main(config_path=str(conf_dir()), config_name=config_name, **version_base())(task)()


def check_run(line: CommandLine) -> None:
    """Compose and check a single training run, down to its environment and device, before any folder is made.

    Raises:
        ConfigError: names everything that is wrong.
    """
    config = compose(TrainConfig, line.value("--config-name", "-cn") or "train", line.overrides)

    from ppo_cli.run import preflight

    preflight(config)
