"""Compose a config and say everything that is wrong with it at once."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ppo_cli.config import ARGUMENTS, EnvConfig, TrainConfig, walk
from ppo_cli.envs.families import name_of
from ppo_cli.envs.ids import is_registered, unknown_id
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.hydra_ext import files, gym_source, preset_files, renames, resolvers, schema
from ppo_cli.hydra_ext.keys import GROUPS, IN_COMMON, choices, command, no_such_group, settings, unknown_key, unnamed
from ppo_cli.hydra_ext.translate import explain
from ppo_cli.places import conf_dir
from ppo_cli.search_config import KEYS
from ppo_cli.sweep_config import OPTIONS
from ppo_cli.validation import validate, wrong_by_key

Loader = Callable[[list[str]], DictConfig]
"""Composes a config from overrides."""


def version_base() -> dict[str, Any]:
    """The argument that Hydra 1.3 asks for and 1.4 warns about."""
    major, minor = (int(part) for part in hydra.__version__.split(".")[:2])
    return {"version_base": "1.3"} if (major, minor) < (1, 4) else {}


def prepare(user_dir: Path | None = None, eval_modules: dict[str, str] | None = None) -> None:
    """Tell Hydra about our schemas, resolvers, old names, and places to look for configs."""
    resolvers.register()
    files.read_with_care()
    renames.understand_files()
    preset_files.arrange()
    schema.register(eval_modules)
    gym_source.PpoSearchPath.user_dir = user_dir
    Plugins.instance().register(preset_files.PresetSource)
    Plugins.instance().register(gym_source.GymSource)
    Plugins.instance().register(gym_source.PpoSearchPath)


@contextmanager
def loader(config_name: str) -> Iterator[Loader]:
    """Composes without running or creating anything; the same words once, for that takes 60 ms."""
    known: dict[tuple[str, ...], tuple[DictConfig, dict[str, Any]]] = {}

    def load(words: list[str]) -> DictConfig:
        if (key := tuple(words)) not in known:
            made = preset_files.compose(words, lambda: hydra.compose(config_name, words, return_hydra_config=True))
            known[key] = made, files.places()
        config, places = known[key]
        files.recall(places)
        return config

    with hydra.initialize_config_dir(str(conf_dir()), **version_base()):
        yield load


def reusing(kind: type[Any], load: Loader) -> Loader:
    """The same loader for many jobs that differ in plain values: those are set in a copy of one composition.

    A composition takes 60 ms and a copy 5, which decides how long a sweep of a hundred jobs waits before its first.
    """
    leaves = {key for key, _, _ in walk(kind())}
    parser = OverridesParser.create()
    compositions: dict[tuple[str, ...], tuple[DictConfig, dict[str, Any]]] = {}

    def quick(words: list[str]) -> DictConfig:
        values = [word for word in words if _is_plain(word, leaves)]
        rest = tuple(word for word in words if word not in values)
        if rest not in compositions:
            compositions[rest] = _without_rest_of_hydra(load(list(rest))), files.places()
        known, places = compositions[rest]
        files.recall(places)
        config = copy.deepcopy(known)
        for override in parser.parse_overrides(values):
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True, force_add=True)
        return config

    return quick


def _without_rest_of_hydra(config: DictConfig) -> DictConfig:
    """A composition as :func:`composed` needs it; Hydra's own settings are the larger half of what would be copied."""
    own = _only_ours(config)
    OmegaConf.update(own, "hydra.runtime.choices", config.hydra.runtime.choices, force_add=True)
    return own


def _only_ours(config: DictConfig) -> DictConfig:
    keys: list[Any] = [key for key in config if key != "hydra"]  # in a file, one may be a number
    return OmegaConf.masked_copy(config, keys)


def _is_plain(word: str, leaves: Collection[str]) -> bool:
    """Whether a word sets nothing but one setting, or one argument of many."""
    key = word.partition("=")[0]
    argument = key.startswith(tuple(f"++{name}." for name in ARGUMENTS))
    return (key in leaves or argument) and "${" not in word


