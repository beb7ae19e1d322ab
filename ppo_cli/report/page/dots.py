"""Pictures of single scores, which need no script: a dot a seed, by group and by setting."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ppo_cli.loggers.curves import thousands
from ppo_cli.report.model import Group, Section
from ppo_cli.report.page.charts import drawn
from ppo_cli.report.settings import in_order, short
from ppo_cli.report.verdict import between, measure, number, share

WIDTH, ROW, FOOT, EDGE = 1000, 52, 40, 26
PANEL_WIDTH, PANEL_HEIGHT, PANEL_LEFT, PANEL_FOOT, PANEL_TOP = 250, 190, 52, 34, 14
MOST_PANELS, LONGEST_LABEL, LONGEST_NAME, LETTER = 12, 10, 70, 7.4
LOGARITHMIC = 20.0
"""Values of a setting whose greatest is so many times the least are laid out by their logarithm."""


@dataclass(frozen=True)
class Dot:
    """One seed: where it is drawn, the place of its group, and what it is."""

    x: float
    y: float
    group: int
    title: str


@dataclass(frozen=True)
class Bar:
    """A mean with its interval, whose ends are ``None`` where there is none; of panels, the mean of a value."""

    x: float
    y: float
    low: float | None
    high: float | None
    group: int
    title: str


@dataclass(frozen=True)
class Picture:
    """What all pictures have that need no script.

    Attributes:
        title: What it shows, and how to read it.
        alt: The same in words for those who do not see it.
        width, height: In units of its own.
        ticks: Of the axis of scores or values: place and label.
        labels: Of groups, trials, or a setting's values: place and text.
    """

    title: str
    alt: str
    width: float
    height: float
    ticks: tuple[tuple[float, str], ...]
    labels: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Dots(Picture):
    """Scores.

    Attributes:
        dots: The seeds.
        bars: The means.
    """

    dots: tuple[Dot, ...]
    bars: tuple[Bar, ...]


Scale = Callable[[float], float]


def by_group(section: Section, level: float) -> Dots:
    """A row a group: its name, its seeds, and under them the mean with its interval."""
    groups = drawn(section)
    marks, scale = _axis(groups, EDGE, WIDTH - EDGE, 8)
    dots, bars, labels = [], [], []
    for place, group in enumerate(groups):
        top = place * ROW
        labels.append((top + 14.0, f"{cut(group.name, LONGEST_NAME)}  (n = {len(group.seeds)})"))
        for count, seed in enumerate(group.seeds):
            height = top + 30 + 1.6 * (count % 5 - 2)  # so that equal ones are seen
            dots.append(Dot(scale(seed.score), height, place, f"seed {seed.seed}: {number(seed.score)}"))
        interval = group.mean_interval
        low, high = (None, None) if interval is None else (scale(interval.low), scale(interval.high))
        told = "" if interval is None else f", {share(level)} interval {between(interval)}"
        bars.append(Bar(scale(group.mean), top + 42, low, high, place, f"mean {number(group.mean)}{told}"))
    return Dots(
        title=f"Score of each seed: {measure(section)}",
        alt=f"Scores of the seeds of {len(groups)} groups, from {number(marks[0])} to {number(marks[-1])}; "
        "the table of groups has the numbers.",
        width=WIDTH,
        height=len(groups) * ROW + FOOT,
        ticks=tuple((scale(mark), thousands(mark)) for mark in marks),
        labels=tuple(labels),
        dots=tuple(dots),
        bars=tuple(bars),
    )


def by_setting(section: Section) -> Iterator[Dots]:
    """A panel a setting that differs: scores over its values, whatever else differs."""
    groups = section.groups
    keys = [key for key, found in section.differing.items() if len(set(found)) > 1]
    if len(keys) < 2 and (not keys or len(set(section.differing[keys[0]])) < 3):
        return  # the picture by group says as much
    marks, scale = _axis(groups, PANEL_HEIGHT - PANEL_FOOT, PANEL_TOP, 4)
    for key in keys[:MOST_PANELS]:
        values = in_order(set(section.differing[key]))
        across = _across(values)
        dots, bars = [], []
        for value in values:
            own = [place for place, found in enumerate(section.differing[key]) if found == value]
            scores = [seed.score for place in own for seed in groups[place].seeds]
            mean = sum(scores) / len(scores)
            bars.append(Bar(across[value], scale(mean), None, None, own[0], f"{key}={value}: mean {number(mean)}"))
            for place in own:
                for count, seed in enumerate(groups[place].seeds):
                    title = f"{groups[place].name}, seed {seed.seed}: {number(seed.score)}"
                    dots.append(Dot(across[value] + 2 * (count % 5 - 2), scale(seed.score), place, title))
        labels = apart([(across[value], _label(value)) for value in values])
        yield Dots(
            title=key,
            alt=f"Scores over {key}, whose values are {', '.join(values[:8])}.",
            width=PANEL_WIDTH,
            height=PANEL_HEIGHT,
            ticks=tuple((scale(mark), thousands(mark)) for mark in marks),
            labels=tuple(labels),
            dots=tuple(dots),
            bars=tuple(bars),
        )


def _axis(groups: Sequence[Group], start: float, end: float, most: int) -> tuple[list[float], Scale]:
    found = [seed.score for group in groups for seed in group.seeds]
    found += [limit for group in groups if group.mean_interval for limit in group.mean_interval]
    return axis(found, start, end, most)


def axis(found: Sequence[float], start: float, end: float, most: int) -> tuple[list[float], Scale]:
    """Round values to mark, at most about so many, and where a value is drawn.

    Args:
        found: The values; the marks reach beyond them.
        start: Where the least mark is drawn.
        end: Where the greatest is.
        most: How many steps the marks make.
    """
    from matplotlib.ticker import MaxNLocator

    least, most_found = min(found), max(found)
    if least == most_found:
        least, most_found = least - max(1.0, abs(least) / 10), most_found + max(1.0, abs(least) / 10)
    marks = [float(mark) for mark in MaxNLocator(most, steps=(1, 2, 2.5, 5, 10)).tick_values(least, most_found)]
    low, high = min(marks[0], least), max(marks[-1], most_found)

    def scale(score: float) -> float:
        return round(start + (score - low) / (high - low) * (end - start), 1)

    return marks, scale


def _across(values: Sequence[str]) -> dict[str, float]:
    """Where each value of a setting is drawn: numbers by their size, others one beside the other."""
    places: list[float]
    try:
        places = [float(value) for value in values]
        if not all(map(math.isfinite, places)):
            raise ValueError
    except ValueError:
        places = [float(place) for place in range(len(values))]
    if places[0] > 0 and places[-1] / places[0] >= LOGARITHMIC:
        places = [math.log(place) for place in places]
    start, end = PANEL_LEFT + 24, PANEL_WIDTH - 34
    span = places[-1] - places[0]
    return {
        value: round(start + ((place - places[0]) / span if span else 0.5) * (end - start), 1)
        for value, place in zip(values, places, strict=True)
    }


def apart(labels: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """The labels that fit beside each other, the first among them."""
    kept = [labels[0]]
    for at, text in labels[1:]:
        before, last = kept[-1]
        if at - before >= LETTER * (len(text) + len(last) + 1) / 2:
            kept.append((at, text))
    return kept


def _label(value: str) -> str:
    """A setting's value, short: long numbers lose digits, long texts their end."""
    return cut(short(value), LONGEST_LABEL)


def cut(text: str, most: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
