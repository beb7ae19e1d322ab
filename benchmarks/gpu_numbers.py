"""Whether a GPU comes to the numbers that it should: the recorded step, the CPU beside it, runs that go on."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu_rows import Row, Setting, cudnn, pictures_config, w1_config
from ppo_cli import Callback, TrainConfig, evaluate, resume, train
from ppo_cli.agent.core import Agent
from ppo_cli.algorithm.adam import LearnerState
from ppo_cli.algorithm.compiled import accelerated
from ppo_cli.algorithm.minibatches import Minibatch
from ppo_cli.algorithm.ppo import LOSS_METRICS, Coefficients
from ppo_cli.config import ContinuousConfig, NetworkConfig, PPOConfig
from ppo_cli.devices import available_devices
from ppo_cli.errors import UserError
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.spec import ActionPart, ObsPart, Spec
from ppo_cli.training.auto import choose_compile

ENVS, STEPS = 4, 16
TWICE = 1e-6  # the recorded step does what the step itself does, and may choose another algorithm for a product
NEAR, NEAR_PICTURES = 1e-3, 1e-2  # of what the CPU finds; sums over pictures are long, and in another order on a GPU


def _kinds() -> dict[str, tuple[Spec, PPOConfig]]:
    """Agents that together have every head, every encoder and every normaliser."""
    numbers, mask = ObsPart("obs", "numbers", (6,), measured=True), ObsPart("mask", "mask", (5,))
    multi = ActionPart("", "categorical", 2, (3, 2))
    box = ActionPart("", "continuous", 2, (), (-1.0, -2.0), (1.0, 3.0))
    usual: dict[str, Any] = {"batch_size": 16, "epochs": 2, "buffer_size": ENVS * STEPS}

    def config(continuous: str = "gaussian", changes: Mapping[str, Any] | None = None, **network: Any) -> PPOConfig:
        parts = {"network": NetworkConfig(**{"hidden_sizes": [32, 32], **network})}
        return PPOConfig(**parts, continuous=ContinuousConfig(distribution=continuous), **usual, **(changes or {}))

    normalised = {"normalize_obs": True, "normalize_reward": True, "value_clip": 0.2}
    kinds = {name: (Spec((numbers,), (box,)), config(name)) for name in ("gaussian", "squashed", "beta", "gsde")}
    small, large = (
        Spec((ObsPart("", "image", (4, side, side), scale=1 / 255),), Spec.simple(1, 6).actions) for side in (36, 84)
    )
    return {
        "discrete": (Spec.simple(6, 4), config(shared=False)),
        "discrete, normalised, spo": (Spec.simple(6, 4), config(changes={**normalised, "objective": "spo"})),
        "several choices, masked": (Spec((numbers, mask), (multi,), "observation"), config()),
        "categories": (Spec((ObsPart("c", "categories", (2,), counts=(3, 4)), numbers), (multi,)), config()),
        **kinds,
        "LSTM": (Spec.simple(6, 4), config(recurrent="lstm", recurrent_size=16, hidden_sizes=[32])),
        "GRU": (Spec.simple(6, 4), config(recurrent="gru", recurrent_size=16, hidden_sizes=[32])),
        "CNN": (large, config(encoder="cnn", hidden_sizes=[64])),
        "IMPALA": (small, config(encoder="impala", hidden_sizes=[64])),
    }


class Rollout(NamedTuple):
    """What a policy met, for other agents to learn from."""

    steps: list[tuple[Any, ...]]
    last: Any


def _observe(spec: Spec, draw: np.random.Generator) -> Any:
    columns = []
    for part in spec.observations:
        if part.kind == "categories":
            columns.append(draw.integers(part.counts, size=(ENVS, part.size)))
        elif part.kind == "mask":
            columns.append(np.ones((ENVS, part.size)))
        elif part.kind == "image":
            columns.append(draw.integers(256, size=(ENVS, part.size)))
        else:
            columns.append(draw.normal(size=(ENVS, part.size)))
    return np.concatenate(columns, 1).astype(spec.obs_dtype)


def _rollout(agent: Agent, seed: int) -> tuple[Rollout, Tensor, list[Any]]:
    """A rollout of random observations, with the noise and the actions of its steps."""
    draw, policy, states = np.random.default_rng(seed), agent.policy, None
    noise, steps, actions = policy.noise(STEPS, ENVS), [], []
    for now in noise.unbind(0):
        rows = policy.compose(_observe(agent.spec, draw), states, None)
        acted = policy.act(rows, now)
        states = acted.states
        actions.append(acted.actions)
        ends = draw.random(ENVS) < 0.05
        steps.append((rows, acted.actions, draw.normal(size=ENVS), ends, np.zeros(ENVS)))
    return Rollout(steps, policy.compose(_observe(agent.spec, draw), states, None)), noise, actions


def _learn(agent: Agent, rollout: Rollout) -> Tensor:
    """Learn from a rollout; the update's metrics."""
    for step in rollout.steps:
        agent.memory.append(*step)
    agent.memory.next_observations = rollout.last
    return torch.tensor(agent.learn()[: len(LOSS_METRICS)])


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What the package warns of inside the block."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("ppo_cli")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def learning(setting: Setting) -> list[Row]:
    """Every kind of agent learns from the same rollouts three times: on the CPU, on the device, and recorded there."""
    with cudnn(allow_tf32=False, deterministic=True):  # convolutions of ten bits would hide a mistake
        return [_kind(setting, name, *kind) for name, kind in _kinds().items()]


