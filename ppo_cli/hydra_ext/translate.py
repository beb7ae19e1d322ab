"""Hydra's exceptions, told as what came, what fits and what to type."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException

from ppo_cli.config import ARGUMENTS, TrainConfig, show, walk
from ppo_cli.envs.ids import unknown_id
from ppo_cli.errors import Problem
from ppo_cli.hydra_ext.gym_source import PpoSearchPath
from ppo_cli.hydra_ext.keys import (
    GROUPS,
    IN_COMMON,
    choices,
    command,
    no_such_group,
    no_such_launcher,
    no_such_sweeper,
    settings,
    unknown_key,
)
from ppo_cli.hydra_ext.preset_files import no_such
from ppo_cli.places import is_there, preset_path
from ppo_cli.runs.names import SWEEP_FILE
from ppo_cli.search_config import KEYS

_NEEDS_MULTIRUN = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '(.*?)'(?:\n| requires)")
_CANNOT_OVERRIDE = re.compile(r"Could not override '(.*?)'")
_IN_FILE = re.compile(r"In '(?:preset/)?(.*?)'")
_ALREADY_THERE = re.compile(r"An item is already at '(.*?)'")
_CANNOT_DELETE = re.compile(r"Could not delete (?:from config. )?'(.*?)'")


def explain(error: Exception, words: Sequence[str], kind: type[Any]) -> tuple[Problem, str | None]:
    """Translate what stopped a composition.

    Args:
        error: What Hydra or OmegaConf raised.
        words: The overrides that were composed.
        kind: The config's dataclass.

    Returns:
        The problem, and the override that caused it if it was one.
    """
    problem, word = _explained(error, words, kind)
    return Problem(_as_typed(problem.what), _as_typed(problem.fix)), word


def _as_typed(text: str) -> str:
    """A text without the ++ that we put before arguments."""
    return re.sub(rf"\+\+(?=({'|'.join(map(re.escape, ARGUMENTS))})\b)", "", text)


def _explained(error: Exception, words: Sequence[str], kind: type[Any]) -> tuple[Problem, str | None]:
    if isinstance(error, OverrideParseException):
        return _unreadable(error, kind), error.override
    if isinstance(error, MissingConfigException):
        return _missing_choice(error, words)
    text = str(error)
    if found := _NEEDS_MULTIRUN.search(text):
        return _several(found[1], kind), found[1] if found[1] in words else None
    if found := _CANNOT_OVERRIDE.search(text):
        word = _setter(words, found[1].partition("@")[0])
        if word is not None and "To append to your default list use" in text:
            what = f"{word}: {found[1]} is a folder of files, none of which is chosen yet, and + chooses one"
            return Problem(what, f"+{word}"), word
        if word is None and found[1] in GROUPS and (file := _IN_FILE.match(text)):
            what = f"{file[1]}: its defaults cannot override {found[1]}, which is chosen before or after it"
            return Problem(what, f"{found[1]}: with its settings below"), None
        return _not_overridable(found[1], word, kind), word
    if found := _ALREADY_THERE.search(text):
        word = _setter(words, found[1])
        return Problem(f"{word}: {found[1]} is there already, + only adds", (word or found[1]).lstrip("+")), word
    if found := _CANNOT_DELETE.search(text):
        word = _setter(words, found[1].partition("=")[0])
        return Problem(f"~{found[1]}: there is nothing of that name to remove", f"leave ~{found[1]} out"), word
    return _anything_else(error, words, kind)


def _several(word: str, kind: type[Any]) -> Problem:
    key, _, value = word.partition("=")
    what = f"{word} holds several values, and one run takes one"
    if any(name == key and isinstance(default, list) for name, default, _ in walk(kind())):
        return Problem(what, shlex.quote(f"{key}=[{value}]"))
    if kind is not TrainConfig:
        return Problem(f"{word} holds several values, and one evaluation takes one", f"{key}=<one value>")
    typed = shlex.quote(_as_typed(word))
    if "interval(" in value:
        return Problem(what, f"ppo-train -m search=optuna {typed}, which draws from it")
    return Problem(what, f"ppo-train -m {typed}, which makes a run of each")


def _unreadable(error: OverrideParseException, kind: type[Any]) -> Problem:
    key, equals, value = error.override.partition("=")
    if not equals:
        fix = _with_path(key, kind) or (f"env={key}" if re.search(r"-v\d+$", key) else _example(key, kind))
        return Problem(f"{key!r} is not of the form key=value", fix)
    if not value.isascii() and not re.search(r"[\[\]{}(),\"']", value):  # one text
        return Problem(f"{key}={value} has letters that need quotes", f"'{key}=\"{value}\"'")
    lines = [line for line in error.message.splitlines() if line and not line.startswith(("Error parsing", "See "))]
    reason = (lines or ["it does not follow Hydra's grammar"])[0].partition(" expecting {")[0]
    example = _example(key, kind)
    fix = f"'{example}' (quoted, so that the shell leaves it alone)" if "=" in example else example
    return Problem(f"{error.override!r} cannot be read ({reason})", fix)


def _with_path(word: str, kind: type[Any]) -> str | None:
    """What takes the path that a word is; ``None`` if it is none."""
    path = Path(word)
    if not word or not is_there(path):
        return None
    if kind is not TrainConfig:
        return shlex.quote(f"checkpoint={word}")
    if path.suffix in (".yaml", ".yml"):
        return shlex.quote(f"preset={word}")
    return " ".join(["-m"] * (path / SWEEP_FILE).is_file() + [shlex.quote(f"resume={word}")])


def _example(key: str, kind: type[Any]) -> str:
    """The setting of that name, or the nearest, with its default."""
    near = key if key in settings(kind) else unknown_key(key, "", kind).fix.partition("=")[0]
    return f"{near}={_default(near, kind)}" if near in settings(kind) else near


def _default(key: str, kind: type[Any]) -> str:
    return choices(kind).get(key) or next((show(value) for name, value, _ in walk(kind()) if name == key), "…")


def _missing_choice(error: MissingConfigException, words: Sequence[str]) -> tuple[Problem, str | None]:
    path = str(error.missing_cfg_file or "")
    if path.startswith("env/"):
        return unknown_id(path.removeprefix("env/")), _setter(words, "env")
    group, _, name = path.rpartition("/")
    word = _setter(words, group)
    if (wrong_ending := _named_yml(path)) is not None:
        what = f"{wrong_ending} is not read: files of settings end in .yaml"
        return Problem(what, f"mv {wrong_ending} {wrong_ending.with_suffix('.yaml')}"), word
    name_of_preset = path.removeprefix("preset/")
    if path.startswith("preset/") and preset_path(name_of_preset) is not None:
        problem = no_such(name_of_preset)
        assert problem is not None
        return Problem(f"a defaults list names a file: {problem.what}", problem.fix), None
    if group == "hydra/sweeper":
        return no_such_sweeper(name), word
    if group == "hydra/launcher":
        return no_such_launcher(name), word
    if not error.options:
        typed = word or (path if group else f"--config-name {path}")
        return Problem(
            f"{typed}: there is no such configuration", "--config-dir DIR with the folder that holds it"
        ), word
    options = [option for option in error.options if group not in GROUPS or option != IN_COMMON]
    close = difflib.get_close_matches(name, options, n=1)
    sign = "+" if (word or "").startswith("+") else ""
    fix = f"{sign}{group}={close[0] if close else options[0]}"
    return Problem(f"{group}={name} is none of {', '.join(options)}", fix), word


def _named_yml(path: str) -> Path | None:
    """The user's file of that path, if its name ends in ``.yml``."""
    folder = PpoSearchPath.user_dir
    file = None if folder is None else folder / f"{path.removesuffix('.yml')}.yml"
    return file if file is not None and file.is_file() else None


