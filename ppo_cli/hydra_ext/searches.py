"""``-m search=…``: what is searched, composed, checked and frozen; and ``-m resume=`` of it."""

from __future__ import annotations

import dataclasses
import itertools
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ppo_cli.config import TrainConfig, own_modules, show, type_hints
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.hydra_ext import schema
from ppo_cli.hydra_ext.argv import CommandLine, is_resume
from ppo_cli.hydra_ext.compose import parsed
from ppo_cli.hydra_ext.launching import is_about_launcher, other_launcher
from ppo_cli.hydra_ext.resumption import plain_value
from ppo_cli.hydra_ext.search_words import Words
from ppo_cli.hydra_ext.sweep_words import options_of
from ppo_cli.hydra_ext.task import SearchRecord
from ppo_cli.launchers import Launcher, Ray, name_of
from ppo_cli.modules import NAMES, modules_to_name
from ppo_cli.plain import put, to_plain
from ppo_cli.runs.names import SEARCH_FILE
from ppo_cli.search.folder import Base, SearchFolder, preset_values, read_search
from ppo_cli.search.space import COMPARED, RULES, Dimension, fitted, value_of
from ppo_cli.search.study import missing
from ppo_cli.search_config import GROWING, SearchConfig, wrong_search
from ppo_cli.sweep.engines import missing as launcher_missing
from ppo_cli.sweep.extend import is_setting, with_settings
from ppo_cli.sweep.jobs import SweepFolder, check_sweep, read_sweep, unkept
from ppo_cli.sweep_config import SweepConfig
from ppo_cli.validation import wrong_values

if TYPE_CHECKING:
    from ppo_cli.search.run import SearchOutcome

Composed = tuple[TrainConfig, frozenset[str]]
MOST_BASES = 200
TRIED = 200
"""Draws from a space that are checked before anything is run."""
SEARCHED_MODULES = ("network.module", "objective", "reward_transform", "callbacks", "env.wrappers")
"""Settings that name a module of the user's, and may be searched."""


def planned(
    words: Words,
    search: SearchConfig,
    folder: Path,
    compose: Callable[[Sequence[str]], Composed],
    check: Callable[[str, Callable[[], Composed]], None],
) -> SearchFolder:
    """What is searched, with all that its trials are made from composed and checked.

    Args:
        words: The words of the search.
        search: How is searched.
        folder: The sweep's folder.
        compose: Makes settings of words.
        check: Sees whether a run could start with settings; keeps what is wrong for later.

    Raises:
        ConfigError: if values of the space do not fit, alone or together.
    """
    fixed = list(words.fixed)
    if not search.preset and not any(word.startswith("hyperparameters=") for word in fixed):
        fixed = ["hyperparameters=default", *fixed]
    groups = [one for one in words.space if not is_setting(one.key)]
    combinations = [dict(zip((one.key for one in groups), values, strict=True)) for values in _values(groups)]
    if len(combinations) > MOST_BASES:
        what = f"{' and '.join(one.key for one in groups)} have {len(combinations)} combinations of files"
        raise ConfigError(Problem(what, f"at most {MOST_BASES}"))
    bases = []
    for choices in [*combinations, {}] if groups else [{}]:
        own = [*fixed, *(f"{key}={value}" for key, value in choices.items())]
        label = " ".join(f"{key}={value}" for key, value in choices.items()) or "the search"
        composed, as_it_is = _base(own, words.space, compose)
        check(label, lambda composed=composed: composed)  # type: ignore[misc]
        bases.append(Base(choices, *composed))
    _check_comparable(bases)
    preset = None
    if search.preset and as_it_is and bases[-1].from_preset:
        preset = preset_values([one for one in words.space if is_setting(one.key)], bases[-1].config)
    found = SearchFolder(folder, search, tuple(words.space), tuple(bases), preset)
    _check_values(found)
    return found


def _check_comparable(bases: Sequence[Base]) -> None:
    """See that files that are searched over leave alone what trials are compared by.

    Raises:
        ConfigError: names each setting that they do not.
    """
    problems = []
    for key in ("env.id", *COMPARED):
        values = list(dict.fromkeys(show(value_of(base.config, key)) for base in bases))
        if len(values) > 1:
            what = f"files that are searched over, or the lack of them, make {key} {' and '.join(values)}"
            fix = f"{'env' if key == 'env.id' else key}=<one value>"
            problems.append(Problem(f"{what}, and trials that are compared have one", fix))
    if any("csv" not in base.config.logger for base in bases):
        what = "a search goes by the rows of metrics.csv, and logger= writes none"
        problems.append(Problem(what, "logger=csv, or the same without logger="))
    if problems:
        raise ConfigError(problems)


def _base(
    words: Sequence[str], space: Sequence[Dimension], compose: Callable[[Sequence[str]], Composed]
) -> tuple[Composed, bool]:
    """What trials are made from, and whether it is as it stands: else it fits only with values of the space.

    Raises:
        ConfigError: if it does not fit with any that are tried.
    """
    try:
        return compose(words), True
    except ConfigError:
        coupled = [one for one in space if any(one.key in rule for rule in RULES)]
        for values in itertools.islice(_values(coupled), MOST_BASES) if coupled else ():
            try:
                typed = [f"{one.key}={show(value)}" for one, value in zip(coupled, values, strict=True)]
                return compose([*words, *typed]), False
            except ConfigError:
                continue
        raise


def _values(groups: Sequence[Dimension]) -> Iterator[tuple[Any, ...]]:
    return itertools.product(*(one.ends() for one in groups))


