"""Finding out what a run was and where it can go on."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from ppo_cli.config import ARGUMENTS, TrainConfig, old_names, own_modules, show, walk
from ppo_cli.errors import CheckpointError, ConfigError, Problem
from ppo_cli.modules import check_modules_named
from ppo_cli.plain import changes_as_data, from_plain, put, to_plain
from ppo_cli.renames import check_agreed, warn
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.runs.folder import slug
from ppo_cli.runs.names import CHECKPOINTS_FOLDER, SUMMARY_FILE, SWEEP_FILE
from ppo_cli.runs.progress import Progress, read_run
from ppo_cli.runs.store import CheckpointStore
from ppo_cli.runs.summary import as_json, fingerprint, now, read_summary
from ppo_cli.trackers import is_tracking

FIXED = ("env.", "network.", "continuous.", "normalize_")
"""Beginnings of settings that what was learnt so far depends on."""
FIXED_KEYS = ("seed", "num_envs", "buffer_size", "output_dir", "init_from", "resume")
FREE = ("network.sequence_length", "continuous.resample_every", "env.restart_crashed", "env.start_timeout")


@dataclass(frozen=True)
class Saved:
    """A run to go on with.

    Attributes:
        run_dir: Its folder.
        config: Its settings from now on.
        summary: Its ``summary.json``; empty if that is lost.
        path: The checkpoint to go on from; ``None`` for the beginning.
        content: What that holds; without the best so far where going on would not find it again.
        progress: How far the run had come there.
        finished: Whether there is nothing left to do.
        changes: The settings that differ from now on, as they are typed.
        passed_over: Newer checkpoints that cannot be read, and why.
    """

    run_dir: Path
    config: TrainConfig
    summary: dict[str, Any]
    path: Path | None
    content: dict[str, Any] | None
    progress: Progress
    finished: bool
    changes: dict[str, str]
    passed_over: list[str]

    @property
    def about(self) -> dict[str, Any]:
        """What the record says of the run's beginning."""
        found = {key: self.summary.get(key) for key in ("request", "started", "command")}
        return {**found, "started": found["started"] or now(), "resumed": list(self.summary.get("resumed") or [])}

    @property
    def problems(self) -> list[str]:
        """What the record says went wrong beside the training."""
        return list(self.summary.get("problems") or [])

    def rewind(self) -> None:
        """Make the checkpoint the newest, now that the folder is one's own."""
        CheckpointStore(self.run_dir).rewind_to(self.path, bool(self.changes))


def find_saved(run: str | os.PathLike[str], changes: dict[str, Any]) -> Saved:
    """The run that a folder or a checkpoint of it belongs to.

    Raises:
        ConfigError: if there is none, or a change does not fit it.
    """
    changes = changes_as_data(_with_new_names(changes))
    named = Path(run).expanduser()
    run_dir, path, content, passed_over = _locate(named)
    if passed_over and path is None:
        problems = [Problem(told, "a copy of it that is whole") for told in passed_over]
        raise CheckpointError(problems, "No checkpoint can be read")
    summary = read_summary(run_dir) or {}
    plain, source = _settings(summary, content, run_dir if path is None or named.is_dir() else path)
    if not isinstance(plain, dict):
        if (run_dir / SWEEP_FILE).is_file():
            fix = shlex.join(["ppo-train", "-m", f"resume={named}"])
            raise CheckpointError(Problem(f"{named} is the folder of a sweep, and no run's", fix))
        what = f"{named} holds no run: there is neither a checkpoint to resume from nor a summary.json"
        raise CheckpointError(Problem(what, "resume=<the folder of a run>"))
    try:
        before: TrainConfig = from_plain(TrainConfig, plain)
    except ConfigError as error:
        problems = [Problem(f"{source}: {problem.what}", problem.fix) for problem in error.problems]
        raise CheckpointError(problems) from error
    config = _changed(before, changes)
    check_modules_named(before, changes, "the run's ")
    learnt = {key: value for key, value in changes.items() if not is_tracking(key)}
    changed = {key: show(value) for key, value in learnt.items() if _differs(before, key, value)}
    if content is not None:
        _forget_lost_best(run_dir, summary, config, content["run"], bool(changed))
    progress = Progress() if content is None else read_run(content["run"]).progress
    finished = summary.get("status") == "finished" and not named.is_file()
    if changed and (finished or content is not None):
        _check_more_to_do(run_dir if finished else path, before, config, progress, finished)
        finished = False
    return Saved(run_dir, config, summary, path, content, progress, finished, changed, passed_over)


def _with_new_names(changes: dict[str, Any]) -> dict[str, Any]:
    names = old_names(TrainConfig)
    check_agreed(changes, names)
    for old in names.keys() & changes.keys():
        warn(old, names[old], stacklevel=4)  # which is where resume() was called
    return {names.get(key, key): value for key, value in changes.items()}


def _settings(
    summary: dict[str, Any], content: dict[str, Any] | None, source: Path
) -> tuple[dict[str, Any] | None, Path]:
    """The settings to go on with, and where they were found.

    A run's folder has them as they were last changed; a checkpoint that was named has its own.
    """
    latest = summary.get("config")
    if content is None:
        return latest, source / SUMMARY_FILE
    own = (content["run"] or {}).get("config")
    if source.is_dir() and isinstance(latest, dict) and latest != as_json(own):
        return latest, source / SUMMARY_FILE
    return own, source


