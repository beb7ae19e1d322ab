"""The whole of Hydra behind a few calls: check, then show, train or sweep."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from ppo_cli.config import TrainConfig
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.hydra_ext import files, preset_files
from ppo_cli.hydra_ext.argv import CommandLine, is_resume, is_sweep, quote
from ppo_cli.hydra_ext.compose import (
    Loader,
    RunFolder,
    check_whole,
    checked,
    composed,
    loader,
    prepare,
    run_folder,
    version_base,
)
from ppo_cli.hydra_ext.keys import missing_plugin, no_such_sweeper
from ppo_cli.hydra_ext.translate import explain
from ppo_cli.places import conf_dir
from ppo_cli.runs.folder import STAMP_VARIABLE, check_free, claim, give_up, new_stamp
from ppo_cli.search_config import KEYS, is_about_search

if TYPE_CHECKING:
    from ppo_cli.hydra_ext.task import Task
    from ppo_cli.training.plan import Plan


def start(line: CommandLine, eval_modules: dict[str, str] | None = None) -> None:
    """Make this process ready to compose: our schemas, a stamp for its folders, and modules beside the user.

    Raises:
        ConfigError: if the current folder has been removed.
    """
    # Last, so that a file of the user's named like a library's module does not take its place.
    try:
        sys.path.append(os.getcwd())  # noqa: PTH109 - sys.path holds texts
    except FileNotFoundError as error:
        raise ConfigError(Problem("the current folder is no longer there", "cd to one that is")) from error
    os.environ[STAMP_VARIABLE] = new_stamp()
    prepare(line.user_dir, eval_modules)


def hydra_main(line: CommandLine, config_name: str, task: Callable[[Any], Any], kind: type[Any]) -> None:
    """Hand a command line over to Hydra: it prints, runs or sweeps.

    Raises:
        ConfigError: if it cannot be composed, or the folder that it is to make cannot be made.
    """
    words = line.to_hydra()
    if line.shown_part is not None:
        words += _check_shown(line, config_name, kind)
    elif line.shows_composed:
        check_fixed_part(line, config_name, kind)
    sys.argv = [sys.argv[0], *words]
    preset_files.composing(line.overrides)
    try:
        with made_by_us():
            hydra.main(config_path=str(conf_dir()), config_name=config_name, **version_base())(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, line.overrides, kind)[0]) from error


def _check_shown(line: CommandLine, config_name: str, kind: type[Any]) -> list[str]:
    """Check a configuration that is to be printed as that of a single command.

    Returns:
        What to add to the line so that no run is shown with the groups of a search, where there is none.

    Raises:
        ConfigError: names everything that is wrong.
    """
    with _loader(line, config_name, kind) as load:
        checked(kind, load, line.overrides)
        choices = load(line.overrides).hydra.runtime.choices
    if line.shown_part != "job" or any(map(is_about_search, line.overrides)):
        return []
    return [f"~{key}" for key in KEYS if choices.get(key) == "none"]


@contextmanager
def _loader(line: CommandLine, config_name: str, kind: type[Any]) -> Iterator[Loader]:
    """Composes what the command line starts from.

    Raises:
        ConfigError: if that is a file of the user's that leaves the settings out.
    """
    with loader(line.config_name or config_name) as load:
        if line.config_name is not None:
            check_whole(kind, load, config_name)
        yield load


def config_of(line: CommandLine, config_name: str, kind: type[Any]) -> Any:
    """Compose and check the config of a single command.

    Raises:
        ConfigError: names everything that is wrong.
    """
    with _loader(line, config_name, kind) as load:
        return checked(kind, load, line.overrides)


def plan_run(line: CommandLine, config_name: str) -> tuple[Plan, RunFolder] | None:
    """Check a single training run, down to its environment and device, before any folder is made, and plan it.

    Returns:
        The plan, and where the run is to be kept; ``None`` where a file makes a sweep of it.

    Raises:
        ConfigError: names everything that is wrong.
    """
    again = shlex.join(["ppo-train", "-m", *line.typed])
    none = {f"{key}=none" for key in KEYS}  # which is what a single run is
    about = [*line.options, *(word for word in line.overrides if is_about_search(word) and word not in none)]
    problems = [Problem(f"{word} is about several runs, and this is one", again) for word in about]
    try:
        config, from_preset, folder = composed_run(line, config_name)
    except ConfigError as error:
        raise ConfigError([*error.problems, *problems], error.title) from error
    if folder.is_sweep:
        return None
    if folder.params:
        names = ", ".join(map(str, folder.params))
        what = f"a file has hydra.sweeper.params ({names}), which is a sweep, and this would be one run without them"
        problems.append(Problem(what, f"{again}, or hydra.sweeper.params=null for one run"))
    if folder.search is not None and not about:
        what = f"a file has search={folder.search}, which makes many runs, and this would be one without it"
        problems.append(Problem(what, f"{again}, or search=none for one run"))
    if problems:
        raise ConfigError(problems)
    if config.resume is not None and not any(map(is_resume, line.overrides)):
        what = f"resume={config.resume} stands in a file, and only the command line can ask for it"
        raise ConfigError(Problem(what, f"ppo-train resume={config.resume}"))

    from ppo_cli.training.preflight import check_writable, preflight

    inside = folder.path.is_relative_to(config.output_dir)
    check_writable(folder.path, f"output_dir={config.output_dir}" if inside else f"hydra.run.dir={folder.path}")
    check_free(folder.path)
    config.resume = None  # auto: there was nothing to go on with, or we would not be here
    return dataclasses.replace(preflight(config), from_preset=from_preset), folder


def composed_run(line: CommandLine, config_name: str) -> tuple[TrainConfig, frozenset[str], RunFolder]:
    """The settings of a single run, which of them nobody set but a preset, and where it would be kept.

    Raises:
        ConfigError: names everything that is wrong.
    """
    with _loader(line, config_name, TrainConfig) as load:
        config: TrainConfig = checked(TrainConfig, load, line.overrides)
        return config, files.from_preset(), run_folder(load, line.overrides)


@contextmanager
def claimed(folder: Path, line: CommandLine, task: Task) -> Iterator[None]:
    """Have the run's folder to oneself before Hydra writes into it, and tell Hydra that it is this one.

    Raises:
        ConfigError: if another command was faster, or the folder cannot be made.
    """
    with made_by_us():
        claim(folder.absolute())
    line.overrides.append(f"hydra.run.dir={quote(str(folder.absolute()))}")
    try:
        yield
    finally:
        if task.last is None:  # it came to nothing before there was a run
            give_up(folder.absolute())


@contextmanager
def made_by_us() -> Iterator[None]:
    """Tell of a folder that cannot be made as of any other thing that does not fit."""
    try:
        yield
    except OSError as error:
        problem = Problem(f"{error.filename} cannot be written: {error.strerror}", "output_dir=<a folder of yours>")
        raise ConfigError(problem) from error


def check_fixed_part(line: CommandLine, config_name: str, kind: type[Any]) -> str:
    """Check what all jobs of a sweep have in common; the sweeper checks each job, once Hydra has come that far.

    Returns:
        The name of what is to start the jobs; empty for evaluations, which have none.

    Raises:
        ConfigError: names every override that cannot be composed.
    """
    words = [word for word in line.overrides if not is_sweep(word)]
    with _loader(line, config_name, kind) as load:
        _, problems = composed(kind, load, words)
        launcher = ""
        if not problems and kind is TrainConfig:
            choices = load(words).hydra.runtime.choices
            sweeper, launcher = str(choices.get("hydra/sweeper")), str(choices.get("hydra/launcher"))
            problems = missing_plugin() if sweeper == "ppo" else [no_such_sweeper(sweeper)]
    if problems:
        raise ConfigError(problems)
    return launcher
