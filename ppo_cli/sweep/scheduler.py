"""From jobs that wait to jobs that are over: who starts when, who has hung, who gets another try."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ppo_cli.runs.lock import is_locked
from ppo_cli.runs.summary import now
from ppo_cli.sweep.attempts import Attempt, read_attempts, reason_of, record
from ppo_cli.sweep.engine import UNFIT, Ended, Engine
from ppo_cli.sweep.results import Results
from ppo_cli.sweep.stopping import Asked
from ppo_cli.sweep.view import FAILED, FINISHED, INTERRUPTED, OVER, PRUNED, RUNNING, WAITING, Display, JobView
from ppo_cli.sweep.watch import Watched
from ppo_cli.sweep_config import SweepConfig

TICK = 0.2  # seconds between two looks
TICK_HELD_BACK = 0.02  # where jobs wait for another's first row
LOOK_AT_OTHERS_EVERY = 1.0  # seconds between two looks at jobs that other processes are at
PATIENCE = 10.0  # seconds that a job without new rows has to save and stop
LAST_PATIENCE = 120.0  # seconds that one which is given up has: its iteration may be long, and trackers take a minute


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended.

    Attributes:
        folder: Its folder.
        views: Its jobs.
        signal: The signal that stopped it; ``None`` if none did.
        left: Whether its jobs go on by themselves.
    """

    folder: Path
    views: tuple[JobView, ...]
    signal: int | None
    left: bool = False


class Source(Protocol):
    """Makes the jobs of a sweep as it goes on, of what earlier ones came to."""

    def next(self) -> Watched | None:
        """The next job, now that there is a place for one; ``None`` if there is none for now."""

    def looked(self, one: Watched) -> str | None:
        """Why a job that has new rows is to be given up; ``None`` if it goes on."""

    def over(self, one: Watched) -> None:
        """Note that a job has come to its end, whatever that is."""


