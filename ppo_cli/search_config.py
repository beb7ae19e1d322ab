"""The settings of a search: how settings are looked for, and nothing of what they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ppo_cli.errors import Problem
from ppo_cli.setting import setting
from ppo_cli.validation import wrong_values

METRICS = ("final", "best", "area", "steps", "time")
"""What a trial can go by: the end of a curve, its best value, the area under it, or how soon it reaches a value."""
MINIMIZED = ("steps", "time")


@dataclass
class SearchConfig:
    """How a search looks for settings."""

    name: str | None = setting(None, "what proposes settings; null is no search", choices=("optuna",))
    trials: int = setting(40, "settings to try", ge=1)
    seeds: int = setting(3, "runs of each, one after another; their mean counts", ge=1, le=1000)
    metric: str = setting(
        "final", "what counts: the last tenth of the evaluations, the best, the area, steps or time", choices=METRICS
    )
    threshold: float | None = setting(None, "return whose first time counts with metric=steps or time")
    sampler: str = setting("tpe", "how settings are proposed", choices=("tpe", "random", "gp", "cma"))
    pruner: str = setting("median", "which trials are given up early", choices=("median", "none"))
    startup: int = setting(5, "trials that come to their end before any is given up", ge=1)
    warmup: float = setting(0.2, "share of a run before which none is given up", ge=0, le=1)
    top: int = setting(5, "trials that are run again on fresh seeds", ge=1)
    fresh_seeds: int = setting(5, "fresh seeds, by which the winner is found", ge=1)
    preset: bool = setting(
        True, "the environment's preset is trial 0 and sets what is not searched; false leaves it out"
    )
    seed: int = setting(0, "of the proposals", ge=0)

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Whether more of the metric is better, as Optuna says it."""
        return "minimize" if self.metric in MINIMIZED else "maximize"


GROWING = ("trials", "top", "fresh_seeds")
"""What a search that goes on can be told anew."""
KEYS = ("search", "search_space")
"""The groups at the root of the command line that are about a search, and in no run's settings."""


def is_about_search(word: str) -> bool:
    """Whether a word of the command line is about a search as a whole."""
    key = word.lstrip("+~").partition("=")[0]
    return key in KEYS or key.startswith(tuple(f"{name}." for name in KEYS))


def wrong_search(search: SearchConfig) -> list[Problem]:
    """What is wrong with the settings of a search."""
    problems = [Problem(f"search.{one.what}", f"search.{one.fix}") for one in wrong_values(search)]
    if search.metric in MINIMIZED and search.threshold is None:
        what = f"search.metric={search.metric} is how soon a run reaches a return, and none is said"
        problems.append(Problem(what, "search.threshold=<a return>"))
    if search.metric not in MINIMIZED and search.threshold is not None:
        what = f"search.threshold={search.threshold:g} has no effect with search.metric={search.metric}"
        problems.append(Problem(what, "search.metric=steps, or the same without search.threshold="))
    return problems
