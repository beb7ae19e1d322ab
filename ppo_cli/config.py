"""Every setting, with its default, its meaning and its range: the single source of all three.

Nothing but the standard library is needed here, so that ``--help`` and ``--cfg job`` answer at once.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from ppo_cli.renames import understands_old_names
from ppo_cli.setting import setting
from ppo_cli.trackers import TRACKERS, MlflowConfig, WandbConfig

ACTIVATIONS = ("tanh", "relu", "elu", "gelu", "silu")
LOGGERS = ("csv", "tensorboard", *TRACKERS)
ENCODERS = ("auto", "mlp", "cnn", "impala")
RECURRENCES = ("lstm", "gru")
DISTRIBUTIONS = ("gaussian", "squashed", "beta", "gsde")
OBJECTIVES = ("clip", "spo")
BACKENDS = ("auto", "native", "envpool", "sync", "async")
ARGUMENTS = ("env.kwargs", "callback_kwargs", "reward_kwargs", "mlflow.tags")
"""The settings that hold arguments of any name, typed as ``env.kwargs.size=5``."""


@understands_old_names
@dataclass
class EnvConfig:
    """Which environment, and how Gymnasium builds it."""

    id: str = setting("CartPole-v1", "Gymnasium id; module:Id imports the module that registers it")
    kwargs: dict[str, Any] = setting({}, "keyword arguments for the environment's constructor")
    max_episode_steps: int | None = setting(None, "time limit in steps; null keeps the registered one", ge=1)
    wrappers: list[Any] = setting([], "wrappers, inner ones first: names or {name: {argument: value}}", empty=True)
    frame_stack: int | None = setting(None, "observations shown together, the newest last; null is off", ge=2, le=1000)
    restart_crashed: bool = setting(False, "build an environment that raises anew, and go on")
    start_timeout: float = setting(
        300.0, "seconds that building environments in processes may take (vector_backend=async)", gt=0, since=2
    )


@understands_old_names
@dataclass
class NetworkConfig:
    """The actor-critic's shape."""

    encoder: str = setting("auto", "what reads images; auto takes cnn from 36 pixels a side", choices=ENCODERS)
    hidden_sizes: list[int] = setting([64, 64], "width of each hidden layer", ge=1)
    activation: str = setting("tanh", "nonlinearity after each hidden layer", choices=ACTIVATIONS)
    layer_norm: bool = setting(False, "normalise each hidden layer before its nonlinearity")
    shared: bool = setting(True, "one trunk under both heads (false: a trunk for each)")
    recurrent: str | None = setting(
        None, "recurrent layer on top of the hidden ones; null is none", choices=RECURRENCES, was="memory"
    )
    recurrent_size: int = setting(64, "width of the recurrent layer", ge=1, was="memory_size")
    sequence_length: int | None = setting(
        None, "steps that gradients flow back through; null is the longest up to 32 that fits", ge=1
    )
    module: str | None = setting(None, "module:Class, a torch module of yours that reads the observation")


@understands_old_names
@dataclass
class ContinuousConfig:
    """What continuous actions are drawn from."""

    distribution: str = setting("gaussian", "of continuous actions; squashed is a tanh of it", choices=DISTRIBUTIONS)
    state_dependent_std: bool = setting(False, "read the deviation from the state (gaussian and squashed)")
    initial_log_std: float = setting(0.0, "logarithm of the first deviation (gsde: of each weight)")
    min_log_std: float = setting(-10.0, "least logarithm of the deviation")
    max_log_std: float = setting(2.0, "greatest logarithm of the deviation")
    resample_every: int | None = setting(4, "gsde: steps that one noise function lasts; null is a rollout", ge=1)


