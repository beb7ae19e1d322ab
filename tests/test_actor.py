"""Who acts while a rollout is collected: the actions are the policy's, whoever computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ppo_cli.agent import actor
from ppo_cli.agent.actor import Actor, SmallActor, make_actor
from ppo_cli.agent.agent import PPOAgent
from ppo_cli.agent.policy import Policy
from ppo_cli.config import ContinuousConfig, EnvConfig, NetworkConfig, PPOConfig, TrainConfig
from ppo_cli.spec import ActionPart, ObsPart, Spec
from ppo_cli.training import collector
from ppo_cli.training.plan import Planner
from ppo_cli.training.trainer import Trainer

SMALL = Spec.simple(4, 3)


def policy_of(spec: Spec = SMALL, scale: float = 0.5, num_envs: int = 8, **settings: Any) -> Policy:
    """A policy with random weights, whose choices are far from alike."""
    config = PPOConfig(buffer_size=64, **{"network": NetworkConfig(hidden_sizes=[64, 64]), **settings})
    policy = PPOAgent.from_spec(spec, config, seed=3, num_envs=num_envs).policy
    generator = torch.Generator().manual_seed(1)
    policy.set_parameters(torch.randn(len(policy.parameters), generator=generator) * scale)
    return policy


def rows_of(policy: Policy, num_envs: int = 8, steps: int = 1, scale: float = 2.0) -> Any:
    shape = (steps, num_envs, policy.row_size)
    return (np.random.default_rng(0).normal(size=shape) * scale).astype(policy.row_dtype)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows torch was asked about, call by call."""
    calls: list[int] = []
    act = Policy.act

    def counted(policy: Policy, rows: Any, noise: Tensor | None) -> Any:
        calls.append(len(rows))
        return act(policy, rows, noise)

    monkeypatch.setattr(Policy, "act", counted)
    return calls


# the actions


@pytest.mark.parametrize("sizes", [[8], [64, 64], [192, 192], [32, 16, 8]], ids=str)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("num_envs", [1, 4, 7])
def test_a_small_policy_takes_the_actions_that_it_takes_through_torch(
    sizes: list[int], normalize: bool, num_envs: int, asked: list[int]
) -> None:
    policy = policy_of(network=NetworkConfig(hidden_sizes=sizes), normalize_obs=normalize, num_envs=num_envs)
    rows = rows_of(policy, num_envs, steps=200, scale=30.0)
    policy.normalizers.observation.update(torch.from_numpy(rows[0]), torch.ones(num_envs, dtype=torch.bool))
    stream = policy.action_stream.get_state()
    noise = policy.noise(200, num_envs)
    policy.action_stream.set_state(stream)
    small = make_actor(policy, 200, num_envs)
    assert type(small) is SmallActor
    acted = [small.act(rows[step], step) for step in range(200)]
    assert len(asked) < 10
    for step, one in enumerate(acted):
        by_torch = policy.act(rows[step], noise[step])
        assert one.actions.dtype == by_torch.actions.dtype
        assert np.array_equal(one.actions, by_torch.actions)
        assert one.env_actions is one.actions
        assert one.states is None
    assert np.unique([one.actions for one in acted]).tolist() == [0, 1, 2]


def test_torch_decides_where_rounding_could_matter(asked: list[int]) -> None:
    policy = policy_of()
    (rows,) = rows_of(policy)
    with torch.inference_mode():
        logits = policy.network.policy(policy._acting, policy.prepare(torch.from_numpy(rows)))
    noise = torch.zeros(3, 8, 3)
    noise[:, :, 0] = -100.0
    noise[0, :, 1] = logits[:, 2] - logits[:, 1] + 1.0  # far apart
    noise[1] = noise[0]
    noise[1, 5, 1] -= 1.0  # alike but for rounding
    noise[2, :, 1] = torch.nan
    small = SmallActor(policy, noise)
    assert small.act(rows, 0).actions.tolist() == [[1]] * 8
    assert asked == []
    for step in (1, 2):
        assert np.array_equal(small.act(rows, step).actions, policy.act(rows, noise[step]).actions)
    assert asked == [8] * 4


@pytest.mark.parametrize("scale", [0.1, 1.0])
@pytest.mark.parametrize("width", [16, 256])
def test_numpy_and_torch_differ_by_far_less_than_what_torch_is_asked_about(scale: float, width: int) -> None:
    policy = policy_of(scale=scale, network=NetworkConfig(hidden_sizes=[width, width]))
    rows = rows_of(policy, steps=50)
    small = SmallActor(policy, torch.zeros(1, 8, 3))
    worst = 0.0
    for one in rows:
        with torch.inference_mode():
            logits = policy.network.policy(policy._acting, policy.prepare(torch.from_numpy(one)))
        worst = max(worst, float(np.abs(small._compute(one) + small._added[0] - logits.numpy()).max()))
    assert 0.0 < worst < small._margin / 10


# who acts


def spec_with(action: ActionPart, *observations: ObsPart, mask: str = "") -> Spec:
    return Spec(observations or (ObsPart("", "numbers", (4,)),), (action,), mask)


