"""Environments small enough to know what a correct agent must make of them; ``toys:Name-v0`` builds one."""

from __future__ import annotations

import os
import signal
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, Sequence, Text, Tuple
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
    """Raises at a given step, counted over all episodes, or from a given reset on."""

    resets = 0

    def __init__(self, at_step: int = 0, at_reset: int = 0) -> None:
        self.at_step, self.at_reset, self.total = at_step, at_reset, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.resets += 1
        if 0 < self.at_reset <= self.resets:
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

    def observe(self) -> Any:
        return np.full(3, 7, np.uint8)


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


class Dial(Toy):
    """Whole numbers within bounds as actions, which are neither choices nor continuous."""

    action_space = Box(0, 9, (1,), np.int64)


class Speaks(Toy):
    """A text as its action."""

    action_space = Text(5)


class Lists(Toy):
    """Observations of any length."""

    observation_space = Sequence(Discrete(3))


class Draws(Toy):
    """A graph among its observations."""

    observation_space = Dict({"here": Discrete(3), "plan": Graph(Box(0, 1, (1,)), None)})


for toy in (Dial, Speaks, Lists, Draws):
    gym.register(f"{toy.__name__}-v0", entry_point=toy)


ACTION_SPACES = {
    "discrete": Discrete(3, start=2),
    "multidiscrete": MultiDiscrete([2, 3], start=[0, 1]),
    "multibinary": MultiBinary(3),
    "box": Box(np.array([-1, 0], np.float32), np.array([1, 3], np.float32)),
    "dict": Dict({"wheel": Box(-2, 1, (2, 1), np.float64), "gear": Discrete(3, start=-1), "lights": MultiBinary(2)}),
    "tuple": Tuple((Box(0, 5, (1,), np.float32), MultiDiscrete([2, 3]))),
}
OBSERVATION_SPACES = {
    "float32": Box(-np.inf, np.inf, (3,), np.float32),
    "float64": Box(-5, 5, (2, 3), np.float64),
    "discrete": Discrete(4, start=-2),
    "multidiscrete": MultiDiscrete([[2, 3], [4, 2]]),
    "multibinary": MultiBinary((2, 2)),
    "dict": Dict({"camera": Box(0, 255, (36, 40, 1), np.uint8), "arm": Box(-1, 1, (2,)), "mode": Discrete(3, start=1)}),
    "tuple": Tuple((Box(-1, 1, (2,)), MultiBinary(2), Dict({"inner": Discrete(3)}))),
    "image": Box(0, 255, (36, 36, 3), np.uint8),
}


class Anything(gym.Env[Any, Any]):
    """Random observations and ends, with spaces of every kind; refuses actions that its space or its mask forbids.

    Args:
        action: One of ``ACTION_SPACES``.
        observation: One of ``OBSERVATION_SPACES``.
        mask: Where the allowed actions are shown: ``info``, ``key``, ``method``, or ``none``.
    """

    def __init__(self, action: str = "discrete", observation: str = "float32", mask: str = "none") -> None:
        self.action_space = ACTION_SPACES[action]
        self.seen = OBSERVATION_SPACES[observation]
        self.where = mask
        self.counts = [count for space in leaves(self.action_space) for count in choices(space)]
        self.mask = np.ones(sum(self.counts), np.int8)
        self.observation_space = self.seen
        if mask == "key":
            self.observation_space = Dict({"seen": self.seen, "action_mask": MultiBinary(len(self.mask))})
        if mask == "method":
            self.action_masks = lambda: np.split(self.mask, np.cumsum(self.counts)[:-1])
        self.draw = deepcopy(self.seen)  # the table's spaces are shared

    def observe(self) -> tuple[Any, dict[str, Any]]:
        observation, info = self.draw.sample(), {}
        if self.where != "none":
            parts = []
            for count in self.counts:
                part = self.np_random.integers(0, 2, count)
                part[self.np_random.integers(count)] = 1
                parts.append(part)
            self.mask = np.concatenate(parts).astype(np.int8)
        if self.where == "key":
            observation = {"seen": observation, "action_mask": self.mask.copy()}
        if self.where == "info":
            info["action_mask"] = self.mask.copy()
        return observation, info

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.draw.seed(seed)
        return self.observe()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), f"{action!r} is none of {self.action_space}"
        numbers = [index for space, part in paired(self.action_space, action) for index in chosen(space, part)]
        firsts = np.cumsum([0, *self.counts])[:-1] if self.counts else []
        for first, index in zip(firsts, numbers, strict=True):
            assert self.mask[first + index], f"{action!r} is forbidden by {self.mask}"
        terminated, truncated = (self.np_random.random(2) < 0.15).tolist()
        observation, info = self.observe()
        return observation, float(self.np_random.normal()), terminated, truncated, info