def _kind(setting: Setting, name: str, spec: Spec, config: PPOConfig) -> Row:
    def make(device: torch.device | str, compiled: bool = False) -> Agent:
        return Agent.from_spec(spec, config, seed=0, device=device, num_envs=ENVS, compiled=compiled)

    reference, others = make("cpu"), (make(setting.device), make(setting.device, setting.cuda))
    rollouts = [_rollout(reference, seed) for seed in range(3)]
    near = NEAR_PICTURES if name in ("CNN", "IMPALA") else NEAR
    rollout, noise, actions = rollouts[0]
    drawn = zip(rollout.steps, noise, strict=True)
    on_device = [others[0].policy.act(rows[0], now.to(setting.device)) for rows, now in drawn]
    pairs = zip(on_device, actions, strict=True)
    other_actions = float(np.mean([np.abs(mine.actions - theirs).max(1) > near for mine, theirs in pairs]))
    by_recording, by_device, grown = 0.0, 0.0, 0.0
    with _warnings() as told:
        for number, (rollout, *_) in enumerate(rollouts):
            expected, plain, recorded = (_learn(agent, rollout) for agent in (reference, *others))
            by_recording = max(by_recording, _apart(plain, recorded))
            parts = zip(others[0].learner.state, others[1].learner.state, strict=True)
            by_recording = max(by_recording, *(_apart(*pair) for pair in parts))
            if number == 0:
                by_device = _apart(expected, plain)
            grown = _apart(reference.learner.state.parameters, others[0].learner.state.parameters.cpu())
    good = by_recording <= (near if near == NEAR_PICTURES else TWICE) and by_device <= near and other_actions <= 0.01
    found = f"recorded − eager {by_recording:.1e}; losses − CPU's {by_device:.1e}, weights after three {grown:.1e}; "
    found += f"other actions {other_actions:.1%}" + (f"; {told[0][:90]}" if told else "")
    return Row("numbers", name, "ok" if good and not told else "FAILED", found)


def _apart(one: Tensor, other: Tensor) -> float:
    """The largest difference, where numbers are above 1 in relation to them; NaN counts as infinite."""
    difference = ((one - other).abs() / one.abs().clamp(min=1.0)).max().item()
    return difference if difference == difference else float("inf")


def refused_recording(setting: Setting) -> list[Row]:
    """A step that asks for a number cannot be recorded: it runs as it is, and so does what comes after it."""

    def step(state: LearnerState, batch: Minibatch, _: Coefficients) -> tuple[LearnerState, Tensor]:
        grown = state.parameters + float(batch.returns.sum().item())
        return LearnerState(grown, state.first_moment, state.second_moment), grown[: len(LOSS_METRICS)].clone()

    zeros, column = torch.zeros(8, device=setting.device), torch.ones(3, 4, device=setting.device)
    batches = Minibatch(column.unsqueeze(-1), *(column for _ in Minibatch._fields[1:]))
    with _warnings() as told:
        steps = accelerated(step, setting.cuda, 3, setting.device)
        after, _ = steps(
            LearnerState(zeros, zeros, zeros), batches, Coefficients(*column.T[:2], *column[0, 0].expand(7))
        )
    good = after.parameters.tolist() == [12.0] * 8 and len(told) == setting.cuda
    after_all = learning_of_one(setting)
    return [
        Row("refused", "a step that cannot be recorded", "ok" if good else "FAILED", told[0][:110] if told else "–"),
        after_all._replace(part="refused", what="recording after one was refused"),
    ]