class Scheduler:
    """Runs the jobs of a sweep.

    Args:
        folder: The sweep's folder, which nobody else is at.
        jobs: All of its jobs, as they stand.
        engine: Runs their processes.
        options: How they are run.
        display: Shows them.
        asked: Whether a signal has asked for the end.
        results: Whether to keep ``results.csv``.
        source: What further jobs come from; it then also says which of those that there are are left to do.
    """

    def __init__(
        self,
        folder: Path,
        jobs: Sequence[Watched],
        engine: Engine,
        options: SweepConfig,
        display: Display,
        asked: Asked,
        results: bool = True,
        source: Source | None = None,
    ) -> None:
        self._folder, self._engine, self._options = folder, engine, options
        self._display, self._asked, self._source = display, asked, source
        self._jobs = {one.job.number: one for one in jobs}
        self._running: dict[int, Watched] = {}
        running = {number: one for number, one in self._jobs.items() if one.state == RUNNING}
        self._elsewhere = {number: one for number, one in running.items() if not engine.adopts(one.job)}
        over = [one for one in jobs if one.state in (FINISHED, PRUNED) or one.job.number in self._elsewhere]
        self._waiting = deque(one for one in jobs if one not in over and source is None)
        self._withdrawn: set[int] = set()  # from a queue, before they had begun
        self._warm: set[str] = set()
        self._failures = 0
        self._stopping = self._killed = self._no_more = False
        self._looked_at = 0.0
        self._kill_at: dict[int, float] = {}
        self._results, self._trouble = Results(folder, self._jobs) if results else None, ""

    def run(self) -> Outcome:
        """Run them until the last has ended, or a signal asks for the end."""
        for one in self._waiting:
            one.becomes(WAITING)
        self._keep_results()
        self._show()  # as it stands, before anything changes
        while True:
            self._heed_signals()
            if not self._stopping:
                self._start()
            self._show()
            if not self._running and (self._stopping or not (self._waiting or self._elsewhere)):
                break
            for ended in self._engine.poll(self._tick() if self._options.wait else 0.0):
                self._ended(ended)
            if not self._options.wait:
                break
            self._look()
        for one in self._waiting:  # which a signal has left
            one.look_again(ours=True)
        self._keep_results()
        self._show()
        views = tuple(one.view for one in self._jobs.values())
        return Outcome(self._folder, views, self._asked.signal if self._stopping else None, not self._options.wait)

    def _show(self) -> None:
        note = self._engine.note or self._trouble
        if self._stopping:
            note = "stopping: all jobs save; once more stops at once"
        self._display.update([one.view for one in self._jobs.values()], note)

    def _keep_results(self) -> None:
        try:
            if self._results is not None:
                self._results.write()
            self._trouble = ""
        except OSError as error:  # jobs that run are no worse for it
            self._trouble = f"results.csv cannot be written: {error.strerror or error}"

    def _heed_signals(self) -> None:
        if self._asked.signal is not None and not self._stopping:
            self._stopping = True
            for number in self._running:
                self._engine.stop(number)
        if self._asked.at_once and not self._killed:
            self._killed = True
            for number in self._running:
                self._engine.kill(number)

    def _start(self) -> None:
        while (one := self._next()) is not None:
            self._waiting.remove(one)
            one.starts(RUNNING)
            self._running[one.job.number] = one
            try:
                self._engine.start(one.job)
                one.moved_at = time.monotonic()  # the first waits until the server has imported everything
                if not self._engine.has_begun(one.job):
                    one.becomes(WAITING)
            except (OSError, EOFError) as error:
                why = getattr(error, "strerror", None) or repr(error)
                reason = f"its process could not be started: {why}"
                _keep(one, Attempt(one.started, now(), None, FAILED, reason, one.view.step))
                self._over(one)

    def _next(self) -> Watched | None:
        """The next job that can start: of those that would compile the same program, the first alone makes it."""
        at_work = len(self._running) + len(self._elsewhere)  # what comes of those elsewhere may decide what is next
        if not self._waiting and at_work < self._engine.n_jobs and self._source is not None and not self._no_more:
            further = self._source.next()
            if further is not None:
                self._jobs[further.job.number] = further
                further.becomes(WAITING)
                self._waiting.append(further)
        compiling = self._compiling()
        for one in self._waiting:
            if one.job.cold not in compiling:
                return one if self._engine.room(one.job) else None
        return None

    def _compiling(self) -> set[str | None]:
        """The programs that jobs are making."""
        return {one.job.cold for one in self._running.values()} - self._warm - {None}

    def _tick(self) -> float:
        """Seconds until the next look: soon, where a place stays free until a program is made."""
        if self._stopping or len(self._running) >= self._engine.n_jobs:
            return TICK
        compiling = self._compiling()
        return TICK_HELD_BACK if any(one.job.cold in compiling for one in self._waiting) else TICK

    def _look(self) -> None:
        for number, one in self._running.items():
            if one.state == WAITING and self._engine.has_begun(one.job):
                one.starts(RUNNING)
            has_new_rows = one.look()
            if one.job.cold is not None and one.gave_row:
                self._warm.add(one.job.cold)
            self._look_whether_hung(number, one)
            if has_new_rows:
                self._look_whether_worth_it(number, one)
        if time.monotonic() - self._looked_at < LOOK_AT_OTHERS_EVERY:
            return
        self._looked_at = time.monotonic()
        for number, one in list(self._elsewhere.items()):
            one.look()
            if not is_locked(one.job.folder):
                del self._elsewhere[number]
                one.look_again()
                if one.state not in (FINISHED, PRUNED):
                    one.becomes(WAITING)
                    self._waiting.append(one)
                elif self._source is not None:
                    self._source.over(one)
                self._keep_results()

    def _look_whether_hung(self, number: int, one: Watched) -> None:
        if time.monotonic() > self._kill_at.get(number, math.inf):
            del self._kill_at[number]
            self._engine.kill(number)
        limit = self._options.job_timeout
        if limit is None or one.overdue or one.given_up or time.monotonic() - one.moved_at <= limit:
            return
        one.overdue = f"no new row for {limit:g} s"
        self._stop(number, PATIENCE)

    def _look_whether_worth_it(self, number: int, one: Watched) -> None:
        if self._source is None or one.overdue or one.given_up:
            return
        one.given_up = self._source.looked(one)
        if one.given_up:
            self._stop(number, LAST_PATIENCE)

    def _stop(self, number: int, patience: float) -> None:
        """Have a job save and stop; one that has not by then is killed, or it would hold its place for ever."""
        self._kill_at[number] = time.monotonic() + patience
        self._engine.stop(number)

    def _ended(self, ended: Ended) -> None:
        one = self._running[ended.number]
        self._kill_at.pop(ended.number, None)
        known = read_attempts(one.job.folder)
        said = len(known) > one.now.attempts and not known[-1].requeued  # or it died without a word
        never_begun = one.state == WAITING and (self._stopping or ended.number in self._withdrawn)
        one.look()
        if one.overdue is not None and not (said and known[-1].state == FINISHED):
            spoke = known[-1] if said else self._unsaid(one, ended)
            _keep(one, replace(spoke, state=FAILED, reason=one.overdue))
        elif one.given_up is not None and (not said or known[-1].state == INTERRUPTED):
            spoke = known[-1] if said else self._unsaid(one, ended)
            _keep(one, replace(spoke, state=PRUNED, reason=one.given_up))
        elif not said and not never_begun:
            _keep(one, self._unsaid(one, ended), max(len(known), one.now.attempts))
        self._over(one, ended.code)

    def _unsaid(self, one: Watched, ended: Ended) -> Attempt:
        """The attempt of a process that died without a word."""
        if self._stopping:
            return Attempt(one.started, now(), ended.code, INTERRUPTED, ended.reason, one.view.step)
        reason = ended.reason or reason_of(ended.code)
        return Attempt(one.started, now(), ended.code, FAILED, reason, one.view.step)

    def _over(self, one: Watched, code: int | None = None) -> None:
        """Note what a job has come to, and let it try again if it may."""
        del self._running[one.job.number]
        if one.job.cold is not None:
            self._warm.add(one.job.cold)
        one.look_again(ours=True)
        if one.state == FAILED:
            if one.tries < self._options.retries and code != UNFIT and not self._stopping:
                one.tries += 1
                one.becomes(WAITING)
                self._waiting.append(one)
            else:
                self._failures += 1
        if self._source is not None and one.state in OVER:
            self._source.over(one)
        if self._options.fail_fast is not None and self._failures >= self._options.fail_fast:
            self._start_no_more()
        self._keep_results()

    def _start_no_more(self) -> None:
        for left in self._waiting:
            left.look_again(ours=True)
        self._waiting.clear()
        self._no_more = True
        queued = {number for number, one in self._running.items() if one.state == WAITING} - self._withdrawn
        self._withdrawn |= queued
        for number in queued:
            self._engine.stop(number)


def _keep(one: Watched, attempt: Attempt, number: int | None = None) -> None:
    """Write down how a process of a job has ended; where there is no room, its summary says less."""
    with suppress(OSError):
        record(one.job.folder, one.now.attempts if number is None else number, attempt)
