"""The verdict in sentences: who wins, by how much, by which test, and how many seeds would settle what is open."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ppo_cli.loggers.text import counted
from ppo_cli.report.comparing import seeds_to_decide, tests_in_all
from ppo_cli.report.model import BETTER, TOO_FEW, WORSE, Gate, Group, Pair, Section
from ppo_cli.report.options import EVAL_METRIC, TRAINING_METRIC, ReportConfig
from ppo_cli.report.statistics import Interval

MOST_TOLD = 5
"""Pairs that get a sentence; all of them are in the files."""
MOST_NAMED = 2
UNLIKE, MANY = 3.0, 10
"""Standard deviations that are so many times as large, in groups of fewer seeds, are warned of."""
MEASURES = {EVAL_METRIC: "evaluation return", TRAINING_METRIC: "training return"}


def measure(section: Section) -> str:
    """The metric as people say it."""
    return MEASURES.get(section.metric, section.metric)


def height(section: Section) -> str:
    """What an area is, which is left out where the curves have no stretch of steps in common."""
    if section.area_from is None or section.area_to is None:
        return "left out, for there is no stretch of steps over which all runs have a curve"
    return f"mean height of the curve from step {section.area_from:,.0f} to {section.area_to:,.0f}"


def number(value: float | None) -> str:
    """A score, as short as it is still told apart from its like."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    text = f"{value:,.0f}" if size >= 10_000 else f"{value:,.1f}" if size >= 10 else f"{value:.3g}"
    return text.replace("-", "−")


def p_value(value: float | None) -> str:
    """A p-value, its first digits where it is small."""
    if value is None:
        return "–"
    return f"{value:.2f}" if value >= 0.095 else f"{value:.3f}" if value >= 0.00095 else f"{value:.1g}"


def between(interval: Interval | None) -> str:
    """An interval in words."""
    return "no interval" if interval is None else f"{number(interval.low)} to {number(interval.high)}"


def share(level: float) -> str:
    """A level as people say it: 95 %."""
    return f"{100 * level:g} %"


def sentences(groups: Sequence[Group], pairs: Sequence[Pair], told: ReportConfig) -> tuple[str, ...]:
    """What the comparison has come to, the most important first."""
    return (*_headline(groups, pairs, told), *_each(groups, pairs, told), *_losses(groups))


def _headline(groups: Sequence[Group], pairs: Sequence[Pair], told: ReportConfig) -> Iterator[str]:
    best = groups[0]
    if len(groups) == 1:
        seeds = f"{len(best.seeds)} seeds" if len(best.seeds) > 1 else "one seed, which says nothing about others"
        yield f"{best.name}: mean {number(best.mean)} ({_of(best, told)}), {seeds}."
        alike = f"its runs do not differ in {', '.join(told.by)}" if told.by else "no setting differs but the seed"
        yield f"There is nothing to compare it with: {alike}."
        return
    if not pairs:
        yield "No new group has the settings of an old one: nothing is compared."
        return
    if best.side:
        if not told.fail_if:  # the gate's test is one-sided, so fewer seeds do, and it has said what holds
            yield from _too_few(groups, pairs, told)
        decided = [pair for pair in pairs if pair.verdict in (BETTER, WORSE)]
        beside = "Two-sided, beside the gate: " if told.fail_if else ""
        of_both = f"{counted(len(pairs), 'comparison')} of new runs with old ones"
        yield f"{beside}{of_both}, {len(decided) or 'none'} decided."
        return
    yield from _too_few(groups, pairs, told)
    others = len(groups) - 1
    against = f"each of the {others} others" if others > 1 else groups[1].name
    open_ones = [groups[pair.second].name for pair in pairs if pair.first == 0 and pair.verdict != BETTER]
    if not open_ones:
        yield f"{best.name} wins: it is better than {against}, by the test."
    else:
        some = f"{len(open_ones)} of the {others} others" if len(open_ones) < others else f"any of the {others} others"
        names = " and ".join(open_ones) if len(open_ones) <= MOST_NAMED else some
        mean = f"has the highest mean ({number(best.mean)}), but is not shown to be better than"
        yield f"No winner: {best.name} {mean} {names}."
    if others > 1:
        apart = sum(pair.verdict == BETTER for pair in pairs)
        all_of = "all" if len(pairs) == tests_in_all(groups, pairs) else "the best one's"
        yield f"Of {all_of} {len(pairs)} pairs, {apart or 'none'} can be told apart."


def _too_few(groups: Sequence[Group], pairs: Sequence[Pair], told: ReportConfig) -> Iterator[str]:
    """What to say first where not a single pair could have been decided."""
    if any(pair.verdict != TOO_FEW for pair in pairs):
        return
    sizes = sorted({len(groups[place].seeds) for pair in pairs for place in (pair.first, pair.second)})
    seeds = f"{sizes[0]} to {sizes[-1]} seeds" if len(sizes) > 1 else f"{sizes[0]} seed{'s' * (sizes[0] > 1)}"
    least = [pair.smallest_p for pair in pairs if pair.smallest_p is not None]
    total = tests_in_all(groups, pairs)
    correction = f" before Holm's correction for {total} pairs" if total > 1 else ""
    why = f", for p cannot be less than {p_value(min(least))}{correction}, whatever the returns" if least else ""
    needed = seeds_to_decide(total, told.alpha)
    yield f"Nothing can be decided with {seeds} a group{why}. It takes at least {needed} seeds of every group."