def leaves(space: Any) -> list[Any]:
    return [leaf for leaf, _ in paired(space, None)]


def paired(space: Any, value: Any) -> list[tuple[Any, Any]]:
    """The simple spaces that a space is made of, each with its part of a value."""
    if isinstance(space, Dict):
        return [pair for key, one in space.items() for pair in paired(one, None if value is None else value[key])]
    if isinstance(space, Tuple):
        return [pair for key, one in enumerate(space) for pair in paired(one, None if value is None else value[key])]
    return [(space, value)]


def choices(space: Any) -> list[int]:
    """Choices of each entry of a simple space."""
    if isinstance(space, Discrete):
        return [int(space.n)]
    if isinstance(space, MultiDiscrete):
        return space.nvec.ravel().tolist()
    return [2] * space.n if isinstance(space, MultiBinary) else []


def chosen(space: Any, value: Any) -> list[int]:
    """Each entry's choice, counted from 0."""
    if isinstance(space, Box):
        return []
    return np.ravel(value - getattr(space, "start", 0)).tolist()


class OneArray(Toy):
    """Writes every observation into the same array, as fast environments do: the step's number and the episode's."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float32)

    def __init__(self) -> None:
        self.array, self.episode = np.zeros(2, np.float32), 0

    def observe(self) -> Any:
        self.episode += self.steps == 0
        self.array[:] = self.steps, self.episode
        return self.array


class Dies(Toy):
    """Its process ends, or it raises, at a given step.

    Args:
        at_step: The step, counted over all episodes of this object.
        how: ``exit``, ``kill``, ``raise`` or ``odd`` (an error that no process can tell another of).
        seed: Only where it was reset with this seed; ``None`` is always.
    """

    def __init__(self, at_step: int, how: str = "exit", seed: int | None = None) -> None:
        self.at_step, self.how, self.seed, self.total = at_step, how, seed, 0
        self.doomed = seed is None

    def observe(self) -> Any:
        return np.full(1, self.steps, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None and self.seed is not None:
            self.doomed = seed == self.seed
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.total += 1
        if self.total == self.at_step and self.doomed:
            if self.how == "exit":
                os._exit(3)
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("the wheel came off") if self.how == "raise" else Odd("the wheel", lambda: None)
        return super().step(action)


class Odd(Exception):  # noqa: N818  (an error of somebody's)
    """Cannot be pickled, nor made of one argument."""

    def __init__(self, part: str, why: Any) -> None:
        super().__init__(part, why)
        self.part = part

    def __str__(self) -> str:
        return f"{self.part} is odd"


class Wrong(Toy):
    """Breaks its promises in one way.

    Args:
        how: ``shape``, ``nan``, ``text``, ``category``, ``missing``, ``reward nan``, ``reward text``, ``reward none``,
            ``raise reset`` or ``raise step``.
        late: Steps that all goes well for.
    """

    def __init__(self, how: str, late: int = 0) -> None:
        self.how, self.late = how, late
        if how == "exit init":
            sys.exit(0)
        if how == "no spaces":
            self.observation_space = None
        if how == "category":
            self.observation_space = Discrete(3, start=1)
        if how == "missing":
            self.observation_space = Dict({"a": Box(0, 1, (1,)), "b": Box(0, 1, (1,))})

    def observe(self) -> Any:
        bad = self.steps >= self.late
        if self.how == "category":
            return 0 if bad else 1
        if self.how == "missing":
            return {"a": np.zeros(1, np.float32)} | ({} if bad else {"b": np.zeros(1, np.float32)})
        odd = {"shape": np.zeros(2, np.float32), "nan": np.full(1, np.nan, np.float32), "text": np.array(["x"])}
        return odd[self.how] if bad and self.how in odd else np.zeros(1, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if self.how == "raise reset":
            raise ValueError("the reset motor is stuck")
        if self.how == "exit reset":
            sys.exit(0)
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, *rest = super().step(action)
        if self.steps > self.late:
            if self.how == "raise step":
                raise ValueError("the wheel came off")
            reward = {"reward nan": np.nan, "reward text": "much", "reward none": None}.get(self.how, reward)
        return observation, reward, *rest


class Unlucky(Toy):
    """Allows nothing at the start of its episodes, which it says in ``info`` or in its observation."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.action_space = MultiDiscrete([2, 3])
        if source == "observation":
            self.observation_space = Dict(action_mask=MultiBinary(5))

    def _mask(self) -> Any:
        return np.array([1, 1, 0, 0, 0], np.int8)

    def observe(self) -> Any:
        return {"action_mask": self._mask()} if self.source == "observation" else np.zeros(1, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        return observation, info if self.source == "observation" else {"action_mask": self._mask()}


class FailsToClose(Toy):
    """Raises where it is closed."""

    def close(self) -> None:
        raise ConnectionError("the door is stuck")


for toy in (Unlucky, FailsToClose):
    gym.register(f"{toy.__name__}-v0", entry_point=toy)


def not_a_wrapper(env: Any) -> int:
    """A wrapper of somebody's that makes no environment."""
    return 3


class Doubled(gym.ObservationWrapper[Any, Any, Any]):
    """A wrapper of somebody's: observations times a factor; raises at a certain observation."""

    def __init__(self, env: gym.Env[Any, Any], factor: float = 2.0, breaks_at: float | None = None) -> None:
        super().__init__(env)
        self.factor, self.breaks_at = factor, breaks_at

    def observation(self, observation: Any) -> Any:
        if self.breaks_at is not None and observation[0] == self.breaks_at:
            raise ValueError("the lens is cracked")
        return (observation * self.factor).astype(np.float32)


gym.register("Any-v0", entry_point=Anything)
gym.register("AnyInStep-v0", entry_point=Anything, vector_entry_point=in_step(Anything))
for toy in (OneArray, Dies, Wrong):
    gym.register(f"{toy.__name__}-v0", entry_point=toy)


class Nested(Toy):
    """Takes an action of every kind at once, and shows it."""

    action_space = Dict(
        steer=Box(-1, 1, (2,), np.float32),
        press=Tuple([Discrete(3, start=1), MultiDiscrete([2, 3])]),
        on=MultiBinary(2),
    )
    observation_space = Dict(step=Discrete(9), last=action_space)

    def observe(self) -> Any:
        last = self.last if self.steps else {"steer": np.zeros(2, np.float32), "press": (1, [0, 0]), "on": [0, 0]}
        return {"step": self.steps, "last": last}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.last = action
        return super().step(action)


class Masked(Toy):
    """In step k of its episodes of three, only option k is allowed, which it says in one of four ways.

    Args:
        source: ``observation``, ``info``, ``tuple`` (in info, one per entry of the action), or ``method``.
        every: Steps from one mask in info to the next.
        options_at_end: How many are allowed where an episode is over.
        breaks_after: Steps after which the next one raises.
    """

    def __init__(self, source: str, every: int = 1, options_at_end: int = 1, breaks_after: int | None = None) -> None:
        self.source, self.every, self.options_at_end, self.breaks_after = source, every, options_at_end, breaks_after
        self.action_space = MultiDiscrete([2, 3]) if source == "tuple" else Discrete(5)
        if source == "observation":
            self.observation_space = Dict(clock=Toy.observation_space, action_mask=MultiBinary(5))
        if source == "method":
            self.action_masks = self._mask

    def _mask(self) -> Any:
        return (np.arange(5) == self.steps) * (self.options_at_end if self.steps == 3 else 1)

    def observe(self) -> Any:
        clock = np.full(1, self.steps, np.float32)
        return {"clock": clock, "action_mask": self._mask()} if self.source == "observation" else clock

    def _info(self) -> dict[str, Any]:
        if self.source not in ("info", "tuple") or self.steps % self.every:
            return {}
        mask = self._mask()
        return {"action_mask": (mask[:2], mask[2:]) if self.source == "tuple" else mask}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        observation, _ = super().reset(seed=seed, options=options)
        return observation, self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.steps == self.breaks_after:
            raise ValueError("the wheel came off")
        observation, reward, *_ = super().step(action)
        return observation, reward, self.steps == 3, False, self._info()


for toy in (Nested, Masked):
    gym.register(f"{toy.__name__}-v0", entry_point=toy)


def kept_near(
    log_probs: torch.Tensor, old_log_probs: torch.Tensor, advantages: torch.Tensor, clip_ratio: torch.Tensor
) -> torch.Tensor:
    """An objective of somebody's, with a number of its own in it."""
    moved = log_probs - old_log_probs
    return moved * advantages - torch.tensor(0.5) * moved.square() / clip_ratio


class Mirror(torch.nn.Module):
    """A network of somebody's: the absolute value of a linear map of the observation."""

    width = 5

    def __init__(self, obs_size: int) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(obs_size, self.width)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.inner(rows).abs()


class Scaled(torch.nn.Module):
    """Features that a buffer scales, which is no parameter."""

    width = 3

    def __init__(self, obs_size: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(obs_size, self.width)
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, rows: Any) -> Any:
        return self.layer(rows) * self.scale


class Squares(torch.nn.Module):
    """A network of somebody's that has nothing to learn."""

    def __init__(self, obs_size: int) -> None:
        super().__init__()
        self.width = obs_size

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.square()


class Shapeless(torch.nn.Module):
    """A network of somebody's that does not say how many features it gives."""

    def __init__(self, obs_size: int) -> None:
        super().__init__()


class Rows(torch.nn.Module):
    """A network of somebody's with one linear layer, and the base of some with a fault."""

    def __init__(self, obs_size: int) -> None:
        super().__init__()
        self.width = 3
        self.layer = torch.nn.Linear(obs_size, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.layer(rows)


class TooNarrow(Rows):
    """Says that it is wider than it is."""

    def __init__(self, obs_size: int) -> None:
        super().__init__(obs_size)
        self.width = 4


class Forgetful(Rows):
    """Forgets half of its features, other ones each time."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(self.layer(rows), 0.5)


class Counting(Rows):
    """Counts in a buffer how often it is called."""

    def __init__(self, obs_size: int) -> None:
        super().__init__(obs_size)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.layer(rows)


class KeepsFeatures(Rows):
    """Keeps what it made last, and all sums of what it made."""

    def __init__(self, obs_size: int) -> None:
        super().__init__(obs_size)
        self.last: torch.Tensor | None = None
        self.sums: list[torch.Tensor] = []

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.last = self.layer(rows)
        self.sums.append(self.last.detach().sum())
        return self.last


class Bare:
    """A network of somebody's that is no module."""

    width = 3

    def __init__(self, obs_size: int) -> None: ...


class MaskedStart(Anything):
    """Allows all but an episode's first action, and shows no mask then."""

    def __init__(self) -> None:
        super().__init__(mask="info")

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        *result, info = super().step(action)
        del info["action_mask"]
        self.mask[:] = 1
        return *result, info


gym.register("MaskedStart-v0", entry_point=MaskedStart)


class Faulty(Walk):
    """A walk that fails at a step of its own, counted over all its episodes, or at the first reset after that.

    Args:
        how: ``raise step``, ``raise reset``, ``exit``, ``kill``; ``reward nan``, ``reward inf``, ``reward huge``,
            ``observation nan``, ``nan then raise``, or
            ``last nan``, which is that of an episode that is cut short; ``none`` is sound.
        seed: Only where it was reset with this seed last.
        at_step: The step.
        fuse: A file that burns at the fault; without it there is none. ``None``: the fault comes back.
    """

    def __init__(self, how: str = "none", seed: int = 0, at_step: int = 0, fuse: str | None = None) -> None:
        super().__init__()
        self.how, self.seed, self.at_step, self.fuse = how, seed, at_step, fuse
        self.doomed, self.total = False, 0

    def fails(self, *ways: str) -> bool:
        """Whether it is to fail now, in one of these ways."""
        due = self.how in ways and self.doomed and self.total >= self.at_step
        if not due or self.fuse is None:
            return due and self.total == self.at_step
        burns = Path(self.fuse).exists()
        Path(self.fuse).unlink(missing_ok=True)
        return burns

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self.doomed = seed == self.seed
        if self.fails("raise reset"):
            raise ValueError("the reset motor is stuck")
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.total += 1
        observation, reward, *ends, info = super().step(action)
        if self.fails("raise step"):
            raise ValueError("the wheel came off")
        if self.fails("exit"):
            os._exit(3)
        if self.fails("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fails("reward nan", "reward inf", "reward huge"):
            reward = {"nan": np.nan, "inf": np.inf, "huge": 3e38}[self.how.split()[1]]
        if self.how == "nan then raise" and self.doomed and self.total == self.at_step + 1:
            raise ValueError("the action is none")
        if self.fails("observation nan", "nan then raise"):
            observation, ends = np.full(1, np.nan, np.float32), [False, False]
        if self.fails("last nan"):
            observation, ends = np.full(1, np.nan, np.float32), [False, True]
        return observation, reward, *ends, info


gym.register("Faulty-v0", entry_point=Faulty)


class Grumbler:
    """A logger of somebody's that fails at one of its calls.

    Args:
        run_dir: The run's folder.
    """

    fails_at = ""

    def __init__(self, run_dir: Any) -> None:
        self.run_dir, self.rows = run_dir, 0

    def start(self, run: Any) -> None:
        if self.fails_at == "start":
            raise ConnectionError("the server is down")

    def log(self, row: Any) -> None:
        self.rows += 1
        if self.fails_at == "log" and self.rows == 5:
            raise ConnectionError("the server is down")

    def close(self, summary: dict[str, Any]) -> None:
        if self.fails_at == "close":
            raise ConnectionError("the server is down")


class LacksClose:
    """A logger of somebody's that is not finished."""

    def __init__(self, run_dir: Any) -> None: ...

    def start(self, run: Any) -> None: ...

    def log(self, row: Any) -> None: ...


class FailsInStart(Grumbler):
    """At start."""

    fails_at = "start"


class FailsInLog(Grumbler):
    """At its fifth row."""

    fails_at = "log"


class FailsInClose(Grumbler):
    """At close."""

    fails_at = "close"