def _check_values(folder: SearchFolder) -> None:
    """See that the values of the space fit, each by itself and all together.

    Raises:
        ConfigError: names those that do not.
    """
    problems: dict[Problem, None] = {}
    config = folder.bases[-1].config
    for dimension in folder.space:
        for value in dimension.ends() if is_setting(dimension.key) else ():
            plain = to_plain(config)
            put(plain, dimension.key, value)
            built, wrong = schema.build(TrainConfig, plain)
            problems |= dict.fromkeys([*wrong, *wrong_values(built), *unkept(dimension.key, value, SEARCH_FILE)])
    if problems:
        raise ConfigError(list(problems))
    draws = np.random.default_rng(0)
    for _ in range(TRIED):
        drawn = {one.key: one.random(draws) for one in folder.space}
        base = folder.base(drawn).config
        settings = fitted(folder.space, drawn, base)
        try:
            with_settings(base, {key: value for key, value in settings.items() if is_setting(key)})
        except ConfigError as error:
            searched = ", ".join(one.key for one in folder.space)
            told = [Problem(f"not all of the space goes together: {one.what}", one.fix) for one in error.problems]
            raise ConfigError(told or [Problem(f"the values of {searched} do not go together", "others")]) from error


def unfit(launcher: Launcher, options: SweepConfig) -> list[Problem]:
    """What of a sweep's settings a search cannot do."""
    problems = []
    if type(launcher) is not Launcher and not isinstance(launcher, Ray):
        what = f"hydra/launcher={name_of(launcher)} takes all jobs at once, and a search makes one after another"
        problems.append(Problem(what, "the search within one job of the cluster, with hydra/launcher=local"))
    if not options.wait:
        problems.append(Problem("wait=false: a search decides while its jobs run", "the same without wait="))
    return problems


def freeze(found: SearchFolder, sweep: SweepFolder) -> None:
    """Put a new search into its sweep's folder, which exists."""
    found.write({"trials": []})
    sweep.write()  # the last, so that what can be gone on with is whole


def resumed_search(folder: Path, line: CommandLine, command: str) -> SearchRecord | SearchFolder:
    """Go on with a search, with more trials where the line says so; what it is alone, if it is a dry run.

    Raises:
        ConfigError: if a word does not fit; everything is as it was.
        RunError: if another process runs its jobs.
    """
    from ppo_cli.search.run import run_search
    from ppo_cli.sweep.start import alone

    folder = folder.expanduser().absolute()
    check_sweep(folder)  # or there is nothing that could be anybody's alone
    with alone(folder):
        sweep, found = read_sweep(folder), read_search(folder)
        options, set_options, problems = options_of(line.options, sweep.options)
        launcher, wrong = other_launcher(sweep.launcher, list(filter(is_about_launcher, line.overrides)))
        search, named, others = _asked(line, found)
        problems += [*wrong, *others, *launcher_missing(launcher, options), *unfit(launcher, options), *missing(search)]
        if problems:
            raise ConfigError(problems)
        found = dataclasses.replace(found, search=search)
        if options.dry_run:
            return found
        sweep = dataclasses.replace(sweep, options=set_options, launcher=launcher, extended=(*sweep.extended, command))
        sweep.write()
        outcome = run_search(sweep, found, options, named, command)
    return record_of(outcome, found)


def _asked(line: CommandLine, found: SearchFolder) -> tuple[SearchConfig, set[str], list[Problem]]:
    """The search from now on, keys of settings whose modules are named, and what is wrong with the words."""
    words = [word for word in line.overrides if not is_resume(word) and not is_about_launcher(word)]
    overrides, problems = parsed(words, TrainConfig)
    hints, given, named = type_hints(SearchConfig), {}, set()
    known = _modules(found)
    for word, override in overrides.items():
        key = override.key_or_group
        name = NAMES.get(key, key)
        typed = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
        if name in known and {show(plain_value(one)) for one in typed} <= known[name]:
            named.add(name)
        elif override.is_sweep_override() or override.is_delete():
            problems.append(Problem(f"{word}: a search that goes on takes one value", f"{key}=<one value>"))
        elif key.removeprefix("search.") in GROWING and key.startswith("search."):
            given[key.removeprefix("search.")] = plain_value(override.value())
        else:
            what = f"{word}: what is searched, and how, was said when the search began"
            problems.append(Problem(what, f"{', '.join(f'search.{one}=' for one in GROWING)}, or a search of its own"))
    for name, values in known.items():
        if name not in named:
            what = f"{name}={', '.join(sorted(values))} lives in a module, which is imported only if you say so"
            problems.append(Problem(what, shlex.quote(f"{name}={','.join(sorted(values))}")))
    search = dataclasses.replace(found.search, **{key: schema.fit(value, hints[key]) for key, value in given.items()})
    problems += wrong_search(search)
    return search, named, problems


def _modules(found: SearchFolder) -> dict[str, set[str]]:
    """The modules of the user's that trials may have, by what is typed of them."""
    known: dict[str, set[str]] = {}
    for base in found.bases:
        for key, value in modules_to_name(base.config).items():
            known.setdefault(key, set()).add(value)
    for one in found.space:
        own = {show(value) for value in one.choices if ":" in show(value)}
        if own and one.key in SEARCHED_MODULES:
            known.setdefault(NAMES.get(one.key, one.key), set()).update(own)
    return known


def record_of(outcome: SearchOutcome, found: SearchFolder) -> SearchRecord:
    """What a command tells at its end."""
    again = [f"{key}={','.join(sorted(values))}" for key, values in _modules(found).items()]
    evaluating = [f"{key}={value}" for key, value in own_modules(found.bases[-1].config).items()]
    return SearchRecord(outcome, evaluating, again)


def names(found: SearchFolder) -> set[str]:
    """Keys of all settings that may name modules of the user's in a search that has just been typed."""
    return set(_modules(found))
