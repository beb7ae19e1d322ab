"""Settings of runs beside each other: which differ, which of them matter, and how they are told."""

from __future__ import annotations

from collections.abc import Iterable

from ppo_cli.report.records import Record

UNLEARNT = frozenset(
    {
        "device", "threads", "compile", "vector_backend", "env.start_timeout", "output_dir", "resume", "logger",
        "log_every", "checkpoint_every", "keep_last", "keep_best", "eval_every",
    }
)  # fmt: skip
"""Settings that do not change what is learnt, or only how numbers are rounded on the way."""
EVALUATION = frozenset({"eval_episodes", "eval_deterministic"})
"""Settings that change what an evaluation says of the same policy."""
BUDGET = frozenset({"total_timesteps", "target_return"})
"""Settings that say when a run ends."""
TASK = ("env.kwargs.", "env.max_episode_steps", "env.wrappers")
"""Beginnings of settings that make another task of an environment."""
ABSENT = "–"
LONGEST = 60
"""Characters of a value in a group's name."""
LONGEST_SHORT = 9
MOST_OF_TRIAL = 3
"""Settings in the name of a search's trial, whose number tells it from others."""


def differing(runs: Iterable[Record]) -> list[str]:
    """The settings that are not the same in all runs, but the environment and the seed."""
    runs = list(runs)
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    first = runs[0].settings if runs else {}
    return [
        key
        for key in keys
        if key not in ("seed", "env.id") and any(run.settings.get(key) != first.get(key) for run in runs)
    ]


def in_order(texts: Iterable[str]) -> list[str]:
    """Values in the order of people: numbers by size, then texts."""

    def rank(text: str) -> tuple[bool, float, str]:
        try:
            return False, float(text), text
        except ValueError:
            return True, 0.0, text

    return sorted(texts, key=rank)


def values(run: Record, keys: Iterable[str]) -> tuple[str, ...]:
    """A run's settings, with a dash for those that it does not have, as another program's run has few."""
    return tuple(run.settings.get(key, ABSENT) for key in keys)


def name_of(settings: dict[str, str]) -> str:
    """A group's settings as one types them, keys as short as they are unambiguous."""
    settings = {key: value for key, value in settings.items() if value != ABSENT} or settings
    lasts = [key.rpartition(".")[2] for key in settings]
    words = []
    for key, last in zip(settings, lasts, strict=True):
        value = settings[key]
        short = value if len(value) <= LONGEST else f"{value[: LONGEST - 1]}…"
        words.append(f"{last if lasts.count(last) == 1 else key}={short}")
    return " ".join(words)


def name_of_trial(trial: int, settings: dict[str, str]) -> str:
    """A trial of a search: its number, and its first settings, numbers cut short."""
    told = {key: short(value) for key, value in list(settings.items())[:MOST_OF_TRIAL]}
    more = len(settings) - len(told)
    return " ".join(filter(None, [f"trial={trial}", name_of(told), f"and {more} more" * (more > 0)]))


def short(value: str) -> str:
    """A setting's value with fewer digits, where it has many."""
    if len(value) <= LONGEST_SHORT:
        return value
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value
