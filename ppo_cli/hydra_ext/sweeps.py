"""``-m resume=<sweep folder>``: go on with a sweep from what is frozen in its folder, and extend it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override

from ppo_cli.config import TrainConfig, own_modules, show
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.hydra_ext import schema
from ppo_cli.hydra_ext.argv import CommandLine, is_resume
from ppo_cli.hydra_ext.compose import parsed
from ppo_cli.hydra_ext.launching import is_about_launcher, other_launcher
from ppo_cli.hydra_ext.resumption import plain_value
from ppo_cli.hydra_ext.sweep_words import axis_of, options_of
from ppo_cli.hydra_ext.task import SweepRecord
from ppo_cli.launchers import Launcher
from ppo_cli.modules import NAMES, check_modules_named, modules_again, modules_to_name
from ppo_cli.runs.resume import find_saved
from ppo_cli.sweep.engines import missing
from ppo_cli.sweep.extend import changed, each, is_setting, new_axes, new_jobs, union, with_settings
from ppo_cli.sweep.grouped import best_job
from ppo_cli.sweep.jobs import Axis, Job, SweepFolder, add_jobs, check_sweep, read_sweep
from ppo_cli.sweep.view import FINISHED, PRUNED, JobView
from ppo_cli.sweep.watch import Watched
from ppo_cli.sweep_config import SweepConfig
from ppo_cli.trackers import is_tracking


def modules_of(jobs: Sequence[Job], views: Sequence[JobView]) -> tuple[list[str], list[str]]:
    """What ppo-eval must be told of the user's modules in the best job, and ppo-train of those in all."""
    best = best_job(views)
    evaluating = {} if best is None else own_modules(next(job for job in jobs if job.number == best.number).config)
    every: dict[str, dict[str, None]] = {}
    for job in jobs:
        for key, value in modules_to_name(job.config).items():
            every.setdefault(key, {})[value] = None
    again = [f"{key}={','.join(values)}" for key, values in every.items()]
    return [f"{key}={value}" for key, value in evaluating.items()], again


class Asked(NamedTuple):
    """The words of a line that goes on with a sweep.

    Attributes:
        named: For each job, keys of the settings whose modules, which are the user's, the line names.
        axes: New values of what is swept.
        changes: Settings that change in all jobs that are left to do.
    """

    named: dict[int, set[str]]
    axes: list[Axis]
    changes: dict[str, Any]


def resumed_sweep(folder: Path, line: CommandLine, command: str) -> SweepRecord | list[Job]:
    """Go on with a sweep, with whatever the line adds or changes; the jobs alone, if it is a dry run.

    Raises:
        ConfigError: if there is no such sweep, or a word does not fit; everything is as it was.
        RunError: if another process runs its jobs.
    """
    from ppo_cli.sweep.start import alone, run_sweep

    folder = folder.expanduser().absolute()
    check_sweep(folder)  # or there is nothing that could be anybody's alone
    with alone(folder):
        sweep = read_sweep(folder)
        options, set_options, problems = options_of(line.options, sweep.options)
        if any(word.lstrip("+").startswith("zip=") for word in line.options):
            problems.append(Problem("zip=: what goes together was said when the sweep began", "the same without zip="))
        launcher, wrong = other_launcher(sweep.launcher, list(filter(is_about_launcher, line.overrides)))
        problems += [*wrong, *missing(launcher, options)]
        if problems:
            raise ConfigError(problems)
        asked = _asked([word for word in line.overrides if not is_resume(word) and not is_about_launcher(word)], sweep)
        altered, added, axes = _planned(sweep, asked, options, launcher)
        jobs = sorted({job.number: job for job in (*sweep.jobs, *altered, *added)}.values(), key=lambda job: job.number)
        if options.dry_run:
            return jobs
        if altered or added or set_options != sweep.options or launcher != sweep.launcher:
            add_jobs(added)
            for job in altered:
                job.write()
            new: dict[str, Any] = {"options": set_options, "launcher": launcher, "extended": (*sweep.extended, command)}
            sweep = dataclasses.replace(sweep, axes=axes, jobs=tuple(jobs), **new)
            sweep.write()
        outcome = run_sweep(sweep, options, {job.number: asked.named.get(job.number, ()) for job in jobs}, command)
    return SweepRecord(outcome, *modules_of(sweep.jobs, outcome.views))


