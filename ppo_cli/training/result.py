"""What comes of a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ppo_cli.runs.checkpoint import find_checkpoint


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What came of a run.

    Attributes:
        run_dir: The run's folder.
        status: ``finished`` (budget used or ``target_return`` reached) or ``interrupted``.
        step: Environment steps taken.
        final_return: Mean return of the last evaluation; without evaluations, of the last 100 episodes.
        best_return: Mean return of the best evaluation, if there was one.
        best_step: When that was.
        signal: The signal that interrupted it.
        untouched: Whether the run had been finished before, and nothing was done.
    """

    run_dir: Path
    status: str
    step: int
    final_return: float | None
    best_return: float | None
    best_step: int | None
    signal: int | None = None
    untouched: bool = False

    @property
    def checkpoint(self) -> Path:
        """The best checkpoint, or the last where nothing was evaluated."""
        return find_checkpoint(self.run_dir)