def _not_overridable(key: str, word: str | None, kind: type[Any]) -> Problem:
    value = (word or "").partition("=")[2]
    if key.startswith("hydra"):
        return Problem(f"{key!r} is not a setting of Hydra's", f"{command(kind)} --cfg hydra, which lists them")
    base, at, _ = key.partition("@")
    if at and base in settings(kind):
        return Problem(f"{word}: {base} has one place only", f"{base}={value}")
    parent = key.rpartition(".")[0]
    if parent in settings(kind) and parent not in (*GROUPS, *KEYS):
        return Problem(f"{key}: {parent} is a single value", f"{parent}={_default(parent, kind)}")
    if word is not None and kind is TrainConfig:
        return no_such_group(word, base.replace("/", "."), value, kind)
    return unknown_key(base.replace("/", "."), value, kind)


def _anything_else(error: Exception, words: Sequence[str], kind: type[Any]) -> tuple[Problem, str | None]:
    cause = error.__cause__ if isinstance(error, ConfigCompositionException) and error.__cause__ else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()] or [type(cause).__name__]
    named = [word for word in words if word in str(error)]
    word = max(named, key=len) if named else _setter(words, str(getattr(cause, "full_key", "") or ""))
    what = f"{word}: {lines[0]}" if word else lines[0]
    key = (word or "").lstrip("+~").partition("=")[0]
    known = key in settings(kind)
    fix = f"{key}={_default(key, kind)}" if known else f"{command(kind)} --help, which lists every setting"
    return Problem(what, fix), word


def _setter(words: Sequence[str], key: str) -> str | None:
    """The override that set ``key``."""
    return next((word for word in words if key and re.split("[=@]", word.lstrip("+~"))[0] == key), None)
