"""The whole of Hydra behind a few calls: check, then show, train or sweep."""

from __future__ import annotations

import dataclasses
import os
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
from ppo_cli.hydra_ext import files
from ppo_cli.hydra_ext.argv import CommandLine, is_resume, is_sweep
from ppo_cli.hydra_ext.compose import (
    Loader,
    check_whole,
    checked,
    composed,
    conf_dir,
    loader,
    prepare,
    run_folder,
    version_base,
)
from ppo_cli.hydra_ext.translate import explain
from ppo_cli.runs.folder import STAMP_VARIABLE, holds_run, new_stamp

if TYPE_CHECKING:
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
    if line.shows_composed:
        check_fixed_part(line, config_name, kind)
    sys.argv = [sys.argv[0], *line.to_hydra()]
    try:
        hydra.main(config_path=str(conf_dir()), config_name=config_name, **version_base())(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, line.overrides, kind)[0]) from error
    except OSError as error:
        problem = Problem(f"{error.filename} cannot be written: {error.strerror}", "output_dir=<a folder of yours>")
        raise ConfigError(problem) from error


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


def plan_run(line: CommandLine, config_name: str) -> Plan:
    """Check a single training run, down to its environment and device, before any folder is made, and plan it.

    Raises:
        ConfigError: names everything that is wrong.
    """
    config: TrainConfig = config_of(line, config_name, TrainConfig)
    from_preset = files.from_preset()
    if config.resume is not None and not any(map(is_resume, line.overrides)):
        what = f"resume={config.resume} stands in a file, and only the command line can ask for it"
        raise ConfigError(Problem(what, f"ppo-train resume={config.resume}"))

    from ppo_cli.training.preflight import check_writable, preflight

    check_writable(Path(config.output_dir), f"output_dir={config.output_dir}")
    named = named_folder(line, config_name)
    if named is not None and holds_run(named):
        raise ConfigError(Problem(f"{named} holds a run already", f"ppo-train resume={named}, or another folder"))
    config.resume = None  # auto: there was nothing to go on with, or we would not be here
    return dataclasses.replace(preflight(config), from_preset=from_preset)


def named_folder(line: CommandLine, config_name: str) -> Path | None:
    """The run's folder, if the command line says which it is to be."""
    if not any(word.lstrip("+").startswith("hydra.run.dir=") for word in line.overrides):
        return None
    with loader(line.config_name or config_name) as load:
        return run_folder(load, line.overrides)


def check_fixed_part(line: CommandLine, config_name: str, kind: type[Any]) -> None:
    """Check what all jobs of a sweep have in common; the sweeper checks each job, once Hydra has come that far.

    Raises:
        ConfigError: names every override that cannot be composed.
    """
    with _loader(line, config_name, kind) as load:
        _, problems = composed(kind, load, [word for word in line.overrides if not is_sweep(word)])
    if problems:
        raise ConfigError(problems)
