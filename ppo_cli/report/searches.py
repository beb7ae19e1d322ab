"""A search as data: what was looked for, what was tried, and what held on fresh seeds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a list of runs waits for no NumPy
    from ppo_cli.report.statistics import Interval

FINISHED, PRUNED, FAILED, RUNNING, INTERRUPTED = "finished", "pruned", "failed", "running", "interrupted"
STATES = (FINISHED, PRUNED, FAILED, RUNNING)
METRICS = ("final", "best", "area", "steps", "time")


@dataclass(frozen=True)
class Space:
    """The values of a setting that were searched: from where to where, or one of some.

    Attributes:
        low, high: Both ends; ``None`` of choices.
        log: Whether it was searched by its logarithm.
        choices: The values as one types them; empty of a range.
    """

    low: float | None
    high: float | None
    log: bool
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """Settings that were tried.

    Attributes:
        number: Its number.
        state: ``finished``, ``pruned``, ``failed``, ``running``; ``interrupted`` if nobody is at work on it any more.
        value: What the search went by; ``None`` where there is none.
        preset: Whether it is the environment's preset.
        settings: What it ran with, by dotted key, as one types it.
        reason: Why it failed or was pruned.
        scores: One a seed that is over.
        steps: Environment steps of all its runs.
        seconds: What they took.
    """

    number: int
    state: str
    value: float | None
    preset: bool
    settings: dict[str, str]
    reason: str | None
    scores: tuple[float | None, ...]
    steps: int
    seconds: float


@dataclass(frozen=True)
class Final:
    """A trial that was run again on fresh seeds.

    Attributes:
        trial: Its number.
        believed: What the search believed of it.
        held: The mean over the fresh seeds that are over; infinite if one of them never reached the threshold.
        interval: Of that mean; ``None`` where not all seeds have a finite score, or there are fewer than two.
        difference: ``held`` less ``believed``.
        seeds: The fresh seeds.
        scores: One a seed; ``None`` where there is none.
        folders: Names of their runs' folders.
    """

    trial: int
    believed: float | None
    held: float | None
    interval: Interval | None
    difference: float | None
    seeds: tuple[int, ...]
    scores: tuple[float | None, ...]
    folders: tuple[str, ...]

    @property
    def over(self) -> int:
        """How many fresh seeds are over."""
        return sum(score is not None for score in self.scores)


@dataclass(frozen=True)
class Search:
    """A search.

    Attributes:
        folder: Where it is.
        metric: What it went by: ``final``, ``best``, ``area``, ``steps`` or ``time``.
        maximize: Whether more of that is better.
        threshold: The value whose first time counts, of ``steps`` and ``time``.
        column: The column of ``metrics.csv`` that it comes from.
        seeds: Seeds a trial.
        asked: Trials that were asked for.
        running: Whether somebody is at work on it.
        space: What was searched, by dotted key.
        trials: By their number.
        importance: Of each setting that was searched, by PED-ANOVA, as shares of 1; ``None`` where nothing tells.
        finals: The best first.
        best: The trial that won on fresh seeds.
        preset_file: The preset that was made of it, within the folder.
        sentences: What it has come to.
    """

    folder: Path
    metric: str
    maximize: bool
    threshold: float | None
    column: str
    seeds: int
    asked: int
    running: bool
    space: dict[str, Space]
    trials: tuple[Trial, ...]
    importance: dict[str, float] | None
    finals: tuple[Final, ...]
    best: int | None
    preset_file: str | None
    sentences: tuple[str, ...] = ()

    @property
    def states(self) -> dict[str, int]:
        """How many trials stand how."""
        found = Counter(trial.state for trial in self.trials)
        return {state: found[state] for state in (*STATES, INTERRUPTED) if found[state]}

    def best_so_far(self) -> list[Trial]:
        """The trials that came to more than all before them did, pruned ones aside."""
        found: list[Trial] = []
        for trial in self.trials:
            if trial.state != FINISHED or trial.value is None:
                continue
            if not found or self.better(trial.value, found[-1].value):
                found.append(trial)
        return found

    def better(self, value: float, than: float | None) -> bool:
        """Whether a value is better than another."""
        return than is None or (value > than if self.maximize else value < than)

    def trial(self, number: int) -> Trial | None:
        """The trial of a number."""
        return next((trial for trial in self.trials if trial.number == number), None)
