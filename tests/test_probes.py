"""Probes: environments that need a single ability each, with answers known beforehand, learnt within seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import combinations, product
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
from toys import Toy

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.config import ContinuousConfig, EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.training.plan import Planner
from ppo_cli.training.play import play
from ppo_cli.training.trainer import Trainer
from ppo_cli.validation import validate


class Bandit(Toy):
    """Shows one of four symbols, pays for one action what :meth:`pay` says, and ends."""

    observation_space: Any = Discrete(4)
    action_space: Any = Discrete(4)

    def observe(self) -> Any:
        self.symbol = int(self.np_random.integers(4))
        return self.symbol

    def pay(self, action: Any) -> float:
        return float(action == self.symbol)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = self.pay(action)
        observation, *_ = super().step(action)
        return observation, reward, True, False, {}


WORTH = (20.0, -10.0, 5.0, 0.0)


class Lottery(Bandit):
    """Pays what the symbol is worth, whatever the action."""

    def pay(self, action: Any) -> float:
        return WORTH[self.symbol]


class Delayed(Toy):
    """Shows the number of its step, and pays 1 for the last of four, whatever the actions."""

    observation_space = Discrete(5)

    def observe(self) -> Any:
        return self.steps

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, *_ = super().step(action)
        return observation, float(self.steps == 4), self.steps == 4, False, {}


class Patience(Delayed):
    """Pays 1 for action 0 in its first step, and ends; otherwise 2 for its fourth step."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, *_ = super().step(action)
        if self.steps == 1 and action == 0:
            return observation, 1.0, True, False, {}
        return observation, 2.0 * reward, terminated, False, {}


class Recall(Toy):
    """Shows one of four symbols, then twice nothing, and pays 1 if the third action has the symbol's number."""

    observation_space = Discrete(5)
    action_space = Discrete(4)

    def observe(self) -> Any:
        if self.steps == 0:
            self.symbol = int(self.np_random.integers(4))
        return self.symbol if self.steps == 0 else 4

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, *_ = super().step(action)
        return observation, float(self.steps == 3 and action == self.symbol), self.steps == 3, False, {}


