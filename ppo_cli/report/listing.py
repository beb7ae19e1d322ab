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
from ppo_cli.report.options import RunsConfig
from ppo_cli.report.settings import ABSENT, in_order, name_of

STYLES = {"finished": "green", "failed": "bold red", "broken": "bold red", "running": "bold"}
MOST_SETTINGS = 4
"""Settings of a run that its line shows; ``--json`` has all."""


def render(entries: Sequence[Entry], told: RunsConfig, jobs: bool) -> Iterator[RenderableType]:
    """What is printed, from top to bottom.

    Args:
        entries: The runs.
        told: The options.
        jobs: Whether each job of a sweep has a line of its own.
    """
    found = rows(entries, jobs)
    if not found:
        filtered = told.env is not None or told.state is not None or told.since is not None
        yield Text("no runs here" + " that the filters let through" * filtered)
        return
    yield _table(found[: told.limit])
    if told.limit is not None and len(found) > told.limit:
        yield Text(f"{len(found) - told.limit:,} older ones are not shown; limit=null shows all")


def _table(found: Sequence[Row]) -> Table:
    table = Table()
    table.add_column("began", no_wrap=True)
    for heading in ("environment", "state"):
        table.add_column(heading)
    table.add_column("seed", justify="right")
    table.add_column("settings", overflow="fold")
    for heading in ("return", "time", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("folder", overflow="fold")
    for row in found:
        table.add_row(*(_sweep(row) if row.is_sweep else _run(row.entries[0])))
    return table


def _run(one: Entry) -> list[Text | str]:
    return [
        _when(one.started),
        one.env or "–",
        Text(one.state, STYLES.get(one.state, "yellow")),
        "–" if one.seed is None else str(one.seed),
        Text(_settings(one.settings)),
        _number(one.final_return),
        _time(one.wall_time),
        size(one.size),
        Text(str(shown(one.folder))),
    ]


def _sweep(row: Row) -> list[Text | str]:
    jobs = row.entries
    keys = [key for key in jobs[0].settings if len({job.settings.get(key) for job in jobs}) > 1]
    returns = [job.final_return for job in jobs if job.final_return is not None]
    seeds = {job.seed for job in jobs if job.seed is not None}
    times = [job.wall_time for job in jobs if job.wall_time is not None]
    started = [job.started for job in jobs if job.started is not None]
    swept = [f"{key}={','.join(in_order({job.settings.get(key, ABSENT) for job in jobs}))}" for key in keys]
    return [
        _when(min(started, default=None)),
        ", ".join(sorted({job.env for job in jobs if job.env is not None})) or "–",
        Text(f"sweep: {', '.join(f'{count} {state}' for state, count in row.states.items())}"),
        f"{len(seeds)} seeds" if len(seeds) > 1 else str(next(iter(seeds), "–")),
        Text(" ".join(swept)),
        f"{_number(min(returns))} to {_number(max(returns))}"
        if len(returns) > 1
        else _number(next(iter(returns), None)),
        _time(sum(times) if times else None),
        size(sum(job.size for job in jobs)),
        Text(str(shown(row.folder))),
    ]


def _settings(settings: dict[str, str]) -> str:
    first = dict(list(settings.items())[:MOST_SETTINGS])
    more = len(settings) - len(first)
    return name_of(first) + f" and {more} more" * (more > 0)


def _when(time: datetime | None) -> str:
    return "–" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M}"


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
        facts = dict(one.__dict__)
        facts["folder"], facts["sweep"] = str(one.folder), None if one.sweep is None else str(one.sweep)
        facts["started"] = None if one.started is None else one.started.isoformat()
        found.append(facts)
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"
