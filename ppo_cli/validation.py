"""Whether a configuration's values fit: each by itself, and the rules between them."""

from __future__ import annotations

import dataclasses
import math
import numbers
import types
import typing
from collections.abc import Iterator
from typing import Any

from ppo_cli.config import PPOConfig, TrainConfig, show, type_hints, walk
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.trackers import TRACKERS

MOST_TRIALS = 100_000  # divisions to find a fitting number with; of larger numbers, one near enough will do


def validate(config: Any) -> None:
    """Check every setting and the rules between settings.

    Raises:
        ConfigError: names each violation, the values that fit and one to type.
    """
    problems = wrong_values(config)
    if not problems and isinstance(config, PPOConfig):
        problems += _check_agent(config)
        problems += _check_together(config) if isinstance(config, TrainConfig) else []
    if problems:
        raise ConfigError(problems)


def wrong_values(config: Any) -> list[Problem]:
    """What is wrong with single settings, whatever the others are."""
    return [problem for _, problem in wrong_by_key(config)]


def wrong_by_key(config: Any) -> Iterator[tuple[str, Problem]]:
    """The same, each with the setting's dotted key."""
    for key, value, item in walk(config):
        yield from ((key, problem) for problem in _check(config, key, value, item))


def _check(config: Any, key: str, value: Any, item: dataclasses.Field[Any]) -> Iterator[Problem]:
    owner = type(config)
    for part in key.split(".")[:-1]:
        owner = type_hints(owner)[part]
    kind = type_hints(owner)[item.name]
    default = getattr(owner(), item.name)
    fix = f"{key}={show(default)}"
    if not fits_type(value, kind):
        yield Problem(f"{key}={show(value)} is not {_type_name(kind)}", fix)
        return
    entries = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not value and item.metadata["choices"] is None and not item.metadata["empty"]:
        yield Problem(f"{key}=[] is empty", fix)
    for entry in entries:
        choices = item.metadata["choices"]
        own = item.metadata["own"] is not None and ":" in str(entry)
        if choices is not None and entry is not None and entry not in choices and not own:
            yield Problem(
                f"{key}={show(value)} is none of {', '.join(choices)}", _closest_fix(key, entry, choices, value, fix)
            )
        wish = _range_violation(entry, item)
        if wish:
            yield Problem(f"{key}={show(value)} must be {wish}", fix)
            return


def _closest_fix(key: str, entry: Any, choices: tuple[str, ...], value: Any, fix: str) -> str:
    import difflib

    close = difflib.get_close_matches(str(entry), choices, n=1)
    if not close:
        return fix
    return f"{key}=[{close[0]}]" if isinstance(value, list) else f"{key}={close[0]}"


def fits_type(value: Any, kind: Any) -> bool:
    """Whether a value is of a type as the annotations of a dataclass name it; a whole number is a number too."""
    if kind is Any:
        return True
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return any(fits_type(value, arg) for arg in args)
    if origin is list:
        return isinstance(value, list) and all(fits_type(item, args[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict)
    if kind is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return isinstance(value, kind)


def _type_name(kind: Any) -> str:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_type_name(arg) for arg in args)
    if origin is list:
        return f"a list of {_type_name(args[0]).removeprefix('a ').removeprefix('an ')}s"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "null"}
    return names.get(kind, "a mapping")


def _range_violation(value: Any, item: dataclasses.Field[Any]) -> str:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return ""
    gt, ge, le = (item.metadata[name] for name in ("gt", "ge", "le"))
    fits = isinstance(value, numbers.Integral) or math.isfinite(value)  # some whole numbers are beyond any float
    fits &= gt is None or value > gt
    fits &= ge is None or value >= ge
    fits &= le is None or value <= le
    if fits:
        return ""
    parts = [
        f"above {gt:g}" if gt is not None else "",
        f"at least {ge:g}" if ge is not None else "",
        f"at most {_bound(le)}" if le is not None else "",
    ]
    return " and ".join(part for part in parts if part) or "a finite number"


def _bound(value: float) -> str:
    return str(value) if value > 1e15 else f"{value:g}"


def _check_agent(config: PPOConfig) -> list[Problem]:
    problems = []
    length = config.network.sequence_length
    if config.network.recurrent is not None and length is not None and config.batch_size % length:
        problems.append(
            Problem(
                f"network.sequence_length={length} does not divide batch_size={config.batch_size}",
                f"network.sequence_length={_nearest_divisor(config.batch_size, length)}",
            )
        )
    if config.continuous.min_log_std > config.continuous.max_log_std:
        low, high = config.continuous.min_log_std, config.continuous.max_log_std
        what = f"continuous.min_log_std={show(low)} is above continuous.max_log_std={show(high)}"
        problems.append(Problem(what, f"continuous.max_log_std={show(low)}"))
    return problems


_TAKEN = {
    "max_episode_steps": ("the time limit is no argument of the environment's own", "env.max_episode_steps={}"),
    "id": ("no argument of an environment can have this name", "env={}"),
    "disable_env_checker": (
        "Gymnasium takes this one, and it is set",
        "the same without env.kwargs.disable_env_checker=",
    ),
}
"""Names of arguments that ``gymnasium.make`` keeps to itself."""


def _check_together(config: TrainConfig) -> list[Problem]:
    problems = [
        Problem(f"env.kwargs.{name}={show(config.env.kwargs[name])}: {why}", fix.format(show(config.env.kwargs[name])))
        for name, (why, fix) in _TAKEN.items()
        if name in config.env.kwargs
    ]
    words = {"threads": "a whole number", "compile": "true or false", "checkpoint_every": "a whole number or null"}
    for key, fits in words.items():
        value = getattr(config, key)
        if isinstance(value, str) and value != "auto":
            problems.append(Problem(f"{key}={value} is neither auto nor {fits}", f"{key}=auto"))
    size = config.buffer_size
    if size % config.num_envs:
        problems.append(
            Problem(
                f"num_envs={config.num_envs} does not divide buffer_size={size}",
                f"num_envs={_nearest_divisor(size, config.num_envs)}",
            )
        )
    if size % config.batch_size:
        problems.append(
            Problem(
                f"batch_size={config.batch_size} does not divide buffer_size={size}",
                f"batch_size={_nearest_divisor(size, config.batch_size)}",
            )
        )
    problems += _check_trackers(config)
    if config.target_return is not None and config.eval_every is None:
        problems.append(
            Problem("target_return needs evaluations, and eval_every=null turns them off", "eval_every=10000")
        )
    return problems


def _check_trackers(config: TrainConfig) -> list[Problem]:
    used = [name for name in TRACKERS if name in config.logger]
    problems = [
        Problem(f"mlflow.tags.{name}={show(value)} is not one value", f"mlflow.tags.{name}=<a text or a number>")
        for name, value in config.mlflow.tags.items()
        if isinstance(value, list | tuple | dict)
    ]
    if used and "csv" not in config.logger:
        what = f"logger={show(config.logger)}: {used[0]} needs csv beside it, for a run that goes on"
        problems.append(Problem(what, f"logger={show(['csv', *config.logger])}"))
    return problems


def _nearest_divisor(number: int, wanted: int) -> int:
    lows = range(1, min(math.isqrt(number), MOST_TRIALS) + 1)
    divisors = [d for low in lows if number % low == 0 for d in (low, number // low)]
    return min(divisors, key=lambda divisor: (abs(divisor - wanted), divisor))
