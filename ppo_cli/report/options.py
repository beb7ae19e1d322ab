"""What ``ppo-report`` and ``ppo-runs`` can be told: every key with its default, its meaning and its range."""

from __future__ import annotations

from dataclasses import dataclass

from ppo_cli.setting import setting

EVAL_METRIC, TRAINING_METRIC = "eval/episode_return_mean", "rollout/episode_return_mean"
SCORES = ("final", "area")
DIFFERENCES = ("env", "evaluation", "budget")
"""What makes runs incomparable."""
STATES = ("finished", "failed", "interrupted", "pruned", "running", "waiting", "broken")


@dataclass
class ReportConfig:
    """One report."""

    by: list[str] = setting([], "settings that make groups; empty: all that differ but the seed", empty=True)
    metric: str = setting("auto", f"column of metrics.csv; auto: {EVAL_METRIC}, else {TRAINING_METRIC}")
    score: str = setting("final", "what is compared: the end of the curve, or the area under it", choices=SCORES)
    last: float = setting(
        0.1, "share of a run, at its end, whose values are averaged for final; 0: the last", ge=0, le=1
    )
    env: str | None = setting(None, "environment of other programs' runs that do not say theirs")
    threshold: float | None = setting(None, "value of the metric whose first time is told; null is none")
    against: list[str] = setting([], "runs to compare those named first with, e.g. 'old/*'", empty=True)
    fail_if: str | None = setting(None, "worse: exit status 3 if the new runs are, by the test", choices=("worse",))
    margin: float = setting(0.0, "how much worse they may be", ge=0)
    anyway: list[str] = setting([], "differences to compare in spite of", choices=DIFFERENCES, empty=True)
    level: float = setting(0.95, "of all intervals; a difference counts where p is at most 1 - level", ge=0.5, le=0.999)
    output: str | None = setting("report", "folder that the files are written into; null writes none")

    @property
    def alpha(self) -> float:
        """What a p-value must not exceed; rounded, so that 0.1 is 0.1."""
        return round(1 - self.level, 12)


@dataclass
class RunsConfig:
    """One list of runs."""

    env: str | None = setting(None, "only runs of this environment")
    state: str | None = setting(None, "only runs in this state", choices=STATES)
    since: str | None = setting(None, "only runs that began since: 2026-01-31, 7d, 12h")
    jobs: bool = setting(False, "a row for each job of a sweep (false: one for a sweep that is not named itself)")
    limit: int | None = setting(50, "most rows, the newest; null is all", ge=1)
    yes: bool = setting(False, "delete without asking")
