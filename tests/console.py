"""Running the console scripts as a person would, in a folder of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPTS = Path(sys.executable).parent
FRAME_TOP, FRAME_BOTTOM = "╭", "╰"


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """The framed message without its frame, on one line."""
        return " ".join(word for word in self.err.split() if word != "│")


Train = Callable[..., Answer]
"""Runs ``ppo-train`` with the words that it is called with."""


def environment() -> dict[str, str]:
    """An environment in which the output does not depend on whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "HYDRA_FULL_ERROR")}
    return kept | {"PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}


def command(*words: str) -> list[str]:
    """The full path of a console script, and its arguments."""
    return [str(SCRIPTS / words[0]), *words[1:]]


def run(folder: Path, *words: str) -> Answer:
    """Run a console script in ``folder``."""
    done = subprocess.run(
        command(*words), cwd=folder, env=environment(), capture_output=True, encoding="utf-8", timeout=240, check=False
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def run_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], main: Callable[[], None], *words: object
) -> Answer:
    """Run a command in this process by its ``main``; ``words`` begin with its name."""
    monkeypatch.setattr(sys, "argv", [*map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return Answer(ended.value.code, *capsys.readouterr())


def files_in(folder: Path) -> set[Path]:
    """Everything below a folder."""
    return set(folder.rglob("*"))
