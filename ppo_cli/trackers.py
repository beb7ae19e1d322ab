"""The settings of experiment trackers: where a run is shown, which changes nothing of what it learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ppo_cli.renames import understands_old_names
from ppo_cli.setting import setting

TRACKERS = ("wandb", "mlflow")
"""The loggers that are trackers. Each has an extra and a group of settings of the same name."""

DEFAULT_PROJECT = "ppo-cli"


@understands_old_names
@dataclass
class WandbConfig:
    """Weights & Biases (logger=[csv,wandb])."""

    project: str = setting(DEFAULT_PROJECT, "project that the run is shown in", since=3)
    entity: str | None = setting(None, "user or team that the project belongs to; null is your own", since=3)
    tags: list[str] = setting([], "tags of the run", empty=True, since=3)
    mode: str | None = setting(
        None, "online or offline; null is as WANDB_MODE says, else online", choices=("online", "offline"), since=3
    )


@understands_old_names
@dataclass
class MlflowConfig:
    """MLflow (logger=[csv,mlflow])."""

    tracking_uri: str | None = setting(
        None, "server, or sqlite:///<file>; null is as MLFLOW_TRACKING_URI says, else MLflow's own", since=3
    )
    experiment: str = setting(DEFAULT_PROJECT, "experiment that the run is shown in", since=3)
    tags: dict[str, Any] = setting({}, "tags of the run", since=3)


def is_tracking(key: str) -> bool:
    """Whether a dotted key is a tracker's setting."""
    return key.partition(".")[0] in TRACKERS
