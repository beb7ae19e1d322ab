"""Deleting runs: those that were named, none that is running, and nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ppo_cli.errors import ConfigError, Problem, RunError
from ppo_cli.places import shown
from ppo_cli.report.folders import RUN_SIGNS, find, is_sweep, matching, nothing_at
from ppo_cli.runs.lock import is_locked, locked

LOCK = ".lock"


def to_delete(words: Sequence[str]) -> list[Path]:
    """The folders of the runs and sweeps that are named.

    Raises:
        ConfigError: names each that cannot be deleted, and then none is.
    """
    found: list[Path] = []
    problems: list[Problem] = []
    for word in words:
        matches = matching(word)
        if not matches:
            problems.append(nothing_at(word))
        for path in matches:
            problem = _wrong(path)
            if problem is not None:
                problems.append(problem)
            else:
                found.append(path)
    if problems:
        raise ConfigError(problems)
    real = {path: path.resolve() for path in found}
    once = {real[path]: path for path in reversed(found)}  # by one of its names
    return [path for whole, path in reversed(once.items()) if not any(parent in once for parent in whole.parents)]


def _wrong(path: Path) -> Problem | None:
    """Why a folder cannot be deleted; ``None`` if it can."""
    name = shown(path)
    if path.is_symlink():
        return Problem(f"{name} is a link", f"naming {shown(path.resolve())}, or deleting the link by hand")
    sweep = is_sweep(path)
    if not path.is_dir() or not (sweep or any((path / sign).exists() for sign in RUN_SIGNS)):
        return Problem(f"{name} is neither a run nor a sweep", "naming folders that ppo-runs lists")
    runs = find([str(path)], links=False).runs
    others = [run for run in runs if run != path]
    if others and not sweep:
        return Problem(f"{name} holds other runs too, such as {shown(others[0])}", "naming those first")
    busy = [run for run in {path, *runs} if is_locked(run)]
    if busy:
        return Problem(f"{shown(busy[0])} is running", "waiting until it is done, or stopping it")
    return None


def delete(folder: Path) -> None:
    """Delete a run, or a sweep with all of its jobs.

    Raises:
        RunError: if somebody has begun to work there, or the file system does not let it go.
    """
    try:
        if is_sweep(folder):
            with locked(folder.absolute()):
                for run in find([str(folder)], links=False).runs:
                    if run != folder:
                        _delete_run(run)
                _empty(folder)
            _remove(folder)
        else:
            _delete_run(folder)
    except OSError as error:
        what = f"{shown(folder)} cannot be deleted: {error.strerror or error}"
        raise RunError(Problem(what, "the same as its owner"), "Not deleted") from error


def _delete_run(folder: Path) -> None:
    with locked(folder.absolute()):
        _empty(folder)
    _remove(folder)


def _empty(folder: Path) -> None:
    """Delete all that is in a folder but the lock, which Windows lets nobody delete while it is held."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        elif not entry.name.startswith(LOCK):
            Path(entry.path).unlink()


def _remove(folder: Path) -> None:
    shutil.rmtree(folder)
