"""A search from its folder to its end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from ppo_cli.errors import Problem, RunError
from ppo_cli.launchers import Launcher
from ppo_cli.places import shown
from ppo_cli.report.model import Report
from ppo_cli.search.display import TrialsDisplay
from ppo_cli.search.finals import conclude
from ppo_cli.search.folder import SearchFolder
from ppo_cli.search.making import Maker
from ppo_cli.search.scores import column
from ppo_cli.search.study import JOURNAL, Study
from ppo_cli.search.trial import Finalist, Trial
from ppo_cli.search.trials import Trials
from ppo_cli.sweep.display import make_display
from ppo_cli.sweep.engines import make_engine
from ppo_cli.sweep.jobs import SweepFolder, clear_claims, next_number
from ppo_cli.sweep.scheduler import Outcome, Scheduler
from ppo_cli.sweep.shares import divide
from ppo_cli.sweep.start import clear_drafts
from ppo_cli.sweep.stopping import stoppable
from ppo_cli.sweep.watch import Watched
from ppo_cli.sweep_config import SweepConfig


@dataclass(frozen=True)
class SearchOutcome:
    """How a search ended.

    Attributes:
        sweep: How its jobs did.
        folder: What was searched.
        trials: Its trials, by number.
        finalists: Those that ran on fresh seeds, the best first.
        report: On these; ``None`` if there is none.
    """

    sweep: Outcome
    folder: SearchFolder
    trials: tuple[Trial, ...]
    finalists: tuple[Finalist, ...]
    report: Report | None


def run_search(
    sweep: SweepFolder, folder: SearchFolder, options: SweepConfig, named: Collection[str], command: str
) -> SearchOutcome:
    """Run what is left of a search, whose folder is one's own.

    Args:
        sweep: Its sweep.
        folder: The search.
        options: How its jobs are run.
        named: Keys of the settings whose modules, which are the user's, were named.
        command: The command line, for the record.

    Raises:
        CheckpointError: if its journal cannot be read, or does not belong to its jobs.
        RunError: if there is no room to write down how it stands.
    """
    with _writable(folder):
        return _run(sweep, folder, options, named, command)


@contextmanager
def _writable(folder: SearchFolder) -> Iterator[None]:
    """Say of a disk without room what it means: all that was written counts."""
    try:
        yield
    except OSError as error:
        name = shown(folder.folder)
        what = f"{name} cannot be written: {error.strerror or error}"
        raise RunError(Problem(what, f"ppo-train -m resume={name}, once there is room"), "Search stopped") from error


def _run(
    sweep: SweepFolder, folder: SearchFolder, options: SweepConfig, named: Collection[str], command: str
) -> SearchOutcome:
    metric = column(folder.bases[0].config)
    jobs = [Watched(job, metric) for job in sweep.jobs]
    clear_drafts(sweep.folder, jobs)
    clear_claims(sweep.folder)
    some = [folder.bases[0].config] * max(folder.search.trials, folder.search.top * folder.search.fresh_seeds)
    shares = divide(options, some, sweep.launcher)
    study = Study(folder.folder / JOURNAL, folder.search, folder.space, shares.n_jobs)
    here = type(sweep.launcher) is Launcher
    maker = Maker(folder, shares.cores, here, next_number(sweep))
    trials = Trials(folder, study, maker, jobs, options.retries)
    names: Mapping[int, Collection[str]] = defaultdict(lambda: named)
    with stoppable() as asked:
        engine = make_engine(sweep.launcher, sweep.folder, [], shares, options, names, command)
        display = TrialsDisplay(partial(make_display, sweep.folder, shares.n_jobs), folder, trials)
        try:
            outcome = Scheduler(sweep.folder, jobs, engine, options, display, asked, source=trials).run()
        finally:
            display.close()
            engine.close()
    finalists: list[Finalist] = []
    report = None
    if outcome.signal is None and trials.over_with_trials:
        finalists, report = conclude(folder, trials, study, sweep.command)
    return SearchOutcome(outcome, folder, tuple(trials.trials), tuple(finalists), report)
