"""The agent as a library has it: act, remember, learn, in a loop of one's own over one environment."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ppo_cli.agent.core import Agent
from ppo_cli.agent.learner import UpdateResult
from ppo_cli.algorithm.rollout import FinalObservations, ObsRows
from ppo_cli.config import NetworkConfig, PPOConfig
from ppo_cli.devices import resolve_device
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.runs.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from ppo_cli.spec import Spec
from ppo_cli.validation import validate

DEFAULTS = PPOConfig()


class PPOAgent(Agent):
    """Proximal Policy Optimization (Schulman et al. 2017, arXiv:1707.06347).

    Args:
        state_dim: Numbers in one observation.
        action_dim: Number of discrete actions; for other spaces see :meth:`from_spec`.
        lr: Adam's step size.
        gamma: Discount per step.
        lam: Lambda of generalised advantage estimation.
        clip_ratio: Epsilon of the clipped surrogate.
        value_coef: Weight of the value loss.
        entropy_coef: Weight of the entropy bonus.
        max_grad_norm: Clip of the gradient's global norm.
        hidden_dim: Width of each of the two hidden layers.
        buffer_size: Transitions after which ``memory.is_full()`` says so.
        batch_size: Transitions per gradient step.
        epochs: Passes over the memory per update.
        device: Where tensors live.
        seed: Root of the agent's random streams; ``None`` draws it from torch's global generator, so that
            ``torch.manual_seed`` repeats a run.

    Raises:
        ConfigError: if a value is out of its range, or the device is not there.
    """

    def __init__(
        self,
        state_dim: int,
        action_dim: int,
        lr: float = DEFAULTS.lr,
        gamma: float = DEFAULTS.gamma,
        lam: float = DEFAULTS.lam,
        clip_ratio: float = DEFAULTS.clip_ratio,
        value_coef: float = DEFAULTS.value_coef,
        entropy_coef: float = DEFAULTS.entropy_coef,
        max_grad_norm: float | None = DEFAULTS.max_grad_norm,
        hidden_dim: int = DEFAULTS.network.hidden_sizes[0],
        buffer_size: int = DEFAULTS.buffer_size,
        batch_size: int = DEFAULTS.batch_size,
        epochs: int = DEFAULTS.epochs,
        device: str | torch.device = "cpu",
        *,
        seed: int | None = None,
    ) -> None:
        config = PPOConfig(
            network=NetworkConfig(hidden_sizes=[hidden_dim, hidden_dim]),
            lr=lr,
            gamma=gamma,
            lam=lam,
            clip_ratio=clip_ratio,
            value_coef=value_coef,
            entropy_coef=entropy_coef,
            max_grad_norm=max_grad_norm,
            buffer_size=buffer_size,
            batch_size=batch_size,
            epochs=epochs,
        )
        validate(config)
        spec = Spec.simple(_count("state_dim", state_dim), _count("action_dim", action_dim))
        if seed is None:
            seed = int(torch.randint(2**63 - 1, ()).item())
        self._build(spec, config, resolve_device(str(device)), _count("seed", seed, least=0), num_envs=1)

    def _build(self, *arguments: Any, **keywords: Any) -> None:
        super()._build(*arguments, **keywords)
        self._states: ObsRows | None = None  # what the network remembers of the episode that get_action is in
        self._begins = True
        self._acted_on: deque[ObsRows] = deque(maxlen=2)  # rows of the last two calls of get_action
        self._noise: Iterator[Tensor] = iter(())

    # --- acting -----------------------------------------------------------------------------------------------

    def get_action(self, state: npt.ArrayLike, deterministic: bool = False) -> tuple[Any, float, float]:
        """Choose an action for one observation of shape (state_dim,).

        An agent with memory goes on remembering until :meth:`store_experience` is told that the episode is done, or
        :meth:`begin_episode` is called.

        Returns:
            The action (a whole number where it is a single choice, else an array of shape (action_size,)), its
            log-probability under the policy, and the value of ``state``.
        """
        policy = self.policy
        row = self._compose(state, begins=self._begins)
        self._acted_on.append(row)
        outputs, values, states = policy.forward(torch.from_numpy(row))
        action = policy.head.mode(outputs) if deterministic else policy.head.sample(outputs, self._next_noise())
        log_prob, _ = policy.head.log_prob_and_entropy(outputs, action)
        self._states, self._begins = None if states is None else states.cpu().numpy(), False
        single = self.spec.action_dtype == "int64" and self.spec.action_size == 1
        return int(action.item()) if single else action[0].cpu().numpy(), log_prob.item(), values.item()

    def _next_noise(self) -> Tensor:
        """Randomness for one action; a head whose noise lasts for several steps goes on with it."""
        noise = next(self._noise, None)
        if noise is None:
            self._noise = iter(self.policy.noise(self.policy.head.noise_lasts or self.memory.steps, 1))
            noise = next(self._noise)
        return noise

    def begin_episode(self) -> None:
        """Forget what the episode so far was like; only an agent with memory knows the difference."""
        self._begins = True

    def env_action(self, action: npt.ArrayLike) -> ObsRows:
        """An action of :meth:`get_action` in the environment's units, of shape (action_size,).

        Only squashed and Beta-distributed actions are in units of their own.
        """
        row = torch.as_tensor(np.asarray(action, self.spec.action_dtype).reshape(1, -1), device=self.policy.device)
        emitted: ObsRows = self.policy.head.to_env(row)[0].cpu().numpy()
        return emitted

    def _compose(self, state: npt.ArrayLike, begins: bool = False) -> ObsRows:
        row = np.asarray(state, self.spec.obs_dtype).reshape(1, -1)
        if row.shape[1] != self.spec.obs_size:
            raise ConfigError(
                Problem(
                    f"a state of shape {np.shape(state)} came to an agent with state_dim={self.spec.obs_size}",
                    f"PPOAgent(state_dim={row.shape[1]}, …)",
                )
            )
        return self.policy.compose(row, self._states, np.array([True]) if begins else None)

    # --- remembering ------------------------------------------------------------------------------------------

    def store_experience(
        self,
        state: npt.ArrayLike,
        action: npt.ArrayLike,
        reward: float,
        value: float,
        log_prob: float,
        done: bool,
        *,
        truncated: bool = False,
        next_state: npt.ArrayLike | None = None,
    ) -> None:
        """Remember one transition of one environment.

        Args:
            state: Observation of shape (state_dim,) that was acted on.
            action: What :meth:`get_action` chose.
            reward: What the environment gave for it.
            value: Value of ``state`` from :meth:`get_action`.
            log_prob: Log-probability of ``action`` from :meth:`get_action`.
            done: Whether the episode ended; without further word, that the task itself ended.
            truncated: Whether it ended by a limit instead; what would have followed then counts by its value.
            next_state: Observation that followed; needed where ``truncated``.

        Raises:
            ConfigError: if ``truncated`` comes without ``next_state``.
        """
        if truncated and next_state is None:
            raise ConfigError(
                Problem("a truncated step came without the observation it led to", "next_state=<that observation>")
            )
        following = None if next_state is None else self._compose(next_state)
        finals = FinalObservations(np.array([0]), following) if truncated and following is not None else None
        row = self._compose(state)
        if self.policy.remembers:  # what it remembered then, not now
            size = self.spec.obs_size
            alike = [one for one in self._acted_on if np.array_equal(one[:, :size], row[:, :size])]
            row[:, size:] = alike[-1][:, size:] if alike else 0.0
        self._begins = self._begins or bool(done) or truncated
        self.memory.append(
            row,
            action,
            reward,
            bool(done) and not truncated,
            truncated,
            finals=finals,
            log_probs=log_prob,
            values=value,
        )
        self.memory.next_observations = following

    # --- learning ---------------------------------------------------------------------------------------------

    def update(self, next_state: npt.ArrayLike | None = None) -> UpdateResult | None:
        """Learn from all that :meth:`store_experience` took, and forget it.

        Args:
            next_state: Observation that follows the last stored transition, where that one did not end its episode.
                Without it such a transition waits for the next update, for its successor's value is not known.

        Returns:
            The update's metrics, or ``None`` where no transition was ready.
        """
        if next_state is not None:
            self.memory.next_observations = self._compose(next_state)
        if len(self.memory) == 0:
            return None
        ended = bool(self.memory["terminated"][-1, 0] or self.memory["truncated"][-1, 0])
        waits = not ended and self.memory.next_observations is None
        rows = self.memory.size - int(waits)
        result = self.learner.learn(self.memory, rows) if rows else None
        self.memory.clear(keep_last=waits)
        return result

    def save(self, filepath: str | os.PathLike[str]) -> None:
        """Write a checkpoint: whole or not at all."""
        save_checkpoint(Path(filepath), self.state_dict())

    def load(self, filepath: str | os.PathLike[str]) -> None:
        """Become the agent a checkpoint holds, be it from :meth:`save` or from ``ppo-train``.

        Network, settings, normalisers and optimiser come from the file; the device stays, and the memory starts empty.

        Raises:
            CheckpointError: if the file is unusable, its agent has other spaces, or it names a module of the user's
                that this agent was not made with.
        """
        self.become(load_checkpoint(find_checkpoint(filepath))["agent"])


def _count(name: str, number: Any, least: int = 1) -> int:
    """A whole number as Python's own: a space's ``n`` is NumPy's, which no checkpoint can hold."""
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < least:
        raise ConfigError(Problem(f"{name}={number} must be a whole number of at least {least}", f"{name}={least}"))
    return int(number)
