"""``--completion``: a shell's script, and what it asks each time: which words could stand where the cursor is."""

from __future__ import annotations

import dataclasses
import os
import sys
import types
import typing
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import Any

from ppo_cli.config import EvalConfig, TrainConfig, show, type_hints, walk
from ppo_cli.hydra_ext.keys import settings
from ppo_cli.launchers import LAUNCHERS
from ppo_cli.loggers.metrics import COLUMNS
from ppo_cli.places import conf_dir
from ppo_cli.report.options import ReportConfig, RunsConfig
from ppo_cli.runs.names import MULTIRUN_FILE, SCHEDULED_FILES, SUMMARY_FILE
from ppo_cli.search_config import SearchConfig
from ppo_cli.streams import plain
from ppo_cli.sweep_config import OPTIONS, SweepConfig

COMMANDS: dict[str, type[Any]] = {
    "ppo-train": TrainConfig,
    "ppo-eval": EvalConfig,
    "ppo-report": ReportConfig,
    "ppo-runs": RunsConfig,
}
READERS = (ReportConfig, RunsConfig)
"""Of the commands that read folders of runs: they take these beside settings, and have few flags."""
ASK = "--complete"
"""What a script asks with: the words so far follow, the one at the cursor last, and only up to there."""
_SEARCH = tuple(f"search.{item.name}" for item in dataclasses.fields(SearchConfig) if item.name != "name")
FEW_FLAGS = ("--help", "--version")
FLAGS = (*FEW_FLAGS, "--cfg", "--config-dir", "--config-name", "--completion", "--hydra-help")

_BASH = """\
_ppo_cli() {
    local line=${COMP_LINE:0:COMP_POINT} word rest IFS=$' \\t\\n'
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]}-1]} rest=$word
    # bash has its own idea of where a word begins: behind an open quote, else behind each of these
    if [[ $word == [\\'\\"]* ]]; then
        word=${word:1} rest=$word
    else
        [[ $COMP_WORDBREAKS == *=* ]] && rest=${rest##*=}
        [[ $COMP_WORDBREAKS == *:* ]] && rest=${rest##*:}
    fi
    IFS=$'\\n'
    COMPREPLY=($("${words[0]}" {ask} "${words[@]:1}" 2> /dev/null))
    COMPREPLY=("${COMPREPLY[@]#"${word%"$rest"}"}")
    [[ ${COMPREPLY[0]-} == *[=/] ]] && compopt -o nospace 2> /dev/null
    return 0
}
complete -F _ppo_cli {commands}
"""

_ZSH = """\
#compdef {commands}
_ppo_cli() {
    local -a found ended endless
    found=(${(f)"$(${words[1]} {ask} "${(@)words[2,CURRENT-1]}" "$PREFIX" 2> /dev/null)"})
    endless=(${(M)found:#*[=/]})
    ended=(${found:#*[=/]})
    (( $#endless )) && compadd -S '' -a endless
    (( $#ended )) && compadd -a ended
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _ppo_cli {commands}
"""

_FISH = """\
function __ppo_cli
    set -l words (commandline -opc)
    $words[1] {ask} $words[2..-1] (commandline -ct | string collect -a) 2> /dev/null
end
for command in {commands}
    complete -c $command -f -a '(__ppo_cli)'
end
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(shell: str) -> str:
    """What a shell is to read at its start; it knows all commands."""
    return SCRIPTS[shell].replace("{ask}", ASK).replace("{commands}", " ".join(COMMANDS))


def answer(command: str, words: list[str]) -> None:
    """Print every word that could stand in the place of the last one, a line each; quotes are no part of a word."""
    words = [word.strip("'\"") for word in words]
    found = sorted(dict.fromkeys(candidates(COMMANDS[command], words[:-1], words[-1] if words else "")))
    sys.stdout.write(plain("".join(f"{word}\n" for word in found), sys.stdout.encoding))


def candidates(kind: type[Any], before: list[str], word: str) -> Iterator[str]:
    """Whatever ``word`` is the beginning of.

    Args:
        kind: The settings of the command.
        before: The words before it.
        word: What is typed of it.
    """
    takes = {"--cfg": ("job", "hydra", "all"), "--completion": tuple(SCRIPTS), "--config-dir": _folders(word)}
    key, equals, value = word.partition("=")
    if before and before[-1] in takes:
        found: Iterable[str] = takes[before[-1]]
    elif word.startswith("-"):
        own = {TrainConfig: ("--multirun",), RunsConfig: ("--json",)}.get(kind, ())
        found = (*(FEW_FLAGS if kind in READERS else FLAGS), *own)
    elif not equals:
        sign = word[: len(word) - len(word.lstrip("+~"))]
        first = ("delete",) if kind is RunsConfig and not before else ()
        paths = _through(word) if kind in READERS else ()
        names = (*_keys(kind), *(_groups(before) if sign == "+" and kind is TrainConfig else ()))
        found = (*(f"{sign}{name}=" for name in names), *first, *paths)
    else:
        found = (f"{key}={text}" for text in _values(kind, key.lstrip("+~"), value, before))
    yield from (text for text in found if text.startswith(word))


def _keys(kind: type[Any]) -> list[str]:
    """Every key that a command takes; of Hydra's own, the one that says what starts the jobs of a sweep."""
    return [*settings(kind), *((*OPTIONS, *_SEARCH, "hydra/launcher") if kind is TrainConfig else ())]


