"""CartPole-v1 without its velocities, which only a network with memory can make up for.

From this folder: ``ppo-train env=CartPole-v1 'env.wrappers=[partial:Positions]' network=lstm``.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np


class Positions(gym.ObservationWrapper[Any, Any, Any]):
    """The cart's place and the pole's angle alone."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, gym.spaces.Box)
        self.observation_space = gym.spaces.Box(space.low[[0, 2]], space.high[[0, 2]], dtype=np.float32)

    def observation(self, observation: Any) -> Any:
        """Entries 0 and 2 of the four."""
        return observation[[0, 2]]
