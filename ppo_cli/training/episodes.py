"""Statistics of training's episodes: returns and lengths of those that are over, sums of those that are not."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from ppo_cli.envs.vector import Transition
from ppo_cli.runs.progress import Evaluation, LastEpisodes, success_rate

log = logging.getLogger("ppo_cli")

WINDOW = 100  # episodes that the running means of return and length look back on


class EpisodeStatistics:
    """What the last episodes came to, in the environment's raw rewards.

    Args:
        num_envs: Environments that step side by side.

    Attributes:
        finished: Episodes that are over.
        longest: Steps of the longest of these.
    """

    def __init__(self, num_envs: int) -> None:
        self.finished = self.longest = 0
        self._returns: deque[float] = deque(maxlen=WINDOW)
        self._lengths: deque[int] = deque(maxlen=WINDOW)
        self._successes: deque[bool] = deque(maxlen=WINDOW)
        self._running_return = np.zeros(num_envs)
        self._steps, self._began = 0, np.zeros(num_envs, np.int64)  # a length is the steps since the one it began at

    def count(self, result: Transition) -> int:
        """Take one vector step into account; returns how many of its steps are real.

        A step that is no transition has no reward and no length.
        """
        self._running_return += result.rewards
        self._steps += 1
        if result.valid is not None:
            self._began += ~result.valid
        ended = result.ended
        if ended is not None:
            returns = self._running_return[ended]
            self._returns.extend(returns[np.isfinite(returns)].tolist())
            lengths = (self._steps - self._began[ended]).tolist()
            self._lengths.extend(lengths)
            self.longest = max(self.longest, *lengths)
            self._successes.extend(result.successes.values())
            self.finished += int(ended.sum())
            self._running_return[ended] = 0.0
            self._began[ended] = self._steps
        return len(self._running_return) if result.valid is None else int(result.valid.sum())

    def begin(self) -> None:
        """Every environment begins an episode; those in progress are cut and enter nothing."""
        self._running_return[:] = 0.0
        self._began[:] = self._steps

    @property
    def unfinished(self) -> int:
        """Episodes in progress that have taken a step."""
        return int(np.count_nonzero(self._steps - self._began))

    @property
    def longest_unfinished(self) -> int:
        """Steps that the longest of those has taken."""
        return self._steps - int(self._began.min())

    @property
    def returns(self) -> list[float]:
        """Returns of the last episodes."""
        return list(self._returns)

    @property
    def success_rate(self) -> float | None:
        """Share of the last episodes that solved their task; ``None`` where none says."""
        return success_rate(self._successes)

    @property
    def mean_return(self) -> float | None:
        """Mean return of the last episodes; ``None`` before the first has ended."""
        return float(np.mean(self._returns)) if self._returns else None

    @property
    def mean_length(self) -> float | None:
        """Mean length of the last episodes in steps, likewise."""
        return float(np.mean(self._lengths)) if self._lengths else None

    def state_dict(self) -> LastEpisodes:
        """What a checkpoint keeps; episodes in progress are cut there."""
        lists = (list(self._returns), list(self._lengths), list(self._successes))
        return LastEpisodes(self.finished, *lists, longest=self.longest)

    def load_state_dict(self, state: LastEpisodes) -> None:
        """Take :meth:`state_dict` over."""
        self.finished, self.longest = (
            state.finished,
            max(state.longest, *state.lengths, 0),
        )  # older ones have no longest
        self._returns.extend(state.returns)
        self._lengths.extend(state.lengths)
        self._successes.extend(state.successes)


def tell_of_gap(evaluation: Evaluation, returns: Sequence[float]) -> bool:
    """Say so where the most probable actions do far worse than those that training draws.

    Args:
        evaluation: What the policy came to.
        returns: Of training's last episodes.
    """
    told = evaluation.deterministic and far_below(evaluation.returns, returns)
    if told:
        line = "the evaluation's mean return of %g lies far below the %g of training, whose actions are drawn; "
        line += "eval_deterministic=false draws them in evaluations too"
        log.warning(line, evaluation.mean, np.mean(returns))
    return told


def far_below(ones: Sequence[float], others: Sequence[float]) -> bool:
    """Whether the mean of some returns lies far below that of others: by 20 % of it, and by three standard errors."""
    if len(ones) < 2 or len(others) < 2:
        return False
    gap = float(np.mean(others)) - float(np.mean(ones))
    error = math.sqrt(np.var(ones, ddof=1) / len(ones) + np.var(others, ddof=1) / len(others))
    return gap > 0.2 * abs(float(np.mean(others))) and gap > 3.0 * error
