"""A policy: network, action head and normalisers under one set of parameters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ppo_cli.buffer import Floats
from ppo_cli.config import PPOConfig
from ppo_cli.distributions import CategoricalHead
from ppo_cli.networks import ActorCritic
from ppo_cli.normalization import make_normalizers
from ppo_cli.seeding import stream_generator
from ppo_cli.specs import Spec


class Policy:
    """From observations to actions and values.

    Args:
        spec: The spaces.
        config: Network and normalisers.
        device: Where tensors live.
        seed: Root of the streams that the first parameters and the sampled actions are drawn from.
        num_envs: Environments that experience will come from.
    """

    def __init__(self, spec: Spec, config: PPOConfig, device: torch.device, seed: int, num_envs: int) -> None:
        self.spec, self.device = spec, device
        self.head = CategoricalHead(spec.num_actions)
        self.network = ActorCritic(spec.obs_size, self.head.num_outputs, config.network)
        self.normalizers = make_normalizers(config, spec.obs_size, num_envs, device)
        self.action_stream = stream_generator(seed, "action")
        self.set_parameters(self.network.init(stream_generator(seed, "init")).to(device))

    def set_parameters(self, flat: Tensor) -> None:
        """Act by these parameters from now on."""
        self.parameters = flat
        self._views = self.network.unflatten(flat)

    def noise(self, *shape: int) -> Tensor:
        """Randomness for acting, (*shape, outputs of the head), from the action stream."""
        return self.head.noise(shape, self.action_stream).to(self.device)

    def act(self, observations: Floats, noise: Tensor | None) -> npt.NDArray[np.int64]:
        """Actions (envs,) for observations (envs, obs_size): sampled with ``noise``, or the most probable without."""
        with torch.inference_mode():
            prepared = self.prepare(torch.from_numpy(observations).to(self.device))
            outputs = self.network.policy(self._views, prepared)
            actions = self.head.mode(outputs) if noise is None else self.head.sample(outputs, noise)
            chosen: npt.NDArray[np.int64] = actions.cpu().numpy()
            return chosen

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Head outputs (batch, outputs) and values (batch,), in units of the return, for (batch, obs_size)."""
        with torch.inference_mode():
            outputs, values = self.network.forward(self._views, self.prepare(observations))
            return outputs, self.normalizers.value.denormalize(values)

    def prepare(self, observations: Tensor) -> Tensor:
        """Observations (batch, obs_size) as the network reads them."""
        if self.spec.obs_scale != 1.0:
            observations = observations * self.spec.obs_scale
        return self.normalizers.observation(observations)

    def score(self, parameters: Tensor, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As :data:`ppo_cli.ppo.Evaluate`, for prepared observations and values in the head's units."""
        outputs, values = self.network.forward(self.network.unflatten(parameters), observations)
        return (*self.head.score(outputs, actions), values)
