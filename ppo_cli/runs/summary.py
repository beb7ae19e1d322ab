"""``summary.json``: what a run is, how far it has come, and what repeats it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from ppo_cli.config import TrainConfig
from ppo_cli.plain import as_first_saved, to_plain, up_to_date
from ppo_cli.runs.files import read_json, write_json
from ppo_cli.runs.names import SUMMARY_FILE
from ppo_cli.trackers import TRACKERS

PACKAGES = ("ppo-cli", "torch", "numpy", "gymnasium", "hydra-core", "omegaconf")
ELSEWHERE = ("output_dir", "resume", *TRACKERS)  # settings that say where a run is kept or shown, not what it is


def fingerprint(config: TrainConfig) -> str:
    """The same text for the same run: all its settings as they were asked for.

    It is taken of the first format's settings, so that a run is found which an earlier version made.
    """
    plain = {key: value for key, value in as_first_saved(config).items() if key not in ELSEWHERE}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=repr).encode()).hexdigest()


def as_json(settings: Any) -> Any:
    """Settings as ``summary.json`` has them, where tuples are lists and what JSON does not know is its text."""
    return json.loads(json.dumps(settings, default=repr))


def read_summary(run_dir: Path) -> dict[str, Any] | None:
    """What ``summary.json`` says, its settings up to date; ``None`` if there is none that can be read."""
    try:
        content = read_json(run_dir / SUMMARY_FILE)
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    return {**content, "config": up_to_date(TrainConfig, content.get("config"))}


class Record:
    """A run's summary, written when it begins, with each scheduled checkpoint, and when it ends.

    Args:
        run_dir: The run's folder.
        config: Its configuration, resolved.
        about: What else is known from the start: ``request``, ``command``, ``started`` and ``resumed``.
    """

    def __init__(self, run_dir: Path, config: TrainConfig, about: dict[str, Any]) -> None:
        self._path = run_dir / SUMMARY_FILE
        self._fixed = {
            "env": config.env.id,
            "seed": config.seed,
            **about,
            "config": as_json(to_plain(config)),
            "git_commit": _git_commit(),
            "versions": _versions(),
        }

    def write(self, status: str, facts: dict[str, Any]) -> None:
        """Write how things stand."""
        who = {"pid": os.getpid(), "host": socket.gethostname()}
        write_json(self._path, {"status": status, **facts, **who, **self._fixed})


def now() -> str:
    """The time, as the records have it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # a checkout on the path, never installed
            versions[package] = "unknown"
    return versions


def _git_commit() -> str | None:
    """The commit checked out in the working directory, if that is a repository."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None
