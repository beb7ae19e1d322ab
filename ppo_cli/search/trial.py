"""A trial: settings that are tried, the runs it is made of, and what it came to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from ppo_cli.search.study import REASON, SETTINGS
from ppo_cli.sweep.view import FAILED, FINISHED, PRUNED, RUNNING
from ppo_cli.sweep.watch import Watched

NEVER = "never"


@dataclass
class Trial:
    """Settings that are tried.

    Attributes:
        number: Its number.
        settings: What it runs with, by dotted key.
        preset: Whether these are the environment's preset's.
        state: ``running``, ``finished``, ``pruned`` or ``failed``.
        value: What it is worth, once it is finished.
        reason: Why it was given up or failed.
        runs: Its runs so far, one a seed.
        scores: What those that are finished are worth.
        fresh: Its runs on fresh seeds.
        fresh_scores: What those that are finished are worth, by seed.
    """

    number: int
    settings: dict[str, Any]
    preset: bool = False
    state: str = RUNNING
    value: float | None = None
    reason: str | None = None
    runs: list[Watched] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    fresh: list[Watched] = field(default_factory=list)
    fresh_scores: dict[int, float] = field(default_factory=dict)


def known(frozen: Any, with_preset: bool) -> Trial:
    """A trial that the study knows."""
    states = {"COMPLETE": FINISHED, "PRUNED": PRUNED, "FAIL": FAILED}
    trial = Trial(frozen.number, dict(frozen.user_attrs[SETTINGS]), with_preset and not frozen.number)
    trial.state = states.get(frozen.state.name, RUNNING)
    trial.value = frozen.value if trial.state == FINISHED else None
    trial.reason = frozen.user_attrs.get(REASON)
    return trial


def told(value: float | None) -> float | str | None:
    """What something is worth, as a file has it: JSON knows no infinity, which is a threshold that was not reached."""
    return NEVER if value == math.inf else value


def as_plain(trial: Trial) -> dict[str, Any]:
    """As ``search.json`` has it."""
    views = [run.view for run in trial.runs]
    return {
        "number": trial.number,
        "state": trial.state,
        "value": told(trial.value),
        "preset": trial.preset,
        "settings": trial.settings,
        "reason": trial.reason,
        "folders": [run.job.folder.name for run in trial.runs],
        "scores": [told(one) for one in trial.scores],
        "steps": sum(view.step for view in views),
        "seconds": sum(view.elapsed for view in views),
    }


@dataclass(frozen=True)
class Finalist:
    """A trial that ran again on fresh seeds.

    Attributes:
        trial: The trial.
        scores: What each of those runs is worth, by its seed; ``None`` for one that is not finished.
    """

    trial: Trial
    scores: dict[int, float | None]

    @property
    def held(self) -> float | None:
        """Their mean; ``None`` where there is none."""
        known = [one for one in self.scores.values() if one is not None]
        return fmean(known) if known else None

    @property
    def whole(self) -> bool:
        """Whether all of those runs are finished."""
        return bool(self.scores) and None not in self.scores.values()

    @property
    def can_win(self) -> bool:
        """Whether it is whole, and not for ever on the way to a threshold."""
        return self.whole and self.held is not None and math.isfinite(self.held)

    def to_plain(self) -> dict[str, Any]:
        """As ``search.json`` has it."""
        return {
            "trial": self.trial.number,
            "believed": told(self.trial.value),
            "held": told(self.held),
            "seeds": list(self.scores),
            "scores": [told(one) for one in self.scores.values()],
            "folders": [run.job.folder.name for run in self.trial.fresh if run.job.config.seed in self.scores],
        }
