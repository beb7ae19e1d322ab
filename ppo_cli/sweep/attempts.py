"""``attempts.json`` in a job's folder: how each of its processes ended, which a dead one cannot say in its summary."""

from __future__ import annotations

import signal
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ppo_cli.runs.files import read_json, write_json
from ppo_cli.runs.lock import is_locked
from ppo_cli.runs.names import ATTEMPTS_FILE, CHECKPOINTS_FOLDER, SCHEDULED_FILES
from ppo_cli.runs.standing import state_of
from ppo_cli.runs.summary import read_summary
from ppo_cli.sweep.view import FAILED

OUT_OF_MEMORY = "ran out of memory"


@dataclass(frozen=True)
class Attempt:
    """One process that was at a job, and how it ended.

    Attributes:
        started: When it began.
        ended: When it ended.
        exit: Its exit status; of a process that a signal ended, minus the signal's number; ``None`` if nobody knows.
        state: What it left the job as: ``finished``, ``failed`` or ``interrupted``.
        reason: Why it failed or was interrupted; ``None`` if nothing is to be said.
        step: How far the run had come.
        checkpoint: The step of the newest checkpoint that it left to go on from; 0 for none.
        requeued: Whether a cluster had it make room, and puts it back into its queue.
    """

    started: str
    ended: str
    exit: int | None
    state: str
    reason: str | None
    step: int
    checkpoint: int = 0
    requeued: bool = False


def read_attempts(folder: Path) -> list[Attempt]:
    """All that have ended, the first first; none where the file cannot be read."""
    try:
        content = read_json(folder / ATTEMPTS_FILE)
        return [Attempt(**one) for one in content["attempts"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def record(folder: Path, number: int, attempt: Attempt) -> None:
    """Write down how the attempt of that number ended, in the place of what was known of it."""
    known = read_attempts(folder)[:number]
    attempt = replace(attempt, checkpoint=_newest_checkpoint(folder))
    write_json(folder / ATTEMPTS_FILE, {"attempts": [asdict(one) for one in [*known, attempt]]})


def _newest_checkpoint(folder: Path) -> int:
    """The step of the newest one that a run can go on from, by its name."""
    steps = [path.stem.removeprefix("step_") for path in (folder / CHECKPOINTS_FOLDER).glob(SCHEDULED_FILES)]
    return max([int(step) for step in steps if step.isdecimal()], default=0)


@dataclass(frozen=True)
class Standing:
    """How a job stands, as its folder says.

    Attributes:
        state: One of ``view.STATES``.
        reason: Why it failed or was interrupted.
        summary: Its ``summary.json``; empty if there is none.
        attempts: How many processes have been at it and ended.
    """

    state: str
    reason: str | None
    summary: dict[str, Any]
    attempts: int


def standing(folder: Path, ours: bool = False) -> Standing:
    """How a job stands that no process of ours is at.

    Args:
        folder: Its folder.
        ours: Whether nobody else can be at it: what a killed process leaves may hold its lock for another moment.
    """
    locked = not ours and is_locked(folder)
    summary, attempts = read_summary(folder) or {}, read_attempts(folder)
    status = summary.get("status")
    last = attempts[-1] if attempts else None
    state = state_of(status, locked, None if last is None else last.state)
    reason = "see its train.log" if state == FAILED else None
    if last is not None and last.state == state:
        reason = last.reason
    return Standing(state, reason, summary, len(attempts))


def reason_of(code: int | None) -> str:
    """Why a process ended that left no word, by its exit status."""
    if code is None:
        return "its process is gone, and nobody knows why"
    if code >= 0:
        return f"ended by os._exit with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"killed by {name}{' (out of memory, perhaps)' if name == 'SIGKILL' else ''}"
