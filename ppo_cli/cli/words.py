"""``key=value`` words of the commands that need no Hydra."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from ppo_cli.config import type_hints
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.validation import wrong_values

Kind = TypeVar("Kind")


def parse(argv: Sequence[str], kind: type[Kind], command: str, flags: Sequence[str] = ()) -> tuple[list[str], Kind]:
    """The paths on a command line, and its options.

    A word with ``=`` in it is a path only where there is such a file or folder.

    Args:
        argv: The words, without those of ``flags``.
        kind: The dataclass of the options.
        command: For messages.
        flags: What else the command takes, for messages.

    Raises:
        ConfigError: names all that does not fit.
    """
    hints, names = type_hints(kind), [item.name for item in fields(typing.cast(Any, kind))]
    paths: list[str] = []
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for word in argv:
        key, sign, text = word.partition("=")
        if sign and key in names:
            if key in values:
                problems.append(Problem(f"{key}= is given twice", word))
            values[key] = _value(text, hints[key])
        elif not word.startswith("-") and (not sign or Path(word).exists()):
            paths.append(word)
        else:
            problems.append(_unknown(word, key if sign else word, text, [*names, *flags], command))
    problems += [
        Problem(f"{key}= is empty", f"the same without {key}=") for key, value in values.items() if value == ""
    ]
    told = kind(**values)
    problems = problems or wrong_values(told)
    if problems:
        raise ConfigError(problems)
    return paths, told


def _unknown(word: str, key: str, text: str, known: Sequence[str], command: str) -> Problem:
    close = difflib.get_close_matches(key, known, n=1)
    if not close:
        return Problem(f"{word!r} is nothing that {command} takes", f"{command} --help, which lists all that it takes")
    fix = close[0] if close[0].startswith("-") else f"{close[0]}={text}"
    return Problem(f"{key!r} is not an option of {command}. Did you mean {close[0]}?", fix)


def _value(text: str, kind: Any) -> Any:
    """A value of a setting's type where the text is one, else the text, of which the check then says what is wrong."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if text == "null" and type(None) in kinds:
        return None
    for one in kinds:
        if typing.get_origin(one) is list:
            inside = text[1:-1] if text.startswith("[") and text.endswith("]") else text
            return [part.strip() for part in inside.split(",") if part.strip()]
        if one is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if one in (int, float):
            try:
                return one(text)
            except ValueError:
                continue
    return text
