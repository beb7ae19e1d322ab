"""How far a run has come, as its checkpoints keep it."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from ppo_cli.config import type_hints
from ppo_cli.errors import CheckpointError, Problem
from ppo_cli.validation import fits_type


@dataclass
class Progress:
    """Counts and scores so far."""

    iteration: int = 0
    step: int = 0
    episodes: int = 0
    best_return: float | None = None
    best_training_return: float | None = None
    best_step: int | None = None
    final_return: float | None = None
    skipped_updates: int = 0
    skipped_in_a_row: int = 0

    def take(self, mean: float, training: float | None) -> bool:
        """Take an evaluation into account; returns whether it is the best so far.

        Of equal evaluations it is the one whose training went better, for a few episodes do not show every weakness.

        Args:
            mean: Mean return of its episodes.
            training: Mean return of training's last ones.
        """
        self.final_return = mean
        if _rank(mean, training) < _rank(self.best_return, self.best_training_return):
            return False
        self.best_return, self.best_training_return, self.best_step = mean, training, self.step
        return True


def success_rate(successes: Collection[bool]) -> float | None:
    """Share of episodes that solved their task, of those that say; ``None`` where none does."""
    return sum(successes) / len(successes) if successes else None


def _rank(*returns: float | None) -> tuple[float, ...]:
    return tuple(-math.inf if value is None else value for value in returns)


@dataclass(frozen=True)
class Evaluation:
    """One evaluation during training, with what repeats it."""

    seed: int
    deterministic: bool
    returns: list[float]
    lengths: list[int]
    successes: list[bool] = field(default_factory=list)  # of the episodes that say so

    @property
    def mean(self) -> float:
        """Mean return."""
        return sum(self.returns) / len(self.returns)


@dataclass(frozen=True)
class LastEpisodes:
    """What a checkpoint holds of episodes: how many were finished, and what the last of them came to."""

    finished: int
    returns: list[float]
    lengths: list[int]
    successes: list[bool] = field(default_factory=list)
    longest: int = field(default_factory=int)  # steps of the longest of all that were finished


@dataclass(frozen=True)
class RunState:
    """What a checkpoint holds of its run beside the configuration."""

    progress: Progress
    evaluation: Evaluation | None
    episodes: LastEpisodes


def read_run(run: Any) -> RunState:
    """The state of the run that a checkpoint belongs to.

    Raises:
        CheckpointError: if it is not as :class:`RunState` has it.
    """
    run = run if isinstance(run, dict) else {}
    evaluation = run.get("evaluation")
    return RunState(
        _read(Progress, run.get("progress"), "progress"),
        None if evaluation is None else _read(Evaluation, evaluation, "evaluation"),
        _read(LastEpisodes, run.get("episodes"), "episodes"),
    )


def _read(kind: Any, plain: Any, name: str) -> Any:
    names = [item.name for item in fields(kind)]
    hints = type_hints(kind)
    later = {item.name for item in fields(kind) if item.default_factory is not MISSING}  # than the first checkpoints
    if not isinstance(plain, dict) or not set(names) - later <= set(plain) <= set(names):
        raise CheckpointError(Problem(f"the checkpoint's {name} should hold {', '.join(names)}", "another checkpoint"))
    for key, value in plain.items():
        if not fits_type(value, hints[key]):
            what = f"the checkpoint's {name} has {key}={str(value)[:100]}, which is of another type"
            raise CheckpointError(Problem(what, "another checkpoint"))
    return kind(**plain)
