"""What a GPU would refuse or waste, as far as it shows without one: a step stays on its device, and asks no other."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ppo_cli.agent import learner
from ppo_cli.agent.core import Agent
from ppo_cli.agent.learner import UpdateResult
from ppo_cli.algorithm import compiled
from ppo_cli.algorithm.cuda_graph import Compute, Recorded, Replayed
from ppo_cli.algorithm.minibatches import Minibatch
from ppo_cli.algorithm.ppo import Coefficients
from ppo_cli.algorithm.steps import EACH_STEP
from ppo_cli.config import ContinuousConfig, NetworkConfig, PPOConfig
from ppo_cli.seeding import Globals, kept_globals, seed_globals
from ppo_cli.spec import ActionPart, ObsPart, Spec

NUMBERS, MASK = ObsPart("obs", "numbers", (3,), measured=True), ObsPart("mask", "mask", (5,))
MULTI, BOX = ActionPart("", "categorical", 2, (3, 2)), ActionPart("", "continuous", 2, (), (-1.0, -2.0), (1.0, 3.0))
DISCRETE = Spec.simple(3, 4)
PICTURES = Spec((ObsPart("", "image", (4, 36, 36), scale=1 / 255),), DISCRETE.actions)
BATCH = 8
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def config(distribution: str = "gaussian", **network: Any) -> PPOConfig:
    parts = NetworkConfig(**{"hidden_sizes": [6], **network})
    return PPOConfig(network=parts, continuous=ContinuousConfig(distribution=distribution), batch_size=BATCH)


KINDS = {
    "discrete": (DISCRETE, config()),
    "normalised": (DISCRETE, dataclasses.replace(config(), normalize_obs=True, value_clip=0.2, objective="spo")),
    "masked": (Spec((NUMBERS, MASK), (MULTI,), "observation"), config()),
    "joint": (Spec((NUMBERS,), (MULTI, dataclasses.replace(BOX, name="box"))), config("squashed")),
    "categories": (Spec((ObsPart("c", "categories", (2,), counts=(3, 4)), NUMBERS), (MULTI,)), config()),
    "gaussian": (Spec((NUMBERS,), (BOX,)), config()),
    "beta": (Spec((NUMBERS,), (BOX,)), config("beta")),
    "gsde": (Spec((NUMBERS,), (BOX,)), config("gsde")),
    "lstm": (DISCRETE, config(recurrent="lstm", recurrent_size=4)),
    "gru": (DISCRETE, config(recurrent="gru", recurrent_size=4, layer_norm=True)),
    "cnn": (PICTURES, config(encoder="cnn")),
    "impala": (PICTURES, config(encoder="impala")),
    "module": (DISCRETE, config(module="toys:Scaled")),
}


class OneDevice(TorchDispatchMode):
    """Refuses an operation that reads or makes a tensor elsewhere than on ``meta``, and one that asks for a number.

    So does the recording of a CUDA graph.
    """

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, result)):
            assert not isinstance(tensor, Tensor) or tensor.device.type == "meta", function
        return result


@pytest.mark.parametrize(("spec", "settings"), KINDS.values(), ids=KINDS.keys())
def test_a_gradient_step_stays_on_its_device(spec: Spec, settings: PPOConfig) -> None:
    agent = Agent.from_spec(spec, settings, seed=0, device="meta", num_envs=2)
    rows = getattr(torch, str(agent.policy.row_dtype))

    def column(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(2, BATCH, *shape, dtype=dtype, device="meta")

    observations = column(agent.policy.row_size, dtype=rows)
    actions = column(spec.action_size, dtype=getattr(torch, spec.action_dtype))
    batches = Minibatch(observations, actions, *(column() for _ in range(5)))
    numbers = [torch.empty((), device="meta") for _ in Coefficients._fields[EACH_STEP:]]
    coefficients = Coefficients(*torch.empty(EACH_STEP, 2, device="meta"), *numbers)
    arguments = (agent.learner.state, batches, coefficients)
    agent.learner._update_steps(*arguments)  # constants go there once, which a recording's first runs are for
    with OneDevice():
        agent.learner._update_steps(*arguments)
        agent.policy.forward(observations[0])


def test_what_is_recorded_is_recorded_on_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded_on = []

    def record(device: torch.device, compute: Any) -> Any:
        recorded_on.append(device)
        return (lambda: None), compute()

    monkeypatch.setattr(compiled, "record_cuda", record)
    agent = Agent.from_spec(DISCRETE, config(), seed=0)
    steps = compiled.accelerated(lambda state, *_: (state, torch.zeros(6)), True, 1, torch.device("cuda:1"))
    column, numbers = torch.zeros(1, 2), torch.zeros(len(Coefficients._fields) - EACH_STEP)
    batches = Minibatch(*(column for _ in Minibatch._fields))
    steps(agent.learner.state, batches, Coefficients(*torch.zeros(EACH_STEP, 1), *numbers))
    assert recorded_on == [torch.device("cuda:1")]


# the global generators


def test_a_gpu_that_nobody_has_used_is_asked_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> list[Tensor]:
        raise AssertionError("that would wake it up")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", refuse)
    assert len(Globals.now().torch) == 1


def test_a_gpu_first_used_inside_goes_on_with_the_seed_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    with kept_globals():
        torch.manual_seed(41)
        with kept_globals():
            seed_globals(0, "test")
        assert seeds[-1] == 41


# the step that is recorded and replayed


def replay_in_place(compute: Compute) -> Recorded:
    """As a CUDA graph does: the same memory in and out, whatever the caller does with his own."""
    result = compute()

    def replay() -> None:
        result.copy_(compute())

    return replay, result


def lesson(agent: Agent) -> UpdateResult:
    """What an update on made-up rows gives; a mask's allow all."""
    spec = agent.policy.spec
    rows = np.zeros((2, agent.policy.row_size), agent.policy.row_dtype)
    for step in range(BATCH):
        rows[:, : spec.obs_size] = 1 if spec.mask else 1 + step % 2
        actions = np.full((2, spec.action_size), 0.5 if "float" in spec.action_dtype else 1)
        agent.memory.append(rows, actions, [step, -step], [False] * 2, [False] * 2)
    agent.memory.next_observations = rows
    return agent.learn()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)])
