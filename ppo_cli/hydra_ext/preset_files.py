"""``preset=<path>``: a file anywhere that holds the settings of a run, its environment among them."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra.core.default_element import ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf, open_dict

from ppo_cli.config import EnvConfig, show
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.hydra_ext import files
from ppo_cli.hydra_ext.keys import GROUPS
from ppo_cli.places import is_file, is_there, preset_path
from ppo_cli.runs.names import PRESET_FILE
from ppo_cli.trackers import TRACKERS

_GROUP, _ENV = "preset/", "env/"
_TRACKING = tuple(f"{name}/default" for name in TRACKERS)
"""Files that list every setting of a tracker, and come after the presets; those of ``conf/`` have none of these."""


class PresetSource(ConfigSource):
    """Configs ``preset/<path>``: files that are named by where they are, from the current folder."""

    @staticmethod
    def scheme() -> str:
        """The scheme of the search path entry."""
        return files.BY_PATH.removesuffix("://")

    def available(self) -> bool:
        """There is no place that could be missing."""
        return True

    def is_group(self, config_path: str) -> bool:  # noqa: ARG002 - Hydra's signature
        """Files anywhere are no group: nothing could list them."""
        return False

    def is_config(self, config_path: str) -> bool:
        """Whether the path names a file by where it is, and there is one."""
        path = file_of(config_path)
        return path is not None and is_file(path)

    def load_config(self, config_path: str) -> ConfigResult:
        """The settings of one file, which belong to the root whether it says so or not.

        Raises:
            ConfigError: if it cannot be read, holds nothing, or says that they belong elsewhere.
        """
        path = file_of(config_path)
        assert path is not None
        config, header = files.load_file(path)
        if header["package"] not in (None, "_global_"):
            what = f"{path}: a preset's settings belong to the root, and this says # @package {header['package']}"
            raise ConfigError(Problem(what, f"# @package _global_ as the first line of {path}"))
        if not config:
            raise ConfigError(Problem(f"{path} holds no settings", "another file, or YAML such as lr: 0.001"))
        scalars = [key for key in GROUPS if key in config and not OmegaConf.is_dict(config[key])]
        if scalars:
            raise ConfigError([_not_a_group(path, key, config[key]) for key in scalars])
        header = {**header, "package": "_global_"}
        return ConfigResult(provider=self.provider, path=f"{files.BY_PATH}{path}", config=config, header=header)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:  # noqa: ARG002 - Hydra's
        """Nothing: completion goes through folders by itself."""
        return []


def _not_a_group(path: Path, key: str, value: Any) -> Problem:
    fix = f"env: {{id: {value}}}" if key == "env" else f"defaults: [/{key}/{value}@{key}, _self_]"
    fix = fix if isinstance(value, str) else f"{key}: and its settings below"
    return Problem(f"{path}: {key}={show(value)} is not a group of settings", fix)


def file_of(config_path: str) -> Path | None:
    """The file that a config path such as ``preset/mine/best.yaml`` names; ``None`` if that is a preset's name."""
    name = config_path.removeprefix(_GROUP)
    return preset_path(name) if config_path.startswith(_GROUP) else None


# --- the environment of such a file ---------------------------------------------------------------------------------


class _Later(ResultDefault):
    """A file of ``conf/env/`` that comes after the preset, since somebody chose it."""


@dataclass
class _Composition:
    """What is being composed: the keys that its words are about, and the environment that a preset's file brought."""

    typed: frozenset[str] = frozenset()
    brought: str | None = None


_now = _Composition()


def composing(words: Sequence[str]) -> None:
    """Have the next composition know which words it is made of, which Hydra does not tell."""
    global _now
    _now = _Composition(frozenset(word.lstrip("+").partition("=")[0] for word in words))


def compose(words: Sequence[str], make: Callable[[], DictConfig]) -> DictConfig:
    """A composition whose record names the environment that a preset's file brought, where one did."""
    composing(words)
    files.recall({})
    config = make()
    if _now.brought is not None:
        with open_dict(config.hydra.runtime.choices):
            config.hydra.runtime.choices.env = _now.brought
    return config


