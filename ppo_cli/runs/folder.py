"""Where runs are kept: ``<output_dir>/<environment>/<date_time_uid>``, a folder of its own for each."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from ppo_cli.errors import ConfigError, Problem
from ppo_cli.places import shown
from ppo_cli.runs.names import CHECKPOINTS_FOLDER, SUMMARY_FILE

STAMP_VARIABLE = "PPO_CLI_STAMP"
"""Environment variable that holds a command's stamp, so that worker processes agree on it."""


def new_stamp() -> str:
    """Date, time and a random part, so that two runs of the same second differ."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(4)}"


def command_stamp() -> str:
    """The stamp of this command: one for its whole life, in all its processes."""
    return os.environ.setdefault(STAMP_VARIABLE, new_stamp())


def slug(text: str, limit: int = 80) -> str:
    """A folder name for any text: ASCII letters, digits, ``.``, ``-`` and ``_`` only, at most ``limit`` long.

    A cut name ends in a hash of the whole, so that two long texts do not meet.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "unnamed"
    if len(name) <= limit:
        return name
    return f"{name[: limit - 7]}-{hashlib.sha1(text.encode()).hexdigest()[:6]}"


def new_run_dir(output_dir: str, env_id: str) -> Path:
    """Make the folder of a run that no command line started."""
    run_dir = Path(output_dir) / slug(env_id) / new_stamp()
    run_dir.mkdir(parents=True)
    return run_dir


def holds_run(folder: Path) -> bool:
    """Whether a run has been here, however far it came."""
    return any((folder / name).exists() for name in (SUMMARY_FILE, CHECKPOINTS_FOLDER))


def claim(folder: Path) -> None:
    """Make a run's folder, and its ``checkpoints/`` as the sign that it is taken: of several commands, one gets it.

    Raises:
        ConfigError: if it holds a run already, or another command was faster.
    """
    check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        (folder / CHECKPOINTS_FOLDER).mkdir()
    except FileExistsError:
        check_free(folder)


def check_free(folder: Path) -> None:
    """See that no run has been in a folder.

    Raises:
        ConfigError: if one has.
    """
    if holds_run(folder):
        name = shown(folder)
        raise ConfigError(Problem(f"{name} holds a run already", f"ppo-train resume={name}, or another folder"))


def give_up(folder: Path) -> None:
    """Take a claim back, and with it the folder if nothing was written there."""
    with suppress(OSError):
        (folder / CHECKPOINTS_FOLDER).rmdir()
        folder.rmdir()
