"""The signals that end a run early: Ctrl-C, and those that schedulers announce the end of a job with."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger("ppo_cli")

# Slurm sends SIGTERM, and what --signal asks for; submitit asks for one of the other two. Windows has the first two.
ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)]


class Stop:
    """Whether a signal asked the run to stop, and which."""

    def __init__(self) -> None:
        self.signal: int | None = None


@contextmanager
def stoppable(stop: Callable[[], None]) -> Iterator[Stop]:
    """Call ``stop`` at the first signal; the same signal once more acts at once.

    A handler that somebody else has installed stays: a launcher's that puts the job back into the queue, or a host
    program's.
    """
    asked = Stop()
    if threading.current_thread() is not threading.main_thread():  # only there can a handler be set
        yield asked
        return
    usual = {signal.SIGINT: signal.default_int_handler}
    previous = {}

    def on_signal(number: int, _: FrameType | None) -> None:
        asked.signal = number
        signal.signal(number, usual.get(signal.Signals(number), signal.SIG_DFL))
        again = "Ctrl-C again" if number == signal.SIGINT else f"{signal.Signals(number).name} again"
        log.warning("stopping after this iteration; %s stops at once", again)
        stop()

    for number in ENDING:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            previous[number] = signal.signal(number, on_signal)
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
