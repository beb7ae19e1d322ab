"""A job's process: a group of its own, its output in a file, and an ear for whoever started it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from ppo_cli import cores
from ppo_cli.signals import ENDING

OUTPUT_FILE = "output.log"


@dataclass(frozen=True)
class Order:
    """What a process is to do.

    Attributes:
        folder: The job's folder.
        named: Keys of the settings whose modules were named.
        command: The command line, for the record.
        cores: How many processor cores it may count on; ``None`` for all.
        gpu: The GPU that it is to see, as ``CUDA_VISIBLE_DEVICES`` names it; ``None`` for all.
        deaf: Whether signals that reach it are for whoever started it, as a cluster sends them to all processes.
    """

    folder: Path
    named: tuple[str, ...]
    command: str
    cores: int | None
    gpu: str | None
    deaf: bool = False


def main(order: Order, parent: Connection) -> None:
    """Do it, and end with its exit status.

    Args:
        order: What to do.
        parent: Ends, or brings something, when the job is to stop: also when whoever started it is gone.
    """
    if hasattr(os, "setsid"):
        os.setsid()  # what the terminal sends is for the parent; and all that the job starts can be ended with it
    told_by = signal.SIGHUP if order.deaf else signal.SIGTERM
    for number in ENDING:  # the parent has them ignored while it starts processes
        if order.deaf and number != told_by:
            signal.signal(number, signal.SIG_IGN)
        else:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)  # which Ray has blocked
    _redirect(order.folder / OUTPUT_FILE)
    if order.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = order.gpu  # read when a GPU is first used
    if order.cores is not None:
        cores.take_share(order.cores)
    threading.Thread(target=_listen, args=(parent, partial(_stop_main_thread, told_by)), daemon=True).start()
    from ppo_cli.sweep.job import run_or_resume

    sys.exit(run_or_resume(order.folder, order.named, order.command))


def _redirect(path: Path) -> None:
    """Let all that the process prints go to a file, with what it starts and what is not Python."""
    sys.stdout.flush()
    sys.stderr.flush()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115


def _listen(parent: Connection, stop: Callable[[], None]) -> None:
    with suppress(EOFError, OSError):
        parent.recv_bytes()
    stop()


def _stop_main_thread(number: int) -> None:
    """As that signal does, which the main thread is to hear whatever it waits for."""
    main_thread = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main_thread is not None:
        signal.pthread_kill(main_thread, number)
    else:
        signal.raise_signal(number)
