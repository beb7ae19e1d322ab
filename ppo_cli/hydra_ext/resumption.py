"""``resume=``: the command line of a run that goes on, whose settings come from its folder and not from ``conf/``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ppo_cli.config import TrainConfig, walk
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.hydra_ext import schema
from ppo_cli.hydra_ext.app import composed_run
from ppo_cli.hydra_ext.argv import CommandLine, is_resume
from ppo_cli.hydra_ext.compose import parsed
from ppo_cli.modules import modules_again, modules_to_name
from ppo_cli.runs.names import SWEEP_FILE
from ppo_cli.trackers import is_tracking

AUTO = "auto"


def requested(line: CommandLine) -> str | None:
    """What ``resume=`` asks for, if it asks for anything.

    Raises:
        ConfigError: in a sweep, whose runs cannot all go on with one folder.
    """
    named = _values([word for word in line.overrides if is_resume(word)]).get("resume")
    if named not in (None, AUTO) and line.shows_composed:
        what = f"resume={named}: what is shown is composed of conf/, and a run that goes on has settings of its own"
        raise ConfigError(Problem(what, f"cat {Path(str(named)) / '.hydra' / 'config.yaml'}"))
    files = [flag for flag in line.flags if flag in ("--config-name", "-cn")] + ["--config-dir"] * bool(line.user_dir)
    if named not in (None, AUTO) and files:
        what = f"{files[0]} has no say in a run that goes on, whose settings are saved with it"
        raise ConfigError(Problem(what, f"ppo-train resume={named}, without {files[0]}"))
    if named is not None and line.multirun:
        _check_sweep(str(named))
    return None if named is None else str(named)


def _check_sweep(named: str) -> None:
    """See that a sweep's folder was named.

    Raises:
        ConfigError: if it is something else.
    """
    folder = Path(named).expanduser()
    if named != AUTO and not folder.exists():
        raise ConfigError(Problem(f"resume={named}: there is no such folder", "ppo-runs, which lists those there are"))
    if named == AUTO or not (folder / SWEEP_FILE).is_file():
        fix = "ppo-train -m resume=<the sweep's folder>" if named == AUTO else f"ppo-train resume={named}, without -m"
        raise ConfigError(Problem(f"resume={named} is for a single run", fix))


def own_run(line: CommandLine) -> tuple[Path, dict[str, Any]] | None:
    """The newest run that this very command made before, with what the command says beside what the run is.

    That is what it names of the user's own modules, and the settings of its trackers.

    Raises:
        ConfigError: if the folder that the command names holds a run with other settings.
    """
    from ppo_cli.runs.resume import newest_of
    from ppo_cli.runs.summary import fingerprint, read_summary

    config, _, folder = composed_run(line, "train")
    if folder.is_sweep:
        what = "a file makes a sweep of this (hydra.mode), and resume=auto is for a single run"
        raise ConfigError(Problem(what, "ppo-train -m resume=<the sweep's folder>"))
    named = None if folder.new_each_time else folder.path
    if named is None:
        found = newest_of(config)
    else:
        summary = read_summary(named)
        found = None if summary is None else named
        if summary is not None and summary.get("request") != fingerprint(config):
            what = f"{named} holds a run with other settings than these"
            raise ConfigError(Problem(what, f"ppo-train resume={named}, or another folder"))
    again = modules_again(config, modules_to_name(config))
    again |= {key: value for key, value, _ in walk(config) if is_tracking(key)}  # others, maybe, than it had so far
    return None if found is None else (found, again)


def changes(line: CommandLine) -> dict[str, Any]:
    """The other settings of the line, by dotted key.

    Raises:
        ConfigError: names every word that is no plain setting.
    """
    found = _values([word for word in line.overrides if not is_resume(word)])
    renamed = {"env.id" if key == "env" else key: value for key, value in found.items()}
    return {key: schema.fitted(TrainConfig, key, value) for key, value in renamed.items()}


def _values(words: list[str]) -> dict[str, Any]:
    overrides, problems = parsed(words, TrainConfig)
    found: dict[str, Any] = {}
    for word, override in overrides.items():
        key = override.key_or_group
        if override.is_sweep_override():
            problems.append(Problem(f"{word} holds several values, and a run that goes on takes one", f"{key}=…"))
        elif override.is_delete():
            problems.append(Problem(f"{word}: a run that goes on needs every setting", "the same without it"))
        else:
            try:
                found[key] = _resolved(plain_value(override.value()))
            except OmegaConfBaseException as error:
                what = f"{word}: {str(error).partition(chr(10))[0]}, and a run that goes on has no files to refer to"
                problems.append(Problem(what, f"{key}=<its value>"))
    if problems:
        raise ConfigError(problems)
    return found


def _resolved(value: Any) -> Any:
    """A value with ``${oc.env:…}`` and the like worked out, as composing does where a run begins."""
    return OmegaConf.to_container(OmegaConf.create([value]), resolve=True)[0]  # type: ignore[index]


def plain_value(value: Any) -> Any:
    """Without the quotes that Hydra's grammar keeps."""
    if isinstance(value, dict):
        return {plain_value(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain_value(item) for item in value]
    return getattr(value, "text", value)
