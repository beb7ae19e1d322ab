"""The display that fits where a sweep's parent writes to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ppo_cli.loggers.lines import cursor_moves
from ppo_cli.sweep.lines import SweepLines
from ppo_cli.sweep.view import Display


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Say in a terminal what takes seconds, as long as it does."""
    if not cursor_moves():
        yield
        return
    print(f"{what} …", end="", flush=True)
    try:
        yield
    finally:
        print("\r\x1b[K", end="", flush=True)


def make_display(folder: Path, n_jobs: int, noun: str = "job") -> Display:
    """A live table in a terminal; plain lines in a pipe, a file or a notebook.

    Args:
        folder: The sweep's folder.
        n_jobs: How many jobs run at a time.
        noun: What is shown.
    """
    if cursor_moves():
        from ppo_cli.sweep.table import LiveTable

        return LiveTable(folder, n_jobs, noun=noun)
    return SweepLines(folder, n_jobs, sys.stdout, noun=noun)