def learning_of_one(setting: Setting) -> Row:
    """As :func:`learning`, of the plainest agent."""
    return _kind(setting, "discrete", *_kinds()["discrete"])


def devices(setting: Setting) -> list[Row]:
    """What is here, and what the automatic choices make of it."""
    there = f"PyTorch {torch.__version__}, devices {', '.join(available_devices())}, {torch.get_num_threads()} threads"
    rows = [Row("devices", "versions", "", there)]
    if setting.cuda:
        about = torch.cuda.get_device_properties(setting.device)
        what = f"{about.name}, {about.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
        rows.append(Row("devices", "GPU", "", f"{what}, cuDNN {torch.backends.cudnn.version()}"))
        chosen, why = choose_compile("auto", setting.device, 1)
        rows.append(Row("devices", "compile=auto", "ok" if chosen else "FAILED", why))
        for name in ("auto", "cuda:99"):
            rows.append(Row("devices", f"device={name}", "told", _said(name)))
    return rows


def _said(device: str) -> str:
    """What a run answers to a device."""
    from ppo_cli.training.plan import Planner

    try:
        return f"runs on {Planner().plan(w1_config(device=device)).device}"
    except UserError as error:
        return str(error).partition("\n")[0][:120]


class StopAfter(Callback):
    """Sends the run a SIGTERM after an iteration, as a cluster does: it is not finished, and can go on."""

    def __init__(self, iteration: int) -> None:
        self._iteration = iteration

    def on_iteration(self, _: Mapping[str, Any], run: Any) -> None:
        """Send it."""
        if run.progress.iteration == self._iteration:
            signal.raise_signal(signal.SIGTERM)


def runs(setting: Setting) -> list[Row]:
    """A run, the same again, and one that is stopped and goes on; and what the checkpoint is worth on the CPU."""
    rows = []
    for compiled in (False, True) if setting.cuda else (False,):
        config = w1_config(device=str(setting.device), compile=compiled, normalize_obs=True, normalize_reward=True)
        found, first = _repeat(setting.folder / f"mlp{compiled}", config, setting.tiny)
        way = "recorded" if compiled else "eager"
        rows += [Row("resume", f"W1 {way}, {what}", "ok" if equal else "FAILED", told) for what, equal, told in found]
    returns = [evaluate(first, device=device, episodes=10).episode_returns for device in ("cpu", str(setting.device))]
    mean_returns = ", ".join(f"{np.mean(one):.1f}" for one in returns)
    alike = "ok" if returns[0] == returns[1] else "told"
    rows.append(Row("resume", "its evaluation on CPU and device", alike, f"mean returns {mean_returns}"))
    return rows


def runs_of_pictures(setting: Setting) -> list[Row]:
    """The same of pictures, whose convolutions may add up in any order unless cuDNN is told otherwise."""
    rows = []
    for fixed in (False, True):
        config = pictures_config(device=str(setting.device), compile=setting.cuda)
        with cudnn(deterministic=fixed):
            found, _ = _repeat(setting.folder / f"cnn{fixed}", config, setting.tiny)
        way = "cuDNN deterministic" if fixed else "as it is"
        rows += [Row("pictures", f"CNN {way}, {what}", "ok" if same else "told", told) for what, same, told in found]
    return rows


def _repeat(folder: Path, config: TrainConfig, tiny: bool) -> tuple[list[tuple[str, bool, str]], Path]:
    """Whether a run equals itself, made again and gone on with."""
    config.buffer_size = 64 if tiny else 512
    config.batch_size, config.total_timesteps = config.buffer_size // 4, 6 * config.buffer_size
    config.checkpoint_every = 2 * config.buffer_size
    folder.mkdir()
    names = [folder / name for name in ("first", "again", "resumed")]
    train(config, names[0], show=False)
    train(config, names[1], show=False)
    train(
        config, names[2], show=False, callbacks=[StopAfter(4)]
    )  # a checkpoint, and one iteration that is made once more
    resume(names[2], show=False)
    parameters = [load_checkpoint(name / "checkpoints" / "last.pt")["agent"]["parameters"] for name in names]
    found = []
    for what, other in (("made again", parameters[1]), ("stopped and gone on", parameters[2])):
        apart = max(_apart(part, other[name]) for name, part in parameters[0].items())
        same = all(torch.equal(part, other[name]) for name, part in parameters[0].items())
        found.append((what, same, "the same bits" if same else f"weights differ by up to {apart:.1e}"))
    return found, names[0]
