"""What a search tells at its end: what it believed, what held on fresh seeds, what failed, and what to type next."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from ppo_cli.cli.frame import console
from ppo_cli.cli.results import UNLIMITED
from ppo_cli.config import show
from ppo_cli.loggers.text import number
from ppo_cli.places import shown
from ppo_cli.signals import SIGNALLED
from ppo_cli.streams import plain, printable

if TYPE_CHECKING:
    from rich.table import Table

    from ppo_cli.hydra_ext.task import SearchRecord
    from ppo_cli.search.folder import SearchFolder
    from ppo_cli.search.run import SearchOutcome
    from ppo_cli.search.trial import Finalist


def show_search(record: SearchRecord) -> int:
    """Print what came of a search.

    Returns:
        The exit status: 0 if it has a winner, 128 and the signal that stopped it, else 1.
    """
    from rich.text import Text

    from ppo_cli.search.folder import PRESET_FILE, REPORT_FOLDER

    outcome, out = record.outcome, console(sys.stdout, longest=UNLIMITED)

    def say(*parts: str | tuple[str, str]) -> None:
        told = [plain(part, out.encoding) if isinstance(part, str) else part for part in parts]
        out.print(Text.assemble(*told), soft_wrap=True)

    folder = shown(outcome.folder.folder)
    say(f"\n{_counted(outcome)} in {folder}")
    for trial in outcome.trials:
        if trial.state == "failed":
            say(f"trial {trial.number} failed: {printable(trial.reason or '')}")
    won = bool(outcome.finalists) and outcome.finalists[0].whole
    if outcome.finalists:
        out.print(_table(outcome, out.encoding))
        for sentence in _sentences(outcome):
            say(sentence)
    out.print()
    again = shlex.join(["ppo-train", "-m", f"resume={folder}", *record.named_again])
    rows = {}
    if won:
        seed = next(iter(outcome.finalists[0].scores))
        rows["train the winner"] = shlex.join(["ppo-train", f"preset={folder / PRESET_FILE}", *record.named])
        rows["the same bits"] = f"{rows['train the winner']} seed={seed}"
    if outcome.report is not None:
        rows["report"] = str(folder / REPORT_FOLDER / "report.html")
    rows["search on" if won else "go on with it"] = f"{again} search.trials={2 * len(outcome.trials)}" if won else again
    width = max(map(len, rows))
    for name, value in rows.items():
        say((f"{name:>{width}}  ", "dim"), value)
    if outcome.sweep.signal is not None:
        return SIGNALLED + outcome.sweep.signal
    return int(not won)


def _counted(outcome: SearchOutcome) -> str:
    states = [trial.state for trial in outcome.trials]
    known = dict.fromkeys(("finished", "pruned", "failed", "running"))
    return f"{len(states)} of {outcome.folder.search.trials} trials: " + ", ".join(
        f"{states.count(state)} {state}" for state in known if state in states
    )


def _table(outcome: SearchOutcome, encoding: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    keys = list(dict.fromkeys(key for one in outcome.finalists for key in one.trial.settings))
    for heading in ("rank", "trial", "believed", "held", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for key in keys:
        table.add_column(Text(printable(plain(key, encoding))), overflow="fold")
    for rank, one in enumerate(outcome.finalists, 1):
        settings = [_short(one.trial.settings.get(key)) for key in keys]
        table.add_row(*(Text(plain(cell, encoding)) for cell in (*_row(rank, one), *settings)))
    return table


def _row(rank: int, one: Finalist) -> list[str]:
    known = [worth for worth in one.scores.values() if worth is not None]
    amount = str(len(known)) if one.whole else f"{len(known)} of {len(one.scores)}"
    name = f"{one.trial.number} (preset)" if one.trial.preset else str(one.trial.number)
    return [str(rank), name, number(one.trial.value, 2), number(one.held, 2), amount]


def _sentences(outcome: SearchOutcome) -> list[str]:
    """What was believed and what held, and the verdict between the finalists."""
    if outcome.report is None:
        return []
    found = [sentence for search in outcome.report.searches for sentence in search.sentences]
    return found + [sentence for section in outcome.report.sections for sentence in section.sentences[:1]]


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else printable(show(value))


def show_space(folder: SearchFolder) -> int:
    """Print what a search would look at; returns the exit status."""
    width = max(len(one.key) for one in folder.space)
    for one in folder.space:
        if one.choices:
            values = ", ".join(show(value) for value in one.choices)
        else:
            kind = "whole numbers " if one.whole else ""
            values = f"{kind}{one.low:g} to {one.high:g}{', by its logarithm' if one.log else ''}"
        print(plain(f"{one.key:>{width}}  {values}", sys.stdout.encoding))
    first = "; trial 0 is the preset" if folder.preset is not None else ""
    print(f"{folder.search.trials} trials of {folder.search.seeds} runs{first}; nothing was started")
    return 0
