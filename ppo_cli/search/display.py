"""A search as it is shown: a row a trial and the best so far; at the end, a row for each that runs on fresh seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ppo_cli.config import show
from ppo_cli.loggers.text import counted, number
from ppo_cli.search.folder import SearchFolder
from ppo_cli.search.trial import Trial
from ppo_cli.search.trials import Trials
from ppo_cli.sweep.view import FAILED, FINISHED, INTERRUPTED, OVER, RUNNING, WAITING, Display, JobView
from ppo_cli.sweep.watch import Watched


class TrialsDisplay:
    """Shows trials in the place of the jobs that they are made of.

    Args:
        make: Makes what shows rows, which are called as it is told: trials, and after them finalists.
        folder: The search.
        trials: Its trials.
    """

    def __init__(self, make: Callable[[str], Display], folder: SearchFolder, trials: Trials) -> None:
        self._make, self._folder, self._trials = make, folder, trials
        self._display, self._final = make("trial"), False
        self._steps = folder.bases[0].config.total_timesteps
        self._was_shown = self._ended = False

    def update(self, views: Sequence[JobView], note: str = "") -> None:  # noqa: ARG002 - the trials know their own
        """Show how the trials stand."""
        self._was_shown = True
        final = self._trials.over_with_trials and any(one.fresh for one in self._trials.trials)
        if final and not self._final:
            self._display.update(self._rows(), "")
            self._display.close()  # which leaves the trials standing above
            self._display = self._make("finalist")
        self._final = final
        self._display.update(self._finals() if final else self._rows(), " · ".join(filter(None, [note, self._best()])))

    def close(self) -> None:
        """Leave a last picture, in which nothing runs that does not go on by itself."""
        self._ended = True
        if self._was_shown:
            self._display.update(self._finals() if self._final else self._rows(), "")
        self._display.close()

    def _finals(self) -> list[JobView]:
        seeds = self._folder.search.fresh_seeds
        return [self._row(one, one.fresh, self._state(one.fresh, seeds), seeds) for one in self._trials.finalists]

    def _rows(self) -> list[JobView]:
        known = self._trials.trials
        rows = [self._row(one, one.runs, self._standing(one), self._folder.search.seeds) for one in known]
        over = [row.step for row in rows if row.state in OVER and row.state != FAILED]
        total = round(sum(over) / len(over)) if over else self._folder.search.seeds * self._steps
        return rows + [_to_come(place, total, self._folder) for place in range(len(known), self._folder.search.trials)]

    def _standing(self, trial: Trial) -> str:
        """A trial runs until it is over, or nothing is started any more."""
        return _left(trial.runs) if trial.state == RUNNING and self._ended else trial.state

    def _state(self, runs: Sequence[Watched], seeds: int) -> str:
        """How a finalist stands, which is nothing but its runs."""
        states = [run.state for run in runs]
        for state in (RUNNING, FAILED):
            if state in states:
                return state
        if states.count(FINISHED) >= seeds:
            return FINISHED
        return _left(runs) if self._ended else WAITING

    def _row(self, trial: Trial, runs: Sequence[Watched], state: str, seeds: int) -> JobView:
        views = [run.view for run in runs]
        latest = next((view for view in reversed(views) if view.returns), None)
        best = [view.best_return for view in views if view.best_return is not None]
        step = sum(view.step for view in views)
        running = next((view for view in views if view.state == RUNNING), None)
        scores = [*trial.fresh_scores.values()] if runs is trial.fresh else trial.scores
        is_return = self._folder.search.metric in ("final", "best") and state in OVER and scores
        return JobView(
            number=trial.number,
            label=" ".join(f"{key}={_short(value)}" for key, value in trial.settings.items()),
            swept={key: _short(value) for key, value in trial.settings.items()},
            state=state,
            reason=trial.reason,
            step=step,
            total=step if state == FINISHED else seeds * self._steps,
            returns=latest.returns if latest else (),
            steps_per_second=running.steps_per_second if running else None,
            final_return=sum(scores) / len(scores) if is_return else None,
            best_return=max(best, default=None),
            folder=views[0].folder if views else self._folder.folder,
            elapsed=sum(view.elapsed for view in views),
        )

    def _best(self) -> str:
        if self._final:
            return f"the best trials again, on {counted(self._folder.search.fresh_seeds, 'fresh seed')}"
        best = self._trials.best
        return f"best so far: trial {best[0].number}, {number(best[0].value, 2)}" if best else ""


def _left(runs: Sequence[Watched]) -> str:
    """How that stands which is not over, where nothing is started any more: a cluster's jobs go on by themselves."""
    states = [run.state for run in runs]
    for state in (RUNNING, WAITING):
        if state in states:
            return state
    return INTERRUPTED if states else WAITING


def _to_come(place: int, total: int, folder: SearchFolder) -> JobView:
    """A trial that has not been asked for."""
    return JobView(place, "", {}, WAITING, None, 0, total, (), None, None, None, folder.folder, 0.0)


def _short(value: object) -> object:
    """A drawn number with as many digits as a table has room for."""
    return float(f"{value:.3g}") if isinstance(value, float) else show(value)
