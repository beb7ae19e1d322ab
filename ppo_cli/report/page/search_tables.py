"""The tables of a search on the page."""

from __future__ import annotations

from ppo_cli.loggers.text import duration
from ppo_cli.report import believed
from ppo_cli.report.page.tables import Cell, Grid, sortable
from ppo_cli.report.searches import Search, Trial
from ppo_cli.report.settings import ABSENT, short
from ppo_cli.report.verdict import share

MOST_TRIALS = 500


def finals(search: Search, level: float) -> Grid:
    """A row a final: what was believed of it, and what held."""
    head = (
        ("rank", "by what held on fresh seeds"),
        ("trial", ""),
        ("believed", "the value that the search chose by"),
        ("held", "mean of the same over fresh seeds"),
        (f"{share(level)} interval", "of what held, by bootstrap over fresh seeds; sorted by its lower end"),
        ("difference", "held less believed"),
        ("fresh seeds", ""),
        *((key, "") for key in search.space),
    )
    rows = []
    for final, row in zip(search.finals, believed.rows(search), strict=True):
        rank, trial, believed_, held, interval, difference, seeds, _ = row
        rows.append(
            (
                Cell(rank, int(rank)),
                Cell(trial, final.trial),
                Cell(believed_, final.believed),
                Cell(held, final.held),
                Cell(interval, None if final.interval is None else final.interval.low),
                Cell(difference, final.difference),
                Cell(seeds, final.over),
                *_settings(search, search.trial(final.trial)),
            )
        )
    return Grid(head, tuple(rows))


def trials(search: Search) -> Grid:
    """A row a trial."""
    head = (
        ("trial", ""),
        ("state", ""),
        ("value", "what the search went by"),
        ("seeds", "that are over"),
        ("steps", "of all its runs"),
        ("time", "of all its runs"),
        *((key, "") for key in search.space),
        ("why", "it failed or was pruned"),
    )
    rows = tuple(
        (
            Cell(believed.label(search, trial.number), trial.number),
            Cell(trial.state, trial.state),
            Cell(believed.value(search, trial.value), trial.value),
            Cell(str(len(trial.scores)), len(trial.scores)),
            Cell(f"{trial.steps:,}", trial.steps),
            Cell(duration(trial.seconds), trial.seconds),
            *_settings(search, trial),
            Cell(trial.reason or "–", trial.reason),
        )
        for trial in search.trials[:MOST_TRIALS]
    )
    return Grid(head, rows, max(0, len(search.trials) - MOST_TRIALS))


def _settings(search: Search, trial: Trial | None) -> list[Cell]:
    values = believed.searched(search, trial).values()
    return [Cell(short(value), None if value == ABSENT else sortable(value)) for value in values]
