"""A sweep from its folder to its end."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ppo_cli.errors import Problem, RunError
from ppo_cli.places import shown
from ppo_cli.runs.lock import locked
from ppo_cli.sweep.display import make_display
from ppo_cli.sweep.engines import left_to_scheduler, make_engine
from ppo_cli.sweep.jobs import SweepFolder
from ppo_cli.sweep.scheduler import Outcome, Scheduler
from ppo_cli.sweep.shares import divide
from ppo_cli.sweep.stopping import stoppable
from ppo_cli.sweep.view import FINISHED, PRUNED, RUNNING
from ppo_cli.sweep.watch import Watched
from ppo_cli.sweep_config import SweepConfig


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Have a sweep's folder to oneself.

    Raises:
        RunError: if another process runs its jobs.
    """
    try:
        with locked(folder):
            yield
    except RunError as error:
        if error.title != "Run in use" or not error.problems[0].what.startswith(f"{folder} is in use"):
            raise
        what = f"{shown(folder)} is in use: another ppo-train runs its jobs"
        raise RunError(Problem(what, "waiting until it is done, or stopping it"), "Sweep in use") from error


def clear_drafts(folder: Path, jobs: Sequence[Watched]) -> None:
    """Delete what killed processes left as they wrote, in a sweep's folder and in those of jobs that nobody is at."""
    for place in (folder, *(one.job.folder for one in jobs if one.state != RUNNING)):
        for draft in place.glob(".*.tmp"):
            draft.unlink(missing_ok=True)


def run_sweep(sweep: SweepFolder, options: SweepConfig, named: Mapping[int, Collection[str]], command: str) -> Outcome:
    """Run what is left of a sweep, whose folder is one's own.

    Args:
        sweep: The sweep.
        options: How its jobs are run.
        named: For each job, keys of the settings whose modules, which are the user's, were named.
        command: The command line, for the record.
    """
    jobs = [Watched(job) for job in sweep.jobs]
    clear_drafts(sweep.folder, jobs)
    left = [one.job for one in jobs if one.state not in (FINISHED, PRUNED)]
    shares = divide(options, [job.config for job in left], sweep.launcher)
    with stoppable() as asked:
        engine = make_engine(sweep.launcher, sweep.folder, left, shares, options, named, command)
        display = make_display(sweep.folder, shares.n_jobs)
        options = left_to_scheduler(sweep.launcher, options)
        try:
            return Scheduler(sweep.folder, jobs, engine, options, display, asked).run()
        finally:
            display.close()
            engine.close()