def _values(kind: type[Any], key: str, value: str, before: list[str]) -> Iterator[str]:
    """What a setting takes; of several values, what the last one may be."""
    if key == "resume" and {"-m", "--multirun"} & {*before}:
        yield from _runs(value, before, "", sweeps=True)
        return
    if key in ("resume", "checkpoint", "init_from"):
        yield from ("auto",) if key == "resume" else ()
        yield from _runs(value, before, SCHEDULED_FILES if key == "resume" else "*.pt")
        return
    if key in ("output_dir", "output"):
        yield from _folders(value)
        return
    start = max(value.rfind(","), value.rfind("[")) + 1
    yield from (value[:start] + text for text in (*_choices(kind, key, before, value[start:]), *_of_type(kind, key)))


def _choices(kind: type[Any], key: str, before: list[str], value: str) -> Iterator[str]:
    """Names that a setting's type does not tell: files of a config group, environments, metrics, keys, folders."""
    if key == "env" and kind is not EvalConfig:
        from ppo_cli.envs.ids import known_ids

        yield from known_ids(value)
    elif key == "against":
        yield from _through(value)
    yield from {"hydra/launcher": LAUNCHERS, "metric": COLUMNS}.get(key, ())
    yield from settings(TrainConfig) if key in ("zip", "by") else ()
    if kind is not TrainConfig or key not in _groups(before):
        return
    for folder in _config_dirs(before):
        yield from (path.stem for path in (folder / key).glob("*.yaml") if path.stem != "defaults")
    if key == "preset" and value:
        yield from _through(value, "*.yaml")


def _config_dirs(before: list[str]) -> list[Path]:
    named = [folder for flag, folder in pairwise(before) if flag in ("--config-dir", "-cd")]
    return [conf_dir(), *map(Path, named)]


def _groups(before: list[str]) -> list[str]:
    """The config groups that there are files of, Hydra's own left out; those that a ``+`` adds are among them."""
    entries = [entry for folder in _config_dirs(before) for entry in _entries(str(folder)) if entry.is_dir()]
    return [entry.name for entry in entries if entry.name != "hydra"]


def _of_type(kind: type[Any], key: str) -> Iterator[str]:
    """Values by a setting's type, with its default among them."""
    owner = SweepConfig if kind is TrainConfig and key in OPTIONS else kind
    if kind is TrainConfig and key in _SEARCH:
        owner, key = SearchConfig, key.removeprefix("search.")
    found = {name: (value, item) for name, value, item in walk(owner())}
    if key not in found:
        return
    default, item = found[key]
    for part in key.split(".")[:-1]:
        owner = type_hints(owner)[part]
    hint = type_hints(owner)[item.name]
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    yield from item.metadata["choices"] or ()
    yield from ("true", "false") if bool in kinds else ()
    yield from ("null",) if types.NoneType in kinds else ()
    if key == "device":
        yield from ("cpu", "cuda", "mps")
    elif isinstance(default, bool | int | float | str) and default != "" and key != "env.id":
        yield show(default)


def _folders(value: str) -> Iterator[str]:
    """The folders that a path may go on into."""
    parent = value[: value.rfind("/") + 1]
    yield from (f"{parent}{entry.name}/" for entry in _entries(parent) if entry.is_dir())


def _runs(value: str, before: list[str], files: str, sweeps: bool = False) -> Iterator[str]:
    """Folders of runs, or of sweeps, below ``output_dir``; where none begins like that, the way through what is there.

    Args:
        value: What is typed of it.
        before: The words before it.
        files: A pattern for the files that will do, too.
        sweeps: Whether it is to be a sweep.
    """
    typed = [word.partition("=")[2] for word in before if word.startswith("output_dir=")]
    root = typed[-1] if typed else TrainConfig().output_dir
    below = [f"{root.rstrip('/')}/{path}" for path in _run_folders(root, sweeps)]
    found = [path for path in below if path.startswith(value)]
    yield from found
    if value and not found:
        yield from _through(value, files)


def _through(value: str, files: str = "") -> Iterator[str]:
    """What a path may go on with: folders, with a slash unless they are a run's, and files that a pattern fits."""
    parent = value[: value.rfind("/") + 1]
    for entry in _entries(parent):
        path = f"{parent}{entry.name}"
        if entry.is_dir():
            yield path if (Path(entry.path) / SUMMARY_FILE).is_file() else f"{path}/"
        elif fnmatch(entry.name, files):
            yield path


def _run_folders(root: str, sweeps: bool) -> Iterator[str]:
    """The runs below a folder, of an environment or of a sweep, as paths from there; or the sweeps instead."""
    for group in _entries(root):
        for run in _entries(group.path):
            path = f"{group.name}/{run.name}"
            is_sweep = os.path.exists(f"{run.path}/{MULTIRUN_FILE}")  # noqa: PTH110 - thousands of them, in no time
            if is_sweep == sweeps and (sweeps or os.path.exists(f"{run.path}/{SUMMARY_FILE}")):  # noqa: PTH110
                yield path
            elif is_sweep:
                yield from (f"{path}/{job.name}" for job in _entries(run.path) if job.is_dir())


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder and not hidden; nothing where there is none."""
    try:
        with os.scandir(Path(folder).expanduser() if folder else ".") as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []
