"""The signals that end a run early: Ctrl-C, a terminal that closes, and those that announce the end of a job."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger("ppo_cli")

# Slurm sends SIGTERM, and what --signal asks for; submitit asks for SIGUSR1 or SIGUSR2; SIGHUP comes when the terminal
# or the connection goes. Windows has the first two.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
SIGNALLED = 128
"""Exit status of what a signal ended: this and the signal's number."""
ENDING = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


class Stop:
    """Whether a signal asked the run to stop, and which."""

    def __init__(self) -> None:
        self.signal: int | None = None


@contextmanager
def handlers_kept(numbers: Collection[int] = ENDING) -> Iterator[None]:
    """Whoever hears signals hears them again afterwards, but for what is not of Python and cannot be put back."""
    before = {number: who for number in numbers if (who := signal.getsignal(number)) is not None}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def heard_by(
    handler: Callable[[int, FrameType | None], None] | signal.Handlers, numbers: Collection[int]
) -> Iterator[None]:
    """Have signals heard by a handler, and afterwards by whom they were heard before."""
    with handlers_kept(numbers):
        for number in numbers:
            signal.signal(number, handler)
        yield


@contextmanager
def stoppable(stop: Callable[[], None]) -> Iterator[Stop]:
    """Call ``stop`` at the first signal; the same signal once more acts at once, but for SIGHUP.

    A terminal that closes sends that twice, itself and by its shell, and means it once. A handler that somebody else
    has installed stays: a launcher's that puts the job back into the queue, a host program's, or nohup's, which
    ignores.
    """
    asked = Stop()
    if threading.current_thread() is not threading.main_thread():  # only there can a handler be set
        yield asked
        return
    usual = {signal.SIGINT: signal.default_int_handler}
    mine = [number for number in ENDING if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)]

    def on_signal(number: int, _: FrameType | None) -> None:
        asked.signal = number
        name = signal.Signals(number).name
        signal.signal(number, signal.SIG_IGN if name == "SIGHUP" else usual.get(signal.Signals(number), signal.SIG_DFL))
        again = {"SIGINT": "Ctrl-C again", "SIGHUP": "SIGTERM twice"}.get(name, f"{name} again")
        stop()  # before the message, which may have nowhere left to go
        log.warning("stopping after this iteration; %s stops at once", again)

    with heard_by(on_signal, mine):
        yield asked
