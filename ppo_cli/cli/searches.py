"""What a search tells at its end: what it believed, what held on fresh seeds, what failed, and what to type next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ppo_cli.cli.frame import console
from ppo_cli.cli.results import UNLIMITED, line_printer, show_rows
from ppo_cli.cli.sweeps import say_beside
from ppo_cli.config import show
from ppo_cli.loggers.text import counted
from ppo_cli.places import shown
from ppo_cli.runs.names import PRESET_FILE, REPORT_FOLDER
from ppo_cli.signals import SIGNALLED
from ppo_cli.streams import plain, printable
from ppo_cli.sweep.view import FAILED, FINISHED, PRUNED, RUNNING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ppo_cli.hydra_ext.task import SearchRecord
    from ppo_cli.report.model import Report
    from ppo_cli.search.folder import SearchFolder
    from ppo_cli.search.run import SearchOutcome


def show_search(record: SearchRecord) -> int:
    """Print what came of a search.

    Returns:
        The exit status: 0 if it has a winner, 128 and the signal that stopped it, else 1.
    """
    outcome, out = record.outcome, console(sys.stdout, longest=UNLIMITED)

    say = line_printer(out)
    folder = shown(outcome.folder.folder)
    say(f"\n{_counted(outcome)} in {folder}")
    for trial in outcome.trials:
        if trial.state == FAILED:
            say(f"trial {trial.number} failed: {printable(trial.reason or '')}")
        for run in trial.fresh:
            if run.state == FAILED:
                say(f"trial {trial.number} failed with fresh seed {run.job.config.seed}: {printable(run.reason or '')}")
    say_beside(say, outcome.sweep.views)
    if _over(outcome) and not _finished(outcome):
        say("no trial came to its end, so there is no winner")
    elif outcome.finalists and outcome.finalists[0].whole and not _won(outcome):
        say("no trial reached the threshold with all fresh seeds, so there is no winner")
    if outcome.report is not None:
        for part in _judged(outcome.report, out.width):
            out.print(part)
    out.print()
    show_rows(say, dict(_what_to_type(record, folder)))
    if outcome.sweep.signal is not None:
        return SIGNALLED + outcome.sweep.signal
    return int(not _won(outcome))


def _won(outcome: SearchOutcome) -> bool:
    return bool(outcome.finalists) and outcome.finalists[0].can_win


def _over(outcome: SearchOutcome) -> bool:
    """Whether nothing is left of the trials."""
    states = [trial.state for trial in outcome.trials]
    return len(states) >= outcome.folder.search.trials and RUNNING not in states


def _finished(outcome: SearchOutcome) -> bool:
    return any(trial.state == FINISHED for trial in outcome.trials)


def _what_to_type(record: SearchRecord, folder: Path) -> Iterator[tuple[str, str]]:
    """What there is to do now, each with its name."""
    outcome = record.outcome
    if _won(outcome):
        train = shlex.join(["ppo-train", f"preset={folder / PRESET_FILE}", *record.named])
        yield "train the winner", train
        yield "the same bits", f"{train} seed={next(iter(outcome.finalists[0].scores))}"
    if (folder / REPORT_FOLDER / "report.html").is_file():
        yield "report", str(folder / REPORT_FOLDER / "report.html")
    again = shlex.join(["ppo-train", "-m", f"resume={folder}", *record.named_again])
    through = bool(outcome.finalists) and all(one.whole for one in outcome.finalists)
    if not _over(outcome) or (_finished(outcome) and not through):
        yield "go on with it", again
    if _over(outcome) and (_won(outcome) or not _finished(outcome)):
        yield "search on", f"{again} search.trials={2 * len(outcome.trials)}"


def _counted(outcome: SearchOutcome) -> str:
    states = [trial.state for trial in outcome.trials]
    known = {FINISHED: "finished", PRUNED: "pruned", FAILED: "failed", RUNNING: "not over"}
    return f"{len(states)} of {counted(outcome.folder.search.trials, 'trial')}: " + ", ".join(
        f"{states.count(state)} {word}" for state, word in known.items() if state in states
    )


def _judged(report: Report, width: int) -> Iterator[RenderableType]:
    """What was believed and what held, and the verdict between the finalists."""
    from rich.text import Text

    from ppo_cli.report.table import of_search

    for search in report.searches:
        yield from of_search(search, report, width)
    for section in report.sections:
        yield from (Text(f"  {sentence}") for sentence in section.sentences[:1])


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
    trials, runs = counted(folder.search.trials, "trial"), counted(folder.search.seeds, "run")
    print(f"{trials} of {runs}{first}; nothing was started")
    return 0
