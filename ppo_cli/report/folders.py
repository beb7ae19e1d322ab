"""From what a person names to run folders: paths, globs, sweeps, and folders of those."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ppo_cli.errors import ConfigError, Problem
from ppo_cli.runs.names import (
    CHECKPOINTS_FOLDER,
    JOB_FILE,
    METRICS_FILE,
    MULTIRUN_FILE,
    REPORT_FOLDER,
    SUMMARY_FILE,
    SWEEP_FILE,
    TENSORBOARD_FOLDER,
    VIDEO_FOLDER,
)

DEEPEST = 8
"""Levels below a named folder that are searched."""
SWEEP_FILES = (SWEEP_FILE, MULTIRUN_FILE)
RUN_FILES = (SUMMARY_FILE, METRICS_FILE, JOB_FILE)
OWN_FOLDERS = (CHECKPOINTS_FOLDER, TENSORBOARD_FOLDER, VIDEO_FOLDER)
"""What a run makes in its folder."""
OWN_OF_SWEEP = (REPORT_FOLDER,)
"""What a search makes in the folder of its sweep."""
RUN_SIGNS = (*RUN_FILES, CHECKPOINTS_FOLDER)
"""By which a run's folder is known, however far it came."""


PROGRESS, MONITOR, EVALUATIONS, EVENTS = "progress.csv", "monitor.csv", "evaluations.npz", "events.out.tfevents"
"""By which other programs' runs are known, whole names and parts of them."""


class Found(NamedTuple):
    """What lies below the named folders.

    Attributes:
        runs: Folders of runs, each once.
        others: Folders of other programs' runs, and csv files that were named.
        foreign: Folders and files that hold none, and why.
    """

    runs: list[Path]
    others: list[Path]
    foreign: list[tuple[Path, str]]


def find(words: Iterable[str], links: bool = True) -> Found:
    """All runs that words name.

    Args:
        words: Paths and patterns.
        links: Whether folders that links lead to belong to what the links lie in.

    Raises:
        ConfigError: names each word that nothing is found by.
    """
    named, problems = [], []
    for word in words:
        matches = matching(word)
        named += matches
        if not matches:
            problems.append(nothing_at(word))
    if problems:
        raise ConfigError(problems)
    found = Found([], [], [])
    seen: set[str] = set()
    for path in named:
        own = Found([], [], [])
        _search(path, own, 0, links)
        if not any(own):
            own.foreign.append((path, "holds no run"))
        for kept, new in ((found.runs, own.runs), (found.others, own.others)):
            for run in new:
                real = os.path.realpath(run)
                if real not in seen:
                    seen.add(real)
                    kept.append(run)
        found.foreign.extend(one for one in own.foreign if one not in found.foreign)
    return found


def matching(word: str) -> list[Path]:
    """The paths that a word names: itself, or what it is a pattern for."""
    path = Path(word).expanduser()
    if word and os.path.lexists(path):
        return [path]
    return [Path(one) for one in sorted(glob.glob(str(path)))] if glob.has_magic(word) else []  # noqa: PTH207


def nothing_at(word: str) -> Problem:
    """What is wrong with a word that nothing is found by."""
    if not word:
        return Problem("a folder without a name; a shell leaves it so where a variable is not set", "outputs")
    if glob.has_magic(word):
        return Problem(f"nothing matches {word}", "ppo-runs, which lists the runs there are")
    return Problem(f"there is no {word}", "ppo-runs, which lists the runs there are")


def is_sweep(folder: Path) -> bool:
    """Whether a folder is a sweep's."""
    return any((folder / name).is_file() for name in SWEEP_FILES)


def _search(path: Path, found: Found, depth: int, links: bool) -> None:
    try:
        if path.is_file():
            _take_file(path, found)
            return
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError as error:
        found.foreign.append((path, f"cannot be read: {error.strerror}"))
        return
    names = {entry.name for entry in entries}
    run = not names.isdisjoint(RUN_SIGNS)
    own = OWN_FOLDERS if run else OWN_OF_SWEEP if not names.isdisjoint(SWEEP_FILES) else ()
    inside = [Path(entry.path) for entry in entries if entry.name not in own and _is_folder(entry, links)]
    if run:
        found.runs.append(path)
    elif any(map(_is_others, names)):
        found.others.append(path)
        return
    elif not inside and depth and any(not name.startswith(".") for name in names):
        found.foreign.append((path, "holds no run"))
    if depth == DEEPEST:
        return
    below = found if not run else Found(found.runs, [], [])  # a run's own folders are nobody else's
    for folder in inside:
        _search(folder, below, depth + 1, links)


def _take_file(path: Path, found: Found) -> None:
    """A file that was named: of a run, whose folder is meant, or one of numbers."""
    if path.name in RUN_FILES:
        found.runs.append(path.parent)
    elif _is_others(path.name):
        found.others.append(path.parent)
    elif path.suffix.lower() == ".csv":
        found.others.append(path)
    else:
        found.foreign.append((path, "is a file, and no run"))


def _is_others(name: str) -> bool:
    return name in (PROGRESS, EVALUATIONS) or name.endswith(MONITOR) or name.startswith(EVENTS)


def _is_folder(entry: os.DirEntry[str], links: bool) -> bool:
    """Whether to look into it: hidden folders hold no runs, and a link to where it lies would lead round and round."""
    try:
        if entry.name.startswith(".") or not entry.is_dir(follow_symlinks=links):
            return False
        if not entry.is_symlink():
            return True
        there = os.path.realpath(entry.path)
    except OSError:
        return False
    here = os.path.realpath(Path(entry.path).parent)
    return not (here + os.sep).startswith(there.rstrip(os.sep) + os.sep)
