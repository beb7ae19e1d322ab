"""What every logger is: something that is told of a run's start, each iteration, and its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ppo_cli.config import TrainConfig
from ppo_cli.loggers.metrics import COLUMNS, Metrics


@dataclass(frozen=True)
class RunInfo:
    """What a logger may show of a run before its first iteration.

    Attributes:
        config: The run's configuration.
        run_dir: The run's own folder; it exists.
        total_timesteps: The budget; where each iteration has as many steps, rounded up to whole ones.
        num_parameters: Trainable parameters of the network.
        start_step: Where the run goes on from; 0 for a new one. Rows beyond it that a logger wrote before are to be
            dropped, for they come again.
        history: The rows up to there, as far as they are known (``metrics.csv`` holds them).
        columns: The names of each row's metrics: those of every run, and those that parts of the user's add.
    """

    config: TrainConfig
    run_dir: Path
    total_timesteps: int
    num_parameters: int
    start_step: int = 0
    history: Sequence[Metrics] = ()
    columns: tuple[str, ...] = COLUMNS


class Logger(Protocol):
    """One destination of a run's metrics."""

    def start(self, run: RunInfo) -> None:
        """The run begins."""

    def log(self, row: Metrics) -> None:
        """One iteration is over; ``row`` has exactly the names of ``RunInfo.columns``."""

    def close(self, summary: dict[str, Any]) -> None:
        """The run is over, finished or not.

        Called once, also after an error, even if ``start`` was never reached.

        Args:
            summary: What ``summary.json`` holds. Loggers read its ``status``, ``step``, ``final_return``,
                ``best_return`` and ``best_step``.
        """
