"""One training run as Hydra's task: what it returns, and what it must not raise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from ppo_cli.config import TrainConfig
from ppo_cli.hydra_ext import schema

if TYPE_CHECKING:
    from ppo_cli.trainer import TrainResult


@dataclass(frozen=True)
class Outcome:
    """How a run ended: with a result or with an error.

    Attributes:
        run_dir: The run's folder.
        result: What the trainer returned.
        error: What it raised.
    """

    run_dir: Path
    result: TrainResult | None = None
    error: BaseException | None = None


@dataclass
class Job:
    """A task for Hydra. It returns errors, since Hydra prints lines of its own about those that are raised.

    Attributes:
        command: The command line, as the run's records keep it.
        last: How the latest run ended.
    """

    command: str
    last: Outcome | None = None

    def __call__(self, composed: DictConfig) -> Outcome:
        """Train with a composed config in the folder that Hydra made."""
        from hydra.core.hydra_config import HydraConfig

        from ppo_cli.trainer import train

        run_dir = Path(HydraConfig.get().runtime.output_dir)
        config, _ = schema.build(TrainConfig, OmegaConf.to_container(composed, resolve=True))
        try:
            self.last = Outcome(run_dir, result=train(config, run_dir=run_dir, command=self.command))
        except (Exception, SystemExit) as error:
            self.last = Outcome(run_dir, error=error)
        return self.last
