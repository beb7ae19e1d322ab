"""What a sweep tells at its end: its settings compared over seeds, what failed and why, and what to type next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ppo_cli.cli.frame import console
from ppo_cli.cli.results import UNLIMITED, line_printer, show_rows
from ppo_cli.loggers.text import MISSING, counted, number
from ppo_cli.places import shown
from ppo_cli.runs.names import RESULTS_FILE
from ppo_cli.signals import SIGNALLED
from ppo_cli.streams import plain, printable
from ppo_cli.sweep.grouped import SEED, Group, best_job, group_over_seeds
from ppo_cli.sweep.view import FAILED, FINISHED, INTERRUPTED, PRUNED, JobView, counts, titled, told

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ppo_cli.hydra_ext.task import SweepRecord
    from ppo_cli.sweep.jobs import Job


def show_groups(
    views: Sequence[JobView],
    folder: Path,
    named: Sequence[str] = (),
    named_again: Sequence[str] = (),
    left: bool = False,
) -> None:
    """Print the sweep's groups, the best first, each job that failed with its reason, and what to type next.

    Args:
        views: All jobs.
        folder: The sweep's folder.
        named: What ppo-eval must be told of the user's own modules.
        named_again: What ppo-train must be told of them to go on with the sweep.
        left: Whether the jobs go on by themselves.
    """
    out = console(sys.stdout, longest=UNLIMITED)

    say = line_printer(out)
    say(f"\n{counted(len(views), 'job')} in {shown(folder)}: {', '.join(counts(views))}")
    out.print(groups_table(group_over_seeds(views), out))
    for view in views:
        if view.state == FAILED or (view.state == INTERRUPTED and view.reason is not None):
            say(trouble(view))
    say_beside(say, views)
    out.print()
    rows = next_steps(views, folder, named, named_again, left)
    show_rows(say, rows)


def groups_table(groups: Sequence[Group], out: Console) -> Table:
    """The table of groups: as much of it as the console's width has room for, the settings always whole."""
    table = _table(groups, out.encoding, best=True)
    if out.measure(table, options=out.options.update(width=UNLIMITED)).maximum > out.width:
        table = _table(groups, out.encoding, best=False)
    return table


def _table(groups: Sequence[Group], encoding: str, best: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    keys = list(dict.fromkeys(key for group in groups for key in group.settings))
    for key in keys:
        table.add_column(Text(printable(plain(key, encoding))), overflow="fold")
    over_seeds = any(SEED in job.swept for group in groups for job in group.jobs)
    table.add_column("final return", justify="right", no_wrap=True)
    if over_seeds:
        table.add_column("n", justify="right", no_wrap=True)
    if best:
        table.add_column("best return", justify="right", no_wrap=True)
        table.add_column("of job", justify="right", no_wrap=True)
    for group in groups:
        values = [told(group.settings[key]) if key in group.settings else "" for key in keys]
        cells = [*values, spread(group)]
        if over_seeds:
            cells.append(amount(group))
        if best:
            job = group.best
            cells += [MISSING, ""] if job is None else [number(job.best_return, 2), str(job.number)]
        table.add_row(*(Text(plain(cell, encoding)) for cell in cells))
    return table


def spread(group: Group) -> str:
    """The mean of the final returns, with the standard deviation where there are several."""
    mean = number(group.mean, 2)
    return mean if group.std is None else f"{mean} ± {number(group.std, 2)}"


def amount(group: Group) -> str:
    """How many returns the mean is of, and of how many jobs where that is fewer."""
    known, jobs = len(group.returns), len(group.jobs)
    return str(known) if known == jobs else f"{known} of {jobs}"


def trouble(view: JobView) -> str:
    """A job that failed: how far it came, why, and where to read on."""
    reason = "" if view.reason is None else f": {printable(view.reason)}"
    return f"{titled(view)} {view.state} at step {view.step:,}{reason} ({shown(view.folder)})"


def say_beside(say: Callable[[str], None], views: Sequence[JobView]) -> None:
    """Say what went wrong beside the training of jobs, as where a tracker fails: the first in full, and how many."""
    met = [view for view in views if view.problems]
    if not met:
        return
    first, more = met[0], f", and so did {len(met) - 1} more" if len(met) > 1 else ""
    told = f"{titled(first)} met with a problem: {printable(first.problems[0])}"
    say(f"{told}{more} (problems in summary.json, {shown(first.folder)})")


def next_steps(
    views: Sequence[JobView], folder: Path, named: Sequence[str], named_again: Sequence[str], left: bool = False
) -> dict[str, str]:
    """Where the results lie and what to type next."""
    rows = {}
    results = folder / RESULTS_FILE
    if results.is_file():
        rows["results"] = str(results)
    best = best_job(views)
    if best is not None:
        rows["evaluate the best"] = shlex.join(["ppo-eval", f"checkpoint={best.folder}", *named])
    if any(view.state not in (FINISHED, PRUNED) for view in views):
        rows["see how it stands" if left else "go on with it"] = shlex.join(
            ["ppo-train", "-m", f"resume={folder}", *named_again]
        )
    return rows


def show_sweep(record: SweepRecord) -> int:
    """Print what came of a sweep.

    Returns:
        The exit status: 0 only if all jobs are finished, or go on by themselves as they were to; 128 and the signal
        that stopped it; else 1.
    """
    outcome = record.outcome
    views = [replace(view, folder=shown(view.folder)) for view in outcome.views]
    show_groups(views, shown(outcome.folder), record.named, record.named_again, outcome.left)
    if outcome.left and outcome.signal is None:
        return 0
    if outcome.signal is not None:
        return SIGNALLED + outcome.signal
    return int(any(view.state not in (FINISHED, PRUNED) for view in views))


def show_listed(jobs: Sequence[Job]) -> int:
    """Print the jobs that a sweep has, or would have; returns the exit status."""
    width = len(str(len(jobs)))
    for job in jobs:
        print(plain(f"{job.number:>{width}}  {job.label}", sys.stdout.encoding))
    print(f"{counted(len(jobs), 'job')}; nothing was started")
    return 0