@functools.cache
def arrange() -> None:
    """Have Hydra put the files of other groups where they belong beside a preset that is a file.

    Hydra has no public hook between its list of files and their merging.
    """
    merge = ConfigLoaderImpl._compose_config_from_defaults_list

    def arrange_and_merge(self: ConfigLoaderImpl, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
        return merge(self, _arranged(defaults, repo), repo)

    ConfigLoaderImpl._compose_config_from_defaults_list = arrange_and_merge  # type: ignore[method-assign]


def _arranged(defaults: list[ResultDefault], repo: IConfigRepository) -> list[ResultDefault]:
    """The files in their order: first what nobody chose, then the preset's, then what somebody did.

    Where a preset has an environment, the file of one that nobody chose is left out.
    """
    paths = [one.config_path or "" for one in defaults]
    presets = [path for path in paths if file_of(path) is not None]
    if not presets:
        return defaults
    env = {at for at, path in enumerate(paths) if path.startswith(_ENV)}
    trackers = {at for at, path in enumerate(paths) if path in _TRACKING and path.partition("/")[0] not in _now.typed}
    is_chosen = "env" in _now.typed or any(paths[at] != _ENV + EnvConfig().id for at in env)
    if not is_chosen:
        found = [_env_id(path, repo) for path in presets]
        _now.brought = next((name for name in reversed(found) if name is not None), None)
    moved = trackers | (env if is_chosen or _now.brought is not None else set())
    first = next(at for at, path in enumerate(paths) if path.startswith(_GROUP))
    last = max(at for at, path in enumerate(paths) if path in presets)
    stay = [at for at in range(len(paths)) if at not in moved]
    return [
        *(defaults[at] for at in stay if at < first),
        *(defaults[at] for at in sorted(trackers)),
        *(defaults[at] for at in stay if first <= at <= last),
        *(_later(defaults[at]) for at in sorted(env) if is_chosen),
        *(defaults[at] for at in stay if at > last),
    ]


def _later(default: ResultDefault) -> _Later:
    return _Later(**{item.name: getattr(default, item.name) for item in fields(ResultDefault)})


def _env_id(config_path: str, repo: IConfigRepository) -> str | None:
    loaded = repo.load_config(config_path)
    assert loaded is not None
    plain: Any = OmegaConf.to_container(loaded.config)
    env = plain.get("env")
    return str(env["id"]) if isinstance(env, dict) and "id" in env else None


def without_defaults(default: ResultDefault, plain: Any) -> Any:
    """What a file says; of an environment's that comes after the preset, what differs from the defaults, and its id.

    ``conf/env/CartPole-v1.yaml`` lists every setting for people to read, and would take back all that the preset says.
    """
    if not isinstance(default, _Later) or not isinstance(plain.get("env"), dict):
        return plain
    usual = vars(EnvConfig())
    said = {key: value for key, value in plain["env"].items() if key == "id" or usual.get(key, ...) != value}
    return {**plain, "env": said}


# --- what to say of a path that is none -----------------------------------------------------------------------------


def no_such(name: str) -> Problem | None:
    """What is wrong with ``preset=name``, where it is neither a preset's name nor a file's path."""
    path = preset_path(name)
    if path is not None and is_file(path):
        return None
    folder, _, last = name.rpartition("/")
    options = GlobalHydra.instance().config_loader().get_group_options(f"{_GROUP}{folder}".rstrip("/"))
    if last in options:
        return None
    if path is not None or (folder and not options):
        return _missing(name)
    place = f"{folder}/" if folder else ""
    near = difflib.get_close_matches(last, options, n=1)
    fix = f"preset={place}{near[0] if near else options[0]}" if options else "preset=mujoco"
    return Problem(f"preset={name} is none of {', '.join(place + option for option in options) or 'the presets'}", fix)


def _missing(name: str) -> Problem:
    """What is wrong with the path of a file that is not there, and what is near."""
    path = Path(name)
    if is_there(path) and path.is_dir():
        inside = next(_settings_in(path), None)
        fix = f"preset={inside}" if inside is not None else "preset=<a file of settings, such as best.yaml>"
        return Problem(f"preset={name} is a folder, and a preset is a file", fix)
    if is_there(path):
        return Problem(f"preset={name} is no file of settings", "preset=<a file in YAML>")
    near = _near(path)
    if near is None and path.parent == Path():
        packaged = GlobalHydra.instance().config_loader().get_group_options(_GROUP.rstrip("/"))
        near = next((Path(known) for known in packaged if known == path.stem), None)
    fix = f"preset={near}" if near is not None else "preset=<the path of a file that is there>"
    place = "" if path.is_absolute() else f" in {Path.cwd()}"
    return Problem(f"preset={name}: there is no such file{place}", fix)


def _settings_in(folder: Path) -> Iterator[Path]:
    """Files of settings that a folder has: a search's best, any other, or what a run was made of."""
    yield from (path for path in (folder / PRESET_FILE, *sorted(folder.glob("*.yaml"))) if path.is_file())
    yield from (path for path in (folder / ".hydra" / "config.yaml",) if path.is_file())


def _near(path: Path) -> Path | None:
    """The file whose path is most like a path that is none: in one of its parts, the others being right."""
    there = Path(path.anchor)
    for number, part in enumerate(path.parts[bool(path.anchor) :], start=1 + bool(path.anchor)):
        if is_there(there / part):
            there /= part
            continue
        if not there.is_dir():
            return None
        rest = path.parts[number:]
        names = [entry.name for entry in there.iterdir() if entry.is_dir() if rest]
        names += [] if rest else [entry.name for entry in there.glob("*.y*ml") if entry.is_file()]
        for name in difflib.get_close_matches(part, names, n=3):
            found = (there / name).joinpath(*rest)
            if is_file(found):
                return found
        return None if rest else next(_settings_in(there), None) if there != Path() else None
    return None