class RunFolder(NamedTuple):
    """The folder that Hydra would make for a run."""

    path: Path
    new_each_time: bool  # whether its name holds the time of the command, so that no two commands share it
    is_sweep: bool  # whether a file makes a sweep of it, whose jobs have folders of their own
    params: dict[str, Any]  # what a file would have a sweep try
    search: str | None  # by what a file would have it searched


def run_folder(load: Loader, overrides: Sequence[str]) -> RunFolder:
    """Where a run would be kept; to be called once the overrides are known to compose.

    Raises:
        ConfigError: if it has no name.
    """
    whole = load(list(overrides))
    own = whole.hydra
    check_named("hydra.run.dir", own.run.dir)
    text = OmegaConf.to_container(own.run, resolve=False)["dir"]  # type: ignore[call-overload,index]
    stamped = any(f"${{{name}:" in text for name in ("ppo.stamp", "now"))
    params = dict(own.sweeper.get("params") or {})
    search = (whole.get("search") or {}).get("name")
    return RunFolder(Path(own.run.dir), stamped, str(own.mode).endswith("MULTIRUN"), params, search)


def check_named(key: str, folder: str) -> None:
    """See that a folder has a name: an empty one would be the current folder, or the whole file system.

    Raises:
        ConfigError: if it has none.
    """
    if not folder.strip():
        raise ConfigError(unnamed(key))


def check_whole(kind: type[Any], load: Loader, packaged: str) -> None:
    """See that a file that a command starts from brings the settings.

    Raises:
        ConfigError: if it has none of those that it does not set itself.
    """
    try:
        config = load([])
    except (HydraException, OmegaConfBaseException, ValueError):
        return  # which is told when it is composed with the rest of the command line
    if any(item.name not in config for item in fields(kind)):
        name = config.hydra.job.config_name
        what = f"{name}.yaml has only some of the settings: it names no file that has the others"
        raise ConfigError(Problem(what, f"defaults: [{packaged}, _self_] at the beginning of {name}.yaml"))


def checked(kind: type[Any], load: Loader, overrides: Sequence[str]) -> Any:
    """Compose a config and build its dataclass.

    Raises:
        ConfigError: names everything that is wrong.
    """
    plain, problems = composed(kind, load, overrides)
    config, wrong_keys = schema.build(kind, plain)
    problems += wrong_keys + [files.in_file(key, problem) for key, problem in wrong_by_key(config)]
    problems += [] if getattr(config, "output_dir", "-").strip() else [unnamed("output_dir")]
    if "${" in getattr(config, "output_dir", ""):
        # Hydra keeps the run's folder in a config of its own, where this would be resolved once more.
        what = f"output_dir={config.output_dir}: a folder's name cannot hold ${{"
        problems.append(Problem(what, "output_dir=outputs"))
    if problems:
        # Rules between settings are left for later: what was left out may have brought other values.
        raise ConfigError(problems)
    validate(config)
    return config


def composed(kind: type[Any], load: Loader, overrides: Sequence[str]) -> tuple[Any, list[Problem]]:
    """Compose plain values; whatever stops Hydra is noted and left out, to see what else is wrong.

    Raises:
        ConfigError: if nothing can be composed even so.
    """
    words, problems = _readable(overrides, kind)
    while True:
        try:
            config = load(words)
            files.forget_places(word.lstrip("+~").partition("=")[0] for word in words)
            own = config if set(config.hydra) == {"runtime"} else _only_ours(config)
            found: Any = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
            left_out = ("hydra", *((*OPTIONS, *KEYS) if kind is TrainConfig else ()))  # about sweeps, and no run's
            plain = {key: value for key, value in found.items() if key not in left_out}
            return plain, problems + _wrong_files(config, words, kind)
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            problem, culprit = explain(error, words, kind)
            problems.append(problem)
            if culprit is None:
                raise ConfigError(problems) from error
            words.remove(culprit)


def parsed(overrides: Sequence[str], kind: type[Any]) -> tuple[dict[str, Override], list[Problem]]:
    """The overrides that can be read, by their words, and what is wrong with the others."""
    parser = OverridesParser.create()
    found: dict[str, Override] = {}
    problems = []
    for word in overrides:
        if not re.split("[=@]", word)[0].strip("+~ "):  # Hydra's grammar allows it, and its composition does not
            problems.append(Problem(f"{word!r} names no setting", f"{command(kind)} --help, which lists them all"))
            continue
        try:
            (found[word],) = parser.parse_overrides([word])
        except HydraException as error:
            problems.append(explain(error, [word], kind)[0])
        except ValueError as error:  # Python reads no whole number of thousands of digits
            problems.append(Problem(f"{word[:80]} cannot be read: {error}", "a shorter one"))
    return found, problems


