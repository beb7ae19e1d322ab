"""Where the process stands, which environments may change only as long as they are there, and where ``conf/`` is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STOOD: list[Path] = []
"""The current folders that are kept, the outermost first."""


@contextmanager
def kept_folder() -> Iterator[None]:
    """Whatever changes the current folder inside the block, it is afterwards what it was.

    A simulator that works in a folder of its own may go there when it is built, and never come back.
    """
    here = Path.cwd()
    _STOOD.append(here)
    try:
        yield
    finally:
        _STOOD.pop()
        os.chdir(here)


def conf_dir() -> Path:
    """The packaged ``conf/``: inside the package once installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    return next(folder for folder in (package / "conf", package.parent / "conf") if (folder / "train.yaml").is_file())


def is_file(path: Path) -> bool:
    """Whether there is such a file."""
    return is_there(path) and path.is_file()


def is_there(path: Path) -> bool:
    """Whether there is anything of that name; nothing has one that the operating system refuses."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def preset_path(name: str) -> Path | None:
    """The path that the name of a preset is; ``None`` where it is a name within ``conf/preset/``."""
    return Path(name) if name.endswith(".yaml") or name.startswith(("/", "./", "../")) else None


def shown(path: Path) -> Path:
    """A path as short as a person would type it, from where the process stood before it built any environment."""
    try:
        start = _STOOD[0] if _STOOD else Path.cwd()
    except OSError:  # there is no current folder
        return path
    return path.relative_to(start) if path.is_relative_to(start) else path
