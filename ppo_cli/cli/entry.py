"""How each command begins and ends."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ppo_cli.cli import help as own_help
from ppo_cli.garbage import search_rarely
from ppo_cli.streams import steady_streams


def enter(command: str, body: Callable[[list[str]], int]) -> None:
    """Answer a request for help, or do what the command line says and exit with its status.

    Args:
        command: Its name.
        body: What it does with its arguments; returns the exit status.
    """
    steady_streams()
    argv = sys.argv[1:]
    if own_help.answers(command, argv):
        return
    search_rarely()
    # Hydra, rich and the rest are slow to import; asking for help should not wait for them.
    from ppo_cli.cli.frame import guarded

    sys.exit(guarded(lambda: body(argv)))