def _of(group: Group, told: ReportConfig) -> str:
    return f"{share(told.level)} interval {between(group.mean_interval)}" if group.mean_interval else "no interval"


def _each(groups: Sequence[Group], pairs: Sequence[Pair], told: ReportConfig) -> Iterator[str]:
    shown = [pair for pair in pairs if pair.first == 0 or groups[pair.first].side]
    for pair in shown[:MOST_TOLD]:
        yield _pair(groups[pair.first], groups[pair.second], pair, tests_in_all(groups, pairs), told)
    if len(shown) > MOST_TOLD:
        yield f"{len(shown) - MOST_TOLD} more comparisons are in the files."


def _pair(first: Group, second: Group, pair: Pair, pairs: int, told: ReportConfig) -> str:
    sizes = f"{len(first.seeds)} against {counted(len(second.seeds), 'seed')}"
    between_both = f"{first.name} against {second.name}: difference {number(pair.difference)}"
    if pair.p is None:
        return f"{between_both} ({sizes}); a group of one seed has no spread to judge by."
    how = "exact permutation test" if pair.exact else f"permutation test of {pair.splits:,} draws"
    holm = f", corrected for {pairs} pairs" if pairs > 1 else ""
    tests = f"{how} {p_value(pair.p)}, Welch's test {p_value(pair.p_welch)}{holm}"
    apart = f"{share(told.level)} interval {between(pair.interval)}, {sizes}; p = {p_value(pair.p_adjusted)}: {tests}"
    if pair.verdict in (BETTER, WORSE):
        size = number(abs(pair.difference))
        return (
            f"{first.name} is {pair.verdict} than {second.name} by {size} ({apart}).{_doubt(first, second, pair, told)}"
        )
    few = f"Too few seeds{' for a two-sided test' if told.fail_if else ''}"
    word = few if pair.verdict == TOO_FEW else "Not decided"
    return f"{word}: {between_both} ({apart}).{_needed(pair, first, second)}"


def _doubt(first: Group, second: Group, pair: Pair, told: ReportConfig) -> str:
    """A warning where the tests disagree, or spreads are so unlike, and seeds so few, that p comes out too small."""
    if pair.apart and pair.p_welch is not None and pair.p_welch > told.alpha:
        return (
            " Welch's test doubts it, for the spreads are unlike; but every seed of one beats every seed of the other."
        )
    spreads = [group.std for group in (first, second) if group.std is not None]
    few = min(len(first.seeds), len(second.seeds)) < MANY
    if not few or len(spreads) < 2 or max(spreads) <= UNLIKE * min(spreads):
        return ""
    wide, narrow = (first, second) if spreads[0] > spreads[1] else (second, first)
    return (
        f" Scores of {wide.name} are spread far wider than those of {narrow.name} ({number(wide.std)} and "
        f"{number(narrow.std)}): with so few seeds, p is too small if they come from few good or bad ones."
    )


def _needed(pair: Pair, first: Group, second: Group) -> str:
    needed = pair.needed
    if needed is None:
        return ""
    have = min(len(first.seeds), len(second.seeds))
    beyond = f"more than {needed.most}"
    low, high = (beyond if one is None else str(one) for one in (needed.low, needed.high))
    plausible = f"anything from {low} to {high} is plausible" if low != high else ""
    if needed.likely is None:
        words = f"If the groups are as they look, it would take {beyond} seeds each to tell them apart"
    elif needed.likely > have:
        words = (
            f"If the groups are as they look, {needed.likely} seeds each ({needed.likely - have} more) would tell "
            "them apart, eight times out of ten"
        )
    else:
        words = f"If the groups are as they look, these seeds were unlucky: {needed.likely} each should do"
    return f" {words}{'; ' * bool(plausible)}{plausible}."


def _losses(groups: Sequence[Group]) -> Iterator[str]:
    for group in groups:
        lost = {state: count for state, count in group.lost.items() if state not in ("repeated",)}
        if not lost:
            continue
        states = ", ".join(f"{count} {state}" for state, count in lost.items())
        total = sum(lost.values()) + len(group.seeds)
        verb = "is" if sum(lost.values()) == 1 else "are"
        yield f"{group.name}: {sum(lost.values())} of {total} runs {verb} not counted ({states})."


def gate_sentence(gate: Gate, groups: Sequence[Group], pair: Pair, told: ReportConfig) -> str:
    """Whether new runs may pass."""
    what = f" for {gate.name}" if gate.name else ""
    margin = f" by more than {number(told.margin)}" if told.margin else ""
    test = f"one-sided p = {p_value(gate.p_adjusted)}, difference {number(pair.difference)}"
    sizes = f"{counted(len(groups[gate.first].seeds), 'seed')} against {len(groups[gate.second].seeds)}"
    if gate.worse:
        return f"Gate{what}: the new runs are worse{margin} ({test}, {sizes})."
    return f"Gate{what}: the new runs are not shown to be worse{margin} ({test}, {sizes})."
