"""From a rollout to better parameters: values, advantages, epochs of minibatches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppo_cli.agent.policy import Policy
from ppo_cli.algorithm import adam, minibatches, ppo
from ppo_cli.algorithm.adam import LearnerState
from ppo_cli.algorithm.compiled import accelerated
from ppo_cli.algorithm.diagnostics import explained_variance
from ppo_cli.algorithm.finite import check_rollout, check_update
from ppo_cli.algorithm.minibatches import Minibatch
from ppo_cli.algorithm.ppo import Coefficients, PolicyLoss
from ppo_cli.algorithm.rollout import ObsRows, RolloutBuffer
from ppo_cli.config import PPOConfig
from ppo_cli.errors import BadNumbersError
from ppo_cli.seeding import stream_generator


class UpdateResult(NamedTuple):
    """What one update reports: means over its minibatches, and the fit of the values before it."""

    policy_loss: float
    value_loss: float
    entropy: float
    approx_kl: float
    clip_fraction: float
    grad_norm: float
    explained_variance: float
    epochs: int


LONGEST_SEQUENCE = 32
AT_ONCE = 2**21
"""Bytes of rows that go through the network, or are dealt to minibatches, at a time.

So a rollout of pictures takes little memory beside its rows; one of vectors goes in one piece.
"""


def sequence_length(config: PPOConfig, steps: int) -> int:
    """Steps that gradients flow back through in a network with memory.

    Args:
        config: The network and the size of minibatches, which sequences fill exactly.
        steps: Steps of each environment in a rollout; longer sequences would be filled up with nothing.
    """
    if config.network.sequence_length is not None:
        return config.network.sequence_length
    longest = min(LONGEST_SEQUENCE, steps)
    return max(length for length in range(1, longest + 1) if config.batch_size % length == 0)


class Learner:
    """Improves a policy's parameters.

    Args:
        policy: What is improved.
        config: The algorithm's settings.
        seed: Root of the stream that minibatches are shuffled by.
        compiled: Compile the gradient step as one graph.
        steps: Steps of each environment in a rollout.
        policy_loss: What the objective comes to.

    Attributes:
        lr: Step size of the next update; schedules change it.
        clip_ratio: Clip range of the next update, likewise.
        state: Parameters, which are the policy's, and Adam's moments.
        updates: Gradient steps taken so far.
    """

    def __init__(
        self, policy: Policy, config: PPOConfig, seed: int, compiled: bool, steps: int, policy_loss: PolicyLoss
    ) -> None:
        self.policy, self.config = policy, config
        self.lr, self.clip_ratio = config.lr, config.clip_ratio
        self._reward_limit = math.inf if config.reward_clip is None else config.reward_clip
        self.shuffle_stream = stream_generator(seed, "shuffle")
        length = self._length = sequence_length(config, steps) if policy.remembers else 1

        def evaluate(parameters: Tensor, rows: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return policy.score(length, parameters, rows, actions)

        step = ppo.make_update_step(
            evaluate,
            policy_loss,
            clip_value=config.value_clip is not None,
            clip_gradient=config.max_grad_norm is not None,
        )
        sequences = -(-steps // length) * -(-config.buffer_size // steps)
        full = -(-sequences // (config.batch_size // length))
        row = policy.row_size * np.dtype(policy.row_dtype).itemsize
        self._rows_at_once = max(config.batch_size, AT_ONCE // row)
        room = min(full, self._rows_at_once // config.batch_size)
        self._update_steps = accelerated(step, compiled, room, policy.device)
        self.updates = 0
        first_moment, second_moment = torch.zeros_like(policy.parameters), torch.zeros_like(policy.parameters)
        self.set_state(LearnerState(policy.parameters, first_moment, second_moment))

    def set_state(self, state: LearnerState) -> None:
        """Go on from these parameters and moments."""
        self.state = state
        self.policy.set_parameters(state.parameters)

    def fill_in(self, memory: RolloutBuffer, *, values_alone: bool = False) -> None:
        """Compute the values and log-probabilities of a whole rollout, as many rows at once as memory is spent on.

        The policy has not changed since it acted, so they are those it had then.
        """
        names = ("observations", "actions", "values", "log_probs")
        columns = [torch.from_numpy(memory[name]).flatten(0, 1) for name in names]
        parts = zip(*(torch.split(column, self._rows_at_once) for column in columns), strict=True)
        for observations, actions, values, log_probs in parts:  # the last two are where the results go
            outputs, found, _ = self.policy.forward(observations)
            values.copy_(found)
            if not values_alone:
                log_probs.copy_(self.policy.head.log_prob_and_entropy(outputs, actions.to(self.policy.device))[0])

    def learn(self, memory: RolloutBuffer, steps: int) -> UpdateResult:
        """Update the policy with the memory's first ``steps`` rows.

        Raises:
            BadNumbersError: if anything in them or in the update is not finite; policy, optimiser and normalisers are
                as they were.
        """
        check_rollout(memory, steps, self.policy.spec)
        normalizers = self.policy.normalizers._asdict()
        state, updates, saved = (
            self.state,
            self.updates,
            {name: part.state_dict() for name, part in normalizers.items()},
        )
        try:
            return self._learn(memory, steps)
        except BadNumbersError:
            for name, part in normalizers.items():
                part.load_state_dict(saved[name])
            self.updates = updates
            self.set_state(state)
            raise

    def _learn(self, memory: RolloutBuffer, steps: int) -> UpdateResult:
        config, policy = self.config, self.policy
        observations = torch.from_numpy(memory["observations"][:steps]).flatten(0, 1).to(policy.rows_device)
        count, acted_unseen = policy.normalizers.observation.update, policy.normalizers.observation.empty
        if acted_unseen:  # nothing can be learnt from what is far out of range; the actions' probabilities stay
            count(observations, torch.from_numpy(memory["weights"][:steps]).flatten() > 0)
            self.fill_in(memory, values_alone=True)
        names = [name for name in memory.columns if name != "observations"]
        column = {name: torch.from_numpy(memory[name][:steps]).to(policy.device) for name in names}
        weights = column["weights"]
        valid = weights.flatten() > 0
        done = torch.maximum(column["terminated"], column["truncated"])
        advantages, returns = ppo.estimate_advantages(
            policy.normalizers.reward(column["rewards"].clamp(-self._reward_limit, self._reward_limit), done, weights),
            column["values"],
            self._next_values(memory, column["values"]),
            column["terminated"],
            column["truncated"],
            config.gamma,
            config.lam,
        )
        explained = explained_variance(column["values"], returns, weights)
        self._rescale_value_head(returns.flatten()[valid])
        normalize = policy.normalizers.value.normalize
        rollout = Minibatch(
            policy.prepare(observations),
            column["actions"].flatten(0, 1),
            column["log_probs"].flatten(),
            normalize(column["values"].flatten()),
            advantages.flatten(),
            normalize(returns.flatten()),
            weights.flatten(),
        )
        losses, epochs = self._run_epochs(rollout, *minibatches.sequence_table(weights.cpu(), self._length))
        if not acted_unseen:
            count(observations, valid)
        means = dict(zip(ppo.LOSS_METRICS, losses.tolist(), strict=True))
        return UpdateResult(**means, explained_variance=float(explained.item()), epochs=epochs)

    def _next_values(self, memory: RolloutBuffer, values: Tensor) -> Tensor:
        """V of the observation that really followed each row, (steps, envs)."""
        steps = len(values)
        following = torch.zeros_like(values[:1])
        if steps < memory.size:  # the next row is known already, and waits for its own successor
            following = torch.from_numpy(memory["values"][steps : steps + 1]).to(self.policy.device)
        elif memory.next_observations is not None:
            following = self._values_of(memory.next_observations).unsqueeze(0)
        next_values = torch.cat((values[1:], following))
        if memory.finals:
            rows = np.concatenate([np.full(len(final.envs), row) for row, final in memory.finals])
            envs = np.concatenate([final.envs for _, final in memory.finals])
            ends = self._values_of(np.concatenate([final.observations for _, final in memory.finals]))
            next_values[torch.from_numpy(rows), torch.from_numpy(envs)] = ends
        return next_values

    def _values_of(self, rows: ObsRows) -> Tensor:
        parts = torch.split(torch.from_numpy(rows), self._rows_at_once)
        return torch.cat([self.policy.forward(part).values for part in parts])

    def _rescale_value_head(self, returns: Tensor) -> None:
        parameters = self.state.parameters.clone()
        named = self.policy.network.named(parameters)
        self.policy.normalizers.value.update(returns, named["value.weight"], named["value.bias"])
        self.set_state(self.state._replace(parameters=parameters))

    def _run_epochs(self, rollout: Minibatch, table: Tensor, table_weights: Tensor) -> tuple[Tensor, int]:
        """Take the gradient steps; returns their mean metrics, (metrics,), and the number of epochs made."""
        config, state = self.config, self.state
        if len(table) == 0:  # every step of the rollout only fetched an episode's first observation
            return torch.zeros(len(ppo.LOSS_METRICS)), 0
        at_once = self._rows_at_once // config.batch_size
        count = -(-len(table) // (config.batch_size // self._length))
        # epochs are dealt together, for with small tensors each call counts; but one that may be the last goes alone
        together = 1 if config.target_kl is not None else max(1, at_once // count)
        sizes = adam.adam_sizes(self.lr, self.updates, config.epochs * count).to(self.policy.device)
        constants, history, epochs, diverged = self._constants(), list[Tensor](), 0, False
        while epochs < config.epochs and not diverged:
            dealt = self._deal(table, table_weights, min(together, config.epochs - epochs))
            taken = slice(epochs * count, epochs * count + len(dealt[0]))
            columns = (torch.split(column, at_once) for column in (*dealt, *sizes[:, taken]))
            parts = []
            for places, weights, *some in zip(*columns, strict=True):
                batches = minibatches.gather_minibatches(rollout, places, weights)
                state, metrics = self._update_steps(state, batches, Coefficients(*some, *constants))
                parts.append(metrics)
            history.append(metrics := torch.cat(parts))
            epochs += len(metrics) // count
            self.updates += len(metrics)
            if config.target_kl is not None:
                divergence = metrics.mean(0)[ppo.LOSS_METRICS.index("approx_kl")]
                diverged = divergence.item() > config.target_kl
        metrics_of_all = torch.cat(history)
        check_update(metrics_of_all, self.policy.network.named(state.parameters), count)
        self.set_state(state)
        return metrics_of_all.mean(0), epochs

    def _deal(self, table: Tensor, table_weights: Tensor, epochs: int) -> tuple[Tensor, Tensor]:
        """The next minibatches of ``epochs`` epochs: row numbers and weights, (minibatches, batch) each."""
        shuffled = torch.stack([torch.randperm(len(table), generator=self.shuffle_stream) for _ in range(epochs)])
        sequences, weights = minibatches.minibatch_rows(shuffled, self.config.batch_size // self._length)
        if self._length > 1:
            weights = weights.unsqueeze(-1) * table_weights[sequences]
        device = self.policy.device
        return table[sequences].flatten(2).flatten(0, 1).to(device), weights.flatten(2).flatten(0, 1).to(device)

    def _constants(self) -> Sequence[Tensor]:
        """The coefficients that are the same for all gradient steps of an update, a number each."""
        config = self.config
        fixed = (
            self.clip_ratio,
            1.0 - self.clip_ratio,
            1.0 + self.clip_ratio,
            config.value_clip or 0.0,  # not read where it is off
            config.value_coef,
            config.entropy_coef,
            config.max_grad_norm or 0.0,  # likewise
        )
        return torch.tensor(fixed, device=self.policy.device).unbind()
