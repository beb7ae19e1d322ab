"""A run's record, read whatever is in its folder: how it stands and what it was told, or why nothing can be said."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ppo_cli.config import ARGUMENTS, TrainConfig, show
from ppo_cli.plain import to_plain, up_to_date
from ppo_cli.report.options import STATES
from ppo_cli.runs.files import read_json
from ppo_cli.runs.lock import is_locked
from ppo_cli.runs.names import ATTEMPTS_FILE, CHECKPOINTS_FOLDER, JOB_FILE, SUMMARY_FILE
from ppo_cli.runs.standing import state_of
from ppo_cli.streams import printable
from ppo_cli.trackers import is_tracking

PROGRAM, OWN = "program", "ppo-cli"
"""The program that made a run, as a setting among the others, and the one whose runs are known from their records."""
MOST_STEPS = 10**15
BEYOND = 1e70
"""Whose fourth power, as tests need it, is still a number."""
MOST_CHARACTERS = 2_000
"""Of a text out of a file, in what is told of it."""


class UnusableError(Exception):
    """A folder holds no run that can be used.

    Attributes:
        state: ``foreign``, ``broken``, or how the run stands: one of ``options.STATES``.
    """

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state = state


@dataclass(frozen=True)
class Record:
    """A run as ``summary.json`` has it.

    Attributes:
        folder: Where it is.
        env: Its environment.
        seed: Its seed.
        settings: All of its settings as one types them, by dotted key, those of an environment's constructor too, but
            not those of trackers.
        status: How it stands.
        step: How far it came.
        budget: Steps it was to make.
        facts: The rest.
    """

    folder: Path
    env: str
    seed: int
    settings: dict[str, str]
    status: str
    step: int
    budget: int
    facts: dict[str, Any] = field(repr=False)


def read_summary_file(folder: Path) -> dict[str, Any]:
    """What ``summary.json`` says.

    Raises:
        UnusableError: if there is none, or it is damaged.
    """
    path = folder / SUMMARY_FILE
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise _without_summary(folder) from None
    except OSError as error:
        raise UnusableError("broken", f"summary.json cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnusableError("broken", "summary.json is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise UnusableError("broken", "summary.json is empty or cut off, and no JSON") from error
    if not isinstance(content, dict) or not isinstance(content.get("status"), str):
        raise UnusableError("broken", "summary.json is not a run's record")
    return content


def _without_summary(folder: Path) -> UnusableError:
    try:
        if is_locked(folder):
            return UnusableError("running", "is about to begin")
        kept = folder / CHECKPOINTS_FOLDER
        state, reason = last_attempt(folder)
        before = state_of(None, False, state)
        if before == "failed":
            return UnusableError("failed", f"failed before it began: {reason or 'see its output.log'}")
        if before == "pruned":
            return UnusableError("pruned", "was pruned before it began")
        if (folder / JOB_FILE).is_file() or (kept.is_dir() and not any(kept.iterdir())):
            return UnusableError("waiting", "has not begun")
        if kept.is_dir():
            return UnusableError("broken", "has no summary.json")
    except OSError as error:
        return UnusableError("broken", f"cannot be read: {error.strerror}")
    return UnusableError("foreign", "has a metrics.csv, but no summary.json")


def read_record(folder: Path) -> Record:
    """What a folder's run is; its status is how it really stands.

    Raises:
        UnusableError: if the record cannot be used.
    """
    content = read_summary_file(folder)
    config, seed, env = content.get("config"), content.get("seed"), content.get("env")
    if not isinstance(config, dict) or not isinstance(env, str) or isinstance(seed, bool) or not isinstance(seed, int):
        raise UnusableError("broken", "summary.json lacks the run's environment, seed or settings")
    step, budget = (_whole(content.get(name)) for name in ("step", "total_timesteps"))
    if step is None or budget is None:
        raise UnusableError("broken", "summary.json lacks the run's steps")
    try:
        flattened = flat({key: value for key, value in _of_today(config).items() if not is_tracking(key)})
        settings = {key: text(value) for key, value in flattened.items()}
        settings[PROGRAM] = OWN
    except (TypeError, AttributeError, RecursionError) as error:
        raise UnusableError("broken", "summary.json holds no settings of a run") from error
    return Record(folder, printable(env), seed, settings, standing(folder, content["status"]), step, budget, content)


@lru_cache(maxsize=1)
def _names() -> dict[str, frozenset[str]]:
    """The settings of today, by the group they stand in; at the root, by an empty name."""
    config = to_plain(TrainConfig())
    groups = {key: frozenset(value) for key, value in config.items() if value and isinstance(value, dict)}
    return {"": frozenset(config), **groups}


def _of_today(config: dict[str, Any]) -> dict[str, Any]:
    """Settings under the names of today, which most are: to look at those first is what makes long lists fast."""
    groups = dict(_names())
    same = config.keys() == groups.pop("")
    if same and all(
        isinstance(config[group], dict) and config[group].keys() == names for group, names in groups.items()
    ):
        return config
    found: dict[str, Any] = up_to_date(TrainConfig, config)
    return found


def standing(folder: Path, status: str) -> str:
    """How a run stands whose record says ``status``: one that was killed says it is running for ever."""
    if status not in ("running", "failed", "interrupted"):
        return status
    try:
        return state_of(status, is_locked(folder), last_attempt(folder)[0])
    except OSError:
        return status


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and (value or name not in ARGUMENTS):
            found |= flat(value, f"{name}.")
        elif value != {}:
            found[name] = value
    return found


def text(value: Any) -> str:
    """A setting as one types it; 1.0 is 1, since neither file nor person always tells them apart."""
    return printable(
        show(int(value) if isinstance(value, float) and value.is_integer() and abs(value) < MOST_STEPS else value)
    )


def last_attempt(folder: Path) -> tuple[str | None, str | None]:
    """How a job's last process ended, and why, as far as a sweep has written that down."""
    try:
        last = read_json(folder / ATTEMPTS_FILE)["attempts"][-1]
        state, reason = last.get("state"), last.get("reason")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None, None
    told = str(reason)[:MOST_CHARACTERS] if reason else None
    return state if state in STATES else None, told


def last_reason(folder: Path) -> str | None:
    """Why a job died."""
    return last_attempt(folder)[1]


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and 0 <= value < MOST_STEPS else None
