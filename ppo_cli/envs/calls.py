"""What environments were told beside actions, kept so that those built anew are told it too."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

from ppo_cli.errors import CheckpointError, Problem, RunError


class EnvCall(NamedTuple):
    """One call of a method by name."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    in_evaluation: bool  # whether evaluations' environments are told it as well


class EnvCalls:
    """The last call of each name, in the order in which they were last made."""

    def __init__(self) -> None:
        self._last: dict[str, EnvCall] = {}

    def __iter__(self) -> Iterator[EnvCall]:
        return iter(self._last.values())

    def keep(self, call: EnvCall) -> None:
        """Remember a call in the place of an earlier one of its name.

        Raises:
            RunError: if an argument is no plain data, which alone can be kept.
        """
        for value in (*call.args, *call.kwargs.values()):
            if not _is_plain(value):
                what = f"call({call.name!r}, …) has an argument {value!r:.60} of type {type(value).__name__}"
                raise RunError(Problem(what, "numbers, texts, and lists and mappings of them, which can be kept"))
        self._last.pop(call.name, None)
        self._last[call.name] = deepcopy(call)  # whoever called may go on to change a list, or tell it twice

    def of_evaluation(self) -> list[EnvCall]:
        """Those that evaluations' environments are told."""
        return [call for call in self if call.in_evaluation]

    def state_dict(self) -> list[list[Any]]:
        """What a checkpoint keeps."""
        return [list(call) for call in self]

    def load_state_dict(self, state: Any) -> None:
        """Take :meth:`state_dict` over.

        Raises:
            CheckpointError: if it is none.
        """
        self._last = {call.name: call for call in read_calls(state)}


def read_calls(state: Any) -> list[EnvCall]:
    """The calls that a checkpoint holds.

    Raises:
        CheckpointError: if it holds something else.
    """
    calls: list[Any] = state if isinstance(state, list) else [None]
    if not all(map(_is_call, calls)):
        what = "the checkpoint does not say what its environments were told"
        raise CheckpointError(Problem(what, "another checkpoint"))
    return [EnvCall(*call) for call in calls]


def _is_call(call: Any) -> bool:
    if not isinstance(call, list) or [type(part) for part in call] != [str, tuple, dict, bool]:
        return False
    _, args, kwargs, _ = call
    return _is_plain(args) and _is_plain(kwargs)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or type(value) in (bool, int, float, str)
