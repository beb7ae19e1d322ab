"""How a run stands, of what its record, its lock and its sweep say."""

from __future__ import annotations


def state_of(status: str | None, locked: bool, last: str | None) -> str:
    """The state of a run; one that was killed says in its record for ever that it is running.

    Args:
        status: What its record says; ``None`` where there is no record.
        locked: Whether a process is at its folder.
        last: How its last process ended, where a sweep has written that down.
    """
    if status in ("finished", "pruned"):
        return str(status)
    if locked:
        return "running"
    if last is not None and last != "finished":
        return last
    if status is None:
        return "waiting"
    return "failed" if status == "failed" else "interrupted"