def _asked(words: Sequence[str], sweep: SweepFolder) -> Asked:
    overrides, problems = parsed(words, TrainConfig)
    axes_of = {key for axis in sweep.axes for key in axis.keys}
    asked = Asked({}, [], {})
    for word, override in overrides.items():
        key = override.key_or_group
        if override.is_delete() or override.is_interval_sweep() or "glob(" in word:
            problems.append(Problem(f"{word}: a sweep that goes on takes values", f"{key}=<values>"))
            continue
        named = _named(key, override, sweep)
        if named:
            for number in named:
                asked.named.setdefault(number, set()).add(NAMES.get(key, key))
        elif key in axes_of:
            asked.axes.append(_axis(key, override))
        elif override.is_sweep_override():
            what = f"{word}: {key} was not swept, so it changes in all jobs and takes one value"
            problems.append(Problem(what, f"{key}=<one value>, or a sweep of its own"))
        elif not is_setting(key):
            problems.append(Problem(f"{word}: {key} is no single setting, and the jobs are frozen", f"{key}.…=…"))
        else:
            asked.changes[key] = schema.fitted(TrainConfig, key, plain_value(override.value()))
    if problems:
        raise ConfigError(problems)
    return asked


def _axis(key: str, override: Override) -> Axis:
    if override.is_sweep_override():
        return axis_of(key, override)
    text = show(plain_value(override.value()))
    return Axis((key,), ((text,),), ((schema.fitted(TrainConfig, key, plain_value(override.value())),),))


def _named(key: str, override: Override, sweep: SweepFolder) -> list[int]:
    """The jobs whose modules an override names; none if it says something else as well."""
    elements = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
    typed = {show(plain_value(element)) for element in elements}
    own = {job.number: modules_to_name(job.config).get(NAMES.get(key, key)) for job in sweep.jobs}
    return [number for number, value in own.items() if value in typed] if typed <= set(own.values()) else []


def _planned(
    sweep: SweepFolder, asked: Asked, options: SweepConfig, launcher: Launcher
) -> tuple[list[Job], list[Job], tuple[Axis, ...]]:
    """The jobs that change, the new ones, and what is swept from now on; all checked.

    Raises:
        ConfigError: names everything that is wrong.
    """
    from ppo_cli.sweep.checking import Checker

    axes = new_axes(sweep, asked.axes)
    altered, unbegun, left = [], [], []
    for job in sweep.jobs:
        one = Watched(job)
        goes_on = one.state not in (FINISHED, PRUNED)
        more = asked.changes.get("total_timesteps")
        more_to_do = isinstance(more, int) and one.state == FINISHED and more > one.view.step
        begun = bool(one.now.summary)
        if asked.changes and (goes_on or more_to_do):
            job = changed(job, asked.changes, begun)
            altered.append(job)
            if not begun:
                unbegun.append(job)
        if goes_on or more_to_do:
            left.append((job, begun))
    keys = [key for axis in asked.axes for key in axis.keys]
    current = {job.number: job for job in (*sweep.jobs, *altered)}
    added = new_jobs(dataclasses.replace(sweep, jobs=tuple(current.values())), axes, keys) if keys else []
    added = [changed(job, asked.changes, False) for job in added]  # which are left to do as well
    if not altered and not added:
        _check_no_change(sweep, asked.changes)
    for job in added:
        asked.named[job.number] = _named_alike(job, asked.named, sweep.jobs)
    each([*(job for job, _ in left), *added], lambda job: _check_modules(job, asked.named.get(job.number, set())))
    begun_and_changed = [job for job, begun in left if begun and job in altered]
    each(begun_and_changed, lambda job: _check_changes(job, asked.named.get(job.number, set())))
    checker = Checker(sweep.folder, options, launcher)
    for job in (*unbegun, *added):
        checker.check(job.number, job.label, lambda job=job: (job.config, job.from_preset))  # type: ignore[misc]
    checker.plans([])
    return altered, added, union(sweep.axes, axes)


def _check_no_change(sweep: SweepFolder, changes: Mapping[str, Any]) -> None:
    """See that changes are none, where no job is left that could take them.

    Raises:
        ConfigError: names those that are.
    """
    before = [with_settings(job.config, job.changes) for job in sweep.jobs]
    lost = {
        key: f"{key}={show(value)}"
        for key, value in changes.items()
        if not is_tracking(key) and any(with_settings(config, {key: value}) != config for config in before)
    }
    if lost:
        more = f"total_timesteps={2 * max(config.total_timesteps for config in before)}"
        fix = " ".join([*(typed for key, typed in lost.items() if key != "total_timesteps"), more])
        what = f"{' '.join(lost.values())}: all jobs are finished; to change anything they have to go on"
        raise ConfigError(Problem(what, f"{fix}, or a sweep of its own"))


def _named_alike(job: Job, named: Mapping[int, set[str]], others: Sequence[Job]) -> set[str]:
    """What is named for a new job: what was for others that have the same modules."""
    own = modules_to_name(job.config)
    return {
        key
        for other in others
        for key in named.get(other.number, ())
        if key in own and modules_to_name(other.config).get(key) == own[key]
    }


def _check_modules(job: Job, named: set[str]) -> None:
    check_modules_named(job.config, modules_again(job.config, named))


def _check_changes(job: Job, named: set[str]) -> None:
    find_saved(job.folder, {**job.changes, **modules_again(job.config, named)})
