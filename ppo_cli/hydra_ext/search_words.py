"""The words of a search: how is searched, what is, and what all trials share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from ppo_cli.config import TrainConfig, show, type_hints
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.hydra_ext import schema
from ppo_cli.hydra_ext.argv import is_sweep
from ppo_cli.hydra_ext.sweep_words import axis_of
from ppo_cli.search.preset import is_left_out
from ppo_cli.search.space import COMPARED, Dimension
from ppo_cli.search.study import missing
from ppo_cli.search_config import KEYS, SearchConfig, is_about_search, wrong_search
from ppo_cli.sweep_config import OPTIONS, SweepConfig


class Words(NamedTuple):
    """The words of a search, sorted.

    Attributes:
        fixed: What all trials share, in order.
        space: What is searched.
    """

    fixed: list[str]
    space: list[Dimension]


def search_of(config: Mapping[str, Any], words: Sequence[str]) -> tuple[SearchConfig | None, list[Problem]]:
    """How is searched, if it is.

    Args:
        config: The groups ``search`` and ``search_space`` as Hydra has composed them, as plain data.
        words: The command line.

    Returns:
        The settings of the search, ``None`` for a sweep, and what is wrong.
    """
    given, hints = dict(config.get("search") or {}), type_hints(SearchConfig)
    several = [word for word in words if is_about_search(word) and is_sweep(word)]
    problems = [
        Problem(f"{word} is about the whole search", f"{word.partition('=')[0]}=<one value>") for word in several
    ]
    problems += [
        Problem(f"search.{key} is not a setting of a search", f"one of {', '.join(hints)}")
        for key in given
        if key not in hints
    ]
    search = SearchConfig(**{key: schema.fit(value, hints[key]) for key, value in given.items() if key in hints})
    if search.name is None:
        about = [word for word in words if is_about_search(word) and not word.startswith("search=")]
        problems += [Problem(f"{word} has no effect without a search", "search=optuna") for word in about]
        return None, problems
    return search, [*problems, *(wrong_search(search) or missing(search))]


def sorted_words(parser: OverridesParser, words: Sequence[str], options: SweepConfig) -> Words:
    """What is searched and what is fixed; of several words with one key, the last counts.

    Raises:
        ConfigError: names each word that cannot be searched, and what a search decides by itself.
    """
    by_key = {one.get_key_element().lstrip("+"): one for one in parser.parse_overrides(list(words))}
    problems = []
    if "seed" in by_key:
        what = f"{by_key['seed'].input_line}: a search chooses its seeds, 0, 1, … for trials and fresh ones at its end"
        problems.append(Problem(what, "search.seeds=3, or the same without seed="))
    if options.zip:
        problems.append(Problem("zip= is for a sweep, which tries each combination", "the same without zip="))
    fixed, space = [], []
    for key, one in by_key.items():
        if not one.is_sweep_override():
            fixed.append(str(one.input_line))
        elif key != "seed":
            found = _wrong(key, one) or _dimension(key, one)
            if isinstance(found, Problem):
                problems.append(found)
            else:
                space.append(found)
    if not problems and not space:
        what = "there is nothing to search: no setting has several values or an interval"
        problems.append(Problem(what, "search_space=ppo, or 'lr=tag(log,interval(1e-5,1e-2))'"))
    if problems:
        raise ConfigError(problems)
    return Words(fixed, space)


def _wrong(key: str, override: Override) -> Problem | None:
    typed = override.input_line
    if key == "env" or key.startswith("env.id"):
        return Problem(f"{typed}: returns of several environments have no common scale", "a search for each of them")
    if key in OPTIONS or key.partition(".")[0] in KEYS:
        return Problem(f"{typed}: {key} is about the whole search", f"{key}=<one value>")
    if override.is_delete():
        return Problem(f"{typed} removes, and cannot be searched", f"{key}=…")
    if key in COMPARED:
        what = f"{typed}: trials are compared at the same steps of their curves, so they have one {key}"
        return Problem(what, f"{key}=<one value>")
    if is_left_out(key):
        return Problem(f"{typed}: {key} changes nothing of what is learnt", f"{key}=<one value>")
    return None


def _dimension(key: str, override: Override) -> Dimension | Problem:
    """The values that an override stands for."""
    value, typed = override._value, override.input_line
    log = "log" in getattr(value, "tags", set())
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        whole = "int" in value.tags or isinstance(low, int) or isinstance(schema.fitted(TrainConfig, key, 2.0), int)
        if whole and low is not None and high is not None and math.isfinite(high - low):
            low, high = math.ceil(low), math.floor(high)
        if low is None or high is None or not low < high:
            return Problem(f"{typed}: an interval goes from less to more", f"'{key}=interval(0.1,0.9)'")
        if log and low <= 0:
            return Problem(f"{typed}: only numbers above 0 have a logarithm", f"'{key}=tag(log,interval(1e-5,{high}))'")
        return Dimension(key, (), float(low), float(high), None, log, whole)
    values = tuple(value for (value,) in axis_of(key, override).values)
    if not values:
        return Problem(f"{typed} stands for nothing", f"'{key}=choice(…,…)'")
    if isinstance(value, RangeSweep) and len(values) > 1:
        values = tuple(sorted(values))  # shuffle() mixes them
        if log and value.step != 1:
            return Problem(f"{typed}: a step and a logarithm do not go together", f"'{key}=tag(log,interval(…,…))'")
        whole = all(isinstance(one, int) for one in values)
        return Dimension(key, (), values[0], values[-1], None if log else values[1] - values[0], log, whole)
    return Dimension(key, values)


def space_words(config: Mapping[str, Any]) -> list[str]:
    """What a file of ``search_space`` says, as one types it."""
    return [f"{key}={value if isinstance(value, str) else show(value)}" for key, value in config.items()]
