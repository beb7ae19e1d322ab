"""One iteration's metrics, put together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ppo_cli.agent.learner import Learner, UpdateResult
from ppo_cli.loggers.metrics import Metrics
from ppo_cli.runs.progress import Evaluation, Progress, success_rate
from ppo_cli.training.episodes import EpisodeStatistics


def make_row(
    columns: Sequence[str],
    progress: Progress,
    learner: Learner,
    statistics: EpisodeStatistics,
    update: UpdateResult | None,
    evaluation: Evaluation | None,
) -> Metrics:
    """A row with every one of ``columns``, but no times yet; what there is nothing to report of is ``None``."""
    row: Metrics = dict.fromkeys(columns)
    row |= {"iteration": progress.iteration, "step": progress.step, "rollout/episodes": progress.episodes}
    row["rollout/episode_return_mean"] = statistics.mean_return
    row["rollout/episode_length_mean"] = statistics.mean_length
    row["rollout/success_rate"] = statistics.success_rate
    if update is not None:
        row |= {f"train/{name}": value for name, value in update._asdict().items()}
    row["train/skipped_updates"] = progress.skipped_updates
    row |= {"train/lr": learner.lr, "train/clip_ratio": learner.clip_ratio}
    if evaluation is not None:
        row["eval/episode_return_mean"] = evaluation.mean
        row["eval/episode_return_std"] = float(np.std(evaluation.returns))
        row["eval/episode_length_mean"] = float(np.mean(evaluation.lengths))
        row["eval/success_rate"] = success_rate(evaluation.successes)
    return row
