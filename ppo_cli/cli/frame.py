"""What a command says to people: one frame for what went wrong, plain words for the rest."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from ppo_cli.errors import Problem, UserError
from ppo_cli.signals import SIGNALLED

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 80
INTERRUPTED = SIGNALLED + signal.SIGINT


def console(stream: IO[str], longest: int = 0) -> Console:
    """A console on a stream; where that is no terminal, wide enough that no word is broken and grep finds it."""
    from rich.console import Console

    if stream.isatty():
        return Console(file=stream, highlight=False)
    return Console(file=stream, highlight=False, width=max(PLAIN_WIDTH, longest))


def show_error(error: UserError) -> None:
    """Print one framed message on stderr: the headline, and for each problem what is wrong and what to type."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    words = " ".join(str(problem) for problem in error.problems).split()
    out = console(sys.stderr, longest=max(map(len, words), default=0) + len("│   -> try:  │"))
    arrow = "→" if out.encoding.startswith("utf") else "->"
    lines: list[Text | Table] = []
    for problem in error.problems:
        fix = Table.grid(padding=(0, 1))
        fix.add_row(Text(f"  {arrow} try:", "dim"), Text(problem.fix, "bold green", overflow="fold"))
        lines += [Text(problem.what, overflow="fold"), fix]
    out.print(Panel(Group(*lines), title=error.title, title_align="left", border_style="red", expand=False))


def guarded(body: Callable[[], int]) -> int:
    """Run a command and turn whatever it raises into a framed message and an exit status.

    With ``HYDRA_FULL_ERROR=1`` in the environment, tracebacks come through as they are.
    """
    raw = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Hydra prints and exits by itself unless this is set; the frame needs the exception.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        return body()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        told = error if isinstance(error, UserError) else _unexpected(error)
        if raw:
            traceback.print_exc()
        else:
            show_error(told)
        return told.exit_code


def one_line(error: BaseException) -> str:
    """The error in one line, with its type where the message alone says little."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _unexpected(error: Exception) -> UserError:
    problem = Problem(one_line(error), "the same command after HYDRA_FULL_ERROR=1, which shows the traceback")
    return UserError(problem, title="Unexpected error")
