"""The combinations of a sweep: every value with every other, but for keys whose values go together."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ppo_cli.config import show
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.sweep.jobs import Axis


class Choice(NamedTuple):
    """What one job has of one axis."""

    keys: tuple[str, ...]
    texts: tuple[str, ...]
    values: tuple[Any, ...]


def combinations(axes: Sequence[Axis]) -> Iterator[tuple[Choice, ...]]:
    """What each job has of all axes, the last axis changing fastest."""
    sides = [
        [Choice(axis.keys, texts, values) for texts, values in zip(axis.texts, axis.values, strict=True)]
        for axis in axes
    ]
    return itertools.product(*sides)


def zipped(axes: Sequence[Axis], names: Sequence[str]) -> list[Axis]:
    """The axes with those of some keys made one, which stands where the first of them stood.

    Raises:
        ConfigError: if one of the keys is not swept, or they do not have as many values.
    """
    if not names:
        return list(axes)
    by_key = {axis.keys[0]: axis for axis in axes}
    typed = f"zip={show(list(names))}"
    if len(set(names)) < 2:
        raise ConfigError(Problem(f"{typed}: it takes two keys or more to go together", "zip=[lr,batch_size]"))
    missing = [name for name in names if name not in by_key]
    if missing:
        what = f"{typed}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not swept"
        raise ConfigError(Problem(what, f"{missing[0]}=<as many values as the others have>"))
    together = [axis for axis in axes if axis.keys[0] in names]
    counts = {axis.keys[0]: len(axis.values) for axis in together}
    if len(set(counts.values())) > 1:
        what = f"{typed}: {' and '.join(f'{key} has {count}' for key, count in counts.items())} values"
        raise ConfigError(Problem(what, "as many values for each"))
    joined = Axis(
        tuple(axis.keys[0] for axis in together),
        tuple(zip(*([texts[0] for texts in axis.texts] for axis in together), strict=True)),
        tuple(zip(*([values[0] for values in axis.values] for axis in together), strict=True)),
    )
    return [joined if axis is together[0] else axis for axis in axes if axis is together[0] or axis not in together]


def swept(choices: Iterable[Choice]) -> dict[str, Any]:
    """What a job differs in from others, by key."""
    return {key: value for choice in choices for key, value in zip(choice.keys, choice.values, strict=True)}


def words(choices: Iterable[Choice]) -> list[str]:
    """The same, as one types it."""
    return [f"{key}={_typed(text)}" for choice in choices for key, text in zip(choice.keys, choice.texts, strict=True)]


def _typed(text: str) -> str:
    """A value without the escapes that nobody types: Hydra writes one before each colon, and asks for none."""
    return text if "'" in text or '"' in text else text.replace("\\:", ":")


def same(values: Mapping[str, Any], without: Iterable[str] = ()) -> str:
    """A text that is the same for the same values, whatever the order of the keys."""
    left = {key: value for key, value in values.items() if key not in set(without)}
    return json.dumps(left, sort_keys=True, default=repr)