def _readable(overrides: Sequence[str], kind: type[Any]) -> tuple[list[str], list[Problem]]:
    found, problems = parsed(overrides, kind)
    wrong = {word: problem for word, override in found.items() if (problem := _wrong_choice(word, override, kind))}
    words = [word for word in overrides if word in found and word not in wrong]
    return words, [*problems, *wrong.values()]


def _wrong_choice(word: str, override: Override, kind: type[Any]) -> Problem | None:
    """What is wrong with the name of a group's file, in so far as Hydra would not say it."""
    key, value = override.key_or_group, override.value()
    if override.is_sweep_override() or override.is_delete():
        return None
    if key.startswith("hydra/"):  # of Hydra's own groups, some take several names
        named = all(isinstance(name, str) for name in (value if isinstance(value, list) else [value]))
        return None if named else Problem(f"{word}: {key} takes a name", f"{command(kind)} --info searchpath")
    choice = choices(kind).get(key)
    if choice is None and key not in choices(TrainConfig):
        return _no_such_group(word, override, kind)
    if choice is None:  # a group of ppo-train's; of ppo-eval, env= and network= are plain values that Hydra never sees
        if key not in settings(kind):
            return unknown_key(key, str(value), kind)
        return Problem(f"{word}: {key} is a single value here", f"{key}=module:{'Id' if key == 'env' else 'Class'}")
    if not isinstance(value, str):
        inner = f", and single settings are {key}.…=" if key in GROUPS else ""
        return Problem(f"{word}: {key} takes a name{inner}", f"{key}={choice}")
    if key in GROUPS and value == IN_COMMON:
        return Problem(f"{word}: that file is what the choices of {key} have in common", f"{key}={choice}")
    return None


def _no_such_group(word: str, override: Override, kind: type[Any]) -> Problem | None:
    """What is wrong with ``+experiment=name`` where no folder has that name: Hydra would add a setting."""
    key, name = override.key_or_group, override.value()
    if kind is not TrainConfig or not override.is_add() or not isinstance(name, str) or re.search("[.@]|^hydra", key):
        return None
    known = key in settings(kind) or any(
        source.is_group(key) for source in GlobalHydra.instance().config_loader().get_sources()
    )
    return None if known else no_such_group(word, key.replace("/", "."), name, kind)


def _wrong_files(config: DictConfig, words: Sequence[str], kind: type[Any]) -> list[Problem]:
    """What is wrong with the choice of files, be it typed or made in another file."""
    if kind is not TrainConfig:
        return []
    choice = config.hydra.runtime.choices
    problems = []
    own = f"{choice.get('hyperparameters')}/{choice.get('env')}"  # train.yaml's: the one that there may be
    if choice.get("preset") not in (None, own) and (problem := preset_files.no_such(choice.preset)):
        problems.append(problem)
    env_id = OmegaConf.select(config, "env.id")
    if not any(word.lstrip("+").startswith("env.id=") for word in words) and isinstance(env_id, str):
        problems += _wrong_env(str(choice.get("env")), env_id)
        place = files.places().get("env.id")
        if place is not None and place.preset and not is_registered(env_id):
            problems.append(files.in_file("env.id", unknown_id(env_id)))
    return problems


def _wrong_env(choice: str, env_id: str) -> list[Problem]:
    """An environment's own name stands for that environment; its preset goes by the name."""
    if name_of(choice) == name_of(env_id) or not is_registered(choice):
        return []
    if env_id == EnvConfig().id:
        return [Problem(f"the file env/{choice}.yaml does not say which environment it is of", f"id: {choice}")]
    what = f"env={choice} was chosen, and a file changes env.id to {env_id}, which would get {choice}'s preset"
    return [Problem(what, f"env={env_id}, or in the file's defaults: - override /env: {env_id}")]
