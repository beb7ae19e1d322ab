"""The errors that a person can mend: what came, what fits, what to type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 300


def shortened(text: str) -> str:
    """A text that a file holds, and that may be of any length, as a message has room for it."""
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def add_note(error: Exception, note: str) -> None:
    """Say where an error came from, as ``add_note`` does, which Python 3.10 has not."""
    error.__notes__ = [*getattr(error, "__notes__", ()), note]


def notes(error: BaseException) -> str:
    """What was noted on an error, to follow its message."""
    return "".join(f" ({note})" for note in getattr(error, "__notes__", ()))


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the input.

    Attributes:
        what: What came and why it does not fit, e.g. ``batch_size=63 does not divide buffer_size=2048``.
        fix: What to type or do instead, e.g. ``batch_size=64``.
    """

    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}; try {self.fix}"


class UserError(Exception):
    """Base of every error that ends a command with one framed message instead of a traceback.

    Attributes:
        title: Headline of the message.
        problems: Everything that is wrong, at least one.
        exit_code: The process's exit status.
    """

    title = "Error"
    exit_code = 1

    def __init__(self, problems: Problem | Sequence[Problem], title: str | None = None) -> None:
        self.problems: list[Problem] = [problems] if isinstance(problems, Problem) else list(problems)
        self.title = title or self.title
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ConfigError(UserError):
    """The command or the configuration does not fit; nothing was started."""

    title = "Invalid configuration"
    exit_code = 2


class CheckpointError(ConfigError):
    """A file that was named as a checkpoint cannot be used as one."""

    title = "Unusable checkpoint"


class RunError(UserError):
    """A run that had begun could not go on."""

    title = "Run failed"
    exit_code = 1


class BadNumbersError(RunError):
    """Something that must be a finite number is NaN or infinite; nothing was learnt from it.

    Attributes:
        row: Vector step of the rollout, if it came from one.
    """

    title = "Bad numbers"

    def __init__(self, problem: Problem, row: int | None = None) -> None:
        super().__init__(problem)
        self.row = row


class BrokenRowsError(BadNumbersError):
    """Rows of a rollout are finite, and mean nothing: a category that is none, a mask that allows nothing."""

    title = "Broken environment"
