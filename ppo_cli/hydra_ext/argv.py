"""From what people type to what Hydra's command line takes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from ppo_cli.config import ARGUMENTS, TrainConfig
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.hydra_ext.keys import command, unknown_key, unnamed
from ppo_cli.hydra_ext.renames import with_new_names
from ppo_cli.places import conf_dir, is_file, preset_path
from ppo_cli.sweep_config import OPTIONS

_SWITCHES = ("--multirun", "-m", "--run", "-r", "--resolve", "--hydra-help", "--shell-completion", "-sc")
_WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--config-name", "-cn", "--config-path", "-cp", "--config-dir", "-cd")
_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_PATHS = {"checkpoint", "init_from", "output_dir", "resume"}
_COMPOSED = ("--cfg", "-c", "--info", "-i")
_FOLDERS = {"output_dir", "hydra.run.dir", "hydra.sweep.dir"}
_OWN_WRAPPER = re.compile(r"(\{\s*)[\"']?([A-Za-z_][\w.]*):([A-Za-z_]\w*)[\"']?(?=\s*:)")
_OF_GRAMMAR = re.compile(r"[\[{\"']|(choice|glob|range|interval|sort|shuffle|tag|str|json_str|int|float|bool)\(")
_SHOW = (*_COMPOSED, "--hydra-help", "--shell-completion", "-sc")


@dataclass
class CommandLine:
    """A command line, sorted.

    Attributes:
        flags: What begins with a dash, with its values.
        overrides: The ``key=value`` words, as Hydra's grammar wants them.
        user_dir: The folder named by ``--config-dir``.
        options: The ``key=value`` words that are about a sweep as a whole, and in no run's settings.
        typed: All words, as they came.
    """

    flags: list[str]
    overrides: list[str]
    user_dir: Path | None = None
    options: list[str] = field(default_factory=list)
    typed: Sequence[str] = ()

    @property
    def multirun(self) -> bool:
        """Whether a sweep was asked for."""
        return any(word in ("-m", "--multirun", "hydra.mode=MULTIRUN") for word in self.flags + self.overrides)

    @property
    def shows(self) -> bool:
        """Whether Hydra is to print something instead of running."""
        return any(flag.partition("=")[0] in _SHOW for flag in self.flags)

    @property
    def shows_composed(self) -> bool:
        """Whether what it prints is composed of the overrides."""
        return any(flag.partition("=")[0] in _COMPOSED for flag in self.flags)

    @property
    def shown_part(self) -> str | None:
        """The part of the composed configuration that is to be printed: ``job``, ``hydra`` or ``all``."""
        return next((part for flag, part in pairwise(self.flags) if flag in ("--cfg", "-c")), None)

    @property
    def config_name(self) -> str | None:
        """The configuration to start from, if it is not the packaged one."""
        return next((name for flag, name in pairwise(self.flags) if flag in ("--config-name", "-cn")), None)

    def to_hydra(self) -> list[str]:
        """The words in the only order that Hydra 1.3 accepts."""
        return self.flags + self.overrides


def parse(argv: Sequence[str], kind: type[Any]) -> CommandLine:
    """Sort a command line and rewrite what Hydra would misread.

    Raises:
        ConfigError: if a flag does not exist or lacks its value, or a setting has two values under two names.
    """
    if "-sc" in argv or "--shell-completion" in argv:
        return CommandLine(flags=list(argv), overrides=[])
    line, problems = _split(list(argv), kind)
    line.typed = list(argv)
    if kind is TrainConfig:
        line.options = [word for word in line.overrides if word.lstrip("+").partition("=")[0] in OPTIONS]
        line.overrides = [word for word in line.overrides if word not in line.options]
    if line.user_dir is not None and not line.user_dir.is_dir():
        problems.append(Problem(f"--config-dir {line.user_dir} is not a folder", "--config-dir . (or another folder)"))
    if problems:
        raise ConfigError(problems)
    problems = [_mixed(word) for word in line.overrides if kind is TrainConfig and _is_mixed(word)]
    problems += [unnamed(key) for key in map(_empty_folder, line.overrides) if key]
    if line.shows_composed and any(flag in ("-m", "--multirun") for flag in line.flags):
        problems.append(Problem("a sweep has many configurations, and one can be shown", "the same without -m"))
    if problems:
        raise ConfigError(problems)
    line.overrides = with_new_names(line.overrides, kind)
    chosen = any(word.startswith("env=") for word in line.overrides)
    line.overrides = [_rewrite(word, line, chosen, kind) for word in line.overrides]
    return line


def _split(words: list[str], kind: type[Any]) -> tuple[CommandLine, list[Problem]]:
    line, problems = CommandLine([], []), []
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            line.overrides.append(word)
        elif name in _WITH_VALUE:
            if not equals and not words:
                problems.append(Problem(f"{word} needs a value", f"{word} {'job' if name in ('--cfg', '-c') else '…'}"))
                continue
            value = value if equals else words.pop(0)
            if name in ("--config-dir", "-cd"):
                if line.user_dir is not None:
                    what = f"--config-dir was given twice, as {line.user_dir} and as {value}"
                    problems.append(Problem(what, "one folder that holds all your files"))
                line.user_dir = Path(value).expanduser()  # after a =, no shell does it
            elif name in ("--config-path", "-cp"):
                what = f"{name} would take the place of the packaged files, which hold every setting"
                problems.append(Problem(what, f"--config-dir={value}, whose files come before them"))
            else:
                line.flags += [name, value]
        elif name in ("--info", "-i"):
            line.flags.append(f"{name}={words.pop(0)}" if words and words[0] in _INFO and not equals else word)
        elif word in _SWITCHES:
            line.flags.append(word)
        elif name == "--completion":
            problems.append(Problem(f"{word} takes bash, zsh or fish, and stands alone", "--completion bash"))
            words = words[0 if equals else 1 :]
        else:
            problems.append(_unknown_flag(word, words[0] if words else "", kind))
    return line, problems


def _unknown_flag(word: str, following: str, kind: type[Any]) -> Problem:
    name, equals, value = word.partition("=")
    key = name.lstrip("-").replace("-", "_")
    flags = [*_SWITCHES, *_WITH_VALUE, "--help", "--version", "--info", "--completion"]
    close = difflib.get_close_matches(name, flags, n=1, cutoff=0.8)
    if close:
        return Problem(f"{word} is not a flag of {command(kind)}", close[0] + (f"={value}" if equals else ""))
    value = value if equals else following
    right = unknown_key(key, value, kind)
    return Problem(f"{word}: settings are typed as key=value, without dashes", right.fix)


def _rewrite(word: str, line: CommandLine, env_is_chosen: bool, kind: type[Any]) -> str:
    key, equals, value = word.partition("=")
    if key in _PATHS and value != "null":
        # A sweep over checkpoints is the one case in which a comma in a path divides.
        several = line.multirun and key == "init_from" and not Path(value).exists()
        value = _at_home(value) if key in _FOLDERS else value
        return f"{key}=" + ",".join(quote(part) for part in (value.split(",") if several else [value]))
    if key in _FOLDERS:  # of Hydra's, which may refer to other settings
        folder = _at_home(value)
        readable = folder.isascii() or folder.startswith(("'", '"'))
        return f"{key}={folder if readable else quote(folder, literally=False)}"
    if kind is not TrainConfig or not equals:
        return word
    if key == "preset":
        return f"preset={_preset(value, line)}"
    if key.startswith(tuple(f"{name}." for name in ARGUMENTS)):
        return f"++{key}={'null' if value == 'None' else value}"  # no constructor wants the text
    if key in ARGUMENTS and value.startswith("{"):
        return f"++{word}"
    if key.lstrip("+") == "env.wrappers":
        return f"{key}={_with_escaped_names(value)}"
    if key == "network" and ":" in value:
        return f"network.module={value}"  # a class of the user's, not a file of conf/network
    if key == "env.id" and not env_is_chosen:
        # env= also picks the environment's tuned preset; env.id= alone would leave CartPole's in place.
        return f"env={value}"
    return word


def _preset(value: str, line: CommandLine) -> str:
    """Presets' names, or paths as Hydra's grammar takes them and the source of such files knows them.

    Raises:
        ConfigError: if Hydra could not be told of a path.
    """
    whole = is_file(Path(_at_home(value)))
    if not whole and _OF_GRAMMAR.match(value):
        return value  # a text of Hydra's grammar, or several
    parts = value.split(",") if line.multirun and not whole else [value]
    return ",".join(_preset_name(_at_home(part), line.user_dir) for part in parts)


def _preset_name(name: str, user_dir: Path | None) -> str:
    named = [folder / "preset" / f"{name}.yaml" for folder in (conf_dir(), user_dir) if folder is not None]
    if preset_path(name) is None and "/" in name and is_file(Path(name)) and not any(map(is_file, named)):
        name = f"./{name}"
    if preset_path(name) is None:
        return name
    if "${" in name:
        raise ConfigError(Problem(f"preset={name}: the path of a preset cannot hold ${{", "a file of another name"))
    return name if re.fullmatch(r"[A-Za-z0-9_./-]+", name) else quote(name)


def _empty_folder(word: str) -> str | None:
    """The folder that a word leaves without a name."""
    key, equals, value = word.lstrip("+").partition("=")
    return key if key in _FOLDERS and equals and not value.strip(" \"'") else None


def _with_escaped_names(wrappers: str) -> str:
    """Wrappers with arguments, ``[{module:Class:{…}}]``, for Hydra's grammar, which ends a key at its first colon."""
    parts: list[str] = []
    depth = start = 0
    for at, sign in enumerate(wrappers):
        depth += (sign in "[{") - (sign in "]}")
        entry = _OWN_WRAPPER.match(wrappers, at) if sign == "{" and depth == len("[{") else None
        if entry is not None:
            parts += [wrappers[start:at], f"{entry[1]}{entry[2]}\\:{entry[3]}"]
            start = entry.end()
    return "".join([*parts, wrappers[start:]])


