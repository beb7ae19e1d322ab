"""Jobs that make room and come back: what is noted of that, and when it leads nowhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ppo_cli.runs.lock import is_locked
from ppo_cli.runs.summary import now, read_summary
from ppo_cli.sweep.attempts import Attempt, read_attempts, record
from ppo_cli.sweep.view import FAILED, INTERRUPTED, RUNNING

IN_VAIN = 2
"""Attempts in a row without a new checkpoint after which the next would be as much in vain."""
GONE = "its process was gone without a word: its node failed, or it was to make room at once"


def note_return(folder: Path) -> None:
    """Note that the cluster itself has put a job back into the queue, which may have ended all of its processes."""
    summary, known = read_summary(folder) or {}, read_attempts(folder)
    if summary.get("status") == RUNNING and not is_locked(folder):
        step = int(summary.get("step") or 0)
        lost = Attempt(str(summary.get("started")), now(), None, INTERRUPTED, GONE, step, requeued=True)
        record(folder, len(known), lost)
    elif known and known[-1].state == INTERRUPTED:
        mark_requeued(folder)


def mark_requeued(folder: Path) -> None:
    """Note of the newest attempt that another follows."""
    known = read_attempts(folder)
    if known:
        record(folder, len(known) - 1, replace(known[-1], requeued=True))


def is_in_vain(folder: Path) -> bool:
    """Whether the newest attempts had to make room and none of them had come to a new checkpoint."""
    known = read_attempts(folder)
    steps = [0, *(one.checkpoint for one in known)]
    pairs = list(zip(known, steps[:-1], strict=True))[-IN_VAIN:]
    return len(pairs) == IN_VAIN and all(one.requeued and one.checkpoint <= before for one, before in pairs)


def give_up(folder: Path, reason: str) -> None:
    """Make the newest attempt a failure."""
    known = read_attempts(folder)
    step = int((read_summary(folder) or {}).get("step") or 0)
    last = known[-1] if known else Attempt(now(), now(), None, FAILED, reason, step)
    record(folder, max(0, len(known) - 1), replace(last, state=FAILED, reason=reason, requeued=False))
