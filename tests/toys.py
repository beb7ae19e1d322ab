"""Environments small enough to know what a correct agent must make of them; ``toys:Name-v0`` builds one."""

from __future__ import annotations

import signal
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit


class Toy(gym.Env[Any, Any]):
    """An observation of one number, two actions, a reward of 1, and no end of its own."""

    observation_space: Any = Box(-np.inf, np.inf, (1,), np.float32)
    action_space: Any = Discrete(2)
    steps = 0

    def observe(self) -> Any:
        return np.zeros(1, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.observe(), 1.0, False, False, {}


class Clock(Toy):
    """Shows the number of its step; ends after ``length`` steps, or is cut by ``max_episode_steps``."""

    def __init__(self, length: int | None = None) -> None:
        self.length = length

    def observe(self) -> Any:
        return np.full(1, self.steps, np.float32)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, *_ = super().step(action)
        return observation, reward, self.steps == self.length, False, {}


class Both(Toy):
    """Says of its third step that it terminated and was truncated."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, *_ = super().step(action)
        return observation, reward, self.steps == 3, self.steps == 3, {}


class Identity(Toy):
    """Shows one of four symbols as a one-hot vector; the action of the same number gets the reward."""

    observation_space = Box(0, 1, (4,), np.float32)
    action_space = Discrete(4)

    def observe(self) -> Any:
        self.symbol = int(self.np_random.integers(4))
        return np.eye(4, dtype=np.float32)[self.symbol]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = float(action == self.symbol)
        observation, *_ = super().step(action)
        return observation, reward, self.steps == 8, False, {}


class Walk(Toy):
    """A random walk of random length, whose returns depend on the seed and on every action; can be filmed."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def observe(self) -> Any:
        if self.steps == 0:
            self.position = self.np_random.normal()
        return np.full(1, self.position, np.float32)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.position += (2 * int(action) - 1) * 0.3 + self.np_random.normal() * 0.1
        observation, *_ = super().step(action)
        return observation, float(self.position), bool(self.np_random.random() < 0.1), self.steps == 30, {}

    def render(self) -> Any:
        picture = np.zeros((64, 96, 3), np.uint8)
        picture[:, : 1 + self.steps % 96] = 255
        return picture


class Worn(Toy):
    """Carries its age over a reset, as some environments do; the reward is the age."""

    age = 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.age += 1
        observation, *_ = super().step(action)
        return observation, float(self.age), self.steps == 3, False, {}


class FromFive(Toy):
    """Its actions are 5, 6 and 7; any other is refused."""

    action_space = Discrete(3, start=5)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action in (5, 6, 7), action
        observation, *_ = super().step(action)
        return observation, float(action), self.steps == 4, False, {}


class Breaks(Toy):
    """Raises at a given step, counted over all episodes, or at a reset."""

    def __init__(self, at_step: int = 0, at_reset: bool = False) -> None:
        self.at_step, self.at_reset, self.total = at_step, at_reset, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if self.at_reset:
            raise ValueError("the reset motor is stuck")
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.total += 1
        if self.total == self.at_step:
            raise ValueError("the wheel came off")
        return super().step(action)


class Interrupts(Toy):
    """Presses Ctrl-C at a given step."""

    def __init__(self, at_step: int) -> None:
        self.at_step = at_step

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.steps + 1 == self.at_step:
            signal.raise_signal(signal.SIGINT)
        return super().step(action)


class Pixels(Toy):
    """A small 8-bit picture."""

    observation_space = Box(0, 255, (4, 5, 3), np.uint8)

    def observe(self) -> Any:
        return np.full((4, 5, 3), 255, np.uint8)


class Bytes(Toy):
    """A vector of bytes, which is no picture."""

    observation_space = Box(0, 255, (3,), np.uint8)


class Named(Toy):
    """Observations with names."""

    observation_space = Dict({"a": Box(0, 1, (1,))})


class Steered(Toy):
    """Continuous actions."""

    action_space = Box(-1, 1, (1,))


class Buttons(Toy):
    """Several choices at once."""

    action_space = MultiDiscrete([2, 2])


TOYS = (Toy, Clock, Both, Identity, Walk, Worn, FromFive, Breaks, Interrupts, Pixels, Bytes, Named, Steered, Buttons)
for toy in TOYS:
    gym.register(f"{toy.__name__}-v0", entry_point=toy)


def in_step(toy: type[Toy]) -> Any:
    """A vector program for a toy, of the habit that vector programs have: the reset takes a step of its own."""

    def build(num_envs: int, max_episode_steps: int | None = None, **kwargs: Any) -> SyncVectorEnv:
        def make() -> gym.Env[Any, Any]:
            return toy(**kwargs) if max_episode_steps is None else TimeLimit(toy(**kwargs), max_episode_steps)

        return SyncVectorEnv([make] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP)

    return build


for toy in (Clock, Walk, Both):
    gym.register(f"{toy.__name__}InStep-v0", entry_point=toy, vector_entry_point=in_step(toy))
