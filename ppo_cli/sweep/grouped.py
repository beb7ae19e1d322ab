"""What the jobs of a sweep say together: one group for all seeds of the same settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ppo_cli.sweep.view import FINISHED, JobView

SEED = "seed"


@dataclass(frozen=True)
class Group:
    """Jobs that differ in nothing but their seed.

    Attributes:
        settings: What all of them have and other groups have not, by setting.
        jobs: The jobs, by number.
        returns: The final returns of those that finished and have one.
    """

    settings: Mapping[str, Any]
    jobs: tuple[JobView, ...]
    returns: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """The mean of the final returns; ``None`` without any."""
        return sum(self.returns) / len(self.returns) if self.returns else None

    @property
    def std(self) -> float | None:
        """The standard deviation of the final returns, as estimated with n − 1; ``None`` for fewer than two."""
        if self.mean is None or len(self.returns) < 2:
            return None
        # A power would raise OverflowError where a product is infinite.
        squares = sum((value - self.mean) * (value - self.mean) for value in self.returns)
        return math.sqrt(squares / (len(self.returns) - 1))

    @property
    def best(self) -> JobView | None:
        """The job with the best evaluation; ``None`` if none was evaluated."""
        known = [job for job in self.jobs if job.best_return is not None and math.isfinite(job.best_return)]
        return max(known, key=lambda job: job.best_return or 0.0, default=None)


def group_over_seeds(views: Sequence[JobView]) -> list[Group]:
    """The groups by all that is swept but the seed, the best mean first and those without one last."""
    found: dict[tuple[tuple[str, str], ...], list[JobView]] = {}
    for view in sorted(views, key=lambda view: view.number):
        # 1, 1.0 and true are one another's equals, yet not the same setting.
        same = tuple(sorted((key, repr(value)) for key, value in view.swept.items() if key != SEED))
        found.setdefault(same, []).append(view)
    return sorted(map(_group, found.values()), key=_rank)


def _group(jobs: list[JobView]) -> Group:
    settings = {key: value for key, value in jobs[0].swept.items() if key != SEED}
    returns = tuple(job.final_return for job in jobs if job.state == FINISHED and job.final_return is not None)
    return Group(settings, tuple(jobs), returns)


def _rank(group: Group) -> tuple[bool, float, int]:
    mean = group.mean
    unknown = mean is None or math.isnan(mean)
    return unknown, 0.0 if unknown else -(mean or 0.0), group.jobs[0].number


def best_job(views: Sequence[JobView]) -> JobView | None:
    """The job with the best evaluation of the whole sweep; ``None`` if none was evaluated."""
    return Group({}, tuple(views), ()).best