def test_every_kind_of_step_can_be_recorded(
    name: str, device: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def make(compiled: bool) -> Agent:
        return Agent.from_spec(*KINDS[name], seed=0, device=device, num_envs=2, compiled=compiled)

    plain = make(False)
    if device == "cpu":
        monkeypatch.setattr(learner, "accelerated", lambda step, *_: Replayed(step, replay_in_place))
    recorded = make(device == "cuda")
    pictures = "image" in str(KINDS[name][0])
    updates = 1 if pictures and device == "cuda" else 3  # cuDNN rounds otherwise each time, which updates amplify
    for _ in range(updates):
        kept = recorded.learner.state
        copies = [part.clone() for part in kept]
        near = 0.0 if device == "cpu" else 1e-2 if pictures else 1e-5
        np.testing.assert_allclose(lesson(plain), lesson(recorded), rtol=0.0, atol=near)
        torch.testing.assert_close(recorded.learner.state, plain.learner.state, rtol=0.0, atol=near)
        assert all(torch.equal(*pair) for pair in zip(kept, copies, strict=True))  # results are nobody else's memory
    assert not caplog.records


def test_a_step_that_cannot_be_recorded_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(compute: Compute) -> Recorded:
        raise RuntimeError("no graph for you")

    plain = Agent.from_spec(*KINDS["normalised"], seed=0, num_envs=2)
    monkeypatch.setattr(learner, "accelerated", lambda step, *_: Replayed(step, refuse))
    other = Agent.from_spec(*KINDS["normalised"], seed=0, num_envs=2)
    with caplog.at_level("WARNING", logger="ppo_cli"):
        assert lesson(plain) == lesson(other)
    assert [record.message for record in caplog.records] == [
        "the gradient step cannot be recorded as a CUDA graph and runs without: no graph for you"
    ]
