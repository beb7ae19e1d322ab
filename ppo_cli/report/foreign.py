"""Runs of other programs: what Stable-Baselines3, rl-zoo, CleanRL and Tianshou leave, and plain csv files."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppo_cli.report.folders import EVALUATIONS, EVENTS, MONITOR, PROGRESS
from ppo_cli.report.options import EVAL_METRIC, TRAINING_METRIC
from ppo_cli.report.reading import ELAPSED, FINISHED, STEP, Run, diverged, number
from ppo_cli.report.records import PROGRAM, UnusableError
from ppo_cli.report.statistics import Array
from ppo_cli.runs.files import read_file

SB3, CLEANRL, TENSORBOARD, CSV = "Stable-Baselines3", "CleanRL", "TensorBoard", "csv"
EPISODES = 100
"""Episodes that a training return is the mean of, where a program keeps each of them; as ours is."""
MOST_POINTS = 2_000
NAMES: dict[str, tuple[str, ...]] = {
    STEP: ("time/total_timesteps", "global_step", "total_timesteps", "timesteps", "step", "steps"),
    ELAPSED: ("time/time_elapsed", "time_elapsed", "time/elapsed", "elapsed", "seconds"),
    TRAINING_METRIC: (
        "rollout/ep_rew_mean", "charts/episodic_return", "train/returns_stat/mean", "train/reward", TRAINING_METRIC,
        "episodic_return", "episode_return", "ep_rew_mean", "return", "reward", "score",
    ),
    EVAL_METRIC: (
        "eval/mean_reward", "test/returns_stat/mean", "test/reward", EVAL_METRIC, "eval/episodic_return", "eval_return",
    ),
    "train/approx_kl": ("train/approx_kl", "losses/approx_kl"),
    "train/clip_fraction": ("train/clip_fraction", "losses/clipfrac"),
    "train/explained_variance": ("train/explained_variance", "losses/explained_variance"),
    "train/entropy": ("train/entropy", "losses/entropy"),
    "train/value_loss": ("train/value_loss", "losses/value_loss"),
}  # fmt: skip
"""What our metrics are called elsewhere, the likeliest first."""
SINGLE = ("charts/episodic_return", "train/reward", "episodic_return")
"""Returns of one episode each."""
NEGATIVE_ENTROPY = "train/entropy_loss"
ENV_ID = re.compile(r"(?:[A-Za-z]\w*/)?[A-Za-z][\w.-]*-v\d+")
CLEANRL_NAME = re.compile(r"(?P<env>.+)__(?P<group>.+)__(?P<seed>\d+)__\d+")
SEED = re.compile(r"(?:.*?seed[_=-]?|.*_|)(?P<seed>\d{1,9})", re.IGNORECASE)
IDLE = ("logs", "log", "tb", "tensorboard", "runs")
"""Names of folders that say nothing of what is in them."""

Series = dict[str, tuple[Array, Array, Array]]  # by name: steps, values, seconds


DAMAGED = (ValueError, LookupError, TypeError, AttributeError, RecursionError, EOFError, csv.Error, zipfile.BadZipFile)
"""What reading raises where a file holds something else than its program writes."""


def read_other(path: Path, metric: str, env: str | None) -> Run:
    """Another program's run.

    Args:
        path: Its folder, or a csv file.
        metric: A column beside those that are known.
        env: The environment, for runs that do not say it.

    Raises:
        UnusableError: says why nothing can be made of it.
    """
    try:
        series, program, said = _series(path)
    except OSError as error:
        raise UnusableError("broken", f"cannot be read: {error.strerror}") from error
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        csv.Error,
        zipfile.BadZipFile,
        EOFError,
    ) as error:
        raise UnusableError("broken", f"is damaged: {type(error).__name__}: {str(error)[:200]}") from error
    curves = _ours(series, metric)
    if not any(name in curves for name in (TRAINING_METRIC, EVAL_METRIC, metric)):
        raise UnusableError("foreign", f"has no returns under a known name; {_some(series)}")
    known, seed, group = _about(path)
    env = said or known or env
    if env is None:
        raise UnusableError("foreign", "does not say its environment; env=<id> says it")
    table = _together(curves)
    step = int(table[STEP][-1])
    return Run(
        folder=path,
        env=env,
        seed=seed,
        settings={PROGRAM: program, "runs": group},
        status=FINISHED,
        step=step,
        budget=step,
        facts={},
        curves=table,
        program=program,
    )


def _some(series: Series) -> str:
    names = ", ".join(sorted(series)[:8])
    return f"there are {names[:200]}" if names else "there is nothing in it"


def _series(path: Path) -> tuple[Series, str, str | None]:
    """All curves of a run by their names there, the program that made it, and the environment where that is said."""
    if path.is_file():
        return _csv(path), CSV, None
    names = sorted(entry.name for entry in path.iterdir())
    events = [name for name in names if name.startswith(EVENTS)]
    series: Series = {}
    env, program = None, SB3
    if PROGRESS in names:
        series |= _csv(path / PROGRESS)
    elif events:
        from ppo_cli.report.events import read_events

        series |= read_events([path / name for name in events])
        clean = any(name.startswith(("charts/", "losses/")) for name in series)
        stable = "rollout/ep_rew_mean" in series or "time/fps" in series
        program = CLEANRL if clean else SB3 if stable else TENSORBOARD
    monitors = [path / name for name in names if name.endswith(MONITOR)]
    if monitors:
        found, env = _monitors(monitors)
        series = found | series
    if EVALUATIONS in names:
        series = _evaluations(path / EVALUATIONS) | series
    return series, program, env


def _csv(path: Path) -> Series:
    """The columns of a csv file with a header."""
    text = read_file(path).decode("utf-8-sig", "replace")
    rows = list(csv.reader(text[: text.rfind("\n") + 1].split("\n")[:-1]))
    if not rows:
        raise ValueError("the file is empty")
    head, *body = rows
    table = np.array([[_number(cell) for cell in row] for row in body if len(row) == len(head)]).reshape(-1, len(head))
    steps, seconds = (next((head.index(name) for name in NAMES[key] if name in head), None) for key in (STEP, ELAPSED))
    if steps is None:
        raise ValueError(f"no column of steps ({', '.join(NAMES[STEP])})")
    at = table[:, steps]
    clock = np.full(len(table), math.nan) if seconds is None else table[:, seconds]
    return {
        name: (at[known], table[known, place], clock[known])
        for place, name in enumerate(head)
        if place not in (steps, seconds) and (known := np.isfinite(at) & ~np.isnan(table[:, place])).any()
    }


def _number(cell: str) -> float:
    """A cell's number; an empty one, or a text, is NaN, and NaN is infinite, to be told from that."""
    try:
        return number(cell)
    except ValueError:
        return math.nan


