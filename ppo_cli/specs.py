"""What an agent must know of its environment's spaces, as plain data that a checkpoint can keep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


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

    def __post_init__(self) -> None:
        counts = (*self.obs_shape, self.num_actions)
        if any(type(number) is not int for number in (*counts, self.action_start)) or any(n < 1 for n in counts):
            raise ValueError(f"spaces of no agent: {self}")

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Spec:
        """The spec that ``dataclasses.asdict`` made plain.

        Raises:
            TypeError, ValueError, KeyError: if it is none.
        """
        return cls(tuple(plain["obs_shape"]), plain["num_actions"], float(plain["obs_scale"]), plain["action_start"])

    @property
    def obs_size(self) -> int:
        """Numbers in one observation."""
        return math.prod(self.obs_shape)
