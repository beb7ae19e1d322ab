"""The list of runs in the terminal, and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ppo_cli.loggers.text import duration
from ppo_cli.places import shown
from ppo_cli.report.catalogue import Entry, Row, rows
from ppo_cli.report.columns import NARROWEST, Column, table
from ppo_cli.report.options import RunsConfig
from ppo_cli.report.records import UnusableError
from ppo_cli.report.settings import ABSENT, in_order, name_of

STYLES = {"finished": "green", "failed": "bold red", "broken": "bold red", "running": "bold"}
MOST_SETTINGS = 4
"""Settings of a run that its line shows; ``--json`` has all."""


def render(entries: Sequence[Entry], told: RunsConfig, jobs: bool, width: int) -> Iterator[RenderableType]:
    """What is printed, from top to bottom.

    Args:
        entries: The runs.
        told: The options.
        jobs: Whether each job of a sweep has a line of its own.
        width: Characters of a line.
    """
    found = rows(entries, jobs)
    if not found:
        filtered = told.env is not None or told.state is not None or told.since is not None
        yield Text("no runs here" + " that the filters let through" * filtered)
        return
    yield _table(found[: told.limit], width)
    if told.limit is not None and len(found) > told.limit:
        yield Text(f"{len(found) - told.limit:,} older ones are not shown; limit=null shows all")


HEADINGS = (
    ("began", 6),  # which a folder's name tells, too
    ("environment", 4),  # as it does this
    ("state", 1),
    ("seed", 5),
    ("settings", 3),
    ("return", 1),
    ("time", 8),
    ("size", 7),
)
"""Columns before the folder, and how soon each is left out where there is no room."""

FOLDED = {"settings": NARROWEST, "state": len("interrupted")}
"""What these keep where there is little room; a sweep's state has many words."""


def _table(found: Sequence[Row], width: int) -> Table:
    lines = [_sweep(row) if row.is_sweep else _run(row.entries[0]) for row in found]
    *cells, folders = zip(*lines, strict=True)
    numbers = ("seed", "return", "time", "size")
    columns = [
        Column(heading, own, rank, right=heading in numbers, folds=FOLDED.get(heading, 0))
        for (heading, rank), own in zip(HEADINGS, cells, strict=True)
    ]
    return table([*columns, Column("folder", folders)], width)  # which is whole, to be copied from


def _run(one: Entry) -> list[Text]:
    cells = [_when(one.started), one.env or "–", one.state, "–" if one.seed is None else str(one.seed)]
    cells += [_settings(one.settings), _number(one.final_return), _time(one.wall_time), size(one.size)]
    found = [Text(cell) for cell in [*cells, str(shown(one.folder))]]
    found[2].stylize(STYLES.get(one.state, "yellow"))
    return found


def _sweep(row: Row) -> list[Text]:
    jobs = row.entries
    returns = [job.final_return for job in jobs if job.final_return is not None]
    seeds = {job.seed for job in jobs if job.seed is not None}
    times = [job.wall_time for job in jobs if job.wall_time is not None]
    started = [job.started for job in jobs if job.started is not None]
    kind, searched = _kind(row)
    swept = searched or [f"{key}={','.join(in_order(values))}" for key, values in _differing(jobs).items()]
    span = f"{_number(min(returns))} to {_number(max(returns))}" if len(set(returns)) > 1 else ""
    cells = [
        _when(min(started, default=None)),
        ", ".join(sorted({job.env for job in jobs if job.env is not None})) or "–",
        kind,
        f"{len(seeds)} seeds" if len(seeds) > 1 else str(next(iter(seeds), "–")),
        " ".join(swept),
        span or _number(next(iter(returns), None)),
        _time(sum(times) if times else None),
        size(sum(job.size for job in jobs)),
        str(shown(row.folder)),
    ]
    return [Text(cell) for cell in cells]


def _differing(jobs: Sequence[Entry]) -> dict[str, set[str]]:
    """The settings that differ among a sweep's jobs of one environment, with their values there.

    Between environments they differ by presets, too, and a job lists those alone that differ among all runs of its own.
    """
    by_env: dict[str, list[dict[str, str]]] = {}
    for job in jobs:
        if job.env is not None:
            by_env.setdefault(job.env, []).append(job.settings)
    found: dict[str, set[str]] = {}
    for told in by_env.values():
        for key in dict.fromkeys(key for own in told for key in own):
            values = {own.get(key, ABSENT) for own in told}
            if len(values) > 1:
                found.setdefault(key, set()).update(values)
    return found


def _kind(row: Row) -> tuple[str, list[str]]:
    """What kind of sweep it is, and how it stands; of a search also what is searched."""
    jobs = _counts(row.states)
    try:
        search = row.search
    except UnusableError as error:
        return f"sweep: {jobs}" if error.state == "foreign" else f"search ({error}): {jobs}", []
    if search is None:
        return f"sweep: {jobs}", []
    kind = f"search: {_counts(search.states) or 'none begun'} of {search.asked} trials"
    return kind, [
        f"{key}={','.join(one.choices) if one.choices else f'{one.low:g}..{one.high:g}'}"
        for key, one in search.space.items()
    ]


def _counts(states: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items())


def _settings(settings: dict[str, str]) -> str:
    first = dict(list(settings.items())[:MOST_SETTINGS])
    more = len(settings) - len(first)
    return name_of(first) + f" and {more} more" * (more > 0)


def _when(time: datetime | None) -> str:
    try:
        return "–" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):  # the year 1 has no time of here
        return "–"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}"


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)


def size(count: int) -> str:
    """Bytes as people read them."""
    value, unit = float(count), "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, bigger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def as_text(entries: Sequence[Entry]) -> str:
    """All that is known of the runs, as a JSON list."""
    found = []
    for one in entries:
        facts = {**vars(one), "size": one.size}
        facts["folder"], facts["sweep"] = str(one.folder), None if one.sweep is None else str(one.sweep)
        facts["started"] = None if one.started is None else one.started.isoformat()
        found.append(facts)
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"