def _monitors(paths: Sequence[Path]) -> tuple[Series, str | None]:
    """Training returns from the monitors of all environments, which hold each episode, and the environment's id."""
    episodes, env = [], None
    for path in paths:
        lines = read_file(path).decode("utf-8", "replace").split("\n")[:-1]
        head = sum(line.startswith("#") for line in lines[:1])
        about = _said_of_itself(path.name, lines[0]) if head else {}
        env = env or (str(about["env_id"]) if about.get("env_id") not in (None, "None") else None)
        start = float(about.get("t_start", 0.0))
        for row in csv.DictReader(io.StringIO("\n".join(lines[head:]))):
            episode = [_number(row.get(name) or "") for name in ("t", "l", "r")]
            if np.isfinite(episode[:2]).all() and not np.isnan(episode[2]):
                episodes.append((start + episode[0], *episode[1:]))
    if not episodes:
        return {}, env
    table = np.array(sorted(episodes))
    return {TRAINING_METRIC: (table[:, 1].cumsum(), _trailing(table[:, 2]), table[:, 0] - table[0, 0])}, env


def _said_of_itself(name: str, line: str) -> dict[str, Any]:
    """What the first line of a monitor says."""
    try:
        found = json.loads(line.removeprefix("#"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"the first line of {name} is no JSON object")
    return found


def _evaluations(path: Path) -> Series:
    """Evaluations as Stable-Baselines3's callback keeps them: returns of some episodes at some steps."""
    with np.load(io.BytesIO(read_file(path)), allow_pickle=False) as content:
        steps, returns = content["timesteps"].astype(float), content["results"].astype(float)
    if returns.ndim != 2 or len(steps) != len(returns):
        raise ValueError("timesteps and results of unlike length")
    return {EVAL_METRIC: (steps, diverged(returns.mean(axis=1)), np.full(len(steps), math.nan))}


def _trailing(values: Array) -> Array:
    """Means of the last episodes."""
    sums = np.concatenate([[0.0], values.cumsum()])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - EPISODES)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))


