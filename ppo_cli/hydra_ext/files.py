"""Files of settings as Hydra reads them: what is wrong in one is told with its name, its line or its key."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from ppo_cli.errors import ConfigError, Problem
from ppo_cli.places import shown

_MENDED = {"duplicate key": "one of the two lines", "'\\t'": "spaces in the place of the tab"}
"""What to do about mistakes in YAML, by what its reader says of them."""


BY_PATH = "preset://"
"""What the place of a file begins with that was named by its path."""


class _Place(NamedTuple):
    """Where a key was last set: a file, the package that all its keys were put into, and whether it is a preset."""

    file: str
    package: str
    preset: bool


_set_in: dict[str, _Place] = {}


def keep_places(source: str, config_path: str, package: str, plain: Any) -> None:
    """Remember which file set which keys.

    Args:
        source: Where Hydra found it, such as ``file:///home/me/conf``; of other kinds nothing is kept.
        config_path: Its path there, without its ending.
        package: Where its keys were put; empty is the root.
        plain: All that it sets, with that package around it.
    """
    if source.startswith(("file://", BY_PATH)) and not config_path.startswith("hydra/"):
        place = _Place(name_of(source, config_path), package, config_path.startswith("preset/"))
        _set_in.update(dict.fromkeys(_keys(plain), place))


def name_of(source: str, config_path: str) -> str:
    """A file's name as people know it."""
    if source.startswith(BY_PATH):
        return source.removeprefix(BY_PATH)
    return str(shown(Path(source.removeprefix("file://"), f"{config_path}.yaml")))


def forget_places(keys: Iterable[str]) -> None:
    """Keys that are typed, whatever files set them; a typed group such as ``+experiment=x`` is its file's choice."""
    for key in keys:
        place = _set_in.get(key)
        if place is not None and place.package.partition(".")[0] != key:
            del _set_in[key]


def places() -> dict[str, _Place]:
    """Which file set which key in the latest composition, to be recalled where that is used again."""
    return dict(_set_in)


def recall(known: dict[str, _Place]) -> None:
    """Have it as it was after another composition."""
    _set_in.clear()
    _set_in.update(known)


def from_preset() -> frozenset[str]:
    """The keys that were last set by a preset, in the latest composition."""
    return frozenset(key for key, place in _set_in.items() if place.preset)


def _keys(plain: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(plain, dict):
        for key, value in plain.items():
            yield f"{prefix}{key}"
            yield from _keys(value, f"{prefix}{key}.")


def in_file(key: str, problem: Problem) -> Problem:
    """What is wrong with a setting's value, with the file that set it, if one did."""
    place = _set_in.get(key)
    return problem if place is None else Problem(f"{place.file}: {problem.what}", problem.fix)


def with_place(key: str, value: Any, problem: Problem) -> Problem:
    """What is wrong with a key that does not exist, with the file that set it, if one did."""
    place = _set_in.get(key)
    if place is None:
        return problem
    if place.package.partition(".")[0] != key:
        return Problem(f"{place.file}: {problem.what}", problem.fix)
    if not value:
        return Problem(f"{place.file} is empty", f"# @package _global_ in {place.file}, and settings below it")
    what = f"{place.file}: its settings are read as {place.package}.…, for it does not say that they belong to the root"
    return Problem(what, f"# @package _global_ as the first line of {place.file}")


@functools.cache
def read_with_care() -> None:
    """Have Hydra read files so that one that cannot be read is named; a byte order mark does no harm."""
    Plugins.instance()  # which loads its modules by itself: the class that can be imported is another one
    source = SourcesRegistry.instance().resolve("file")
    load = source.load_config

    def load_config(self: ConfigSource, config_path: str) -> ConfigResult:
        path = Path(self.path, self._normalize_file_name(config_path))
        if not path.is_file():
            return load(self, config_path)  # which says so
        config, header = load_file(path)
        return ConfigResult(provider=self.provider, path=self.full_path(), config=config, header=header)

    source.load_config = load_config  # type: ignore[method-assign]


def load_file(path: Path) -> tuple[Any, dict[str, str | None]]:
    """The settings of a file, and what its first lines say of it.

    Raises:
        ConfigError: names the file, and the line if it is one.
    """
    text = _text(path)
    try:
        header = ConfigSource._get_header_dict(text[:512])
    except ValueError as error:
        raise ConfigError(Problem(f"{shown(path)}: {error}", "# @package _global_, in a line of its own")) from error
    return _parsed(path, text), header


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        what = f"{shown(path)} cannot be read: {error.strerror}"
        raise ConfigError(Problem(what, f"chmod u+r {shown(path)}, or another file")) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        line = content.count(b"\n", 0, error.start) + 1
        place = "it is UTF-16" if wide else f"line {line} has other bytes"
        what = f"{shown(path)} is not text in UTF-8: {place}"
        raise ConfigError(Problem(what, f"saving {path.name} as UTF-8")) from error


def _parsed(path: Path, text: str) -> Any:
    try:
        config = OmegaConf.load(io.StringIO(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        said = " ".join(str(error.problem).split())
        fix = next((fix for sign, fix in _MENDED.items() if sign in said), "YAML that can be read, such as lr: 0.001")
        raise ConfigError(Problem(f"{shown(path)}{line}: {said}", fix)) from error
    except (yaml.YAMLError, ValueError, OSError) as error:  # a character that is none, a number of thousands of digits
        said = " ".join(str(error).split())
        raise ConfigError(Problem(f"{shown(path)} cannot be read: {said:.200}", "YAML such as lr: 0.001")) from error
    if not OmegaConf.is_dict(config):
        raise ConfigError(Problem(f"{shown(path)} holds a list, and no settings", "YAML such as lr: 0.001"))
    return config