CHOICE = ActionPart("", "categorical", 1, (3,))
NUMBERS = ObsPart("", "numbers", (4,))
LIMITS = {"low": (-1.0,) * 2, "high": (1.0,) * 2}
OTHERS: dict[str, tuple[Spec, dict[str, Any]]] = {
    "relu": (SMALL, {"network": NetworkConfig(activation="relu")}),
    "layer norm": (SMALL, {"network": NetworkConfig(layer_norm=True)}),
    "memory": (SMALL, {"network": NetworkConfig(recurrent="lstm")}),
    "large": (SMALL, {"network": NetworkConfig(hidden_sizes=[512, 512])}),
    "continuous": (spec_with(ActionPart("", "continuous", 2, (), **LIMITS)), {}),
    "beta": (
        spec_with(ActionPart("", "continuous", 2, (), **LIMITS)),
        {"continuous": ContinuousConfig(distribution="beta")},
    ),
    "several choices": (spec_with(ActionPart("", "categorical", 2, (3, 2))), {}),
    "categories": (spec_with(CHOICE, ObsPart("", "categories", (1,), counts=(5,))), {}),
    "pictures": (spec_with(CHOICE, ObsPart("", "image", (8, 8, 1), scale=1 / 255)), {}),
    "masks": (spec_with(CHOICE, NUMBERS, ObsPart("action_mask", "mask", (3,)), mask="info"), {}),
    "64 bits": (spec_with(CHOICE, ObsPart("", "numbers", (4,), wide=True)), {}),
}


@pytest.mark.parametrize(("spec", "settings"), OTHERS.values(), ids=OTHERS)
def test_every_other_policy_acts_through_torch(spec: Spec, settings: dict[str, Any]) -> None:
    assert type(make_actor(policy_of(spec, **settings), 2, 8)) is Actor
    assert type(make_actor(policy_of(), 2, 8)) is SmallActor


def test_so_does_one_of_many_environments_whose_products_would_take_several_threads() -> None:
    policy = policy_of()
    assert type(make_actor(policy, 2, 64)) is SmallActor
    assert type(make_actor(policy, 2, 65)) is Actor


# in training


def trainer_of(folder: Path, env: str = "CartPole-v1", backend: str = "sync", **settings: Any) -> Trainer:
    config = TrainConfig(
        env=EnvConfig(id=env),
        network=NetworkConfig(hidden_sizes=[16, 16]),
        vector_backend=backend,
        num_envs=4,
        buffer_size=256,
        batch_size=64,
        epochs=2,
        lr=1e-2,
        compile=False,
        eval_every=None,
        logger=[],
        **settings,
    )
    trainer = Trainer(Planner().plan(config), folder, [])
    trainer.collector.begin_stretch()
    return trainer


@pytest.mark.parametrize("backend", ["sync", "async", "native"])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_run_is_the_same_to_the_bit_whoever_acts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, normalize: bool
) -> None:
    made: list[Actor] = []

    def through_torch(policy: Policy, steps: int, num_envs: int) -> Actor:
        made.append(Actor(policy, policy.noise(steps, num_envs)))
        return made[-1]

    states, rows = [], []
    for make in (make_actor, through_torch):
        monkeypatch.setattr(collector, "make_actor", make)
        trainer = trainer_of(tmp_path, backend=backend, normalize_obs=normalize)
        own = [trainer.iterate() for _ in range(5)]
        rows.append([{name: row[name] for name in row if not name.startswith("time/")} for row in own])
        states.append(trainer.agent.state_dict())
        trainer.close({})
    assert len(made) == 5
    assert rows[0] == rows[1]
    for name, tensor in states[0]["parameters"].items():
        assert torch.equal(tensor, states[1]["parameters"][name])
    assert torch.equal(states[0]["streams"]["action"], states[1]["streams"]["action"])


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_what_is_learnt_from_are_values_and_log_probabilities_of_the_one_pass_over_the_whole_rollout(
    tmp_path: Path, env: str
) -> None:
    trainer = trainer_of(tmp_path, env)
    policy, memory = trainer.agent.policy, trainer.agent.memory
    for _ in range(2):
        trainer.collector.collect()
        trainer.agent.learner.fill_in(memory)
        rows, actions = (torch.from_numpy(memory[name]).flatten(0, 1) for name in ("observations", "actions"))
        outputs, values, _ = policy.forward(rows)
        log_probs, _ = policy.head.log_prob_and_entropy(outputs, actions)
        assert np.array_equal(memory["values"].ravel(), values.numpy())
        assert np.array_equal(memory["log_probs"].ravel(), log_probs.numpy())
        memory.clear()
    trainer.close({})


def test_an_actor_acts_by_the_parameters_of_its_rollout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(tmp_path)
    made: list[actor.Actor] = []
    monkeypatch.setattr(collector, "make_actor", lambda *args: made.append(make_actor(*args)) or made[-1])
    for _ in range(2):
        trainer.iterate()
    (rows,) = rows_of(trainer.agent.policy, num_envs=4)
    fresh = make_actor(trainer.agent.policy, 1, 4)
    assert isinstance(fresh, SmallActor)
    logits = [one._compute(rows).copy() for one in (*made, fresh) if isinstance(one, SmallActor)]
    assert len(logits) == 3
    assert not np.array_equal(logits[0], logits[1])
    assert not np.array_equal(logits[1], logits[2])
    trainer.close({})
