"""Nine rooms in a row that is folded twice, and one reward, at the end of the last one.

From this folder: ``ppo-train env=sparse_grid:SparseGrid-v0 reward_transform=rnd:RND``.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # up, down, left, right


class SparseGrid(gym.Env[Any, Any]):
    """Square rooms, each with a door to the next one, which lies beside it or, at the end of a line, below it.

    An episode begins anywhere in the first room and ends at the goal, which alone gives a reward, of 1.

    Args:
        lines: Of as many rooms each; every second one is gone through from right to left.
        side: Fields along a room's side.
    """

    def __init__(self, lines: int = 3, side: int = 5) -> None:
        self.side, self.size = side, lines * (side + 1) - 1
        order = [(line, column) for line in range(lines) for column in (range(lines), range(lines)[::-1])[line % 2]]
        self.rooms = [(line * (side + 1), column * (side + 1)) for line, column in order]  # their upper left fields
        self.open = np.zeros((self.size, self.size), np.bool_)
        for row, column in self.rooms:
            self.open[row : row + side, column : column + side] = True
        for (row, column), (next_row, next_column) in pairwise(self.rooms):
            self.open[(row + next_row) // 2 + side // 2, (column + next_column) // 2 + side // 2] = True
        self.goal = tuple(corner + side - 1 for corner in self.rooms[-1])
        self.observation_space = gym.spaces.Box(0.0, 1.0, (2 * self.size,), np.float32)
        self.action_space = gym.spaces.Discrete(len(MOVES))
        self.set_start(1)

    def set_start(self, room: int) -> None:
        """Begin episodes in this room from the next one on, counted from 1, which is the usual one."""
        self.start = self.rooms[room - 1]

    def _observe(self) -> Any:
        """Row and column, each one-hot."""
        return np.eye(self.size, dtype=np.float32)[list(self.place)].reshape(-1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin in the first room, or where :meth:`set_start` says."""
        super().reset(seed=seed, options=options)
        self.place = tuple((self.np_random.integers(self.side, size=2) + self.start).tolist())
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One field further, if there is one."""
        row, column = (here + move for here, move in zip(self.place, MOVES[action], strict=True))
        if 0 <= row < self.size and 0 <= column < self.size and self.open[row, column]:
            self.place = (row, column)
        there = self.place == self.goal
        return self._observe(), float(there), there, False, {}


gym.register("SparseGrid-v0", SparseGrid, max_episode_steps=250)
