"""What the page shows of a search: pictures that need no script, and tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from ppo_cli.loggers.curves import thousands
from ppo_cli.places import shown
from ppo_cli.report import believed
from ppo_cli.report.page.dots import (
    MOST_PANELS,
    PANEL_FOOT,
    PANEL_HEIGHT,
    PANEL_LEFT,
    PANEL_TOP,
    PANEL_WIDTH,
    Picture,
    Scale,
    apart,
    axis,
    cut,
)
from ppo_cli.report.page.search_tables import finals, trials
from ppo_cli.report.page.tables import Grid, sortable
from ppo_cli.report.searches import FINISHED, PRUNED, Search, Space, Trial
from ppo_cli.report.settings import short
from ppo_cli.report.verdict import share

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, ROW = 1000, 300, 64, 16, 14, 236, 256
"""Of the history, in units of its own; ``ROW`` is where trials without a value stand."""
BAR_ROW, BAR_WIDTH, BAR_LEFT, LONGEST_KEY, LONGEST_LABEL = 26, 420, 250, 32, 10
MOST_LABELS = 4
MOST_DRAWN, MOST_SLICED = 1_000, 200
"""Trials of the history, and of each slice."""
FAR = 3.0
"""Interquartile ranges beyond which a value would squeeze all others, and is drawn at the edge."""


@dataclass(frozen=True)
class Mark:
    """A trial in a picture.

    Attributes:
        x, y: Where.
        kind: Its state.
        preset: Whether it is the preset.
        title: What it is.
    """

    x: float
    y: float
    kind: str
    preset: bool
    title: str


@dataclass(frozen=True)
class Marks(Picture):
    """Trials between two axes.

    Attributes:
        marks: The trials.
        line: A path, such as of the best so far; empty for none.
        bars: Medians of choices: their places, and what they are.
    """

    marks: tuple[Mark, ...]
    line: str
    bars: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True)
class Bar:
    """A setting's importance: where its row is, its name, how long it is, and the share."""

    y: float
    key: str
    length: float
    share: str


@dataclass(frozen=True)
class SearchView:
    """A search with all that the page shows of it."""

    search: Search
    name: str
    about: str
    history: Marks | None
    slices: tuple[Marks, ...]
    drawn: int
    importance: tuple[Bar, ...]
    alt_of_importance: str
    finals: Grid
    trials: Grid


def search_view(search: Search, level: float) -> SearchView:
    """All that the page shows of a search."""
    shares = believed.importance(search)
    most = max((one for _, one in shares), default=0.0) or 1.0
    return SearchView(
        search=search,
        name=str(shown(search.folder)),
        about=believed.about(search),
        history=history(search),
        slices=tuple(slices(search)),
        drawn=min(MOST_SLICED, len(believed.finished(search))),
        importance=tuple(
            Bar(place * BAR_ROW, cut(key, LONGEST_KEY), round(one / most * BAR_WIDTH, 1), share(round(one, 3)))
            for place, (key, one) in enumerate(shares)
        ),
        alt_of_importance="; ".join(f"{key} {share(round(one, 3))}" for key, one in shares),
        finals=finals(search, level),
        trials=trials(search),
    )


def history(search: Search) -> Marks | None:
    """The value of each trial over its number, and the best so far; ``None`` where no trial has a value."""
    drawn = search.trials[-MOST_DRAWN:]
    known = [trial.value for trial in drawn if trial.value is not None]
    if not known:
        return None
    marks, scale = _scale(search, known, BOTTOM, TOP, 6)
    first, last = drawn[0].number, drawn[-1].number
    step = (WIDTH - RIGHT - LEFT) / max(1, last - first)

    def across(number: float) -> float:
        return round(LEFT + 10 + (number - first) * (step - 20 / max(1, last - first)), 1)

    numbers, _ = axis([first, last], 0, 1, 8)
    whole = [mark for mark in numbers if mark.is_integer() and first <= mark <= last]
    best = search.best_so_far()
    told = f"The best is trial {best[-1].number} with {believed.value(search, best[-1].value)}." if best else ""
    return Marks(
        title=f"Axis: {believed.measure(search)}, as the search believed.{_aside(search, drawn, known)}",
        alt=f"Values of {len(drawn)} trials over their numbers, from {believed.value(search, min(known))} to "
        f"{believed.value(search, max(known))}. {told} The table of trials has the numbers.",
        width=WIDTH,
        height=HEIGHT,
        ticks=tuple((scale(mark), thousands(mark)) for mark in marks),
        labels=tuple((across(mark), thousands(mark)) for mark in whole or [float(first)]),
        marks=tuple(
            Mark(
                across(trial.number),
                ROW if trial.value is None else scale(trial.value),
                trial.state,
                trial.preset,
                _title(search, trial),
            )
            for trial in drawn
        ),
        line=_steps([(across(max(first, one.number)), scale(one.value or 0.0)) for one in best], WIDTH - RIGHT),
        bars=(),
    )


def _aside(search: Search, drawn: Sequence[Trial], known: Sequence[float]) -> str:
    """Which trials stand elsewhere than at their value."""
    without = " At the foot: trials without a value." if len(known) < len(drawn) else ""
    far = " Values that are far worse than the rest stand at the edge." if _fence(search, known) is not None else ""
    return f"{without}{far}{f' The last {len(drawn)} trials.' * (len(drawn) < len(search.trials))}"


