"""Every metric, explained once: the columns of ``metrics.csv``, TensorBoard's tags and ``docs/metrics.md``."""

from __future__ import annotations

from dataclasses import dataclass

Metrics = dict[str, float | int | None]
"""One iteration's metrics by name; ``None`` where there is nothing to report, e.g. before a first episode ends."""


@dataclass(frozen=True)
class Metric:
    """A column: its name, what it means and what a healthy run shows."""

    name: str
    meaning: str
    healthy: str


METRICS: tuple[Metric, ...] = (
    Metric("iteration", "Rollouts collected and learnt from so far.", "Counts up by one."),
    Metric(
        "step",
        "Environment steps so far, over all environments.",
        "Grows by `buffer_size` each iteration, less the steps that only began a next episode "
        "(`vector_backend=native` and `envpool` take such steps).",
    ),
    Metric(
        "rollout/episode_return_mean",
        "Mean raw return of the last 100 finished episodes; empty before the first.",
        "Rises, with dips; a long flat line means nothing is learnt.",
    ),
    Metric(
        "rollout/episode_length_mean",
        "Mean length in steps of the same episodes.",
        "Depends on the task: grows where survival is rewarded, falls where speed is.",
    ),
    Metric(
        "rollout/success_rate",
        "Share of the last 100 finished episodes whose last `info` says `is_success`; empty where none says.",
        "Rises to 1; where returns are shaped, this is what counts.",
    ),
    Metric(
        "rollout/episodes",
        "Episodes finished so far.",
        "Grows; if it stays at 0 the rollouts are shorter than an episode.",
    ),
    Metric(
        "train/policy_loss",
        "Clipped surrogate, mean over the update's minibatches.",
        "Within ±0.1, noisy around or just below 0; its size says little.",
    ),
    Metric(
        "train/value_loss",
        "Mean squared error of the value, in units of the standardised return when `normalize_value` is on.",
        "Falls early, then follows the returns; 0.05 to 0.5 when standardised.",
    ),
    Metric(
        "train/entropy",
        "Mean entropy of the policy in nats.",
        "Of choices it starts near ln(number of actions) and falls slowly; near 0 early means it stopped exploring. "
        "Of continuous actions it may be negative.",
    ),
    Metric(
        "train/approx_kl",
        "Estimate of KL(old policy, new policy): mean of (ratio − 1) − ln(ratio).",
        "0.003 to 0.03; above 0.1 the steps are too large: lower `lr` or set `target_kl`.",
    ),
    Metric(
        "train/clip_fraction",
        "Share of transitions whose ratio left the clip range.",
        "0.05 to 0.3; near 0 the step is timid, above 0.5 too bold.",
    ),
    Metric(
        "train/explained_variance",
        "1 − Var(return − value) / Var(return) over the rollout, before the update.",
        "Rises towards 1; below 0 the value is worse than a constant, which does no harm once all returns are alike.",
    ),
    Metric(
        "train/grad_norm",
        "Global norm of the gradient before clipping.",
        "Steady; growth by orders of magnitude announces divergence.",
    ),
    Metric("train/lr", "Step size used in this iteration.", "As set, or the straight line of `anneal_lr`."),
    Metric("train/clip_ratio", "Clip range used in this iteration.", "As set, or the straight line of `anneal_clip`."),
    Metric(
        "train/epochs",
        "Passes over the rollout that were made.",
        "`epochs`, or fewer where `target_kl` ended the update.",
    ),
    Metric(
        "train/skipped_updates",
        "Updates left out so far because of NaN or infinity (`on_nan=skip`).",
        "0.",
    ),
    Metric(
        "eval/episode_return_mean",
        "Mean raw return of the evaluation after this iteration; empty without one.",
        "At or above the rollout's, since it takes the most probable action.",
    ),
    Metric("eval/episode_return_std", "Standard deviation of those returns.", "Shrinks as the task is solved."),
    Metric(
        "eval/episode_length_mean", "Mean length of the evaluation's episodes.", "As `rollout/episode_length_mean`."
    ),
    Metric(
        "eval/success_rate",
        "Share of the evaluation's episodes that say they were solved; empty where none says.",
        "As `rollout/success_rate`.",
    ),
    Metric(
        "time/steps_per_second",
        "Environment steps of this iteration per second of collecting and updating.",
        "Steady; a fall means the machine is shared or episodes got dearer.",
    ),
    Metric("time/elapsed", "Seconds since the run began.", "Grows."),
    Metric("time/collect", "Seconds this iteration spent collecting.", "The environment's share."),
    Metric("time/update", "Seconds this iteration spent updating.", "Usually the largest for small networks."),
    Metric(
        "time/evaluate",
        "Seconds this iteration spent evaluating; 0 without an evaluation.",
        "A few per cent of the run; raise `eval_every` if more.",
    ),
)

COLUMNS: tuple[str, ...] = tuple(metric.name for metric in METRICS)
