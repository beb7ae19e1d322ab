"""What a search believed, and what held on fresh seeds: in sentences and as a table."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Iterator

import numpy as np

from ppo_cli.loggers.text import counted, duration
from ppo_cli.places import shown
from ppo_cli.report import statistics
from ppo_cli.report.searches import FINISHED, Final, Search, Trial
from ppo_cli.report.settings import ABSENT, name_of, short
from ppo_cli.report.verdict import between, number, share

WHAT_IMPORTANCE_IS = (
    "PED-ANOVA: how unlike the values of the best trials are to those of all finished ones, each setting by itself, as "
    "shares of their sum. It speaks of the ranges that were searched, not of the settings as such, sees no interplay, "
    "does not say which value is better, and of few trials it is mostly chance."
)
TOO_GOOD = "The best of many trials was lucky, too: what a search believes of it is more than it will hold."
MOST_STEPS_TOLD = 12


def judged(search: Search, level: float) -> Search:
    """A search with the intervals of its finals, and its sentences."""
    finals = tuple(dataclasses.replace(final, interval=_interval(final, level)) for final in search.finals)
    found = dataclasses.replace(search, finals=finals)
    return dataclasses.replace(found, sentences=tuple(_sentences(found, level)))


def _interval(final: Final, level: float) -> statistics.Interval | None:
    known = [score for score in final.scores if score is not None]
    if len(known) < len(final.seeds) or not all(map(math.isfinite, known)):
        return None
    return statistics.interval(np.array(known), statistics.mean, level)


def value(search: Search, found: float | None) -> str:
    """What a search went by, in words."""
    if found == math.inf:
        return "not reached"
    return number(found) if search.metric != "time" or found is None else duration(found)


def measure(search: Search) -> str:
    """What a search went by, as people say it."""
    until = "" if search.threshold is None else f" until {search.column} is {number(search.threshold)}"
    return {
        "final": f"{search.column} at the end of a run",
        "best": f"best {search.column} of a run",
        "area": f"mean height of the curve of {search.column}",
        "steps": f"environment steps{until}",
        "time": f"seconds{until}",
    }[search.metric]


def about(search: Search) -> str:
    """What was looked for, and how much was tried."""
    seeds = f"mean of {search.seeds} seeds" if search.seeds > 1 else "one seed"
    states = ", ".join(f"{count} {state}" for state, count in search.states.items()) or "none begun"
    aim = "the more the better" if search.maximize else "the less the better"
    return f"{measure(search)}, {seeds} a trial, {aim}. {counted(search.asked, 'trial')} asked for: {states}."


def to_go_on(search: Search) -> str:
    """What to do for more."""
    if search.running:
        return "the search was at work when this was made"
    return f"ppo-train -m {shlex.quote(f'resume={shown(search.folder)}')} goes on with the search"


def _sentences(search: Search, level: float) -> Iterator[str]:
    over = [final for final in search.finals if final.held is not None]
    if not over:
        yield f"No trial has been through its fresh seeds yet; {to_go_on(search)}."
        tried = search.best_so_far()
        if tried:
            yield (
                f"The best so far is trial {tried[-1].number}, of which it believes {value(search, tried[-1].value)}. "
                f"{TOO_GOOD}"
            )
        return
    chosen = _most_believed(search, over)
    yield _held(search, chosen, level)
    best = next((final for final in over if final.trial == search.best), over[0])
    tied = [final for final in over if final.held == best.held]
    if len(tied) > 1:
        yield _tie(search, tied, over)
    elif best is not chosen:
        yield (
            f"On fresh seeds trial {best.trial} is the best: it holds {value(search, best.held)}, "
            f"of which {value(search, best.believed)} was believed."
        )
    elif len(over) > 1:
        yield f"Trial {best.trial} is the best on fresh seeds, too."
    yield from _of_the_preset(search, over, best, len(tied) > 1)
    yield from _short_of_it(search, over)
    behind = sum(final.over < len(final.seeds) for final in search.finals)
    if behind:
        are = "is" if behind == 1 else "are"
        yield f"{behind} of {len(search.finals)} trials {are} not through the fresh seeds; {to_go_on(search)}."
    if search.preset_file is not None and search.best is not None:
        yield f"The settings of trial {search.best} are in {shown(search.folder / search.preset_file)}."


def _tie(search: Search, tied: list[Final], over: list[Final]) -> str:
    """What to say where several trials hold the most, of whom the first is the best by its number alone."""
    if tied[0].held == math.inf:
        return "No trial reaches it with all fresh seeds."
    if len(tied) == len(over):
        return f"On fresh seeds all {len(over)} trials hold the same: none is better than another."
    which = ", ".join(str(final.trial) for final in tied)
    return f"On fresh seeds trials {which} hold the same, {value(search, tied[0].held)}, and are the best."


def _most_believed(search: Search, finals: list[Final]) -> Final:
    found = finals[0]
    for final in finals[1:]:
        if final.believed is not None and search.better(final.believed, found.believed):
            found = final
    return found


def _held(search: Search, final: Final, level: float) -> str:
    count = len(final.seeds)
    fresh = f"{count} fresh seeds" if count != 1 else "one fresh seed"
    fresh = fresh if final.over == count else f"{final.over} of {fresh}"
    interval = "" if final.interval is None else f" ({share(level)} interval {_between(search, final)})"
    believed = "nothing" if final.believed is None else value(search, final.believed)
    holds = f"on {fresh} it holds {value(search, final.held)}{interval}"
    if final.held == math.inf:
        holds = f"on {fresh} it is not reached by {final.scores.count(math.inf)}"
    return f"The search believed {believed} of trial {final.trial}; {holds}."


def _between(search: Search, final: Final) -> str:
    if final.interval is None:
        return "–"
    if search.metric == "time":
        return f"{duration(final.interval.low)} to {duration(final.interval.high)}"
    return between(final.interval)


def _of_the_preset(search: Search, over: list[Final], best: Final, tied: bool) -> Iterator[str]:
    for final in over:
        trial = search.trial(final.trial)
        if trial is None or not trial.preset or best.held == math.inf:
            continue
        if final is best:
            preset = f"preset, trial {final.trial}"
            which = f"The {preset}, is among them" if tied else f"That is the {preset}"
            yield f"{which}: nothing that was found is better."
        elif final.held == math.inf:
            yield f"The preset, trial {final.trial}, does not reach it with all fresh seeds."
        else:
            yield f"The preset, trial {final.trial}, holds {value(search, final.held)}."


def _short_of_it(search: Search, over: list[Final]) -> Iterator[str]:
    """How many finals hold less than was believed of them."""
    known = [(final.held, final.believed) for final in over if final.held is not None and final.believed is not None]
    short_of = sum(search.better(believed, held) for held, believed in known)
    if len(known) > 1:
        yield f"{short_of or 'None'} of {len(known)} trials fall{'s' * (short_of == 1)} short of what was believed."


HEAD = ("rank", "trial", "believed", "held", "interval", "difference", "fresh seeds", "settings")


def rows(search: Search) -> list[tuple[str, ...]]:
    """A row a final, as ``HEAD`` has it."""
    return [
        (
            str(place),
            label(search, final.trial),
            value(search, final.believed),
            value(search, final.held),
            _between(search, final),
            difference(search, final),
            seeds(final),
            settings(search, search.trial(final.trial)),
        )
        for place, final in enumerate(search.finals, 1)
    ]


def label(search: Search, number: int) -> str:
    """A trial's number, and whether it is the preset."""
    trial = search.trial(number)
    return f"{number} (preset)" if trial is not None and trial.preset else str(number)


