"""A report as data: all that the table, the files and the page show, worked out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ppo_cli.report.searches import Search
from ppo_cli.report.seeds_needed import SeedsNeeded
from ppo_cli.report.statistics import Interval

FORMAT = 1

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Seed:
    """One run of a group.

    Attributes:
        folder: Where it is.
        seed: Its seed.
        score: What is compared: ``final`` or ``area``.
        final: Mean of the metric over the end of the run.
        area: Area under the curve over its length; ``None`` where the section has none.
        last: The metric's last value.
        step: How far it came.
        wall_time: Seconds it took; ``None`` if nothing tells.
        steps_to_threshold: The first step at which the metric reached the threshold; ``None`` if it never did.
        seconds_to_threshold: The same in seconds.
        steps: Steps of its curve, thinned out.
        values: The metric there.
        seconds: Seconds since its start there; empty if nothing tells.
    """

    folder: Path
    seed: int
    score: float
    final: float
    area: float | None
    last: float
    step: int
    wall_time: float | None
    steps_to_threshold: float | None
    seconds_to_threshold: float | None
    steps: Numbers = field(repr=False)
    values: Numbers = field(repr=False)
    seconds: Numbers = field(repr=False)


@dataclass(frozen=True)
class Curve:
    """A group's curve, as far as all of its runs go.

    Attributes:
        at: Steps, or seconds.
        middle: Interquartile mean over seeds; of diagnostics, the mean.
        low: Lower end of the pointwise bootstrap interval; of diagnostics, the least seed.
        high: Upper end; the greatest seed.
    """

    at: Numbers
    middle: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True)
class Group:
    """Runs of the same settings, one a seed.

    Attributes:
        name: What tells it from the others, as one types it.
        side: ``new`` or ``old`` where two sides are compared, else empty.
        settings: The settings that differ between groups, by dotted key, as one types them.
        seeds: Its runs.
        mean, mean_interval: Of the scores; no interval for fewer than two seeds.
        iqm, iqm_interval: Interquartile mean of the scores.
        std: Standard deviation of the scores (n − 1); ``None`` for fewer than two seeds.
        worst: The seed with the least score.
        area, area_interval: Mean area under the curve; ``None`` where the section has none.
        reached: How many seeds reached the threshold; ``None`` without one.
        steps_to_threshold: Median over seeds, those that never reached it counted as slowest; ``None`` if it is one of
            those.
        seconds_to_threshold: The same in seconds.
        lost: How many runs of these settings were left out, by state.
        curve: Over steps.
        time_curve: Over seconds; ``None`` if nothing tells.
        diagnostics: Curves of other metrics over steps, by name.
        profile: Share of seeds whose score is above each of the section's ``profile_at``, with its interval.
    """

    name: str
    side: str
    settings: dict[str, str]
    seeds: tuple[Seed, ...]
    mean: float
    mean_interval: Interval | None
    iqm: float
    iqm_interval: Interval | None
    std: float | None
    worst: Seed
    area: float | None
    area_interval: Interval | None
    reached: int | None
    steps_to_threshold: float | None
    seconds_to_threshold: float | None
    lost: dict[str, int]
    curve: Curve = field(repr=False)
    time_curve: Curve | None = field(repr=False)
    diagnostics: dict[str, Curve] = field(repr=False)
    profile: Curve = field(repr=False)


BETTER, WORSE, OPEN, TOO_FEW = "better", "worse", "undecided", "too few seeds"


@dataclass(frozen=True)
class Pair:
    """Two groups, compared: the first against the second.

    Attributes:
        first, second: Their places among the section's groups.
        verdict: Whether the first is ``better`` or ``worse``, or the seeds do not decide it (``undecided``), or so few
            never could (``too few seeds``).
        difference: The first's mean less the second's.
        interval: Welch's, of the difference; ``None`` for fewer than two seeds, as all that follows.
        p: Of the permutation test.
        p_adjusted: What decides: ``tests_of_means.deciding_p``, by Holm's method adjusted for all pairs of the section.
        p_welch: Of Welch's test.
        apart: Whether each seed of one group beats each of the other, of at least five a group.
        exact: Whether the permutation test tried every split.
        splits: How many it tried.
        smallest_p: The least that ``p`` could have been.
        improvement: Probability that a seed of the first beats one of the second.
        improvement_interval: Its bootstrap interval.
        needed: Seeds a group that would decide it; only where it is open, and the second is the best, or one of a few.
    """

    first: int
    second: int
    verdict: str
    difference: float
    interval: Interval | None
    p: float | None
    p_adjusted: float | None
    p_welch: float | None
    apart: bool
    exact: bool | None
    splits: int | None
    smallest_p: float | None
    improvement: float
    improvement_interval: Interval | None
    needed: SeedsNeeded | None


@dataclass(frozen=True)
class Gate:
    """Whether new runs are worse than those they are held against.

    Attributes:
        name: The settings of both; empty if there are only one kind.
        first, second: Places of the new and the old group.
        p: One-sided p-value against "not worse by more than the margin": ``tests_of_means.deciding_p``.
        p_adjusted: By Holm's method adjusted for all pairs of the gate.
        worse: Whether they are.
    """

    name: str
    first: int
    second: int
    p: float
    p_adjusted: float
    worse: bool


@dataclass(frozen=True)
class Section:
    """All that is compared on one environment.

    Attributes:
        env: The environment.
        metric: The column of ``metrics.csv`` that scores come from.
        budget: Steps that the runs were to make; ``None`` where they differ.
        area_from, area_to: Steps between which areas are taken; ``None`` where the curves have none in common.
        threshold: As asked for.
        groups: By their mean, the best first.
        pairs: All of them, the better group first; where two sides are compared, a new group and its old one.
        gates: Where ``fail_if`` is set.
        sentences: The verdict.
        notes: What to know before believing it.
        differing: Settings that differ between groups: for each, a value a group.
        pooled: Settings that differ within groups, with their values.
        profile_at: Scores at which profiles are taken.
    """

    env: str
    metric: str
    budget: int | None
    area_from: float | None
    area_to: float | None
    threshold: float | None
    groups: tuple[Group, ...]
    pairs: tuple[Pair, ...]
    gates: tuple[Gate, ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    differing: dict[str, tuple[str, ...]]
    pooled: dict[str, tuple[str, ...]]
    profile_at: Numbers

    def pair(self, first: int, second: int) -> Pair | None:
        """The comparison of two groups, in whichever order."""
        return next((one for one in self.pairs if {one.first, one.second} == {first, second}), None)


@dataclass(frozen=True)
class Left:
    """A folder that is not compared.

    Attributes:
        folder: Where it is.
        state: ``foreign``, ``broken``, ``repeated``, ``trial``, or how the run stands.
        reason: Why, in words.
        count: How many runs it stands for.
    """

    folder: Path
    state: str
    reason: str
    count: int = 1


@dataclass(frozen=True)
class Report:
    """Everything.

    Attributes:
        command: What makes it again.
        score: What is compared: ``final`` or ``area``.
        last: Share of a run, at its end, that ``final`` is taken over.
        level: Of all intervals.
        margin: Of the gate.
        sections: One an environment; none where searches have no finals yet.
        searches: What was looked for, and what of it held, a search each.
        left_out: What is not compared, and why.
        commands: What makes the runs again, by group's name; (environment, group, command).
        versions: Versions of packages that the runs were made with, by package.
        commits: Commits they were made at.
        made: When.
        made_with: The version that made it.
    """

    command: str
    score: str
    last: float
    level: float
    margin: float
    sections: tuple[Section, ...]
    searches: tuple[Search, ...]
    left_out: tuple[Left, ...]
    commands: tuple[tuple[str, str, str], ...]
    versions: dict[str, tuple[str, ...]]
    commits: tuple[str, ...]
    made: str
    made_with: str

    @property
    def worse(self) -> bool:
        """Whether a gate is shut."""
        return any(gate.worse for section in self.sections for gate in section.gates)
