"""A run's ``checkpoints/`` folder: which files are there, which of them a run can go on from, and which may go."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

from ppo_cli.checkpoint import load_checkpoint, save_checkpoint
from ppo_cli.errors import CheckpointError

log = logging.getLogger("ppo_cli")

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
        self.folder = run_dir / "checkpoints"
        self._keep_last = keep_last

    def save(self, name: str, agent: dict[str, Any], run: dict[str, Any]) -> Path:
        """Write ``<name>``, whole or not at all."""
        path = self.folder / name
        save_checkpoint(path, agent, run)
        return path

    def save_scheduled(self, step: int, digits: int, agent: dict[str, Any], run: dict[str, Any]) -> Path:
        """Write the checkpoint of a step, make it the last one too, and let the oldest go."""
        path = self.save(f"step_{step:0{digits}d}.pt", agent, run)
        self._link(path, self.folder / "last.pt")
        for old in self.scheduled()[: -self._keep_last] if self._keep_last else []:
            old.unlink(missing_ok=True)
        return path

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
        found = {path: _SCHEDULED.fullmatch(path.name) for path in self.folder.glob("step_*.pt")}
        steps = {path: int(match[1]) for path, match in found.items() if match}
        return sorted(steps, key=lambda path: steps[path])

    def newest_good(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest scheduled checkpoint that can be read, with what it holds; ``None`` if there is none."""
        for path in reversed(self.scheduled()):
            try:
                return path, load_checkpoint(path)
            except (CheckpointError, OSError) as error:
                log.warning("%s is passed over: %s", path, error)
        return None

    def set_aside(self, path: Path | None) -> None:
        """Move what is newer than ``path`` into ``checkpoints/replaced``: the run goes on from before it."""
        scheduled = self.scheduled()
        newer = scheduled[scheduled.index(path) + 1 :] if path in scheduled else scheduled
        for old in newer:
            (self.folder / "replaced").mkdir(exist_ok=True)
            old.replace(self.folder / "replaced" / old.name)
