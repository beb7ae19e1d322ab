"""Environments as people write them, each with one habit that has gone wrong somewhere."""

from __future__ import annotations

import os
import random
import sys
import time
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

MAIN = os.getpid()


class Odd(gym.Env[Any, Any]):
    """Ten steps to an episode; pays what ``pay`` says."""

    observation_space: Any = Box(-1, 1, (2,), np.float32)
    action_space: Any = Discrete(2)
    length = 10

    def see(self) -> Any:
        return np.zeros(2, np.float32)

    def pay(self, action: Any) -> Any:
        return 1.0

    def tell(self) -> Any:
        return {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.time = 0
        return self.see(), self.tell()

    def step(self, action: Any) -> Any:
        self.time += 1
        paid = self.pay(action)
        return self.see(), paid, self.time == self.length, False, self.tell()


class Takes(Odd):
    """Takes its options out of the mapping that it is given."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.worth = options.pop("worth", 0.0)

    def pay(self, action: Any) -> Any:
        return self.worth


class OneArray(Odd):
    """Writes every observation into one array."""

    def __init__(self) -> None:
        self.array = np.zeros(2, np.float32)

    def see(self) -> Any:
        self.array[:] = self.time
        return self.array


class Lossy(Odd):
    """Sends what the type of its space cannot hold, from its third step on."""

    def __init__(self, dtype: str, value: float) -> None:
        self.observation_space = Box(0, 100, (1,), np.dtype(dtype))
        self.value = value

    def see(self) -> Any:
        return np.array([self.value if self.time > 20 else 1])

    length = 40


class Beyond(Odd):
    """A counter that runs past its categories."""

    length = 40

    def __init__(self, multi: bool) -> None:
        self.observation_space = MultiDiscrete([5, 30]) if multi else Discrete(30)
        self.multi = multi

    def see(self) -> Any:
        return np.array([0, self.time]) if self.multi else self.time


class Stuck(Odd):
    """From its twentieth step on nothing is allowed; until ``late`` it shows no mask at all."""

    length = 40

    def __init__(self, how: str, late: int = 0, stuck: int = 20) -> None:
        self.how, self.late, self.stuck = how, late, stuck
        if how == "dict":
            self.observation_space = Dict(see=Box(0, 100, (1,), np.float32), action_mask=MultiBinary(2))
        if how == "method":
            self.action_masks = self.mask

    def mask(self) -> Any:
        return np.array([0, self.time < self.stuck], np.int8)

    def see(self) -> Any:
        see = np.array([self.time], np.float32)
        return {"see": see, "action_mask": self.mask()} if self.how == "dict" else super().see()

    def tell(self) -> Any:
        if self.how == "none" and self.time % 2:
            return {"action_mask": None}
        return {"action_mask": self.mask()} if self.how in ("info", "none") and self.time >= self.late else {}

    def pay(self, action: Any) -> Any:
        assert action == 1 or self.how == "none", "forbidden"
        return 1.0


class Typed(Odd):
    """Wants the type of action that its space gives."""

    def pay(self, action: Any) -> Any:
        assert type(action) is np.int64
        return np.ones(1)  # and pays in an array


class Draws(Odd):
    """Draws from generators that everybody shares, or from its space."""

    def __init__(self, where: str) -> None:
        self.where = where

    def see(self) -> Any:
        draw = {
            "numpy": lambda: np.random.uniform(-1, 1), "python": lambda: random.uniform(-1, 1),
            "torch": lambda: torch.rand(()).item(), "space": lambda: self.observation_space.sample()[0],
        }[self.where]  # fmt: skip
        self.shown = draw()
        return np.array([self.shown, 0.0], np.float32)

    def pay(self, action: Any) -> Any:
        return float(self.shown)


class Bounds(Odd):
    """Bounds that differ from instance to instance."""

    def __init__(self) -> None:
        high = np.random.default_rng().uniform(2, 3)
        self.observation_space = Box(0, high, (2,), np.float32)


class Starts(Odd):
    """Cannot be built in a process of its own."""

    def __init__(self, how: str) -> None:
        if os.getpid() == MAIN:
            return
        if how == "raise":
            raise OSError("port 6005 is in use")
        if how == "exit":
            os._exit(7)
        if how == "kill":
            os.kill(os.getpid(), 9)
        time.sleep(60)


class Diverges(Odd):
    """Its array turns to NaN, and then it raises, once an episode."""

    length = 40

    def __init__(self) -> None:
        self.array = np.zeros(2, np.float32)

    def see(self) -> Any:
        self.array[:] = self.time / 100
        return self.array

    def pay(self, action: Any) -> Any:
        if self.time == 25:
            self.array[:] = np.nan
            raise RuntimeError("the simulation diverged")
        return 1.0


class Late(Odd):
    """Sets its space in reset."""

    def reset(self, **_: Any) -> Any:
        self.observation_space = Box(-1, 1, (3,), np.float32)
        return np.zeros(3, np.float32), {}


class Grows(Odd):
    """Its observation grows."""

    length = 40

    def see(self) -> Any:
        return np.zeros(2 if self.time < 25 else 3, np.float32)


class Old(Odd):
    """Of the old API."""

    def __init__(self, what: str) -> None:
        self.what = what

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        answer = super().reset(seed=seed)
        return {"bare": answer[0], "no info": (answer[0], None)}.get(self.what, answer)

    def step(self, action: Any) -> Any:
        observation, paid, ended, cut, info = super().step(action)
        return (observation, paid, ended, info) if self.what == "four" else (observation, paid, ended, cut, info)


class Doubles(Odd):
    """Changes torch's default type, and whether it notes gradients."""

    def __init__(self) -> None:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)

    def see(self) -> Any:
        assert torch.zeros(1).dtype == torch.float64
        assert not torch.is_grad_enabled()
        return super().see()


