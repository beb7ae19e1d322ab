"""Who acts while a rollout is collected."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ppo_cli.agent.policy import Acted, Policy
from ppo_cli.algorithm.rollout import Floats, ObsRows
from ppo_cli.networks.categorical import CategoricalHead

MOST_WORK = 2**18
"""Multiplications of a product up to which NumPy's library takes one thread for it, whatever the machine has."""

ROUNDING = 1e-5
"""How far apart NumPy's and torch's logits may lie, for each unit of the largest sum of a choice's weights, and 1 more.

Hidden units lie within ±1, so that sum bounds the logits. On random networks of 16 to 256 units, and in training, they
lie less than a tenth of it apart.
"""


class Actor:
    """Acts for the steps of one rollout, whatever the network is.

    Args:
        policy: Whose parameters and normalisers count, as they are now.
        noise: The rollout's randomness, (steps, envs, numbers of the head).
    """

    def __init__(self, policy: Policy, noise: Tensor) -> None:
        self._policy = policy
        self._drawn: Sequence[Tensor] = noise.unbind(0)

    def act(self, rows: ObsRows, step: int) -> Acted:
        """Actions for rows (envs, row_size), sampled with the randomness of a step."""
        return self._policy.act(rows, self._drawn[step])


class SmallActor(Actor):
    """The same actions by a few calls of NumPy: torch's take thrice as long where arithmetic takes next to no time.

    NumPy rounds products otherwise. So where the two best choices lie closer together than rounding could matter, torch
    decides: which action is taken depends on the policy alone, and never on who computes it.
    """

    def __init__(self, policy: Policy, noise: Tensor) -> None:
        super().__init__(policy, noise)
        num_envs = self._num_envs = noise.shape[1]
        *hidden, (weight, bias) = [(weight.numpy(), bias.numpy()) for weight, bias in policy.layers()]
        self._hidden = [(*layer, np.empty((num_envs, layer[0].shape[1]), np.float32)) for layer in hidden]
        self._weight = weight
        self._added: Floats = noise.numpy() + bias
        self._logits = np.empty((num_envs, bias.size), np.float32)
        self._near = np.empty((num_envs, bias.size), np.bool_)
        self._margin = np.float32(ROUNDING * (1.0 + (np.abs(weight).sum(0) + np.abs(bias)).max()))
        standard = policy.normalizers.observation.standard()
        self._standard = None if standard is None else [part.numpy() for part in standard]
        self._rows = np.empty((num_envs, policy.row_size), np.float32)

    def act(self, rows: ObsRows, step: int) -> Acted:
        """As :meth:`Actor.act`."""
        logits, near = self._compute(rows), self._near
        logits += self._added[step]
        least = np.maximum.reduce(logits, 1, keepdims=True)
        least -= self._margin
        np.greater(logits, least, near)
        if np.count_nonzero(near) != self._num_envs:  # too close, or NaN
            return super().act(rows, step)
        actions: ObsRows = near.argmax(1, keepdims=True)
        return Acted(actions, actions, None)

    def _compute(self, rows: ObsRows) -> Floats:
        """Logits (envs, choices) but for the biases, which stand with the noise."""
        hidden: npt.NDArray[np.float32] = rows
        if self._standard is not None:
            mean, scale, limit = self._standard
            hidden = np.subtract(rows, mean, out=self._rows)
            hidden *= scale
            np.maximum(hidden, -limit, out=hidden)
            np.minimum(hidden, limit, out=hidden)
        for weight, bias, out in self._hidden:
            hidden.dot(weight, out)
            out += bias
            hidden = np.tanh(out, out)
        logits: Floats = hidden.dot(self._weight, self._logits)
        return logits


def make_actor(policy: Policy, steps: int, num_envs: int) -> Actor:
    """Who acts for the steps of the rollout that begins now: the fastest that there is for this policy."""
    noise = policy.noise(steps, num_envs)
    small = (
        type(policy.head) is CategoricalHead
        and policy.network.dense
        and policy.device.type == "cpu"
        and policy.row_dtype == np.float32
        and num_envs * policy.network.work <= MOST_WORK
    )
    return (SmallActor if small else Actor)(policy, noise)
