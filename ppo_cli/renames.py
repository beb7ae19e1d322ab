"""Settings that had another name before: whoever still says the old one is understood, and told the new one."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from ppo_cli.errors import ConfigError, Problem

Kind = TypeVar("Kind", bound=type[Any])


def told(old: str, new: str, place: str = "") -> str:
    """What a person reads who said ``old``, perhaps in a file."""
    return f"{old}{place and f' in {place}'} is called {new} now"


def warn(old: str, new: str, stacklevel: int) -> None:
    """Tell someone who writes Python; as any warning of its kind, once for each place in the code."""
    warnings.warn(told(old, new), DeprecationWarning, stacklevel=stacklevel + 1)


def check_agreed(given: Mapping[str, Any], names: Mapping[str, str], place: str = "") -> None:
    """See that no setting has two values, one under each name.

    Args:
        given: Values by name.
        names: The names of today by the old ones.
        place: The file that they stand in.

    Raises:
        ConfigError: names each setting that has.
    """
    problems = [
        Problem(
            f"{place and f'{place}: '}{old}={given[old]} and {new}={given[new]}, but {told(old, new)}",
            f"{new}={given[old]} or {new}={given[new]}",
        )
        for old, new in names.items()
        if old in given and new in given and given[old] != given[new]
    ]
    if problems:
        raise ConfigError(problems)


def understands_old_names(kind: Kind) -> Kind:
    """Let a dataclass be made with the names that its settings had before, and those be read and written."""
    names = {item.metadata["was"]: item.name for item in fields(kind) if item.metadata.get("was")}
    make = kind.__init__

    @functools.wraps(make)
    def init(self: Any, *values: Any, **named: Any) -> None:
        check_agreed(named, names)
        for old in names.keys() & named.keys():
            warn(old, names[old], stacklevel=2)
        make(self, *values, **{names.get(name, name): value for name, value in named.items()})

    if names:
        kind.__init__ = init
    for old, new in names.items():
        setattr(kind, old, _alias(old, new))
    return kind


def _alias(old: str, new: str) -> property:
    def read(self: Any) -> Any:
        warn(old, new, stacklevel=2)
        return getattr(self, new)

    def write(self: Any, value: Any) -> None:
        warn(old, new, stacklevel=2)
        setattr(self, new, value)

    return property(read, write)
