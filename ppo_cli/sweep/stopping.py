"""The signals that end a sweep: the first lets its jobs save, the second does not wait for them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ppo_cli.signals import ENDING, heard_by


class Asked:
    """Whether a signal asked the sweep to stop, which, and whether another asked for it at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.at_once = False


@contextmanager
def stoppable(above_all: bool = False) -> Iterator[Asked]:
    """Note signals in place of what they do; those that somebody has had ignored stay so, as SIGHUP under nohup.

    A terminal that closes sends SIGHUP twice and means it once.

    Args:
        above_all: Whether to stand in for whoever else hears them, a cluster's library, too. The first is all that
            is noted then: clusters send several, and end by themselves what does not end.
    """
    asked = Asked()

    def on_signal(number: int, _: FrameType | None) -> None:
        if asked.signal is None:
            asked.signal = number
        elif signal.Signals(number).name != "SIGHUP" and not above_all:
            asked.at_once = True

    usual = (signal.SIG_DFL, signal.default_int_handler)
    found = {number: signal.getsignal(number) for number in ENDING}
    mine = [number for number, who in found.items() if who in usual or (above_all and who is not signal.SIG_IGN)]
    with heard_by(on_signal, mine):
        yield asked
