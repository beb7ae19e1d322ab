"""More of a sweep that exists: new jobs from what is frozen in it, and settings that change in those left to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ppo_cli.config import ARGUMENTS, TrainConfig, show, walk
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.plain import from_plain, put, to_plain
from ppo_cli.sweep.grid import Choice, combinations, same, swept, words
from ppo_cli.sweep.jobs import Axis, Job, SweepFolder, job_name, next_number

LEAVES = frozenset(key for key, _, _ in walk(TrainConfig()))


def is_setting(key: str) -> bool:
    """Whether a key is one of a job's settings, and not a file that brings several."""
    return key in LEAVES or key.startswith(tuple(f"{name}." for name in ARGUMENTS))


def with_settings(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """The config with other values, by dotted key.

    Raises:
        ConfigError: if one does not fit.
    """
    unknown = [key for key in settings if not is_setting(key)]
    if unknown:
        problems = [Problem(f"{key!r} is not a setting of a job", "one that ppo-train --help lists") for key in unknown]
        raise ConfigError(problems)
    plain = to_plain(config)
    for key, value in settings.items():
        put(plain, key, value)
    found: TrainConfig = from_plain(TrainConfig, plain)
    return found


def new_axes(sweep: SweepFolder, named: Sequence[Axis]) -> list[Axis]:
    """The axes that new jobs are combinations of: the saved ones, with those that are named in their places.

    Raises:
        ConfigError: if a named key was not swept, or not alone.
    """
    by_key = {axis.keys[0]: axis for axis in named}
    axes, problems = [], []
    for axis in sweep.axes:
        given = [key for key in axis.keys if key in by_key]
        if not given:
            axes.append(axis)
            continue
        missing = [key for key in axis.keys if key not in given]
        counts = {len(by_key[key].values) for key in given}
        if missing or len(counts) > 1:
            what = f"{' and '.join(axis.keys)} were swept together, value by value"
            problems.append(Problem(what, " ".join(f"{key}=<as many values as the others>" for key in axis.keys)))
            continue
        texts = zip(*([text for (text,) in by_key[key].texts] for key in axis.keys), strict=True)
        values = zip(*([value for (value,) in by_key[key].values] for key in axis.keys), strict=True)
        axes.append(Axis(axis.keys, tuple(texts), tuple(values)))
    if problems:
        raise ConfigError(problems)
    return axes


def union(axes: Sequence[Axis], more: Sequence[Axis]) -> tuple[Axis, ...]:
    """The axes with the values of others behind their own, each once."""
    joined = []
    for axis, other in zip(axes, more, strict=True):
        texts, values = list(axis.texts), list(axis.values)
        known = {repr(one) for one in values}
        for text, value in zip(other.texts, other.values, strict=True):
            if repr(value) not in known:
                texts.append(text)
                values.append(value)
        joined.append(Axis(axis.keys, tuple(texts), tuple(values)))
    return tuple(joined)


def new_jobs(sweep: SweepFolder, axes: Sequence[Axis], named: Sequence[str]) -> list[Job]:
    """The combinations that the sweep does not have yet, as jobs that follow its own in number.

    Each has the settings of the first job that is as it in all but the keys that are named.

    Raises:
        ConfigError: if a named key is no single setting and its value is new: its files may have changed since.
    """
    known = {same(job.swept) for job in sweep.jobs}
    free = [key for key in named if is_setting(key)]
    bases: dict[str, Job] = {}
    for job in sweep.jobs:
        bases.setdefault(same(job.swept, free), job)
    number = next_number(sweep)
    found: list[Job] = []
    problems: dict[Problem, None] = {}
    for choices in combinations(axes):
        values = swept(choices)
        if same(values) in known:
            continue
        known.add(same(values))
        base = bases.get(same(values, free))
        if base is None:
            groups = " ".join(f"{key}={show(value)}" for key, value in values.items() if key not in free)
            what = f"no job of the sweep has {groups}, and only single settings can have new values"
            problems[Problem(what, f"a sweep of its own: ppo-train -m {groups}")] = None
            continue
        try:
            found.append(_new_job(sweep.folder, number + len(found), choices, base, free))
        except ConfigError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise ConfigError(list(problems))
    return found


def _new_job(folder: Path, number: int, choices: Sequence[Choice], base: Job, free: Sequence[str]) -> Job:
    values, texts = swept(choices), words(choices)
    own = {key: values[key] for key in free}
    config = with_settings(base.config, {**base.changes, **own})
    return Job(
        number=number,
        label=" ".join(texts),
        swept=values,
        config=config,
        folder=folder / job_name(number, texts),
        from_preset=base.from_preset - set(own),
    )


def changed(job: Job, changes: Mapping[str, Any], has_begun: bool) -> Job:
    """A job with other settings: one that has begun takes them as it goes on.

    Raises:
        ConfigError: if one does not fit.
    """
    if has_begun:
        return dataclasses.replace(job, changes={**job.changes, **changes})
    config = with_settings(job.config, changes)
    return dataclasses.replace(job, config=config, from_preset=job.from_preset - changes.keys())


def each(jobs: Sequence[Job], do: Callable[[Job], None]) -> None:
    """Do something with each job.

    Raises:
        ConfigError: names everything that was wrong with any, each thing once.
    """
    problems: dict[Problem, None] = {}
    for job in jobs:
        try:
            do(job)
        except ConfigError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise ConfigError(list(problems))
