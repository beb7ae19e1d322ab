"""From what a person names to a report: find, read, tell apart, compare."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from ppo_cli.errors import ConfigError, Problem
from ppo_cli.places import shown
from ppo_cli.report import notes, scores
from ppo_cli.report.believed import judged
from ppo_cli.report.comparing import NEW, OLD, Runs, compare, grouped
from ppo_cli.report.finals import part
from ppo_cli.report.folders import find
from ppo_cli.report.foreign import read_other
from ppo_cli.report.gate import gated
from ppo_cli.report.grouping import incomparable, keys_of_groups, known_keys, without_repeats
from ppo_cli.report.model import Left, Report, Section
from ppo_cli.report.options import EVAL_METRIC, TRAINING_METRIC, ReportConfig
from ppo_cli.report.reading import LeftOut, Run, metrics_of, with_curves
from ppo_cli.report.records import MOST_CHARACTERS, OWN, UnusableError, read_record
from ppo_cli.report.searches import Search
from ppo_cli.report.settings import differing, values
from ppo_cli.report.verdict import sentences
from ppo_cli.runs.summary import now

Sides = dict[str, list[Run]]
Command = tuple[str, str, str]  # environment, group, command
MOST_REASONS = 10
MOST_COMMANDS = 200


def build(words: Sequence[str], told: ReportConfig, command: str) -> Report:
    """The report on the runs that words name.

    Args:
        words: Paths and patterns.
        told: The options, checked.
        command: What makes it again.

    Raises:
        ConfigError: if there is nothing to compare, or it cannot be compared.
    """
    sides, searches, left = _read(words, told)
    runs = [run for own in sides.values() for run in own]
    alone = bool(searches) and not told.against  # a search is worth a report before its finals are
    if not runs and not alone:
        raise _nothing(left)
    _check_metric(runs, told.metric)
    by, problems = known_keys(runs, told.by) if runs else ([], [])
    environments = list(dict.fromkeys(run.env for run in runs))
    planned = [_plan(env, sides, by, told, left, problems) for env in environments]
    if problems:
        raise ConfigError(problems)
    made = [_section(one, told, left) for one in planned if one is not None]
    if not made and not alone:
        raise _nothing(left)
    sections = [section for section, _ in made]
    if told.fail_if:
        sections = gated(sections, told)
    used = [run for one in planned if one is not None for own in one.sides.values() for run in own]
    return Report(
        command=command,
        score=told.score,
        last=told.last,
        level=told.level,
        margin=told.margin,
        sections=tuple(sections),
        searches=tuple(judged(search, told.level) for search in searches),
        left_out=tuple(Left(one.folder, one.state, one.reason, one.count) for one in left),
        commands=tuple(command for _, commands in made for command in commands),
        versions=notes.versions(used),
        commits=notes.commits(used),
        made=now(),
        made_with=_own_version(),
    )


def _read(words: Sequence[str], told: ReportConfig) -> tuple[Sides, list[Search], list[LeftOut]]:
    """All runs of each side that can be compared, the searches they are of, and what is left out."""
    named = {NEW: words, OLD: told.against} if told.against else {"": words}
    sides: Sides = {side: [] for side in named}
    left: list[LeftOut] = []
    searches: dict[Path, Search] = {}
    columns = [EVAL_METRIC, TRAINING_METRIC, *scores.DIAGNOSTICS]
    if told.metric != "auto":
        columns.append(told.metric)
    founds = {side: find(own) for side, own in named.items()}
    _check_sides([[*found.runs, *found.others] for found in founds.values()])
    for side, found in founds.items():
        left += [LeftOut(path, "foreign", reason, side=side) for path, reason in found.foreign]
        parted = part(found.runs)
        searches |= {search.folder.resolve(): search for search in parted.searches}
        left += [dataclasses.replace(one, side=side) for one in parted.left]
        for folder in parted.runs:
            record = None
            try:
                record = read_record(folder)
                run = with_curves(record, columns)
                sides[side].append(dataclasses.replace(run, trial=parted.trials.get(folder)))
            except UnusableError as error:
                left.append(LeftOut(folder, error.state, str(error), record, side))
        for path in found.others:
            try:
                sides[side].append(read_other(path, EVAL_METRIC if told.metric == "auto" else told.metric, told.env))
            except UnusableError as error:
                left.append(LeftOut(path, error.state, str(error), side=side))
        sides[side], repeated = without_repeats(sides[side])
        left += [dataclasses.replace(one, side=side) for one in repeated]
    return sides, list(searches.values()), left


def _check_sides(sides: Sequence[Sequence[Path]]) -> None:
    """See that no run stands on both sides.

    Raises:
        ConfigError: if one does.
    """
    seen = [{path.resolve() for path in own} for own in sides]
    both = sorted(set.intersection(*seen)) if len(seen) > 1 else []
    if both:
        more = f" and {len(both) - 1} more are" if len(both) > 1 else " is"
        what = f"{shown(both[0])}{more} among the new runs and among those of against="
        raise ConfigError(Problem(what, "naming each run on one side"))


def _nothing(left: Sequence[LeftOut]) -> ConfigError:
    """What to say where no run is left."""
    what = "no run here can be compared"
    if left:
        reasons = [f"{one.folder} {one.reason}" for one in left[:MOST_REASONS]]
        more = f"; and {len(left) - MOST_REASONS} more" * (len(left) > MOST_REASONS)
        what = f"{what}: {'; '.join(reasons)}{more}"
    return ConfigError(Problem(what, "ppo-runs, which lists the runs there are"))


def _check_metric(runs: Sequence[Run], metric: str) -> None:
    """See that some run has a value of the metric that was asked for.

    Raises:
        ConfigError: if none has; names what there is, and what was probably meant.
    """
    own = [run for run in runs if run.program == OWN]
    if metric == "auto" or not own or any(len(run.points(metric)[0]) for run in runs):
        return
    there = metrics_of(own[0].folder)
    words = set(re.split("[/_]", metric))
    same = [name for name in there if words <= set(re.split("[/_]", name))]  # kl means approx_kl, and lr is more alike
    close = difflib.get_close_matches(metric, same or there, n=1, cutoff=0.0 if same else 0.6)
    known = f"; {shown(own[0].folder)} has {', '.join(there)}" if there else ""
    what = f"no run here has a value of {metric}{known}"
    raise ConfigError(Problem(what, f"metric={close[0] if close else 'auto'}"))


@dataclasses.dataclass(frozen=True)
class Planned:
    """What is compared on one environment, before anything is reckoned."""

    env: str
    metric: str
    keys: list[str]
    span: scores.Span | None
    sides: Sides
    groups: list[Runs]
    notes: list[str]


def _plan(
    env: str, every: Sides, by: Sequence[str], told: ReportConfig, left: list[LeftOut], problems: list[Problem]
) -> Planned | None:
    """Which runs of an environment are compared, and by what; ``None`` if none is left.

    Args:
        env: The environment.
        every: All runs.
        by: Settings that were asked for.
        told: The options.
        left: What is left out, to which this adds.
        problems: What is wrong, to which this adds.
    """
    sides = {side: [run for run in runs if run.env == env] for side, runs in every.items()}
    metric, said = _metric([run for own in sides.values() for run in own], told)
    for side, own in sides.items():
        sides[side] = _scored(own, side, metric, told, left)
    runs = [run for own in sides.values() for run in own]
    if not runs:
        return None
    missing = [side for side, own in sides.items() if not own]
    if missing:
        if told.fail_if:
            reasons = [f"{one.folder} {one.reason}" for one in left if one.side == missing[0]][:MOST_REASONS]
            what = f"there is no {missing[0]} run of {env} that can be compared"
            what += f": {'; '.join(reasons)}" if reasons else ""
            problems.append(Problem(what, "ppo-runs, which lists the runs there are"))
        said.append(f"There is no {missing[0]} run of {env} to compare with.")
    span = scores.area_span(runs, metric)
    if span is None:
        what = "there is no stretch of steps over which all runs have a curve"
        said.append(f"Areas are left out: {what}.")
        if told.score == "area":
            problems.append(Problem(f"score=area compares nothing on {env}, for {what}", "score=final"))
    problems += incomparable(env, runs, by, metric, told)
    keys = list(by) or list(dict.fromkeys(key for own in sides.values() for key in keys_of_groups(own)))
    return Planned(env, metric, keys, span, sides, grouped(sides, keys), [*said, *notes.notes(runs, keys, told)])


def _metric(runs: Sequence[Run], told: ReportConfig) -> tuple[str, list[str]]:
    """The column to take scores from, and what to say of that."""
    if told.metric != "auto":
        return told.metric, []
    evaluated = sum(bool(len(run.points(EVAL_METRIC)[0])) for run in runs)
    if evaluated == len(runs):
        return EVAL_METRIC, []
    trained = sum(bool(len(run.points(TRAINING_METRIC)[0])) for run in runs)
    if trained < evaluated:
        return EVAL_METRIC, []
    return TRAINING_METRIC, [
        f"{len(runs) - evaluated} of {len(runs)} runs have no evaluations, so {TRAINING_METRIC} is compared."
    ]


def _scored(runs: Sequence[Run], side: str, metric: str, told: ReportConfig, left: list[LeftOut]) -> list[Run]:
    """The runs that have a score."""
    found = []
    for run in runs:
        try:
            scores.final_score(run, metric, told.last)
            found.append(run)
        except UnusableError as error:
            left.append(LeftOut(run.folder, error.state, str(error), run, side))
    return found


def _section(one: Planned, told: ReportConfig, left: Sequence[LeftOut]) -> tuple[Section, list[Command]]:
    same = [other for other in left if other.run is not None and other.run.env == one.env]
    runs = [run for own in one.sides.values() for run in own]
    budgets = {run.budget for run in runs}
    groups, pairs, profile_at = compare(one.groups, one.keys, one.metric, one.span, told, same)
    within = [key for key in differing([run for run in runs if run.program == OWN]) if key not in one.keys]
    section = Section(
        env=one.env,
        metric=one.metric,
        budget=budgets.pop() if len(budgets) == 1 else None,
        area_from=None if one.span is None else one.span[0],
        area_to=None if one.span is None else one.span[1],
        threshold=told.threshold,
        groups=groups,
        pairs=pairs,
        gates=(),
        sentences=sentences(groups, pairs, told),
        notes=tuple(one.notes),
        differing={key: tuple(group.settings[key] for group in groups) for key in one.keys},
        pooled={key: tuple(dict.fromkeys(values(run, [key])[0] for run in runs)) for key in within},
        profile_at=tuple(profile_at.tolist()),
    )
    return section, _commands(section, runs)


def _commands(section: Section, runs: Sequence[Run]) -> list[Command]:
    """The commands that runs were made by, each group's once."""
    known = {run.folder: str(run.facts["command"])[:MOST_CHARACTERS] for run in runs if run.facts.get("command")}
    made = [(group.name, seed.folder) for group in section.groups for seed in group.seeds if seed.folder in known]
    found = [(section.env, name, known[folder]) for name, folder in made]
    return list(dict.fromkeys(found))[:MOST_COMMANDS]


def _own_version() -> str:
    try:
        return metadata.version("ppo-cli")
    except metadata.PackageNotFoundError:  # a checkout on the path, never installed
        return "unknown"
