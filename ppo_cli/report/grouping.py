"""Which runs are compared with which: groups of the same settings, and what cannot be compared at all."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence

from ppo_cli.config import TrainConfig, old_names
from ppo_cli.errors import Problem
from ppo_cli.loggers.text import counted
from ppo_cli.renames import ELSEWHERE
from ppo_cli.report.options import ReportConfig
from ppo_cli.report.reading import LeftOut, Run
from ppo_cli.report.records import OWN, PROGRAM
from ppo_cli.report.settings import BUDGET, EVALUATION, LONGEST, TASK, UNLEARNT, differing, values

UNLIKE = 1.1
"""Budgets, of which other programs' are known by their last step alone, that are so many times as large."""


def keys_of_groups(runs: Sequence[Run]) -> list[str]:
    """The settings that make groups: all that differ and change what is learnt, and the program where there are two."""
    own, others = ([run for run in runs if (run.program == OWN) == whose] for whose in (True, False))
    keys = [PROGRAM] if len({run.program for run in runs}) > 1 else []
    keys += [key for key in differing(own) if key not in UNLEARNT | EVALUATION]
    return keys + [key for key in differing(others) if key not in keys]


def known_keys(runs: Sequence[Run], by: Sequence[str]) -> tuple[list[str], list[Problem]]:
    """The settings that are meant by what was typed, and what is wrong with it.

    Args:
        runs: All runs.
        by: What was typed: whole keys, their last parts, or names that they had before.
    """
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    lasts: dict[str, list[str]] = {}
    for key in keys:
        lasts.setdefault(key.rpartition(".")[2], []).append(key)
    found, problems = [], []
    for typed in by:
        name = old_names(TrainConfig).get(typed, typed)
        if name == "seed":
            problems.append(Problem("by=seed leaves nothing to average over", "the same without by="))
        elif name in ("env", "env.id"):
            problems.append(Problem("each environment has a section of its own", "the same without by=env"))
        elif name in keys:
            found.append(name)
        elif len(lasts.get(name, [])) == 1:
            found += lasts[name]
        else:
            problems.append(_unknown(name, keys, lasts))
    return list(dict.fromkeys(found)), problems


def _unknown(name: str, keys: Collection[str], lasts: dict[str, list[str]]) -> Problem:
    if name in lasts:
        return Problem(f"by={name} may be {' or '.join(lasts[name])}", f"by={lasts[name][0]}")
    ours = ELSEWHERE.get(name)
    if ours in keys:
        return Problem(f"by={name}: {name!r} is called {ours} here", f"by={ours}")
    close = difflib.get_close_matches(name, [*keys, *lasts], n=1)
    fix = f"by={close[0]}" if close else "the same without by=, which groups by all that differs"
    return Problem(f"by={name} is no setting of these runs", fix)


def incomparable(env: str, runs: Sequence[Run], keys: Sequence[str], metric: str, told: ReportConfig) -> list[Problem]:
    """What makes the runs of an environment incomparable, unless it was asked for.

    Args:
        env: The environment.
        runs: Its runs.
        keys: Settings that were named as those to compare.
        metric: What is compared.
        told: The options.
    """
    kinds: dict[str, Callable[[str], bool]] = {
        "env": lambda key: key.startswith(TASK),
        "evaluation": lambda key: key in EVALUATION and metric.startswith("eval/"),
        "budget": lambda key: key in BUDGET,
    }
    problems = _unlike_budgets(env, runs, told)
    own = [run for run in runs if run.program == OWN]
    for kind, belongs in kinds.items():
        found = [key for key in differing(own) if belongs(key) and key not in keys]
        if not found or kind in told.anyway:
            continue
        parts = [f"{key}={_counted(own, key)}" for key in found]
        what = f"runs of {env} are not comparable, for they differ in {' and in '.join(parts)}"
        fix = (
            f"naming runs that agree, by={found[0]} to compare just that, or anyway=[{','.join([*told.anyway, kind])}]"
        )
        problems.append(Problem(what, fix))
    return problems


def _unlike_budgets(env: str, runs: Sequence[Run], told: ReportConfig) -> list[Problem]:
    """What is wrong where other programs' runs are longer or shorter than the rest."""
    others = [run for run in runs if run.program != OWN]
    least, most = min(run.budget for run in runs), max(run.budget for run in runs)
    if not others or most <= UNLIKE * least or "budget" in told.anyway:
        return []
    what = f"runs of {env} are not comparable, for they end at {least:,} to {most:,} steps"
    fix = f"naming runs of one length, or anyway=[{','.join([*told.anyway, 'budget'])}]"
    return [Problem(what, fix)]


def _counted(runs: Sequence[Run], key: str) -> str:
    found: dict[str, int] = {}
    for run in runs:
        (value,) = values(run, [key])
        found[value[:LONGEST]] = found.get(value[:LONGEST], 0) + 1
    ordered = sorted(found.items(), key=lambda one: -one[1])
    told = " or ".join(f"{value} ({counted(count, 'run')})" for value, count in ordered[:3])
    return told + f" or {counted(len(ordered) - 3, 'other')}" * (len(ordered) > 3)


def without_repeats(runs: Sequence[Run]) -> tuple[list[Run], list[LeftOut]]:
    """The runs without those whose seed and settings another has: a repeat is no further seed; the newest stays."""
    kept: dict[tuple[str, ...], Run] = {}
    repeated = []
    for run in sorted(runs, key=lambda run: str(run.facts.get("started"))):
        settings = (f"{key}={value}" for key, value in sorted(run.settings.items()) if key not in UNLEARNT)
        same = (run.env, str(run.seed), *settings) if run.program == OWN else (str(run.folder),)
        before = kept.get(same)
        if before is not None:
            repeated.append(LeftOut(before.folder, "repeated", f"has the seed and settings of {run.folder}", before))
        kept[same] = run
    chosen = {id(run) for run in kept.values()}
    return [run for run in runs if id(run) in chosen], repeated