def settings(search: Search, trial: Trial | None) -> str:
    """A trial's values of what was searched."""
    return "–" if trial is None else name_of({key: short(one) for key, one in searched(search, trial).items()})


def searched(search: Search, trial: Trial | None) -> dict[str, str]:
    """A trial's values of what was searched, by dotted key."""
    return {key: ABSENT if trial is None else trial.settings.get(key, ABSENT) for key in search.space}


def difference(search: Search, final: Final) -> str:
    """What held less what was believed."""
    if final.difference is None or search.metric != "time":
        return number(final.difference)
    return f"{'−' * (final.difference < 0)}{duration(abs(final.difference))}"


def seeds(final: Final) -> str:
    """How many fresh seeds, and of those that are not over, how many are."""
    return str(len(final.seeds)) if final.over == len(final.seeds) else f"{final.over} of {len(final.seeds)}"


def importance(search: Search) -> list[tuple[str, float]]:
    """Settings with their shares, the greatest first."""
    return sorted((search.importance or {}).items(), key=lambda one: -one[1])


def in_one_line(search: Search) -> Iterator[str]:
    """History and importance, for where there is no picture."""
    found = search.best_so_far()
    if found:
        steps = [f"trial {trial.number}: {value(search, trial.value)}" for trial in found[-MOST_STEPS_TOLD:]]
        yield f"Best so far, as the search believed: {'… ' * (len(found) > MOST_STEPS_TOLD)}{', '.join(steps)}."
    shares = importance(search)
    if shares:
        told = ", ".join(f"{key} {share(round(one, 2))}" for key, one in shares)
        yield f"Importance: {told}."


def finished(search: Search) -> list[Trial]:
    """The trials that came to a value, the best first."""
    found = [trial for trial in search.trials if trial.state == FINISHED and trial.value is not None]
    return sorted(found, key=lambda trial: (trial.value or 0.0) * (-1 if search.maximize else 1))
