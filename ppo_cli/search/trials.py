"""The trials of a search: which run is next, which is given up, and what each trial comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ppo_cli.errors import CheckpointError, ConfigError, Problem
from ppo_cli.loggers.text import counted
from ppo_cli.places import shown
from ppo_cli.report.records import UnusableError
from ppo_cli.runs.summary import now
from ppo_cli.search.folder import FRESH, SearchFolder
from ppo_cli.search.making import TRIAL, Maker
from ppo_cli.search.scores import Medians, by_place, column, places, score
from ppo_cli.search.space import fitted
from ppo_cli.search.study import JOURNAL, Study
from ppo_cli.search.trial import Finalist, Trial, as_plain, known
from ppo_cli.sweep.attempts import Attempt, read_attempts, record
from ppo_cli.sweep.job import told
from ppo_cli.sweep.view import FAILED, FINISHED, PRUNED, RUNNING
from ppo_cli.sweep.watch import Watched


class Trials:
    """Makes the runs of a search one after another: of each trial, and at the end those on fresh seeds.

    A trial's seeds run one after another, so that one that is given up costs little; several trials run at a time. What
    is decided depends on curves alone, never on when somebody looked at them.

    Args:
        folder: The search.
        study: What proposes settings.
        maker: What makes jobs of them.
        jobs: The jobs that there are already.
        retries: How many more attempts a run has that has failed.

    Raises:
        CheckpointError: if some of them belong to trials that the study does not know.
    """

    def __init__(
        self, folder: SearchFolder, study: Study, maker: Maker, jobs: Sequence[Watched], retries: int = 0
    ) -> None:
        self._folder, self._search, self._study, self._maker = folder, folder.search, study, maker
        config = folder.bases[0].config
        self.column, self._last = column(config), places(config)
        self._medians = Medians(self._search, self._last)
        self._given: set[int] = set()
        self._retries = retries
        self.trials = [known(one, folder.preset is not None) for one in study.trials]
        unknown = [run.job.folder for run in jobs if int(run.job.swept[TRIAL]) >= len(self.trials)]
        if unknown:
            what = f"{JOURNAL} knows {counted(len(self.trials), 'trial')}, and {shown(unknown[0])} is a run of another"
            raise CheckpointError(Problem(what, f"a copy of {JOURNAL} that knows it"))
        for run in sorted(jobs, key=lambda one: one.job.number):
            trial = self.trials[run.job.swept[TRIAL]]
            (trial.fresh if run.job.config.seed >= FRESH else trial.runs).append(run)
        for trial in self.trials:
            self._take_up(trial)
        self.keep()

    def next(self) -> Watched | None:
        """The next run."""
        run = self._next_of_trials()
        if run is None and self.over_with_trials:
            run = self._next_fresh()
        if run is not None:
            self._given.add(run.job.number)
            self.keep()
        return run

    def looked(self, one: Watched) -> str | None:
        """Why a run is to be given up."""
        trial = self._trial(one)
        if one.job.config.seed or trial.state != RUNNING:
            return None
        found = self._falls_behind(one)
        return None if found is None else found[1]

    def over(self, one: Watched) -> None:
        """Note what a run came to, and whether its trial is over."""
        trial = self._trial(one)
        if one.job.config.seed >= FRESH:
            self._score_fresh(trial, one)
        elif trial.state == RUNNING:
            self._judge(trial, one)
        self.keep()

    @property
    def over_with_trials(self) -> bool:
        """Whether all trials have been made, and are over."""
        return len(self.trials) >= self._search.trials and all(one.state != RUNNING for one in self.trials)

    @property
    def best(self) -> list[Trial]:
        """The finished trials, the best first; of those with the same settings the first alone."""
        sign = 1 if self._search.direction == "minimize" else -1
        known = [one for one in self.trials if one.value is not None]
        found: dict[str, Trial] = {}
        for trial in sorted(known, key=lambda one: (sign * (one.value or 0.0), one.number)):
            found.setdefault(repr(sorted(trial.settings.items())), trial)
        return list(found.values())

    @property
    def finalists(self) -> list[Trial]:
        """Those that run on fresh seeds: the best, and the preset's in any case."""
        best = self.best
        return [one for place, one in enumerate(best) if place < self._search.top or one.preset]

    @property
    def ranked(self) -> list[Finalist]:
        """The same by what held, then by what was believed, the best first; those that are not whole come last."""
        seeds = range(FRESH, FRESH + self._search.fresh_seeds)
        found = [Finalist(one, {seed: one.fresh_scores.get(seed) for seed in seeds}) for one in self.finalists]
        sign = 1 if self._search.direction == "minimize" else -1
        return sorted(found, key=lambda one: (not one.whole, sign * (one.held or 0.0)))

    def keep(self, more: Mapping[str, Any] | None = None) -> None:
        """Write down how all stands, and whatever else is known."""
        trials = [as_plain(one) for one in self.trials]
        finals = [one.to_plain() for one in self.ranked] if self.over_with_trials else []
        self._folder.write({"column": self.column, "trials": trials, "finals": finals, **(more or {})})

    def _next_of_trials(self) -> Watched | None:
        for trial in self.trials:
            if trial.state != RUNNING:
                continue
            run = trial.runs[-1] if trial.runs else None
            if run is None or (run.state == FINISHED and len(trial.runs) == len(trial.scores)):
                run = self._made(trial, len(trial.runs), trial.runs)
            if run is not None and run.job.number not in self._given and run.state not in (RUNNING, FINISHED):
                return run
        while len(self.trials) < self._search.trials:
            trial = self._asked()
            run = self._made(trial, 0, trial.runs)
            if run is not None:
                return run
        return None

    def _next_fresh(self) -> Watched | None:
        for trial in self.finalists:
            there = {run.job.config.seed: run for run in trial.fresh}
            for seed in range(FRESH, FRESH + self._search.fresh_seeds):
                run = there.get(seed) or self._made(trial, seed, trial.fresh)
                if run is not None and run.job.number not in self._given and run.state not in (RUNNING, FINISHED):
                    return run
        return None

    def _asked(self) -> Trial:
        """A new trial; before its settings are written down, it has not begun."""
        folder, preset = self._folder, None if self._study.trials else self._folder.preset
        if preset is None:
            number, drawn = self._study.ask()
            values = {one.key: one.value(drawn[one.key]) for one in folder.space}
            settings = fitted(folder.space, values, folder.base(values).config)
        else:
            inside = {one.key: one.drawn(preset[one.key]) for one in folder.space if one.key in preset}
            number, _ = self._study.ask({key: value for key, value in inside.items() if value is not None})
            settings = dict(preset)
        self._study.keep(number, settings)
        trial = Trial(number, settings, preset is not None)
        self.trials.append(trial)
        return trial

    def _made(self, trial: Trial, seed: int, runs: list[Watched]) -> Watched | None:
        """A new run of a trial; ``None`` if it could not begin, which is then known of the trial."""
        try:
            run = Watched(self._maker.make(trial.number, trial.settings, seed), self.column)
        except ConfigError as error:
            if trial.state == RUNNING:
                self._tell(trial, FAILED, reason=told(error))
            return None
        runs.append(run)
        return run

    def _take_up(self, trial: Trial) -> None:
        """See what came of a trial whose search was stopped: a run that ended meanwhile counts as if it had now."""
        for run in trial.fresh:
            self._score_fresh(trial, run)
        for run in trial.runs:
            run.look()  # nobody has read the curve of one that is over
            if trial.state != RUNNING:
                trial.scores += self._score(run)[:1]
            elif run.state in (FINISHED, PRUNED) or (run.state == FAILED and not self._has_another_try(run)):
                self._judge(trial, run)
            elif not run.job.config.seed and (found := self._falls_behind(run)) is not None and run.state != RUNNING:
                reason = found[1]
                record(
                    run.job.folder, run.now.attempts, Attempt(run.started, now(), None, PRUNED, reason, run.view.step)
                )
                run.look_again()
                self._judge(trial, run)

    def _has_another_try(self, run: Watched) -> bool:
        """Whether a run that has failed has attempts left; the last may have been cut off, and not have failed."""
        return sum(one.state == FAILED for one in read_attempts(run.job.folder)) <= self._retries

    def _judge(self, trial: Trial, run: Watched) -> None:
        """Note what a run that is over means for its trial."""
        found = self._falls_behind(run) if not run.job.config.seed else None
        curve = self._curve(run) if not run.job.config.seed else {}
        for place, value in sorted(curve.items()):
            if place < self._last and (found is None or place <= found[0]):
                self._study.report(trial.number, value, place)
        if found is not None:
            self._tell(trial, PRUNED, reason=found[1])
            return
        if run.state != FINISHED:
            self._tell(trial, FAILED, reason=run.reason or "see its train.log")
            return
        try:
            trial.scores.append(score(run.job.folder, self.column, self._search))
        except UnusableError as error:
            self._tell(trial, FAILED, reason=str(error))
            return
        count, mean = len(trial.scores), sum(trial.scores) / len(trial.scores)
        self._study.report(trial.number, mean, self._last + count)
        if count == self._search.seeds:
            self._tell(trial, FINISHED, value=mean)
            return
        middle = self._medians.worse(mean, self._means_after(count, trial))
        if middle is not None:
            seeds = counted(count, "seed")
            self._tell(trial, PRUNED, reason=f"{mean:.4g} after {seeds}, and the median of others is {middle:.4g}")

    def _curve(self, run: Watched) -> dict[int, float]:
        """The curve of a run that is over; one that stopped at its target keeps what it reached."""
        curve = by_place(run.points, run.job.config)
        if run.state == FINISHED and run.job.config.target_return is not None and curve:
            reached = max(curve)
            curve |= dict.fromkeys(range(reached + 1, self._last + 1), curve[reached])
        return curve

    def _score_fresh(self, trial: Trial, run: Watched) -> None:
        for worth in self._score(run):
            trial.fresh_scores[run.job.config.seed] = worth

    def _score(self, run: Watched) -> list[float]:
        try:
            return [score(run.job.folder, self.column, self._search)] if run.state == FINISHED else []
        except UnusableError:
            return []

    def _falls_behind(self, run: Watched) -> tuple[int, str] | None:
        """Where the curve of a first seed falls behind those of others, and that in words."""
        others = [one.intermediate_values for one in self._finished()]
        found = self._medians.below(by_place(run.points, run.job.config), others)
        if found is None:
            return None
        place, middle = found
        step = round(place * (run.job.config.eval_every or run.job.config.total_timesteps / self._last))
        return place, f"below {middle:.4g}, the median of others, at step {step:,}"

    def _means_after(self, count: int, trial: Trial) -> list[float]:
        known = [
            one.intermediate_values.get(self._last + count) for one in self._finished() if one.number != trial.number
        ]
        return [value for value in known if value is not None]

    def _finished(self) -> Iterator[Any]:
        return (one for one in self._study.trials if one.state.name == "COMPLETE")

    def _tell(self, trial: Trial, state: str, value: float | None = None, reason: str | None = None) -> None:
        trial.state, trial.value, trial.reason = state, value, reason
        self._study.tell(trial.number, state, value, reason)

    def _trial(self, run: Watched) -> Trial:
        return self.trials[int(run.job.swept[TRIAL])]
