"""Settings as a preset: a file that trains the same again, by ``ppo-train preset=<file>`` alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from ppo_cli.config import TrainConfig, walk
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.plain import as_data, put
from ppo_cli.runs.files import write_atomically
from ppo_cli.trackers import is_tracking

LEFT_OUT = frozenset(
    {"seed", "output_dir", "resume", "logger", "log_every", "keep_last", "keep_best", "env.start_timeout"}
)  # fmt: skip
"""Settings that say which of many runs it is, or where one is kept and shown, and change nothing of what is learnt.

``checkpoint_every`` is not among them: a checkpoint cuts the episodes of environments that cannot be saved.
"""
HEADER = "# @package _global_"
_PLAIN = re.compile(r"[A-Za-z_][\w./:+-]*(?<!:)\Z", re.ASCII)
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan"})
"""What readers of YAML may take for something else than a text."""
_REFERENCE = re.compile(r"(\\*)\$\{")


def is_left_out(key: str) -> bool:
    """Whether a setting, by its dotted key, is in no preset."""
    return key in LEFT_OUT or is_tracking(key)


def write_preset(path: Path, config: TrainConfig, notes: Sequence[str] = ()) -> None:
    """Write the settings that differ from the defaults, and the environment, whole or not at all.

    Args:
        path: The file; it is replaced if it is there.
        config: The settings. Those of :func:`is_left_out` are not written.
        notes: Lines that say what they are.

    Raises:
        ConfigError: names each value that no such file can hold.
    """
    text = "\n".join([HEADER, *_comments(notes), _as_yaml(_differing(config))])
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _comments(notes: Sequence[str]) -> Iterator[str]:
    lines = [line for note in notes for line in note.splitlines() or [""]]
    if lines and lines[0].lstrip().startswith("@"):
        yield "#"  # or Hydra would take it for another header
    for line in lines:
        yield f"# {''.join(sign if sign.isprintable() else ' ' for sign in line)}".rstrip()


def _differing(config: TrainConfig) -> dict[str, Any]:
    """What is to be written, nested, the environment first.

    Raises:
        ConfigError: if a file cannot hold it.
    """
    usual = {key: value for key, value, _ in walk(TrainConfig())}
    own = {key: value for key, value, _ in walk(as_data(config)) if value != usual[key] and not is_left_out(key)}
    own = {
        "env.id": config.env.id,
        **{key: own[key] for key in sorted(own, key=lambda key: key.partition(".")[0] != "env")},
    }
    problems = [problem for key, value in own.items() for problem in _unkeepable(key, value)]
    if problems:
        raise ConfigError(problems)
    found: dict[str, Any] = {}
    for key, value in own.items():
        put(found, key, _escaped(value))
    return found


def _escaped(value: Any) -> Any:
    """With every text literal, in which OmegaConf would read ``${…}`` as a reference."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return _REFERENCE.sub(lambda found: found[1] * 2 + r"\${", value) if isinstance(value, str) else value


def _unkeepable(place: str, value: Any) -> Iterator[Problem]:
    """What of a value would come back from the file as something else."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key is None or (isinstance(key, str) and not _is_text(key)):
                yield Problem(f"{place} has the key {key!a}, which no preset can hold", "another name")
            yield from _unkeepable(f"{place}.{key}", item)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _unkeepable(f"{place}[{number}]", item)
    elif isinstance(value, tuple):
        yield Problem(f"{place} is a tuple, which no preset can hold", "a list")
    elif isinstance(value, str) and (value == "???" or not _is_text(value)):  # OmegaConf's sign for what is missing
        yield Problem(f"{place} is the text {value!a}, which no preset can hold", "another text")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """YAML as a person would write it: settings below each other, lists in one line, quotes where they are needed."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Whether what comes twice is written twice."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    plain = _PLAIN.match(text) and text.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


def _represent_list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)


def _as_yaml(settings: dict[str, Any]) -> str:
    text: str = yaml.dump(
        settings, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=math.inf
    )
    return text
