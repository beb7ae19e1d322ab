"""The charts of the page as data, thinned out so that a page of many runs stays small."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ppo_cli.report.model import Curve, Group, Numbers, Report, Section
from ppo_cli.report.scores import DIAGNOSTICS
from ppo_cli.report.verdict import measure, number, share

MOST_DRAWN, MOST_DIAGNOSED = 40, 12
"""Groups of a section that are drawn, the best first: in all charts, and in those of diagnostics."""
CURVE_POINTS, DIAGNOSTIC_POINTS, SEED_POINTS = 6_000, 8_000, 20_000
"""Points of a page's curves of groups, of diagnostics and of seeds, all of each together."""
LEAST_POINTS, MOST_POINTS = 20, 300
DIGITS, LEVELS = 12, 2**16 - 1
"""Digits of steps; levels of all else between its least and its greatest, which no eye tells apart."""


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        key: What the page knows it by.
        title: Its heading.
        hint: How to read it.
        alt: What it shows, in words.
        switches: Whether seeds can be hidden, and wall time chosen.
        timed: Whether there is wall time to choose.
        data: What the script draws.
    """

    key: str
    title: str
    hint: str
    alt: str
    switches: bool
    timed: bool
    data: dict[str, Any] = field(repr=False)


class Arrays:
    """Lists of numbers, each kept once: seeds often share their steps, and one seed is its own mean.

    Attributes:
        kept: Each as a list, or as what :func:`packed` makes of it.
    """

    def __init__(self) -> None:
        self.kept: list[list[Any]] = []
        self._places: dict[tuple[bool, Numbers], int] = {}

    def add(self, values: Sequence[float], exact: bool = False) -> int:
        """Keep numbers; returns their place."""
        numbers = tuple(values)
        place = self._places.setdefault((exact, numbers), len(self.kept))
        if place == len(self.kept):
            self.kept.append(as_list(numbers) if exact else packed(numbers))
        return place


def as_list(values: Sequence[float]) -> list[float | int]:
    """Numbers with so many digits that steps are whole."""
    rounded = (float(f"{value:.{DIGITS}g}") for value in values)
    return [int(value) if value.is_integer() else value for value in rounded]


def packed(values: Sequence[float]) -> list[Any]:
    """Least number, a step, and how many steps each lies above it: less than half of what digits would take."""
    least, most = min(values), max(values)
    if not math.isfinite(2 * (most - least)):  # both ends of what a number can be
        return as_list(values)
    step = (most - least) / LEVELS
    levels = [round((value - least) / step) if step else 0 for value in values]
    return [least, step, base64.b64encode(struct.pack(f"<{len(levels)}H", *levels)).decode()]


def drawn(section: Section) -> tuple[Group, ...]:
    """The groups of a section that are drawn."""
    return section.groups[:MOST_DRAWN]


class Charts:
    """Makes the charts of a report."""

    def __init__(self, report: Report) -> None:
        self.arrays = Arrays()
        self._report = report
        groups = [group for section in report.sections for group in drawn(section)]
        diagnosed = sum(len(group.diagnostics) for one in report.sections for group in one.groups[:MOST_DIAGNOSED])
        self._curve_points = _points(CURVE_POINTS, len(groups))
        self._diagnostic_points = _points(DIAGNOSTIC_POINTS, diagnosed)
        self._seed_points = _points(SEED_POINTS, sum(len(group.seeds) for group in groups))

    def curves(self, place: int, section: Section) -> Chart:
        """The metric over steps or wall time: each group's curve with its interval, and its seeds."""
        views = [{"x": "environment steps", "kind": "steps", "groups": [self._steps(one) for one in drawn(section)]}]
        timed = all(group.time_curve is not None for group in drawn(section))
        if timed:
            views.append({"x": "wall time", "kind": "time", "groups": [self._seconds(one) for one in drawn(section)]})
        level = share(self._report.level)
        return Chart(
            key=f"{place}-curves",
            title="Curves",
            hint=f"Line: interquartile mean over seeds. Band: {level} interval. Thin: seeds.",
            alt=_alt(f"{measure(section)} over environment steps", drawn(section)),
            switches=True,
            timed=timed,
            data={
                "section": place,
                "y": measure(section),
                "band": f"{level} interval",
                "line": section.threshold,
                "views": views,
            },
        )

    def profile(self, place: int, section: Section) -> Chart:
        """The share of seeds above each score."""
        groups = [self._curve(group.profile, self._curve_points) for group in drawn(section)]
        level = share(self._report.level)
        return Chart(
            key=f"{place}-profile",
            title="Performance profile",
            hint=f"Share of seeds whose score is above the one below. Higher is better. Band: {level} interval.",
            alt=f"Share of seeds above each score, from {number(section.profile_at[0])} to "
            f"{number(section.profile_at[-1])}, for {len(groups)} groups.",
            switches=False,
            timed=False,
            data={
                "section": place,
                "y": "share of seeds",
                "band": f"{level} interval",
                "line": None,
                "views": [{"x": f"score: {measure(section)}", "kind": "score", "groups": groups}],
            },
        )

    def diagnostics(self, place: int, section: Section) -> Iterator[Chart]:
        """A chart a diagnostic metric that a group has."""
        groups = section.groups[:MOST_DIAGNOSED]
        for count, metric in enumerate(dict.fromkeys(name for group in groups for name in group.diagnostics)):
            title, hint = DIAGNOSTICS[metric]
            found = [
                self._curve(group.diagnostics[metric], self._diagnostic_points) if metric in group.diagnostics else None
                for group in groups
            ]
            drawn_groups = sum(one is not None for one in found)
            yield Chart(
                key=f"{place}-diagnostic-{count}",
                title=title,
                hint=f"{metric}: {hint}",
                alt=f"{title} over environment steps, mean of seeds, for {drawn_groups} groups.",
                switches=False,
                timed=False,
                data={
                    "section": place,
                    "y": title,
                    "band": "least to greatest",
                    "line": None,
                    "views": [{"x": "environment steps", "kind": "steps", "groups": found}],
                },
            )

    def _steps(self, group: Group) -> dict[str, Any]:
        seeds = [self._seed(seed.steps, seed.values, seed.seed, exact=True) for seed in group.seeds]
        return self._curve(group.curve, self._curve_points) | {"seeds": seeds}

    def _seconds(self, group: Group) -> dict[str, Any]:
        assert group.time_curve is not None
        seeds = [self._seed(seed.seconds, seed.values, seed.seed, exact=False) for seed in group.seeds if seed.seconds]
        return self._curve(group.time_curve, self._curve_points) | {"seeds": seeds}

    def _seed(self, at: Numbers, values: Numbers, seed: int, exact: bool) -> list[Any]:
        kept = thinned(len(at), self._seed_points)
        return [
            self.arrays.add([at[place] for place in kept], exact),
            self.arrays.add([values[place] for place in kept]),
            str(seed),  # of any length, which a script's numbers have not
        ]

    def _curve(self, curve: Curve, points: int) -> dict[str, Any]:
        kept = thinned(len(curve.at), points)
        lists = {"middle": curve.middle, "low": curve.low, "high": curve.high}
        found = {name: self.arrays.add([values[place] for place in kept]) for name, values in lists.items()}
        return {"at": self.arrays.add([curve.at[place] for place in kept], exact=True), **found}


def _points(total: int, curves: int) -> int:
    return max(LEAST_POINTS, min(MOST_POINTS, total // max(1, curves)))


def thinned(count: int, most: int) -> list[int]:
    """Places of at most so many of a list, equally far apart, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(place * (count - 1) / (most - 1)) for place in range(most)})


def _alt(what: str, groups: Sequence[Group]) -> str:
    told = "; ".join(f"{group.name} ends at {number(group.curve.middle[-1])}" for group in groups[:6])
    return f"{what}. {told}{f'; and {len(groups) - 6} more' if len(groups) > 6 else ''}."
