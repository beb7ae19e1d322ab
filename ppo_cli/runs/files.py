"""Writing files so that a crash at any instant leaves the previous one, and reading them so that nothing hangs."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk, and rename it into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Bring new names to disk too, before anything is deleted in reliance on them."""
    with suppress(OSError):  # Windows opens no folders, nor do some network file systems flush them
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_regular(path: Path) -> None:
    """See that what is there can be opened: a pipe keeps whoever opens it waiting, and a device may never end.

    Raises:
        OSError: if it is a pipe, a socket or a device.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_file(path: Path) -> bytes:
    """All that a file holds.

    Raises:
        OSError: if there is none, or it cannot be read; what is no regular file is not opened.
    """
    check_regular(path)
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """What a file of :func:`write_json` holds.

    Raises:
        OSError: as for :func:`read_file`.
        ValueError: if it is no JSON.
    """
    return json.loads(read_file(path).decode("utf-8"))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` for people and programs to read, whole or not at all."""
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
