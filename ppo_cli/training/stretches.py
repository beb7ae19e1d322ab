"""Stretches of a run: when the checkpoint that ends one is due, and what is said where that cuts too much."""

from __future__ import annotations

import logging

from ppo_cli.config import TrainConfig
from ppo_cli.envs.inspect import longest_episode
from ppo_cli.runs.progress import Progress
from ppo_cli.training.episodes import EpisodeStatistics
from ppo_cli.training.play import MOST_STEPS

log = logging.getLogger("ppo_cli")

STRETCH = 10  # longest episodes of each environment that should fit between two scheduled checkpoints, or more
CHECKPOINT_EVERY = 100_000
PATIENCE = 20  # times that, or MOST_STEPS of each environment: as long episodes that do not end put a checkpoint off


def shortest_stretch(config: TrainConfig) -> int:
    """Steps between checkpoints below which their cuts are felt; 0 where no limit of episodes is known."""
    return STRETCH * (longest_episode(config.env) or 0) * config.num_envs


def warn_of_short_stretches(config: TrainConfig, total_timesteps: int) -> None:
    """Say so where checkpoints lie so close together that their cuts are felt."""
    every, least = config.checkpoint_every, shortest_stretch(config)
    if isinstance(every, int) and every < min(least, total_timesteps):
        log.warning(
            "checkpoint_every=%d leaves each environment less than %d of its longest episodes between two checkpoints, "
            "which cut them: their late parts are seen less often; checkpoint_every=%d would not disturb learning",
            every,
            STRETCH,
            least,
        )


class Stretch:
    """The stretch in progress, which begins where a run begins, goes on, or has saved a scheduled checkpoint.

    All that it follows from is in the checkpoint before it, or counted since: a run that was stopped and resumed takes
    the same stretches as one that was not.

    Args:
        config: The run's.
        progress: How far the run has come.
        statistics: Of its episodes.
    """

    def __init__(self, config: TrainConfig, progress: Progress, statistics: EpisodeStatistics) -> None:
        self._config, self._progress, self._statistics = config, progress, statistics
        self._may_cut_too_much = longest_episode(config.env) is None  # or that was said, or seen to, before
        self._begin()

    def _begin(self) -> None:
        self._began, self._finished = self._progress.step, self._statistics.finished

    def is_long_enough(self) -> bool:
        """Whether a cut would not be felt, as far as the episodes seen tell, or has waited long enough for an end."""
        num_envs, of_each = self._config.num_envs, STRETCH * self._config.num_envs
        most = max(PATIENCE * CHECKPOINT_EVERY, MOST_STEPS * num_envs)
        unfinished = min(of_each * self._statistics.longest_unfinished, most)
        least = max(CHECKPOINT_EVERY, of_each * self._statistics.longest, unfinished)
        return self._progress.step - self._began >= least

    def cut(self) -> None:
        """The next one begins, with episodes anew; say so, once, where that cuts more than have ended."""
        cut, finished = self._statistics.unfinished, self._statistics.finished - self._finished
        if self._may_cut_too_much and cut > finished:
            self._may_cut_too_much = False
            waits = self._config.checkpoint_every == "auto"
            log.warning(
                "the checkpoint of step %d cuts %d episodes in progress, and %d ended since the one before: late parts "
                "of episodes are seen less often, or never; %s",
                self._progress.step,
                cut,
                finished,
                "env.max_episode_steps=1000 ends them" if waits else "checkpoint_every=auto waits for their ends",
            )
        self._begin()
