"""Who acts while a rollout is collected."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ppo_cli.agent.policy import Acted, Policy
from ppo_cli.algorithm.rollout import ObsRows
from ppo_cli.networks.categorical import CategoricalHead

MOST_WORK = 2**18
"""Multiplications of a product, up to which NumPy's library takes one thread for it, whatever the machine has."""

ROUNDING = 1e-5
"""What a logit may be off by rounding, for each unit of the largest sum of a choice's weights, and 1 more.

Hidden units lie within ±1, so that sum is all that a logit can be. On random networks of 64 to 256 units NumPy's and
torch's logits differ by less than a fiftieth of it.
"""


class Actor:
    """Acts for the steps of one rollout, whatever the network is.

    Args:
        policy: Whose parameters and normalisers count, as they are now.
        steps: Steps of the rollout, whose randomness is drawn now.
        num_envs: Environments that step side by side.
    """

    def __init__(self, policy: Policy, steps: int, num_envs: int) -> None:
        self._policy = policy
        noise = policy.noise(steps, num_envs)
        self._noise = noise.unbind(0)

    def act(self, rows: ObsRows, step: int) -> Acted:
        """Actions for rows (envs, row_size), sampled with the randomness of a step."""
        return self._policy.act(rows, self._noise[step])


class SmallActor(Actor):
    """The same actions by a few calls of NumPy, which cost a third of torch's where the arithmetic costs next to nothing.

    NumPy rounds products otherwise than torch. So where the two best choices lie closer together than rounding could
    matter, torch decides: which action is taken depends on the policy alone, and never on who computes it.
    """

    def __init__(self, policy: Policy, steps: int, num_envs: int) -> None:
        super().__init__(policy, steps, num_envs)
        self._numbers = [noise.numpy() for noise in self._noise]
        *hidden, last = [(weight.numpy(), bias.numpy()) for weight, bias in policy.layers()]
        self._hidden = [(*layer, np.empty((num_envs, layer[1].size), np.float32)) for layer in hidden]
        self._weight, self._bias = last
        self._margin = np.float32(ROUNDING * (1.0 + np.abs(self._weight).sum(0).max()))
        self._logits = np.empty((num_envs, self._bias.size), np.float32)
        self._near = np.empty(self._logits.shape, np.bool_)
        standard = policy.normalizers.observation.standard()
        self._standard = None if standard is None else [part.numpy() for part in standard]
        self._rows = np.empty((num_envs, policy.row_size), np.float32)
        self._num_envs = num_envs

    def act(self, rows: ObsRows, step: int) -> Acted:
        """As :meth:`Actor.act`."""
        hidden = rows if self._standard is None else self._standardised(rows, *self._standard)
        tanh = np.tanh
        for weight, bias, out in self._hidden:
            hidden.dot(weight, out)
            out += bias
            hidden = tanh(out, out)
        logits, near = hidden.dot(self._weight, self._logits), self._near
        logits += self._bias
        logits += self._numbers[step]
        least = np.maximum.reduce(logits, 1, None, None, True)
        least -= self._margin
        np.greater(logits, least, near)
        if np.count_nonzero(near) != self._num_envs:  # too close, or NaN
            return super().act(rows, step)
        actions: ObsRows = near.argmax(1, None, keepdims=True)
        return Acted(actions, actions, None)

    def _standardised(self, rows: ObsRows, mean: Any, scale: Any, limit: Any) -> npt.NDArray[np.float32]:
        """As the observations' normaliser makes them."""
        standard = np.subtract(rows, mean, self._rows)
        standard *= scale
        np.maximum(standard, -limit, standard)
        return np.minimum(standard, limit, standard)


def make_actor(policy: Policy, steps: int, num_envs: int) -> Actor:
    """Who acts for a rollout's steps: the fastest who takes the actions of this policy."""
    small = (
        type(policy.head) is CategoricalHead
        and policy.network.dense
        and policy.device.type == "cpu"
        and policy.row_dtype == np.float32
        and num_envs * policy.network.work <= MOST_WORK
    )
    return (SmallActor if small else Actor)(policy, steps, num_envs)