class Far(Odd):
    """A signal of ±10 around an offset, in the numbers of a type."""

    def __init__(self, dtype: str, offset: float) -> None:
        self.observation_space = Box(-(2**30), 2**30, (1,), np.dtype(dtype))
        self.offset = offset

    def see(self) -> Any:
        return (self.offset + self.np_random.integers(-10, 11, 1)).astype(self.observation_space.dtype)


class Solved(Odd):
    """Says of every second episode that it was solved."""

    count = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.count += 1
        return super().reset(seed=seed)

    def tell(self) -> Any:
        return {"is_success": self.count % 2 == 0} if self.time == self.length else {}


class Says(Odd):
    """Returns, from its 21st step on, one thing in the place of another."""

    length = 30

    def __init__(self, place: str, what: Any) -> None:
        self.place, self.what = place, what

    def step(self, action: Any) -> Any:
        observation, reward, *ends, _ = super().step(action)
        said = {"reward": reward, "terminated": ends[0], "truncated": ends[1], "is_success": self.time > 25}
        if self.time > 20:
            said[self.place] = self.what
        return (
            observation,
            *(said[key] for key in ("reward", "terminated", "truncated")),
            {"is_success": said["is_success"]},
        )


class Speaks(Odd):
    """Shows one mask in each step, whatever it holds."""

    def __init__(self, how: str, mask: list[Any]) -> None:
        self.how, self.mask = how, mask
        if how == "dict":
            self.observation_space = Dict(see=Box(0, 100, (1,), np.float32), action_mask=Box(-9, 1, (2,), np.float32))
        if how == "method":
            self.action_masks = lambda: np.array(self.mask)

    def see(self) -> Any:
        return {"see": np.zeros(1), "action_mask": self.mask} if self.how == "dict" else super().see()

    def tell(self) -> Any:
        return {"action_mask": self.mask} if self.how == "info" else {}


class Leaves(Odd):
    """Calls ``sys.exit`` in its 21st step."""

    length = 30

    def pay(self, action: Any) -> Any:
        return sys.exit(3) if self.time > 20 else 1.0


class Coin(Odd):
    """The same sight each time, and pay for whichever action was not taken last: a fixed choice earns nothing."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.before = 0
        return super().reset(seed=seed)

    def pay(self, action: Any) -> Any:
        paid, self.before = float(action != self.before), action
        return paid


for kind in (Takes, OneArray, Lossy, Beyond, Stuck, Typed, Draws, Bounds, Starts, Diverges, Late, Grows, Old, Doubles,
             Far, Solved, Says, Speaks, Leaves, Coin):  # fmt: skip
    gym.register(f"Odd{kind.__name__}-v0", entry_point=kind)
