"""Every logger that a run needs, made and told as one."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ppo_cli.config import TrainConfig
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.loggers.base import Logger
from ppo_cli.loggers.lines import PlainLines


def make_loggers(config: TrainConfig, run_dir: Path, terminal: bool) -> list[Logger]:
    """Every logger that a run needs.

    Args:
        config: The run's configuration; ``config.logger`` names the files to write.
        run_dir: The run's folder.
        terminal: Whether a person watches in a terminal, which gets the live display.

    Returns:
        The loggers in the order in which to start and close them: the display first, so that it has given the
        terminal back before the slow ones finish.
    """
    loggers: list[Logger] = []
    if terminal:
        from ppo_cli.loggers.console import LiveDisplay

        loggers.append(LiveDisplay())
    loggers.append(PlainLines(config))
    if "csv" in config.logger:
        from ppo_cli.loggers.csv import CsvLogger

        loggers.append(CsvLogger(run_dir / "metrics.csv"))
    if "tensorboard" in config.logger:
        from ppo_cli.loggers.tensorboard import TensorBoardLogger

        loggers.append(TensorBoardLogger(run_dir / "tensorboard"))
    loggers += [own_logger(name)(run_dir) for name in config.logger if ":" in name]
    from ppo_cli.loggers.curves import CurvesLogger

    loggers.append(CurvesLogger(run_dir / "curves.png"))
    return loggers


def own_logger(name: str) -> Any:
    """The class of a logger of the user's, ``module:Class``.

    Raises:
        ConfigError: if there is none.
    """
    module_name, _, class_name = name.partition(":")
    try:
        return getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # whatever a module of the user's raises, it is this setting that it refuses
        what = f"logger: {name} cannot be imported: {type(error).__name__}: {error}"
        raise ConfigError(Problem(what, "logger=[csv,module:Class], built as Class(run_dir)")) from error
