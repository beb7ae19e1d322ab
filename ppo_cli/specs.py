"""What an agent must know of its environment's spaces, as plain data that a checkpoint can keep."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Spec:
    """Shapes and ranges of observations and actions.

    Attributes:
        obs_shape: Shape of one observation.
        obs_scale: Factor that every observation is multiplied with on its way into the network: 1, or 1/255 for
            8-bit images.
        num_actions: Number of discrete actions.
        action_start: The environment's name of action 0.
    """

    obs_shape: tuple[int, ...]
    num_actions: int
    obs_scale: float = 1.0
    action_start: int = 0

    @property
    def obs_size(self) -> int:
        """Numbers in one observation."""
        return math.prod(self.obs_shape)
