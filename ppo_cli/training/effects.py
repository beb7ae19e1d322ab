"""Settings that have no effect in a run, or hardly one, and a line that says so."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ppo_cli.config import TrainConfig, show, walk
from ppo_cli.spec import ActionPart, Spec
from ppo_cli.trackers import MlflowConfig, WandbConfig
from ppo_cli.training.auto import count_updates
from ppo_cli.training.plan import Plan

log = logging.getLogger("ppo_cli")

FAR = 10.0  # times that the deviation of the first actions may differ from half the range between their bounds
OUTSIDE = 3.0  # deviations that the first actions' mean may lie outside of the bounds
UNBOUNDED = 1e30  # some write the greatest number of a type where they mean no bound


class Effect(NamedTuple):
    """Settings, when they have an effect, and what to say where they have none."""

    keys: tuple[str, ...]
    works: Callable[[TrainConfig, Spec], bool]
    without: str


def _is_continuous(_: TrainConfig, spec: Spec) -> bool:
    return any(part.kind == "continuous" for part in spec.actions)


def _draws_by(*distributions: str) -> Callable[[TrainConfig, Spec], bool]:
    """Whether there is nothing else to say: continuous actions are drawn by one of these, or there are none."""
    return lambda config, spec: not _is_continuous(config, spec) or config.continuous.distribution in distributions


EFFECTS = (
    Effect(
        ("normalize_obs",),
        lambda _, spec: any(part.measured for part in spec.observations),
        "no part of the observation is standardised: they are pictures, categories, masks or bits",
    ),
    Effect(
        (
            "continuous.distribution",
            "continuous.state_dependent_std",
            "continuous.initial_log_std",
            "continuous.min_log_std",
            "continuous.max_log_std",
            "continuous.resample_every",
        ),
        _is_continuous,
        "no action is continuous here",
    ),
    Effect(("continuous.resample_every",), _draws_by("gsde"), "only continuous=gsde draws functions that last"),
    Effect(
        ("continuous.state_dependent_std",),
        _draws_by("gaussian", "squashed"),
        "only continuous=gaussian and squashed can read the deviation from the state",
    ),
    Effect(
        ("continuous.initial_log_std", "continuous.min_log_std", "continuous.max_log_std"),
        _draws_by("gaussian", "squashed", "gsde"),
        "continuous=beta has no deviation of its own",
    ),
    Effect(
        ("network.recurrent_size", "network.sequence_length"),
        lambda config, _: config.network.recurrent is not None,
        "there is no recurrent layer without network.recurrent=lstm or gru",
    ),
    Effect(
        ("network.encoder",),
        lambda config, _: config.network.module is None,
        "network.module reads the observation",
    ),
    Effect(
        ("env.start_timeout",),
        lambda config, _: config.vector_backend == "async",
        "environments are built in processes only with vector_backend=async",
    ),
    Effect(
        ("keep_last",),
        lambda config, _: config.checkpoint_every is not None,
        "with checkpoint_every=null there are no checkpoints to resume from",
    ),
    Effect(
        ("keep_best", "eval_episodes"),
        lambda config, _: config.eval_every is not None,
        "with eval_every=null nothing is evaluated",
    ),
    Effect(
        tuple(key for key, _, _ in walk(WandbConfig(), "wandb.")),
        lambda config, _: "wandb" in config.logger,
        "logger= does not name wandb",
    ),
    Effect(
        tuple(key for key, _, _ in walk(MlflowConfig(), "mlflow.")),
        lambda config, _: "mlflow" in config.logger,
        "logger= does not name mlflow",
    ),
)
"""What is said of each setting where it does nothing; of several lines for one setting, the first that applies."""


def warn_of_no_effect(plan: Plan, changed: set[str] | None = None) -> None:
    """Say so of settings that someone set to no effect: those that differ from their defaults and from the preset.

    Args:
        plan: The run's.
        changed: In a run that goes on, the settings that are other ones from now on: of the rest it was said before.
    """
    usual = {key: value for key, value, _ in walk(TrainConfig())}
    values = {key: value for key, value, _ in walk(plan.config)}
    asked = {key for key, value in values.items() if value != usual[key] and key not in plan.from_preset}
    asked &= asked if changed is None else changed
    for effect in EFFECTS:
        idle = [key for key in effect.keys if key in asked] if not effect.works(plan.config, plan.spec) else []
        asked.difference_update(idle)
        if idle:
            typed = ", ".join(f"{key}={show(values[key])}" for key in idle)
            log.warning("%s: no effect, for %s", typed, effect.without)
    for line in () if changed is not None else (*_short_sequences(plan.config), *_far_bounds(plan.config, plan.spec)):
        log.warning("%s", line)


def _short_sequences(config: TrainConfig) -> Iterator[str]:
    """Whether a recurrent layer learns nothing of what came before, because of a batch size that few numbers divide."""
    if config.network.recurrent is None or config.network.sequence_length is not None:
        return
    _, length = count_updates(config)
    if length == 1 < config.buffer_size // config.num_envs:
        yield (
            f"batch_size={config.batch_size} leaves sequences of 1 step, so that no gradient flows back through time: "
            "it takes a multiple of a length up to 32 that fits into a rollout, such as 64 of 32"
        )


def _far_bounds(config: TrainConfig, spec: Spec) -> Iterator[str]:
    """Whether normal distributions begin far from where the bounds of the actions are."""
    deviation = _first_deviation(config)
    if deviation is None:
        return
    far = next((bounds for part in spec.actions for bounds in _bounds(part) if _is_far(*bounds, deviation)), None)
    if far is not None:
        about, fits = "", ""
        if config.continuous.distribution == "gsde":
            start = config.continuous.initial_log_std + math.log((far[1] - far[0]) / 2.0 / deviation)
            about, fits = "about ", f", continuous.initial_log_std={start:.0f} begins with another deviation"
        yield (
            f"an action between {far[0]:g} and {far[1]:g} is drawn from 0 ± {about}{deviation:.3g} at first, and may "
            f"never come to use its range: continuous=squashed and continuous=beta are made for bounds{fits}, and "
            "env.wrappers=[{RescaleAction:{min_action:-1,max_action:1}}] gives it others"
        )


def _first_deviation(config: TrainConfig) -> float | None:
    """That of the first actions where they are normally distributed, for gsde as it is found with usual networks."""
    start, network = math.exp(config.continuous.initial_log_std), config.network
    if config.continuous.distribution == "gsde":  # a sum over the features, whose mean square is about a quarter
        width = network.hidden_sizes[-1] if network.recurrent is None else network.recurrent_size
        return start * math.sqrt(width) / 2.0
    return start if config.continuous.distribution == "gaussian" else None


def _bounds(part: ActionPart) -> Iterator[tuple[float, float]]:
    """The bounds of a part's entries where all have two, and something between them."""
    if part.bounded:
        yield from ((low, high) for low, high in zip(part.low, part.high, strict=True) if low < high)


def _is_far(low: float, high: float, deviation: float) -> bool:
    half, outside = (high - low) / 2.0, max(low, -high, 0.0)
    if half > UNBOUNDED:
        return False
    return not deviation / FAR <= half <= deviation * FAR or outside > OUTSIDE * deviation
