"""``ppo-runs``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ppo_cli.cli.entry import enter

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from ppo_cli.report.catalogue import Entry
    from ppo_cli.report.options import RunsConfig

DELETE, JSON = "delete", "--json"
DECLINED = 1


def main() -> None:
    """List runs, or delete some."""
    enter("ppo-runs", _runs)


def _runs(argv: list[str]) -> int:
    from ppo_cli.cli import words
    from ppo_cli.report.options import RunsConfig

    as_json = JSON in argv
    paths, told = words.parse([word for word in argv if word != JSON], RunsConfig, "ppo-runs", (JSON,))
    if paths and paths[0] == DELETE:
        return _delete(paths[1:], told, as_json)
    return _list(paths, told, as_json)


def _list(paths: Sequence[str], told: RunsConfig, as_json: bool) -> int:
    from ppo_cli.errors import ConfigError, Problem
    from ppo_cli.report.catalogue import catalogue

    if told.yes:
        raise ConfigError(Problem("yes=true has no effect without delete", "ppo-runs delete <runs> yes=true"))
    entries = catalogue(_default(paths), told)
    if as_json:
        from ppo_cli.report.listing import as_text

        sys.stdout.write(as_text(entries))
        return 0
    from pathlib import Path

    from ppo_cli.cli.frame import console
    from ppo_cli.cli.results import UNLIMITED
    from ppo_cli.report.folders import is_sweep

    jobs = told.jobs or any(is_sweep(Path(path)) for path in paths)
    show(entries, told, jobs, console(sys.stdout, longest=UNLIMITED))
    return 0


def show(entries: Sequence[Entry], told: RunsConfig, jobs: bool, out: Console) -> None:
    """Print a list of runs; a folder that is wider than the terminal stays whole, so that it can be copied."""
    from ppo_cli.report.listing import render

    for part in render(entries, told, jobs, out.width):
        out.print(part, crop=False)


def _default(paths: Sequence[str]) -> Sequence[str]:
    """What is named, else where runs are kept.

    Raises:
        ConfigError: if there is no such place.
    """
    from pathlib import Path

    from ppo_cli.config import TrainConfig
    from ppo_cli.errors import ConfigError, Problem

    usual = TrainConfig().output_dir
    if not paths and not Path(usual).is_dir():
        raise ConfigError(Problem(f"there is no {usual}/ here", "ppo-runs <folder of runs>"))
    return paths or [usual]


def _delete(paths: Sequence[str], told: RunsConfig, as_json: bool) -> int:
    from ppo_cli.errors import ConfigError, Problem
    from ppo_cli.report.catalogue import size_of
    from ppo_cli.report.deleting import delete, to_delete
    from ppo_cli.report.listing import size
    from ppo_cli.report.options import RunsConfig

    problems = []
    if not paths:
        problems.append(Problem("nothing was named to be deleted", "ppo-runs delete <runs>"))
    if as_json or told != RunsConfig(yes=told.yes):
        problems.append(Problem("delete takes what is named, and no filters", "ppo-runs delete <runs>"))
    if problems:
        raise ConfigError(problems)
    folders = to_delete(paths)
    what = f"{_counted(folders)}, {size(sum(size_of(folder) for folder in folders))}"
    if not told.yes and not _agreed(folders, what):
        print("Nothing was deleted.", file=sys.stderr)
        return DECLINED
    for folder in folders:
        delete(folder)
    print(f"Deleted {what}.")
    return 0


def _agreed(folders: Sequence[Path], what: str) -> bool:
    """Show what would go, and ask.

    Args:
        folders: The folders.
        what: How many and how large they are.

    Raises:
        ConfigError: if there is nobody to ask.
    """
    from ppo_cli.errors import ConfigError, Problem

    if not sys.stdin.isatty():
        said = f"deleting {what} has to be confirmed, and there is no terminal to ask at"
        raise ConfigError(Problem(said, "the same with yes=true"))
    for folder in folders:
        print(folder)
    try:
        return input(f"Delete {what}, for good? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _counted(folders: Sequence[Path]) -> str:
    from ppo_cli.report.folders import is_sweep

    sweeps = sum(is_sweep(folder) for folder in folders)
    parts = [(len(folders) - sweeps, "run"), (sweeps, "sweep")]
    return " and ".join(f"{count} {noun}{'s' * (count > 1)}" for count, noun in parts if count) or "nothing"
