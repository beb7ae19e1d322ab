"""What trackers have in common: what a run is called there, and an id in its folder by which it is found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ppo_cli.config import TrainConfig, show, walk
from ppo_cli.loggers.base import RunInfo
from ppo_cli.runs.files import read_json, write_json
from ppo_cli.runs.names import MULTIRUN_FILE
from ppo_cli.trackers import is_tracking

KEPT = "trackers.json"
"""The file in a run's folder that has its id in each tracker, and what else one must know again."""


def settings(config: TrainConfig) -> dict[str, Any]:
    """Every setting that makes a run what it is, by dotted key."""
    return {key: value for key, value, _ in walk(config) if not is_tracking(key)}


def texts(config: TrainConfig) -> dict[str, str]:
    """The same settings as one types them."""
    return {key: show(value) for key, value in settings(config).items()}


def sweep_of(run_dir: Path) -> str | None:
    """The name of the sweep that a run belongs to: the nearest folder above it that holds a ``multirun.yaml``."""
    return next((folder.name for folder in run_dir.parents if (folder / MULTIRUN_FILE).is_file()), None)


def title(run: RunInfo) -> str:
    """What to call a run: a sweep's job by its folder, which says what it differs in; others by environment, too."""
    name = run.run_dir.name
    return name if sweep_of(run.run_dir) is not None else f"{run.config.env.id} {name}"


def kept_id(run_dir: Path, tracker: str) -> str | None:
    """The run's id in a tracker; ``None`` if it has none, or the file cannot be read."""
    found = kept(run_dir).get(tracker)
    return found if isinstance(found, str) else None


def keep(run_dir: Path, key: str, value: Any) -> None:
    """Have an id, or something else that a tracker must know again, kept in the run's folder."""
    write_json(run_dir / KEPT, {**kept(run_dir), key: value})


def kept(run_dir: Path) -> dict[str, Any]:
    """All that is kept; nothing where the file cannot be read."""
    try:
        found = read_json(run_dir / KEPT)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def ending(summary: dict[str, Any]) -> dict[str, Any]:
    """How a run ended, as far as there is anything to say."""
    names = ("status", "final_return", "best_return", "best_step")
    return {name: summary[name] for name in names if summary[name] is not None}
