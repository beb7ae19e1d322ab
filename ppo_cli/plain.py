"""Configurations as plain data, as files keep them, and back."""

from __future__ import annotations

import dataclasses
import numbers
import reprlib
import sys
import typing
from dataclasses import fields
from typing import Any, TypeVar

from ppo_cli.config import ARGUMENTS, type_hints
from ppo_cli.errors import ConfigError, Problem, shortened
from ppo_cli.validation import validate

MOST_NAMED = 10  # of a file's own names, in a message

Kind = TypeVar("Kind")


def to_plain(config: Any) -> dict[str, Any]:
    """The config as plain dictionaries, lists and scalars, as checkpoints keep it."""
    plain: dict[str, Any] = _plain(dataclasses.asdict(config))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, tuple):  # among env.kwargs, where the constructor may insist on it
        return tuple(_plain(item) for item in value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    # NumPy's numbers are Real too, but no checkpoint that holds one can be read
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def put(plain: dict[str, Any], key: str, value: Any) -> None:
    """Set a value by its dotted key; mappings of arguments are made where there are none yet."""
    *path, last = key.split(".")
    for part in path:
        plain = plain.setdefault(part, {})
    plain[last] = value


def as_data(config: Kind) -> Kind:
    """A config that holds nothing but what files keep, so that whoever reads one sees what the run has seen.

    Arrays and NumPy's numbers become lists and numbers, tuples become lists where a setting is a list.

    Raises:
        ConfigError: names each value that cannot be kept, with its setting and its type.
    """
    problems: list[Problem] = []
    found: Kind = _as_data(config, "", problems)
    if problems:
        raise ConfigError(problems)
    return found


def changes_as_data(changes: dict[str, Any]) -> dict[str, Any]:
    """Settings by dotted key, as :func:`as_data` has those of a config."""
    problems: list[Problem] = []
    found = {key: _value_as_data(value, key, problems) for key, value in changes.items()}
    if problems:
        raise ConfigError(problems)
    return found


def _as_data(config: Any, prefix: str, problems: list[Problem]) -> Any:
    hints = type_hints(type(config))
    values: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            values[item.name] = _as_data(value, f"{prefix}{item.name}.", problems)
            continue
        value = _value_as_data(value, prefix + item.name, problems)
        is_list = isinstance(value, tuple) and typing.get_origin(hints[item.name]) is list
        values[item.name] = list(value) if is_list else value
    return dataclasses.replace(config, **values)


def _value_as_data(value: Any, place: str, problems: list[Problem]) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    numpy = sys.modules.get("numpy")  # whoever made an array of it has imported it
    if numpy is not None and isinstance(value, numpy.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {
            _key_as_data(key, place, problems): _value_as_data(item, f"{place}.{key}", problems)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        items = [_value_as_data(item, f"{place}[{number}]", problems) for number, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, numbers.Real):  # NumPy's numbers among them
        return _plain(value)
    if numpy is not None and isinstance(value, numpy.bool_ | numpy.str_):
        return value.item()
    problems.append(_not_data(value, place))
    return None


def _key_as_data(key: Any, place: str, problems: list[Problem]) -> Any:
    place = f"the key {key!r:.60} of {place}"
    if isinstance(key, tuple):  # a checkpoint could keep it, and summary.json could not
        problems.append(_not_data(key, place))
        return None
    return _value_as_data(key, place, problems)


def _not_data(value: Any, place: str) -> Problem:
    fix = "numbers, texts, and lists and mappings of them"
    if not isinstance(value, type):
        return Problem(f"{place} is of type {type(value).__name__}, which no file of the run can keep", fix)
    if not place.startswith(ARGUMENTS):  # among these, a class can be named
        fix = f'"{value.__module__}:{value.__qualname__}"'
    return Problem(f"{place} is the class {value.__qualname__}, which no file of the run can keep", fix)


def up_to_date(kind: type[Any], plain: Any) -> Any:
    """A saved config under the names of today, and with the settings that came after it.

    A setting of the first format is never filled in: where it is missing, the file is damaged.

    Args:
        kind: The config's dataclass.
        plain: :func:`to_plain`'s output, of this version or an earlier one; what is none is left as it is.
    """
    if not isinstance(plain, dict):
        return plain
    found, hints = dict(plain), type_hints(kind)
    for item in fields(kind):
        name, hint = item.name, hints[item.name]
        if dataclasses.is_dataclass(hint):
            group = up_to_date(typing.cast("type[Any]", hint), found.get(name, {}))
            if name in found or group:
                found[name] = group
            continue
        was = item.metadata["was"]
        if was is not None and was in found and name not in found:
            found[name] = found.pop(was)
        if name not in found and item.metadata["since"] > 1:
            found[name] = _plain(item.metadata["before"])
    return found


def as_first_saved(config: Any) -> dict[str, Any]:
    """The config as the first format had it: under old names, and without later settings that are at their defaults."""
    return _as_first_saved(config, to_plain(config))


def _as_first_saved(config: Any, plain: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    usual = type(config)()
    for item in fields(config):
        name, value = item.name, getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            group = _as_first_saved(value, plain[name])
            found |= {name: group} if group else {}
        elif item.metadata["since"] == 1 or value != getattr(usual, name):
            found[item.metadata["was"] or name] = plain[name]
    return found


def from_plain(kind: type[Any], plain: dict[str, Any]) -> Any:
    """Rebuild a config dataclass from :func:`to_plain`'s output, of this version or an earlier one.

    Raises:
        ConfigError: if a key is missing, unknown, or its value does not fit.
    """
    if not isinstance(plain, dict):  # others may answer "in" with errors of their own
        raise ConfigError(Problem(f"in place of settings stands a {type(plain).__name__}", "another file"))
    plain = up_to_date(kind, plain)
    names = [item.name for item in fields(kind)]
    unknown = [name for name in plain if name not in names]
    problems = [
        Problem(f"unknown setting {reprlib.repr(name)}", f"one of {', '.join(sorted(names))}")
        for name in unknown[:MOST_NAMED]
    ]
    problems += [
        Problem(f"setting {name!r} is missing", f"a file that has {name!r}") for name in names if name not in plain
    ]
    if problems:
        raise ConfigError(problems)
    hints = type_hints(kind)
    values = {
        name: from_plain(hints[name], value)
        if dataclasses.is_dataclass(hints[name]) and isinstance(value, dict)
        else value
        for name, value in plain.items()
    }
    config = kind(**values)
    try:
        validate(config)
    except ConfigError as error:  # in a file a value may be of any length
        raise ConfigError([Problem(shortened(problem.what), problem.fix) for problem in error.problems]) from error
    return config