def _locate(named: Path) -> tuple[Path, Path | None, dict[str, Any] | None, list[str]]:
    """Folder, checkpoint, its content, and what was passed over, for a path."""
    if named.is_dir():
        run_dir = named.parent if named.name == CHECKPOINTS_FOLDER and read_summary(named.parent) is not None else named
        return (run_dir, *CheckpointStore(run_dir).newest_good())
    if not named.is_file():
        raise CheckpointError(Problem(f"{named} does not exist", "resume=<the folder of a run>"))
    folder = named.parent
    store = CheckpointStore(folder.parent)
    scheduled = store.scheduled()
    if folder.name != CHECKPOINTS_FOLDER or named.name not in [path.name for path in scheduled]:
        runs = [path for path in (folder, folder.parent) if read_summary(path) is not None]
        if not runs:
            load_checkpoint(named)  # says so if it is none
        what = f"{named} is there to be evaluated; a run goes on from a step_….pt in its checkpoints/"
        places = [*scheduled[-1:], *runs, "<the folder of a run>"]
        raise CheckpointError(Problem(what, f"resume={places[0]}"))
    return folder.parent, named, load_checkpoint(named), []


def _changed(before: TrainConfig, changes: dict[str, Any]) -> TrainConfig:
    """The settings with changes applied.

    Raises:
        ConfigError: names each change that does not fit.
    """
    known = {key for key, _, _ in walk(before)}
    problems = []
    plain = to_plain(before)
    for key, value in changes.items():
        if any(name.startswith(f"{key}.") for name in known) or key == "hyperparameters":
            what = f"{key}={show(value)} cannot change in a run that goes on"
            problems.append(Problem(what, f"the same without {key}=; single settings such as lr= may change"))
            continue
        if key not in known and _holder(key) is None:
            problems.append(Problem(f"{key!r} is not a setting of a run", "one that ppo-train --help lists"))
            continue
        if not _differs(before, key, value):
            continue
        if (key.startswith(FIXED) or key in FIXED_KEYS) and key not in FREE:
            what = f"{key}={show(value)} cannot change in a run that goes on: it has {key}={show(_saved(before, key))}"
            problems.append(Problem(what, f"the same without {key}=, or a new run with init_from=<this one>"))
            continue
        put(plain, key, value)
    if problems:
        raise ConfigError(problems)
    config: TrainConfig = from_plain(TrainConfig, plain)
    return config


def _saved(before: TrainConfig, key: str) -> Any:
    """What a setting was."""
    holder = _holder(key)
    if holder is None:
        return attrgetter(key)(before)
    place = attrgetter(holder)(before)
    for part in key.removeprefix(f"{holder}.").split("."):
        place = place.get(part) if isinstance(place, dict) else None
    return place


def _holder(key: str) -> str | None:
    """The setting that a key is an argument in, if it is one."""
    return next((name for name in ARGUMENTS if key.startswith(f"{name}.")), None)


def _differs(before: TrainConfig, key: str, value: Any) -> bool:
    """Whether a setting is another than it was; to name one's own wrappers, their names will do."""
    if key == "env.wrappers" and show(value) == own_modules(before).get("wrappers"):
        return False
    return bool(value != _saved(before, key))


def _check_more_to_do(
    place: Path | None, before: TrainConfig, config: TrainConfig, progress: Progress, finished: bool
) -> None:
    """See that changes leave a run something to do, and something to do it from.

    Without changes there may be nothing left but to write down that it is over, which is no reason to refuse.

    Args:
        place: What to go on from, for the message: a finished run's folder, else the checkpoint.
        before: The settings up to now.
        config: Those from now on.
        progress: How far the run had come.
        finished: Whether it had ended.

    Raises:
        ConfigError: if they do not.
    """
    if finished and not progress.iteration:
        reason = "checkpoint_every=null" if before.checkpoint_every is None else "its checkpoints/ holds none"
        what = f"{place} is finished, and has no step_….pt to go on from ({reason})"
        raise ConfigError(Problem(what, f"a new run with init_from={place}"))
    if config.total_timesteps > progress.step:
        return
    more = f"total_timesteps={2 * max(config.total_timesteps, progress.step)}"
    if finished:
        raise ConfigError(
            Problem(f"{place} is finished at step {progress.step}; to change anything it has to go on", more)
        )
    what = f"{place} is at step {progress.step}, and total_timesteps={config.total_timesteps} leaves it nothing to do"
    raise ConfigError(Problem(what, f"{more}, or an earlier step_….pt"))


def _forget_lost_best(
    run_dir: Path, summary: dict[str, Any], config: TrainConfig, run: dict[str, Any], changed: bool
) -> None:
    """Where a run parts from what it was, know a best one only if ``best.pt`` still is that one.

    A ``best.pt`` that came after the checkpoint is set aside there, and the one before it is gone for ever. A run that
    never changed makes its later ones again, and must know what it knew, or it would not repeat what it did.

    Args:
        run_dir: The run's folder.
        summary: Its record.
        config: Its settings from now on.
        run: What the checkpoint holds of the run; the best so far is taken out of it.
        changed: Whether settings change now.
    """
    progress = read_run(run).progress
    parted = changed or any(one["changes"] and one["step"] >= progress.step for one in summary.get("resumed") or [])
    if parted and config.keep_best and CheckpointStore(run_dir).step_of_best() != progress.best_step:
        run["progress"] |= {"best_return": None, "best_training_return": None, "best_step": None}


def newest_of(config: TrainConfig) -> Path | None:
    """The folder of the newest run of exactly this configuration, finished or not; ``None`` if there is none."""
    request = fingerprint(config)
    folder = Path(config.output_dir) / slug(config.env.id)
    for run_dir in sorted(folder.glob("*"), key=lambda path: path.name, reverse=True):
        summary = read_summary(run_dir)
        if summary is not None and summary.get("request") == request:
            return run_dir
    return None
