"""Every logger that a run needs, made and told as one."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ppo_cli.config import TrainConfig
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.loggers.base import Logger, RunInfo
from ppo_cli.loggers.lines import PlainLines
from ppo_cli.loggers.metrics import Metrics
from ppo_cli.runs.names import CURVES_FILE, METRICS_FILE, TENSORBOARD_FOLDER


class LoggerHub:
    """All loggers of a run as one; one that fails is told no more, and the training goes on.

    Args:
        loggers: In the order in which to start and close them.
        record_problem: Is told who failed, of what, and what follows from it.
    """

    def __init__(self, loggers: Sequence[Logger], record_problem: Callable[[object, Exception, str], None]) -> None:
        self._loggers, self._failed = list(loggers), list[Logger]()
        self._record_problem = record_problem

    def start(self, run: RunInfo) -> None:
        """The run begins."""
        self._notify(lambda logger: logger.start(run))

    def log(self, row: Metrics) -> None:
        """One iteration is over."""
        self._notify(lambda logger: logger.log(row))

    def _notify(self, tell: Callable[[Logger], None]) -> None:
        for logger in list(self._loggers):
            try:
                tell(logger)
            except Exception as error:
                self._record_problem(logger, error, "failed and is off from here on")
                self._loggers.remove(logger)
                self._failed.append(logger)

    def close(self, summary: dict[str, Any]) -> None:
        """The run is over: each is closed, those that failed as well."""
        for logger in (*self._loggers, *self._failed):
            try:
                logger.close(summary)  # only now looked up: somebody's logger may lack it
            except Exception as error:
                self._record_problem(logger, error, "could not be closed")


PACKAGES = {"wandb": "wandb", "mlflow": "mlflow-skinny sqlalchemy alembic"}
"""What to install for each tracker."""


def check_installed(tracker: str) -> None:
    """See that a tracker's package is there, without the seconds that importing it takes.

    Raises:
        ConfigError: says what to install.
    """
    found = importlib.util.find_spec(tracker)
    if found is None or found.origin is None:  # a folder of that name, such as runs leave, is no package
        what = f"logger: {tracker} needs a package that is missing"
        raise ConfigError(Problem(what, f"pip install {PACKAGES[tracker]}"))


def make_loggers(config: TrainConfig, run_dir: Path, terminal: bool, changed: bool = False) -> list[Logger]:
    """Every logger that a run needs.

    Args:
        config: The run's configuration; ``config.logger`` names the files to write.
        run_dir: The run's folder.
        terminal: Whether a person watches in a terminal, which gets the live display.
        changed: Whether settings differ from here on from those that the rows so far were made with.

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

        loggers.append(CsvLogger(run_dir / METRICS_FILE))
    if "tensorboard" in config.logger:
        from ppo_cli.loggers.tensorboard import TensorBoardLogger

        loggers.append(TensorBoardLogger(run_dir / TENSORBOARD_FOLDER))
    if "wandb" in config.logger:
        from ppo_cli.loggers.wandb import WandbLogger

        loggers.append(WandbLogger(run_dir, changed))
    if "mlflow" in config.logger:
        from ppo_cli.loggers.mlflow import MlflowLogger

        loggers.append(MlflowLogger(run_dir, changed))
    loggers += [own_logger(name)(run_dir) for name in config.logger if ":" in name]
    from ppo_cli.loggers.curves import CurvesLogger

    loggers.append(CurvesLogger(run_dir / CURVES_FILE))
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
