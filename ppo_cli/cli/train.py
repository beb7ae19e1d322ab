"""``ppo-train``."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ppo_cli.cli.entry import enter

if TYPE_CHECKING:
    from ppo_cli.hydra_ext.argv import CommandLine


def main() -> None:
    """Train one agent, or one for each combination of a sweep."""
    enter("ppo-train", _train)


def _train(argv: list[str]) -> int:
    from ppo_cli.cli import results, searches, sweeps
    from ppo_cli.config import TrainConfig
    from ppo_cli.hydra_ext import app, resumption
    from ppo_cli.hydra_ext import argv as words
    from ppo_cli.hydra_ext.task import Task

    line = words.parse(argv, TrainConfig)
    app.start(line)
    command = shlex.join(["ppo-train", *argv])
    if line.shows_composed:
        resumption.requested(line)  # which refuses what is not composed
    if not line.shows:
        status = _resume(line, command)
        if status is not None:
            return status
    task = Task(command, line.options)
    with ExitStack() as stack:
        if not line.shows:
            planned = None if line.multirun else app.plan_run(line, "train")
            if planned is None:
                _warm_up(app.check_fixed_part(line, "train", TrainConfig), line)
            else:
                task.plan, folder = planned
                stack.enter_context(app.claimed(folder.path, line, task))
        app.hydra_main(line, "train", task, TrainConfig)
    if task.listed is not None:
        return sweeps.show_listed(task.listed)
    if task.space is not None:
        return searches.show_space(task.space)
    if task.search is not None:
        return searches.show_search(task.search)
    if task.sweep is not None:
        return sweeps.show_sweep(task.sweep)
    return results.show_run(task.last) if task.last is not None else 0


def _warm_up(launcher: str, line: CommandLine) -> None:
    """Have the server of jobs import what they need while this process composes and checks them."""
    from ppo_cli.launchers import LAUNCHERS, Launcher

    if LAUNCHERS.get(launcher) is Launcher and not any(word.startswith("dry_run=") for word in line.options):
        from ppo_cli.sweep.local import warm_up

        warm_up()


def _resume(line: CommandLine, command: str) -> int | None:
    """Go on with a run, if the command line asks for it and there is one; returns the exit status."""
    from ppo_cli.cli import results, searches, sweeps
    from ppo_cli.errors import CheckpointError
    from ppo_cli.hydra_ext import resumption
    from ppo_cli.hydra_ext.task import resumed

    named = resumption.requested(line)
    if named is None:
        return None
    if line.multirun:
        from ppo_cli.hydra_ext.searches import resumed_search
        from ppo_cli.hydra_ext.sweeps import resumed_sweep
        from ppo_cli.search.folder import SearchFolder, is_search

        if is_search(Path(named).expanduser()):
            search = resumed_search(Path(named), line, command)
            if isinstance(search, SearchFolder):
                return searches.show_space(search)
            return searches.show_search(search)
        found = resumed_sweep(Path(named), line, command)
        return sweeps.show_listed(found) if isinstance(found, list) else sweeps.show_sweep(found)
    if named != resumption.AUTO:
        return results.show_run(resumed(named, resumption.changes(line), command))
    own = resumption.own_run(line)
    if own is None:
        return None
    try:
        return results.show_run(resumed(*own, command))
    except CheckpointError as error:  # a requeued job has nobody to ask; the damaged run stays as it is
        print(f"a new run begins: {error}", file=sys.stderr)
        return None
