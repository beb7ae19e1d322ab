"""Callbacks, reward transforms and an environment for the tests of what research may hang into a run."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import toys
from torch import Tensor

from ppo_cli import Callback, RewardTransform
from ppo_cli.training.callbacks import Run
from ppo_cli.training.rewards import Experience


class Lift(toys.Walk):
    """A walk whose every step pays its level on top; at ``breaks_at`` it raises, once in all."""

    built = 0

    def __init__(self, breaks_at: int | None = None) -> None:
        super().__init__()
        Lift.built += 1
        self.level, self.breaks_at = 0.0, breaks_at if Lift.built == 2 else None  # the first one is looked at alone

    def set_level(self, level: float, times: float = 1.0) -> float:
        if level < 0:
            raise ValueError("below the ground")
        self.level = level * times
        return self.level

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.steps == self.breaks_at:
            raise RuntimeError("the rope is torn")
        observation, _, terminated, truncated, info = super().step(action)
        return observation, self.level, terminated, truncated, info


gym.register("Lift-v0", entry_point=Lift)


class Raise(Callback):
    """Raises the level by one with every second iteration."""

    metrics = ("lift/level", "lift/told")

    def __init__(self, in_evaluation: bool = True) -> None:
        self.level, self.in_evaluation = 0, in_evaluation

    def on_iteration(self, row: Mapping[str, Any], run: Run) -> Mapping[str, float | int | None]:
        told = None
        if row["iteration"] % 2 == 1:
            self.level += 1
            told = len(run.envs.call("set_level", self.level, in_evaluation=self.in_evaluation, times=1.0))
        return {"lift/level": float(self.level), "lift/told": told}

    def state_dict(self) -> dict[str, Any]:
        return {"level": self.level, "memory": torch.full((2,), float(self.level))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.level = state["level"]
        assert state["memory"].tolist() == [self.level] * 2


class Draws(Callback):
    """Draws from every global generator, and tells what came."""

    metrics = ("draws/sum",)

    def on_start(self, run: Run) -> None:
        torch.rand(3)

    def on_iteration(self, row: Mapping[str, Any], run: Run) -> Mapping[str, float | int | None]:
        return {"draws/sum": random.random() + float(np.random.random()) + torch.rand(()).item()}


class Stops(Callback):
    """Ends the run after an iteration."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_iteration(self, row: Mapping[str, Any], run: Run) -> None:
        if row["iteration"] == self.at:
            run.stop(f"iteration {self.at} is enough")


class Tells(Callback):
    """Notes what it is called with."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def on_start(self, run: Run) -> None:
        self.heard.append(("start", run.progress.iteration))

    def on_iteration(self, row: Mapping[str, Any], run: Run) -> None:
        self.heard.append(("iteration", row["iteration"]))

    def on_evaluation(self, evaluation: Any, run: Run) -> None:
        self.heard.append(("evaluation", len(evaluation.returns)))

    def on_end(self, run: Run) -> None:
        self.heard.append(("end", run.progress.iteration))


class Wrong(Callback):
    """Breaks its word in one of several ways."""

    metrics = ("wrong/number",)

    def __init__(self, how: str) -> None:
        self.how = how

    def on_iteration(self, row: Mapping[str, Any], run: Run) -> Any:
        if self.how == "raise":
            raise ValueError("no more")
        if self.how == "write":
            row["step"] = 0  # type: ignore[index]
        return {"undeclared": {"wrong/other": 1.0}, "text": {"wrong/number": "many"}}.get(self.how)

    def state_dict(self) -> dict[str, Any]:
        return {"array": [np.zeros(2)]} if self.how == "state" else {}


class Taken(Callback):
    """Names a metric that every run has."""

    metrics = ("train/lr",)


class Seen(RewardTransform):
    """Keeps what it sees and changes nothing."""

    last: Experience

    def __call__(self, experience: Experience) -> Tensor:
        Seen.last = experience
        return experience.rewards


class Learnt(RewardTransform):
    """Adds what a network of its own, which learns as it goes, makes of what follows; draws random numbers, too."""

    metrics = ("learnt/error",)

    def __init__(self, spec: Any, device: Any, scale: float = 1.0) -> None:
        super().__init__(spec, device)
        self.scale, self.error = scale, 0.0
        self.network = torch.nn.Linear(spec.obs_size, 1)
        self.optimiser = torch.optim.Adam(self.network.parameters(), 0.1)

    def __call__(self, experience: Experience) -> Tensor:
        target = torch.rand(experience.rewards.shape)
        guess = self.network(experience.next_observations).squeeze(-1)
        loss = ((guess - target).square() * experience.valid).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.error = loss.item()
        return experience.rewards + self.scale * guess.detach()

    def report(self) -> Mapping[str, float | int | None]:
        return {"learnt/error": self.error}

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])


class Spoils(RewardTransform):
    """Makes what are no rewards."""

    def __init__(self, spec: Any, device: Any, how: str) -> None:
        super().__init__(spec, device)
        self.how = how

    def __call__(self, experience: Experience) -> Any:
        if self.how == "raise":
            raise ValueError("no reward")
        made = {"shape": experience.rewards[0], "text": "much", "nan": experience.rewards * torch.nan}
        return made[self.how]
