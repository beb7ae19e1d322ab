"""The runs and sweeps below a folder, as a list."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from ppo_cli.errors import ConfigError, Problem
from ppo_cli.report.folders import find, is_sweep
from ppo_cli.report.options import RunsConfig
from ppo_cli.report.records import Record, UnusableError, last_reason, read_record
from ppo_cli.report.search_file import read_search
from ppo_cli.report.searches import Search
from ppo_cli.report.settings import UNLEARNT, differing

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Entry:
    """A run in the list.

    Attributes:
        folder: Where it is.
        sweep: The sweep it is a job of.
        env: Its environment; ``None`` if its record cannot be read, as all that follows.
        state: How it stands.
        reason: Why, where that is known.
        seed: Its seed.
        settings: Settings by dotted key, as one types them, that differ among the runs of its environment.
        started: When it began.
        step: How far it came.
        budget: Steps it was to make.
        final_return: Its last evaluation's mean, else that of its last training episodes.
        best_return: Its best evaluation's.
        wall_time: Seconds it took.
    """

    folder: Path
    sweep: Path | None
    env: str | None
    state: str
    reason: str | None
    seed: int | None
    settings: dict[str, str]
    started: datetime | None
    step: int | None
    budget: int | None
    final_return: float | None
    best_return: float | None
    wall_time: float | None

    @cached_property
    def size(self) -> int:
        """Bytes on disk; looked up only for what is shown."""
        return size_of(self.folder)


@dataclass(frozen=True)
class Row:
    """A line of the list: a run, or a sweep with all of its listed jobs.

    Attributes:
        folder: Where it is.
        entries: The run, or the jobs.
        is_sweep: Which of both.
    """

    folder: Path
    entries: tuple[Entry, ...]
    is_sweep: bool

    @property
    def started(self) -> float:
        """When it began, in seconds of the epoch; of a sweep, when its first job did."""
        return min((one.started.timestamp() for one in self.entries if one.started is not None), default=0.0)

    @property
    def states(self) -> dict[str, int]:
        """How many runs stand how."""
        return dict(Counter(one.state for one in self.entries))

    @cached_property
    def search(self) -> Search | None:
        """The search that the sweep is.

        Raises:
            UnusableError: if what tells of it is damaged, or somebody else's.
        """
        return read_search(self.folder)


def catalogue(words: Sequence[str], told: RunsConfig, now: datetime | None = None) -> list[Entry]:
    """All runs below what words name that the filters let through, the newest first.

    Raises:
        ConfigError: if a word names nothing, or ``since`` is no time.
    """
    since = None if told.since is None else since_when(told.since, now or datetime.now(timezone.utc))
    records: list[tuple[Path, Record | None, str, str | None]] = []
    for folder in find(words).runs:
        try:
            record = read_record(folder)
        except UnusableError as error:
            if error.state != "foreign":
                records.append((folder, None, error.state, str(error)))
            continue
        reason = last_reason(folder) if record.status == "failed" else None
        records.append((folder, record, record.status, reason))
    kept = [
        (folder, record, state, reason)
        for folder, record, state, reason in records
        if (told.state is None or state == told.state)
        and (told.env is None or (record is not None and record.env == told.env))
        and (since is None or (record is not None and _time(record.facts.get("started"), since) >= since))
    ]
    keys = _keys(record for _, record, _, _ in records if record is not None)
    found = [_entry(folder, record, state, reason, keys) for folder, record, state, reason in kept]
    found.sort(key=lambda one: one.folder.name, reverse=True)  # of runs of one second, who was first is not known
    return sorted(found, key=_newest_first)


def _newest_first(one: Entry) -> tuple[bool, float, int]:
    """What to sort by; jobs of a sweep that began in one second come by their numbers, the last one first."""
    number = re.match(r"\d{1,9}(?=_|$)", one.folder.name) if one.sweep is not None else None
    started = 0.0 if one.started is None else one.started.timestamp()
    return one.started is None, -started, -int(number[0]) if number else 0


def _keys(records: Iterable[Record]) -> dict[str, list[str]]:
    """The settings that differ among the runs of each environment."""
    by_env: dict[str, list[Record]] = {}
    for record in records:
        by_env.setdefault(record.env, []).append(record)
    return {env: [key for key in differing(own) if key not in UNLEARNT] for env, own in by_env.items()}


def _entry(folder: Path, record: Record | None, state: str, reason: str | None, keys: dict[str, list[str]]) -> Entry:
    sweep = folder.parent if is_sweep(folder.parent) else None
    if record is None:
        return Entry(folder, sweep, None, state, reason, None, {}, None, None, None, None, None, None)
    facts = record.facts
    return Entry(
        folder=folder,
        sweep=sweep,
        env=record.env,
        state=state,
        reason=reason,
        seed=record.seed,
        settings={key: record.settings[key] for key in keys[record.env] if key in record.settings},
        started=_time(facts.get("started"), None),
        step=record.step,
        budget=record.budget,
        final_return=_number(facts.get("final_return")),
        best_return=_number(facts.get("best_return")),
        wall_time=_number(facts.get("wall_time")),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 and math.isfinite(value) else None


def _time(value: Any, otherwise: Any) -> Any:
    """A record's time; of one without a zone, that of the world."""
    try:
        found = datetime.fromisoformat(value)
        return found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)
    except (TypeError, ValueError):
        return otherwise


def since_when(text: str, now: datetime) -> datetime:
    """The time that ``since=`` means: a date or time, or how long ago.

    Raises:
        ConfigError: if it is neither.
    """
    ago = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if ago:
        return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo is not None else found.astimezone()  # of here, as the list shows it
    except (ValueError, OverflowError, OSError):
        raise ConfigError(Problem(f"since={text} is no time", "since=7d, since=12h or since=2026-01-31")) from None


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder, each once however many names it has."""
    total, seen, open_folders = 0, set(), [str(folder)]
    while open_folders:
        try:
            with os.scandir(open_folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        open_folders.append(entry.path)
                        continue
                    facts = entry.stat(follow_symlinks=False)
                    if facts.st_nlink == 1 or (facts.st_dev, facts.st_ino) not in seen:
                        total += facts.st_size
                        seen.add((facts.st_dev, facts.st_ino))
        except OSError:  # deleted meanwhile, or somebody else's
            continue
    return total


def rows(entries: Sequence[Entry], jobs: bool) -> list[Row]:
    """A line for each run and each sweep, the newest first.

    Args:
        entries: The runs.
        jobs: Whether each job of a sweep has a line of its own.
    """
    found: dict[Path, list[Entry]] = {}
    for one in entries:
        found.setdefault(one.folder if jobs or one.sweep is None else one.sweep, []).append(one)
    made = [Row(folder, tuple(own), own[0].folder != folder) for folder, own in found.items()]
    return sorted(made, key=lambda row: -row.started)
