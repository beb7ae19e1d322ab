"""Old names of settings wherever Hydra reads settings: typed, swept, and in files."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra.core.default_element import ResultDefault
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from ppo_cli.config import TrainConfig, old_names, show
from ppo_cli.hydra_ext.files import BY_PATH, keep_places, name_of
from ppo_cli.hydra_ext.preset_files import without_defaults
from ppo_cli.renames import check_agreed, told

_told: set[str] = set()


def tell(old: str, new: str, place: str = "") -> None:
    """Say it on the terminal, once in a command's life, however many files and jobs have the old name."""
    if old not in _told:
        print(told(old, new, place), file=sys.stderr)
    _told.add(old)


def with_new_names(words: Sequence[str], kind: type[Any]) -> list[str]:
    """Overrides under the names of today.

    Raises:
        ConfigError: if both names of one setting are typed, with different values.
    """
    names = old_names(kind)
    parts = [word.partition("=") for word in words]
    check_agreed({key.lstrip("+"): value for key, _, value in parts}, names)
    return [_with_new_name(key, names) + equals + _referring(value, names) for key, equals, value in parts]


def _with_new_name(key: str, names: dict[str, str]) -> str:
    old = key.lstrip("+~")
    if old not in names:
        return key
    tell(old, names[old])
    sign = key.removesuffix(old)
    # + only adds, and what has another name now is there; ++ sets it
    return ("++" if sign == "+" else sign) + names[old]


def _referring(value: Any, names: dict[str, str], place: str = "") -> Any:
    """A value, or all in a file, with the names of today in ``${…}``."""
    if isinstance(value, dict):
        return {key: _referring(item, names, place) for key, item in value.items()}
    if isinstance(value, list):
        return [_referring(item, names, place) for item in value]
    for old, new in names.items():
        if isinstance(value, str) and f"${{{old}}}" in value:
            tell(old, new, place)
            value = value.replace(f"${{{old}}}", f"${{{new}}}")
    return value


@functools.cache
def understand_files() -> None:
    """Have Hydra understand files in which settings have their old names.

    Where a file's settings belong is known only once it has come through the defaults list; and once it is merged with
    the others, of which the last is to win whatever names they use, it is too late. Hydra has no public hook between.
    """
    load = ConfigLoaderImpl._load_single_config

    def load_and_rename(self: ConfigLoaderImpl, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        found = load(self, default, repo)
        plain = OmegaConf.to_container(found.config)
        path = str(default.config_path)
        place = name_of(found.path, path) if found.path.startswith(BY_PATH) else f"{path}.yaml"
        renamed = without_defaults(default, _renamed(plain, old_names(TrainConfig), place))
        keep_places(found.path, path, default.package or "", renamed)
        if renamed != plain:
            found = dataclasses.replace(found, config=OmegaConf.create(renamed))
        return found

    ConfigLoaderImpl._load_single_config = load_and_rename  # type: ignore[method-assign]


def _renamed(file: Any, names: dict[str, str], place: str) -> Any:
    """All that a file sets, under the names of today.

    Raises:
        ConfigError: if it has both names of one setting, with different values.
    """
    found = _referring(file, names, place)
    for old, new in names.items():
        *path, was = old.split(".")
        name = new.rpartition(".")[2]
        group = found
        for part in path:
            group = group.get(part) if isinstance(group, dict) else None
        if isinstance(group, dict) and was in group:
            given = {key: show(group[part]) for key, part in ((old, was), (new, name)) if part in group}
            check_agreed(given, names, place)
            tell(old, new, place)
            group[name] = group.pop(was)
    return found