class Menu(Toy):
    """Allows two of four actions in each of its four steps, and pays 1 for the higher one.

    Args:
        source: Where the allowed actions are shown: ``observation``, ``info`` or ``method``.
    """

    action_space = Discrete(4)

    def __init__(self, source: str) -> None:
        self.source = source
        self.allowed = np.ones(4, np.int8)
        if source == "observation":
            self.observation_space = Dict(action_mask=MultiBinary(4), number=Toy.observation_space)
        if source == "method":
            self.action_masks = lambda: self.allowed

    def observe(self) -> Any:
        self.allowed = np.zeros(4, np.int8)
        self.allowed[self.np_random.choice(4, 2, replace=False)] = 1
        number = super().observe()
        return {"action_mask": self.allowed, "number": number} if self.source == "observation" else number

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self.allowed} if self.source == "info" else {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        observation, _ = super().reset(seed=seed, options=options)
        return observation, self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.allowed[action], f"{action} is forbidden by {self.allowed}"
        reward = float(action == self.allowed.nonzero()[0][-1])
        observation, *_ = super().step(action)
        return observation, reward, self.steps == 4, False, self._info()


class Aim(Bandit):
    """Shows a number, and punishes the squared distance of the action from 1 more than it."""

    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Box(-1, 3, (1,), np.float32)

    def observe(self) -> Any:
        self.number = self.np_random.uniform(-1, 1)
        return np.full(1, self.number, np.float32)

    def pay(self, action: Any) -> float:
        return -float((action[0] - (1 + self.number)) ** 2)


QUARTER, SQUARE = 18, 12  # pixels a side
ROOM = QUARTER - SQUARE


class Spot(Bandit):
    """Shows a picture with a bright square in one of its quarters, whose number is the right action."""

    observation_space = Box(0, 255, (36, 36, 1), np.uint8)

    def observe(self) -> Any:
        self.symbol = int(self.np_random.integers(4))
        return picture(self.symbol, *self.np_random.integers(0, ROOM + 1, 2))


def picture(quarter: int, down: int, right: int) -> Any:
    """A square so many pixels down and right of its quarter's corner."""
    pixels = np.zeros((2 * QUARTER, 2 * QUARTER, 1), np.uint8)
    top, left = QUARTER * (quarter // 2) + down, QUARTER * (quarter % 2) + right
    pixels[top : top + SQUARE, left : left + SQUARE] = 255
    return pixels


PROBES: tuple[Any, ...] = (Bandit, Lottery, Delayed, Patience, Recall, Menu, Aim, Spot)
for probe in PROBES:
    gym.register(f"Probe{probe.__name__}-v0", entry_point=probe)


def trained(folder: Path, env: str, **settings: Any) -> PPOAgent:
    """The agent after a training run on an environment."""
    common: dict[str, Any] = {"num_envs": 8, "buffer_size": 256, "batch_size": 64, "epochs": 6, "lr": 0.01}
    common |= {"network": NetworkConfig(hidden_sizes=[32]), "entropy_coef": 0.0, "logger": []}
    common |= {"vector_backend": "sync", "threads": 1, "compile": False, "eval_every": None, "checkpoint_every": None}
    limit, kwargs = settings.pop("max_episode_steps", None), settings.pop("kwargs", {})
    config = TrainConfig(env=EnvConfig(id=env, kwargs=kwargs, max_episode_steps=limit), **common | settings)
    validate(config)
    trainer = Trainer(Planner().plan(config), folder, [])
    try:
        trainer.run()
    finally:
        trainer.close({})
    return trainer.agent


def values_of(agent: PPOAgent, states: Iterable[Any]) -> list[float]:
    """What the critic expects of each state."""
    return [agent.get_action(state)[2] for state in states]


def assert_prefers(agent: PPOAgent, state: Any, expected: int) -> None:
    """The policy takes this action with probability above 0.9."""
    action, log_prob, _ = agent.get_action(state, deterministic=True)
    assert action == expected
    assert math.exp(log_prob) > 0.9


def test_value_only(tmp_path: Path) -> None:
    agent = trained(tmp_path, "ProbeLottery-v0", total_timesteps=3072)
    assert values_of(agent, [[symbol] for symbol in range(4)]) == pytest.approx(WORTH, abs=1.0)


def test_policy_only(tmp_path: Path) -> None:
    # a critic that learns nothing leaves all to the policy's gradient
    agent = trained(tmp_path, "ProbeBandit-v0", total_timesteps=3072, value_coef=0.0)
    for symbol in range(4):
        assert_prefers(agent, [symbol], symbol)


@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_discounted_values(gamma: float, tmp_path: Path) -> None:
    agent = trained(tmp_path, "ProbeDelayed-v0", total_timesteps=3072, gamma=gamma)
    expected = [gamma**3, gamma**2, gamma, 1.0]
    assert values_of(agent, [[step] for step in range(4)]) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(("gamma", "expected"), [(0.5, 0), (0.9, 1)])
def test_discounted_choice(gamma: float, expected: int, tmp_path: Path) -> None:
    # 2 after three more steps is worth 0.25 or 1.46 now, against 1 at once
    agent = trained(tmp_path, "ProbePatience-v0", total_timesteps=3072, gamma=gamma)
    assert_prefers(agent, [0], expected)


def test_values_beyond_a_time_limit(tmp_path: Path) -> None:
    # a task without an end, cut every four steps: 1 in each step is worth 1 + 0.8 + 0.8² + … = 5
    agent = trained(tmp_path, "toys:Toy-v0", max_episode_steps=4, total_timesteps=3072, gamma=0.8)
    assert values_of(agent, [[0.0]]) == pytest.approx([5.0], abs=0.2)


@pytest.mark.parametrize("recurrent", ["lstm", "gru", None])
def test_two_step_memory(recurrent: str | None, tmp_path: Path) -> None:
    network = NetworkConfig(hidden_sizes=[16], recurrent=recurrent, recurrent_size=16, sequence_length=4)
    settings = {"num_envs": 16, "batch_size": 128, "entropy_coef": 0.01, "total_timesteps": 5120}
    agent = trained(tmp_path, "ProbeRecall-v0", network=network, **settings)
    env = EnvConfig(id="ProbeRecall-v0")
    played = play(agent.policy, env, episodes=100, seed=0, deterministic=True, num_envs=16)
    if recurrent is None:  # one symbol in four is guessed
        assert played.mean < 0.5
    else:
        assert played.mean > 0.9


@pytest.mark.parametrize("source", ["observation", "info", "method"])
def test_mask(source: str, tmp_path: Path) -> None:
    # no choice changes what follows it, so each is judged by its own reward
    agent = trained(tmp_path, "ProbeMenu-v0", kwargs={"source": source}, total_timesteps=2048, gamma=0.0)
    for low, high in combinations(range(4), 2):
        mask = np.isin(range(4), (low, high))
        assert_prefers(agent, [*mask, 0.0] if source == "observation" else [0.0, *mask], high)


@pytest.mark.parametrize("distribution", ["gaussian", "squashed", "beta", "gsde"])
def test_continuous_target(distribution: str, tmp_path: Path) -> None:
    continuous = ContinuousConfig(distribution=distribution)
    agent = trained(tmp_path, "ProbeAim-v0", continuous=continuous, total_timesteps=3072)
    for number in (-0.8, 0.0, 0.8):
        action, *_ = agent.get_action([number], deterministic=True)
        assert agent.env_action(action) == pytest.approx([1 + number], abs=0.25)


def test_image_located_target(tmp_path: Path) -> None:
    network = NetworkConfig(hidden_sizes=[32], encoder="cnn")
    settings = {"buffer_size": 128, "epochs": 3, "lr": 0.003, "total_timesteps": 1536}
    agent = trained(tmp_path, "ProbeSpot-v0", network=network, **settings)
    for quarter, down, right in product(range(4), (0, ROOM), (0, ROOM)):
        assert_prefers(agent, picture(quarter, down, right), quarter)
