"""How a setting is declared: its default, its meaning and the values that fit, in one line."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def setting(
    default: Any,
    meaning: str,
    *,
    gt: float | None = None,
    ge: float | None = None,
    le: float | None = None,
    choices: tuple[str, ...] | None = None,
    empty: bool = False,
    own: str | None = None,
    was: str | None = None,
    since: int = 1,
    before: Any = ...,
) -> Any:
    """A dataclass field with its one line of meaning and the range its values (or a list's items) lie in.

    Args:
        default: Its value where nothing is said; a list or mapping is copied each time.
        meaning: One line for people.
        gt: What values are greater than.
        ge: What values are greater than or equal to.
        le: What values are less than or equal to.
        choices: The values that there are.
        empty: Whether a list may be empty.
        own: What a choice may also be, of the user's: ``module:Class`` or ``module:function``.
        was: The name it had before, which is still understood.
        since: The checkpoint format it came with; what was saved before may have none of it.
        before: Its value in what has none of it: with it, runs behave as they did then. ``...`` is the default.
    """
    metadata = {"meaning": meaning, "gt": gt, "ge": ge, "le": le, "choices": choices}
    metadata |= {"empty": empty, "own": own, "was": was, "since": since, "before": default if before is ... else before}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)
