"""One process to a run's folder."""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ppo_cli.errors import Problem, RunError
from ppo_cli.runs.files import check_regular, read_file
from ppo_cli.runs.summary import read_summary

if sys.platform != "win32":
    import fcntl

PATIENCE = 5.0  # seconds; a process that was killed may leave environments behind that take a moment to follow it

LOCKLESS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)
"""What file systems say that have no locks, as some do that come over a network."""

_OURS: set[Path] = set()
"""The name plates that this process has put up."""


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Have a run's folder to oneself.

    The operating system holds the lock and drops it with the process, however that ends. Where the file system has no
    locks, a file with the names of host and process stands for one.

    Raises:
        RunError: if another process has it.
    """
    lock = FileLock(run_dir / ".lock")
    if not _acquired(lock, run_dir):
        with _name_plate(run_dir):
            yield
        return
    try:
        yield
    finally:
        lock.release()


def is_locked(run_dir: Path) -> bool:
    """Whether a process has a run's folder to itself at this moment."""
    path = run_dir / ".lock"
    if not path.exists():
        return _is_held(run_dir)
    lock = FileLock(path)
    try:
        _try_out(path)
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # a file system without locks
        return _is_held(run_dir)
    lock.release()
    return False


def _is_held(run_dir: Path) -> bool:
    """Whether a name plate says that somebody is there, who is not known to be gone."""
    plate = run_dir.absolute() / ".lock.holder"
    holder = _holder(plate)
    return holder is not None and not _is_gone(plate, holder)


def _acquired(lock: FileLock, run_dir: Path) -> bool:
    """Whether the lock is ours now; not where the file system has none."""
    try:
        _try_out(run_dir / ".lock")
        lock.acquire(timeout=PATIENCE)
    except Timeout as error:
        raise _in_use(run_dir) from error
    except OSError as error:
        if error.errno not in LOCKLESS:
            raise _unwritable(run_dir, error) from error
        return False
    return True


def _try_out(path: Path) -> None:
    """Raise what the file system says of locks, before filelock finds a way of its own around it."""
    check_regular(path)
    if sys.platform != "win32":
        with path.open("a") as file, suppress(BlockingIOError, PermissionError):  # held, in the two ways to say it
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def _name_plate(run_dir: Path) -> Iterator[None]:
    """Have the folder by a file that says who has it; one whose process is gone from this host means nothing."""
    plate = run_dir.absolute() / ".lock.holder"
    until = time.monotonic() + PATIENCE
    try:
        while not _put_up(plate):
            if time.monotonic() > until:
                raise _held(run_dir, plate)
            time.sleep(min(0.1, PATIENCE))
    except OSError as error:
        raise _unwritable(run_dir, error) from error
    _OURS.add(plate)
    try:
        yield
    finally:
        _OURS.discard(plate)
        if _holder(plate) == _here():  # the folder may have been deleted, and be somebody else's by now
            with suppress(OSError):  # which a next run sees through
                plate.unlink()


def _put_up(plate: Path) -> bool:
    """Write who we are where nobody is, or one that is gone; whether that has worked."""
    left = _holder(plate)
    if left is not None and _is_gone(plate, left):
        plate.unlink(missing_ok=True)
    try:
        with plate.open("x", encoding="utf-8") as file:
            file.write("\n".join(_here()) + "\n")
    except FileExistsError:
        return False
    if left is not None:
        time.sleep(min(0.1, PATIENCE))  # another that has found the same may have taken ours for it
    return _holder(plate) == _here()


def _here() -> tuple[str, str]:
    return socket.gethostname(), str(os.getpid())


def _holder(plate: Path) -> tuple[str, str] | None:
    """Host and process that a plate names; ``None`` if there is none, or it says nothing yet."""
    try:
        host, pid = read_file(plate).decode("utf-8").split()
    except (OSError, ValueError):
        return None
    return host, pid


def _is_gone(plate: Path, holder: tuple[str, str]) -> bool:
    """Whether a holder has ended; of another host's, nothing is known here."""
    host, pid = holder
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    if int(pid) == os.getpid():  # that of a process before us: a container's often have the same numbers
        return plate not in _OURS
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # somebody else's
        return False
    return False


def _held(run_dir: Path, plate: Path) -> RunError:
    host, pid = _holder(plate) or ("an unknown host", "?")
    what = f"{run_dir} is in use, or was left so: {plate.name} in it names process {pid} on {host}"
    return RunError(Problem(what, f"waiting until it is done; if it is gone, deleting {plate}"), "Run in use")


def _unwritable(run_dir: Path, error: OSError) -> RunError:
    what = f"{run_dir} cannot be written: {error.strerror or error}"
    return RunError(Problem(what, "a folder that can be written, with room"))


def _in_use(run_dir: Path) -> RunError:
    holder = read_summary(run_dir) or {}
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
    problem = Problem(f"{run_dir} is in use: {who} writes there", "waiting until it is done, or stopping it")
    return RunError(problem, "Run in use")
