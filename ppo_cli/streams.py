"""Standard output and standard error that never disturb what reports on them."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer

PLAINER = {"·": "-", "–": "-", "—": "-", "→": "->", "…": "...", "×": "x", "±": "+-"}
"""What to write where an encoding has no better character."""

_GONE = (errno.EPIPE, errno.EIO, errno.EBADF)  # the reader, as in ``| head``, or the terminal: nobody is left to tell


def plainer(error: UnicodeError) -> tuple[str | bytes, int]:
    """The codecs' error handler: the nearest that the encoding has; bytes of a file's name as they are."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return character.encode("utf-8", "surrogateescape"), error.start + 1
    return PLAINER.get(character, "?"), error.start + 1


codecs.register_error("ppo_cli.plainer", plainer)


def plain(text: str, encoding: str | None) -> str:
    """A text with nothing in it that the encoding cannot say."""
    encoding = encoding or "ascii"
    return text.encode(encoding, "ppo_cli.plainer").decode(encoding, "replace")


class _Steady(io.FileIO):
    """A file that takes everything: what cannot be written is dropped, and told once on the other stream."""

    def __init__(self, handle: int) -> None:
        super().__init__(handle, "w", closefd=False)
        self._failed = False

    def write(self, data: Buffer) -> int:
        size = memoryview(data).nbytes
        try:
            written = super().write(data)
        except OSError as error:
            self._tell(error)
            return size
        return size if written is None else written  # None: the terminal is full and does not wait

    def _tell(self, error: OSError) -> None:
        if self._failed or error.errno in _GONE or self.fileno() != 1:
            return
        self._failed = True
        print(f"standard output is lost from here on: {error.strerror}", file=sys.stderr)


def steady(stream: IO[str]) -> IO[str]:
    """The stream as one that never raises, if it is a file of the operating system's; else itself."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if not isinstance(raw, io.FileIO):  # the console of Windows writes otherwise
        return stream
    stream.flush()
    errors = "ppo_cli.plainer" if stream.errors in ("strict", "surrogateescape") else stream.errors
    file = _Steady(raw.fileno())
    # Python, too, puts its streams straight onto the file where nothing is to be buffered.
    binary: Any = file if stream.write_through else io.BufferedWriter(file)
    return io.TextIOWrapper(
        binary,
        stream.encoding,
        errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def steady_streams() -> None:
    """Make this process's streams steady; one that was closed before the start leads nowhere.

    Left closed, its number would be that of the next file that is opened, and prints of a library's would go there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    sys.stdout = _replaced(sys.stdout, sys.__stdout__, 1)
    sys.stderr = _replaced(sys.stderr, sys.__stderr__, 2)


def _replaced(stream: IO[str] | None, original: IO[str] | None, number: int) -> IO[str]:
    if stream is None:
        return open(number, "w", encoding="utf-8", closefd=False)
    return steady(stream) if stream is original else stream  # what a host program has put there stays


def printable(text: str) -> str:
    """A text in one line, with what no terminal and no picture can show, and what moves a cursor, as escapes."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