@understands_old_names
@dataclass
class PPOConfig:
    """What the agent needs: network and algorithm. Schulman et al. 2017 (arXiv:1707.06347) unless said otherwise."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    continuous: ContinuousConfig = field(default_factory=ContinuousConfig)
    lr: float = setting(3e-4, "Adam's step size", gt=0)
    gamma: float = setting(0.99, "discount per step", ge=0, le=1)
    lam: float = setting(0.95, "lambda of generalised advantage estimation", ge=0, le=1)
    objective: str = setting(
        "clip",
        "what the policy maximises: the clipped surrogate, or spo; module:function is one of yours",
        choices=OBJECTIVES,
        own="module:function",
        since=2,
    )
    clip_ratio: float = setting(0.2, "epsilon of the clipped surrogate and of spo", gt=0)
    value_clip: float | None = setting(None, "clip of the value's change per update; null is off", gt=0)
    value_coef: float = setting(0.5, "weight of the value loss, which has no factor 1/2", ge=0)
    entropy_coef: float = setting(0.01, "weight of the entropy bonus", ge=0)
    max_grad_norm: float | None = setting(0.5, "clip of the gradient's global norm; null is off", gt=0)
    target_kl: float | None = setting(
        None, "an epoch whose mean KL passes this is the update's last; null is off", gt=0
    )
    buffer_size: int = setting(2048, "transitions per update, over all environments", ge=1)
    batch_size: int = setting(64, "transitions per gradient step", ge=1)
    epochs: int = setting(10, "passes over each rollout", ge=1)
    normalize_obs: bool = setting(False, "standardise observations by running statistics")
    normalize_reward: bool = setting(False, "divide rewards by the running deviation of the discounted return")
    reward_clip: float | None = setting(
        None, "learn from rewards clipped to ± this; returns are reported whole; null is off", gt=0
    )
    normalize_value: bool = setting(True, "standardise value targets by running statistics (PopArt)")


@understands_old_names
@dataclass
class TrainConfig(PPOConfig):
    """One training run."""

    env: EnvConfig = field(default_factory=EnvConfig)
    seed: int = setting(0, "root of every random stream of the run", ge=0, le=2**63 - 1)
    device: str = setting("cpu", "where tensors live: cpu, cuda, cuda:1, mps")
    threads: int | str = setting(
        "auto", "threads of one tensor operation; auto picks by the network's size", ge=1, le=1024
    )
    compile: bool | str = setting(
        "auto", "compile the gradient step; auto does where it clearly saves more than it costs"
    )
    vector_backend: str = setting(
        "auto", "what steps the environments; auto takes the fastest that knows them", choices=BACKENDS
    )
    total_timesteps: int = setting(
        500_000, "environment steps, over all environments; the iteration that reaches them is the last", ge=1
    )
    num_envs: int = setting(8, "environments that step side by side", ge=1)
    anneal_lr: bool = setting(False, "let lr fall linearly to 0 over the run")
    anneal_clip: bool = setting(False, "let clip_ratio fall linearly to 0 over the run")
    eval_every: int | None = setting(25_000, "steps between evaluations; null is off", ge=1)
    eval_episodes: int = setting(10, "episodes per evaluation", ge=1)
    eval_deterministic: bool = setting(
        True, "evaluations take the most probable action (false: sample, as training does)", since=2
    )
    target_return: float | None = setting(None, "stop when an evaluation's mean return reaches this; null is off")
    checkpoint_every: int | str | None = setting(
        "auto", "steps between checkpoints to resume from; null is off, auto never disturbs learning", ge=1
    )
    keep_last: int | None = setting(5, "how many of those to keep; null keeps all", ge=1)
    keep_best: bool = setting(True, "keep the checkpoint of the best evaluation too")
    on_nan: str = setting(
        "stop", "what to do where a number is NaN or infinite: stop, or skip the update", choices=("stop", "skip")
    )
    log_every: int = setting(10_000, "steps between lines of plain output", ge=1)
    output_dir: str = setting("outputs", "folder under which the run gets a folder of its own")
    init_from: str | None = setting(None, "checkpoint (or run folder) whose weights the run starts from")
    resume: str | None = setting(
        None, "run folder or step_….pt to go on with; auto: this command's own run, if there is one"
    )
    logger: list[str] = setting(
        ["csv", "tensorboard"],
        "where metrics are written; module:Class is one of yours",
        choices=LOGGERS,
        own="module:Class",
    )
    callbacks: list[str] = setting(
        [], "module:Class of each callback of yours, called as the run goes on", empty=True, since=2
    )
    callback_kwargs: dict[str, Any] = setting({}, "arguments for the callbacks whose constructors take them", since=2)
    reward_transform: str | None = setting(
        None, "module:Class of yours that makes the rewards that are learnt from", since=2
    )
    reward_kwargs: dict[str, Any] = setting({}, "arguments for its constructor", since=2)
    wandb: WandbConfig = field(default_factory=WandbConfig)
    mlflow: MlflowConfig = field(default_factory=MlflowConfig)


@understands_old_names
@dataclass
class EvalConfig:
    """One evaluation of a checkpoint."""

    checkpoint: str = setting("", "a run's folder (its best checkpoint, else its last) or a checkpoint file")
    env: str | None = setting(None, "module:Id, needed when the environment lives in a module of yours")
    network: str | None = setting(None, "module:Class, needed when the network lives in a module of yours")
    wrappers: list[str] = setting([], "module:Class of each wrapper that lives in a module of yours", empty=True)
    episodes: int = setting(100, "complete episodes to play", ge=1)
    deterministic: bool = setting(True, "take the most probable action (false: sample)")
    seed: int | str = setting(0, "root of the episodes' seeds; run repeats the training run's own evaluation")
    num_envs: int = setting(8, "episodes that are played side by side; does not change the result", ge=1)
    video: bool = setting(False, "write a film of the first episodes into the run's folder")
    render: str | None = setting(None, "human opens a window", choices=("human",))
    device: str = setting("cpu", "where tensors live: cpu, cuda, cuda:1, mps")


_HINTS: dict[Any, dict[str, Any]] = {}


def type_hints(kind: Any) -> dict[str, Any]:
    """A dataclass's types; finding them out is slow, and every check asks for them."""
    if kind not in _HINTS:
        _HINTS[kind] = typing.get_type_hints(kind)
    return _HINTS[kind]


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, dataclasses.Field[Any]]]:
    """Every leaf setting of a config as ``(dotted key, value, field)``, in the order of declaration."""
    for item in fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            yield from walk(value, f"{prefix}{item.name}.")
        else:
            yield prefix + item.name, value, item


def old_names(kind: type[Any]) -> dict[str, str]:
    """The keys that settings had before, each with the one of today, as they are typed."""
    return {
        key.removesuffix(item.name) + item.metadata["was"]: key
        for key, _, item in walk(kind())
        if item.metadata["was"] is not None
    }


def own_modules(config: TrainConfig) -> dict[str, str]:
    """What of a run lives in modules of the user's, as ppo-eval takes it: no checkpoint imports what nobody named."""
    names = [next(iter(entry), "") if isinstance(entry, dict) else entry for entry in config.env.wrappers]
    wrappers = [name for name in names if ":" in str(name)]
    named = {"env": config.env.id} if ":" in config.env.id else {}
    if config.network.module is not None:
        named["network"] = config.network.module
    return {**named, "wrappers": show(wrappers)} if wrappers else named


def show(value: Any) -> str:
    """A value as one types it on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(show(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{show(item)}" for key, item in value.items()) + "}"
    return str(value)


AS_ASKED = "as asked"
"""Why a setting that may be ``auto`` is as it is, where somebody set it."""


def whole_iterations(steps: int, buffer_size: int) -> int:
    """Number of iterations that hold at least ``steps`` environment steps."""
    return -(-steps // buffer_size)
