"""A policy: network, action head and normalisers under one set of parameters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ppo_cli.algorithm.normalization import make_normalizers
from ppo_cli.algorithm.rollout import ObsRows
from ppo_cli.config import PPOConfig
from ppo_cli.devices import make_transfer, with_float64
from ppo_cli.networks.actor_critic import Forward, make_network
from ppo_cli.seeding import stream_generator
from ppo_cli.spec import Spec


class Acted(NamedTuple):
    """What a policy made of a batch of rows."""

    actions: ObsRows  # (envs, action_size) as they are stored and scored
    env_actions: ObsRows  # (envs, action_size) in the environment's units
    states: ObsRows | None  # (envs, state_size) that the network remembers now; None where it remembers nothing


class Policy:
    """From rows to actions and values.

    A row is an observation's; of a network with memory it goes on with what :meth:`compose` adds.

    Args:
        spec: The spaces.
        config: Network and normalisers.
        device: Where tensors live.
        seed: Root of the streams that the first parameters and the sampled actions are drawn from.
        num_envs: Environments that experience will come from.
    """

    def __init__(self, spec: Spec, config: PPOConfig, device: torch.device, seed: int, num_envs: int) -> None:
        self.spec, self.device = spec, device
        self.rows_device = with_float64(device)
        self._transfer = make_transfer(self.rows_device)
        self.network = make_network(spec, config)
        self.head = self.network.head
        self.remembers = self.network.recurrence is not None
        self.row_size = spec.obs_size + (1 + self.network.state_size if self.remembers else 0)
        self.row_dtype = np.result_type(spec.obs_dtype, np.float32) if self.remembers else np.dtype(spec.obs_dtype)
        self._network_dtype = torch.float32 if self.remembers else getattr(torch, spec.network_dtype)
        self.normalizers = make_normalizers(config, spec, self.row_size, self.row_dtype, num_envs, device)
        self.action_stream = stream_generator(seed, "action")
        self.set_parameters(self.network.init(stream_generator(seed, "init")).to(device))

    def set_parameters(self, flat: Tensor) -> None:
        """Act by these parameters from now on."""
        self.parameters = flat
        self._views = self.network.unflatten(flat)
        self._acting = self.network.acting(self._views)

    def compose(self, observations: ObsRows, states: ObsRows | None, starts: npt.NDArray[np.bool_] | None) -> ObsRows:
        """Rows (envs, row_size) for observations (envs, obs_size).

        Args:
            observations: What the environments show.
            states: (envs, state_size) that :meth:`act` left behind; ``None`` at the very first step.
            starts: (envs,) where an episode starts; ``None`` where none does.
        """
        if not self.remembers:
            return observations
        rows = np.empty((len(observations), self.row_size), self.row_dtype)
        rows[:, : self.spec.obs_size] = observations
        self.remember(rows, states, starts)
        return rows

    def remember(self, rows: ObsRows, states: ObsRows | None, starts: npt.NDArray[np.bool_] | None) -> None:
        """Put what :meth:`compose` adds into rows (envs, row_size) that hold observations already."""
        if not self.remembers:
            return
        size = self.spec.obs_size
        if states is None:
            rows[:, size], rows[:, size + 1 :] = 1.0, 0.0
        else:
            rows[:, size] = 0.0 if starts is None else starts
            rows[:, size + 1 :] = states if starts is None else np.where(starts[:, None], 0.0, states)

    def noise(self, steps: int, envs: int) -> Tensor:
        """Randomness for acting, (steps, envs, numbers of the head), from the action stream."""
        return self.head.noise(steps, envs, self.action_stream).to(self.device)

    def act(self, rows: ObsRows, noise: Tensor | None) -> Acted:
        """Actions for rows (envs, row_size): sampled with ``noise`` (envs, numbers), or the most probable without."""
        with torch.inference_mode():
            prepared = self.prepare(self._transfer(rows))
            states = None
            if self.remembers:
                outputs, _, after = self.network.forward(self._views, prepared)
                assert after is not None
                states = after.cpu().numpy()
            else:
                outputs = self.network.policy(self._acting, prepared)
            actions = self.head.mode(outputs) if noise is None else self.head.sample(outputs, noise)
            env_actions = self.head.to_env(actions)
            stored: ObsRows = actions.cpu().numpy()
            return Acted(stored, stored if env_actions is actions else env_actions.cpu().numpy(), states)

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases of a policy whose network is dense, from the first layer to the head."""
        return self.network.layers(self._acting)

    def forward(self, rows: Tensor) -> Forward:
        """What the network makes of rows (batch, row_size), values in units of the return."""
        with torch.inference_mode():
            result = self.network.forward(self._views, self.prepare(rows))
            return result._replace(values=self.normalizers.value.denormalize(result.values))

    def prepare(self, rows: Tensor) -> Tensor:
        """Rows (batch, row_size) from anywhere as the network reads them: here, with measurements standardised."""
        standard = self.normalizers.observation(rows.to(self.rows_device))
        return standard.to(self.device, self._network_dtype)

    def score(self, steps: int, parameters: Tensor, rows: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As :data:`ppo_cli.algorithm.ppo.Evaluate` with ``steps`` bound: rows prepared, values in the head's units.

        Args:
            steps: Rows to a sequence that gradients flow back through.
            parameters: Flat.
            rows: (batch, row_size).
            actions: (batch, action_size).
        """
        outputs, values, _ = self.network.forward(self.network.unflatten(parameters), rows, steps)
        return (*self.head.log_prob_and_entropy(outputs, actions), values)
