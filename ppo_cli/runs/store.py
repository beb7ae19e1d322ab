"""A run's ``checkpoints/`` folder: which files are there, which of them a run can go on from, and which may go."""

from __future__ import annotations

import math
import os
import re
import shutil
from itertools import count
from pathlib import Path
from typing import Any

from ppo_cli.errors import CheckpointError
from ppo_cli.runs.checkpoint import load_checkpoint, save_checkpoint
from ppo_cli.runs.names import BEST_FILE, CHECKPOINTS_FOLDER, LAST_FILE, METRICS_FILE, SCHEDULED_FILES
from ppo_cli.runs.progress import read_run

_SCHEDULED = re.compile(r"step_(\d+)\.pt")


class CheckpointStore:
    """The files of one run.

    ``step_<step>.pt`` are written on schedule, and a run goes on from them; ``best.pt`` is the best evaluation's, and
    ``last.pt`` the newest of all.

    Args:
        run_dir: The run's folder.
        keep_last: How many scheduled ones to keep; ``None`` keeps all.
    """

    def __init__(self, run_dir: Path, keep_last: int | None = None) -> None:
        self.folder = run_dir / CHECKPOINTS_FOLDER
        self._keep_last = keep_last

    def save(self, name: str, agent: dict[str, Any], run: dict[str, Any]) -> Path:
        """Write ``<name>``, whole or not at all."""
        path = self.folder / name
        save_checkpoint(path, agent, run)
        return path

    def save_scheduled(self, step: int, digits: int, agent: dict[str, Any], run: dict[str, Any]) -> Path:
        """Write the checkpoint of a step, make it the last one too, and let the oldest go."""
        path = self.save(f"step_{step:0{digits}d}.pt", agent, run)
        self._link(path, self.folder / LAST_FILE)
        self.prune()
        return path

    def prune(self) -> None:
        """Delete all scheduled checkpoints but the newest that are to be kept."""
        for old in self.scheduled()[: -self._keep_last] if self._keep_last else []:
            old.unlink(missing_ok=True)

    def _link(self, path: Path, name: Path) -> None:
        """Give a file a second name; where the file system has no hard links, the file is written again."""
        temporary = name.with_name(f".{name.name}.{os.getpid()}.tmp")
        try:
            temporary.unlink(missing_ok=True)
            try:
                os.link(path, temporary)
            except OSError:
                temporary.write_bytes(path.read_bytes())
            temporary.replace(name)
        finally:
            temporary.unlink(missing_ok=True)

    def scheduled(self) -> list[Path]:
        """The files a run can go on from, oldest first."""
        found = self.folder.glob(SCHEDULED_FILES)
        return sorted((path for path in found if _SCHEDULED.fullmatch(path.name)), key=_step)

    def newest_good(self) -> tuple[Path | None, dict[str, Any] | None, list[str]]:
        """The newest scheduled checkpoint that can be read, what it holds, and why newer ones cannot."""
        passed_over: list[str] = []
        for path in reversed(self.scheduled()):
            try:
                content = load_checkpoint(path)
                read_run(content["run"])
                return path, content, passed_over
            except CheckpointError as error:
                passed_over.append(f"{path} is passed over: {error}")
        return None, None, passed_over

    def step_of_best(self) -> float | None:
        """The step ``best.pt`` was saved at; ``None`` if there is none, and beyond all others if it cannot be read."""
        path = self.folder / BEST_FILE
        return _progress_of(path) if path.is_file() else None

    def rewind_to(self, path: Path | None, changed: bool) -> None:
        """Make a scheduled checkpoint the newest: what came after it moves into ``checkpoints/replaced/<number>``.

        ``None`` stands for the beginning, which everything came after. Nothing is deleted but the drafts that a process
        left behind which was killed as it wrote; of the metrics, whose later rows are dropped, a copy is kept.

        Args:
            path: The checkpoint.
            changed: Whether settings differ from now on. If they do not, the run makes the same ``best.pt`` and
                ``last.pt`` once more, and what a stop left of them may stay until then.
        """
        for folder in (self.folder, self.folder.parent):
            for draft in folder.glob(".*.tmp"):
                draft.unlink(missing_ok=True)
        step = -1 if path is None else _step(path)
        newer = [old for old in self.scheduled() if _step(old) > step]
        if newer or changed or path is None:
            others = (self.folder / name for name in (BEST_FILE, LAST_FILE))
            newer += [old for old in others if old.is_file() and _progress_of(old) > step]
        if not newer:
            return
        replaced = self._new_folder()
        for old in newer:
            old.replace(replaced / old.name)
        metrics = self.folder.parent / METRICS_FILE
        if metrics.is_file():
            shutil.copy2(metrics, replaced)

    def _new_folder(self) -> Path:
        for number in count(1):
            folder = self.folder / "replaced" / str(number)
            if not folder.exists():
                folder.mkdir(parents=True)
                break
        return folder


def _step(path: Path) -> int:
    """The step in a scheduled checkpoint's name."""
    match = _SCHEDULED.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def _progress_of(path: Path) -> float:
    """The step a checkpoint was saved at; beyond all others if it cannot be read."""
    try:
        return read_run(load_checkpoint(path)["run"]).progress.step
    except CheckpointError:
        return math.inf