def _is_mixed(word: str) -> bool:
    """Whether a sweep over networks names packaged ones and classes of the user's."""
    key, _, value = word.partition("=")
    return key == "network" and len({":" in name for name in value.split(",")}) > 1


def _mixed(word: str) -> Problem:
    own = ",".join(name for name in word.partition("=")[2].split(",") if ":" in name)
    what = f"{word}: classes of yours and packaged networks do not go into one sweep"
    return Problem(what, f"network={own}, and a sweep of its own for the others")


def _at_home(folder: str) -> str:
    """The folder with ``~`` written out: after a ``=``, no shell does it."""
    return str(Path(folder).expanduser()) if folder.startswith("~/") else folder


def is_sweep(word: str) -> bool:
    """Whether an override stands for several values."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_overrides([word])[0].is_sweep_override()
    except HydraException:  # told of where the whole is composed
        return False


def is_resume(word: str) -> bool:
    """Whether an override asks to go on with a run."""
    return word.lstrip("+").partition("=")[0] == "resume"


def quote(text: str, literally: bool = True) -> str:
    """A text as Hydra's grammar takes it, whatever it holds: literally, or with what it refers to by ``${…}``."""
    from hydra.core.override_parser.types import Quote, QuotedString

    # OmegaConf would read ${…} as a reference.
    escaped = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text) if literally else text
    return QuotedString(text=escaped, quote=Quote.single).with_quotes()