def _ours(series: Series, metric: str) -> Series:
    """Curves under our names."""
    found: Series = {}
    for own, others in {**NAMES, metric: (metric, *NAMES.get(metric, ()))}.items():
        name = next((name for name in others if name in series), None)
        if own in (STEP, ELAPSED) or name is None:
            continue
        steps, values, seconds = series[name]
        found[own] = (steps, _trailing(values) if name in SINGLE else values, seconds)
    if NEGATIVE_ENTROPY in series:
        steps, values, seconds = series[NEGATIVE_ENTROPY]
        found["train/entropy"] = (steps, -values, seconds)
    thinned = {name: _thinned(*curve) for name, curve in found.items()}
    return {name: curve for name, curve in thinned.items() if len(curve[0])}


def _thinned(steps: Array, values: Array, seconds: Array) -> tuple[Array, Array, Array]:
    """A curve in the order of steps, one value a step, of a bearable length."""
    real = np.isfinite(steps)
    steps, values, seconds = steps[real], values[real], seconds[real]
    order = np.argsort(steps, kind="stable")
    last = np.flatnonzero(np.append(np.diff(steps[order]) > 0, True)) if len(order) else order
    if len(last) > MOST_POINTS:
        last = last[np.unique(np.linspace(0, len(last) - 1, MOST_POINTS).round().astype(np.intp))]
    kept = order[last]
    return steps[kept], values[kept], seconds[kept]


def _together(curves: Series) -> dict[str, Array]:
    """Curves as columns over all of their steps, NaN where one has no value."""
    every = np.unique(np.concatenate([steps for steps, _, _ in curves.values()]))
    table = {STEP: every, ELAPSED: np.full(len(every), math.nan)}
    for name, (steps, values, seconds) in curves.items():
        places = np.searchsorted(every, steps)
        table[name] = np.full(len(every), math.nan)
        table[name][places] = values
        known = np.isfinite(seconds)
        table[ELAPSED][places[known]] = seconds[known]
    return table


def _about(path: Path) -> tuple[str | None, int, str]:
    """What a run's place tells: its environment, its seed, and which runs it belongs to."""
    parts = [path.stem if path.is_file() else path.name, *(parent.name for parent in path.absolute().parents)]
    clean = CLEANRL_NAME.fullmatch(parts[0])
    if clean:
        return clean["env"], int(clean["seed"]), clean["group"]
    matches = (ENV_ID.fullmatch(re.sub(r"_\d+$", "", part)) for part in parts)
    env = next((match[0] for match in matches if match), None)
    seeds = (SEED.fullmatch(part) for part in parts[:2])
    seed = next((int(match["seed"]) for match in seeds if match), 0)
    telling = [part for part in parts if part and part.lower() not in IDLE and not SEED.fullmatch(part)]
    return env, seed, telling[0] if telling else CSV