def _title(search: Search, trial: Trial) -> str:
    state = "" if trial.state == FINISHED else f" {trial.state},"
    found = "no value" if trial.value is None else believed.value(search, trial.value)
    preset = " (preset)" * trial.preset
    return f"trial {trial.number}{preset}:{state} {found}; {believed.settings(search, trial)}"


def _steps(points: Sequence[tuple[float, float]], end: float) -> str:
    """A line that keeps each height until the next, as a path."""
    if not points:
        return ""
    path = f"M{points[0][0]} {points[0][1]}"
    return path + "".join(f"H{x}V{y}" for x, y in points[1:]) + f"H{end}"


def _fence(search: Search, known: Sequence[float]) -> float | None:
    """The worst value that is drawn where it lies; ``None`` where all are."""
    ordered = sorted(known)
    low, high = ordered[len(ordered) // 4], ordered[len(ordered) * 3 // 4]
    fence = low - FAR * (high - low) if search.maximize else high + FAR * (high - low)
    return fence if high > low and any(search.better(fence, value) for value in known) else None


def _scale(search: Search, known: Sequence[float], start: float, end: float, most: int) -> tuple[list[float], Scale]:
    """An axis of values; those beyond the fence are drawn at its edge."""
    fence = _fence(search, known)
    kept = [value for value in known if fence is None or not search.better(fence, value)]
    marks, scale = axis(kept, start, end, most)
    least, greatest = min(start, end), max(start, end)
    return marks, lambda value: min(greatest, max(least, scale(value)))


def slices(search: Search) -> Iterator[Marks]:
    """A panel a setting that was searched, the most important first: the value over it."""
    every = believed.finished(search)[:MOST_SLICED]
    pruned = [trial for trial in search.trials if trial.state == PRUNED and trial.value is not None]
    every += pruned[: MOST_SLICED - len(every)]
    known = [trial.value for trial in every if trial.value is not None]
    if not known:
        return
    ticks, scale = _scale(search, known, PANEL_HEIGHT - PANEL_FOOT, PANEL_TOP, 4)
    ranks = {key: place for place, (key, _) in enumerate(believed.importance(search))}
    for key in sorted(search.space, key=lambda key: ranks.get(key, len(ranks)))[:MOST_PANELS]:
        space = search.space[key]
        places, labels = _across(space, [trial.settings.get(key, "") for trial in every])
        marks, bars = [], []
        for count, trial in enumerate(every):
            x = places.get(trial.settings.get(key, ""))
            if x is None or trial.value is None:
                continue
            told = f"trial {trial.number}, {key}={short(trial.settings[key])}: {believed.value(search, trial.value)}"
            x += 2 * (count % 5 - 2) if space.choices else 0
            marks.append(Mark(round(x, 1), scale(trial.value), trial.state, trial.preset, told))
        for value, x in places.items() if space.choices else ():
            own = [trial.value for trial in every if trial.settings.get(key) == value and trial.state == FINISHED]
            found = [one for one in own if one is not None]
            if found:
                middle = median(found)
                bars.append((x, scale(middle), f"{key}={short(value)}: median {believed.value(search, middle)}"))
        yield Marks(
            title=f"{key} (log)" if space.log else key,
            alt=f"Values of {len(marks)} trials over {key}, {_range(space)}.",
            width=PANEL_WIDTH,
            height=PANEL_HEIGHT,
            ticks=tuple((scale(mark), thousands(mark)) for mark in ticks),
            labels=tuple(labels),
            marks=tuple(marks),
            line="",
            bars=tuple(bars),
        )


def _range(space: Space) -> str:
    if space.low is None:
        return f"one of {', '.join(space.choices[:8])}"
    return f"from {space.low:g} to {space.high:g}{', by its logarithm' * space.log}"


def _across(space: Space, found: Sequence[str]) -> tuple[dict[str, float], list[tuple[float, str]]]:
    """Where each value of a setting is drawn, also those a preset has beyond what was searched; and the labels."""
    start, end = PANEL_LEFT + 24.0, PANEL_WIDTH - 34.0
    if space.low is None or space.high is None:
        values = list(dict.fromkeys([*space.choices, *filter(None, found)]))
        step = (end - start) / max(1, len(values) - 1)
        first = start if len(values) > 1 else (start + end) / 2
        places = {value: round(first + step * place, 1) for place, value in enumerate(values)}
        return places, apart([(places[value], cut(short(value), LONGEST_LABEL)) for value in values])
    numbers = {value: number for value in found if (number := _number(value)) is not None}
    numbers = {value: number for value, number in numbers.items() if number > 0 or not space.log}
    low, high = min([space.low, *numbers.values()]), max([space.high, *numbers.values()])

    def across(value: float) -> float:
        near, far, at = (math.log(one) if space.log else one for one in (low, high, value))
        return round(start + ((at - near) / (far - near) if far > near else 0.5) * (end - start), 1)

    if space.log:
        tens = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
        sparse = tens[:: -(-len(tens) // MOST_LABELS)] if tens else tens
        ticks = [10.0**power for power in sparse] if len(sparse) > 1 else [low, high]
    else:
        ticks = [low, (low + high) / 2, high]
    labels = apart([(across(tick), f"{tick:.3g}") for tick in ticks])
    return {value: across(number) for value, number in numbers.items()}, labels


def _number(value: str) -> float | None:
    found = sortable(value)
    return found if isinstance(found, float) else None
