"""The agent: network, head, normalisers and optimiser state, wired together."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ppo_cli import ppo
from ppo_cli.buffer import FinalObservations, RolloutBuffer
from ppo_cli.checkpoint import checked_tensor, load_checkpoint, save_checkpoint
from ppo_cli.config import NetworkConfig, PPOConfig, from_plain, show, to_plain, validate
from ppo_cli.distributions import CategoricalHead
from ppo_cli.errors import CheckpointError, ConfigError, Problem
from ppo_cli.networks import ActorCritic
from ppo_cli.normalization import make_normalizers
from ppo_cli.ppo import Coefficients, LearnerState, Minibatch
from ppo_cli.seeding import stream_generator
from ppo_cli.specs import Spec

DEFAULTS = PPOConfig()


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


class PPOAgent:
    """Proximal Policy Optimization for discrete actions (Schulman et al. 2017, arXiv:1707.06347).

    Args:
        state_dim: Numbers in one observation.
        action_dim: Number of discrete actions.
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
        ConfigError: if a value is out of its range.
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
        if seed is None:
            seed = int(torch.randint(2**63 - 1, ()).item())
        self._build(Spec((state_dim,), action_dim), config, torch.device(device), seed, num_envs=1)

    @classmethod
    def from_spec(
        cls, spec: Spec, config: PPOConfig, *, seed: int, device: str | torch.device = "cpu", num_envs: int = 1
    ) -> PPOAgent:
        """An agent for given spaces and a full configuration; its memory takes ``num_envs`` transitions a step."""
        agent = cls.__new__(cls)
        agent._build(spec, config, torch.device(device), seed, num_envs)
        return agent

    def _build(self, spec: Spec, config: PPOConfig, device: torch.device, seed: int, num_envs: int) -> None:
        self.spec, self.device = spec, device
        self.config = PPOConfig(**{item.name: getattr(config, item.name) for item in fields(PPOConfig)})
        self.head = CategoricalHead(spec.num_actions)
        self.network = ActorCritic(spec.obs_size, self.head.num_outputs, config.network)
        self.normalizers = make_normalizers(config, spec.obs_size, num_envs, device)
        self.memory = RolloutBuffer(-(-config.buffer_size // num_envs), num_envs, spec.obs_size)
        self.lr, self.clip_ratio = config.lr, config.clip_ratio
        self._action_stream = stream_generator(seed, "action")
        self._shuffle_stream = stream_generator(seed, "shuffle")
        self._update_step = ppo.make_update_step(
            self._evaluate,
            clip_value=config.value_clip is not None,
            clip_gradient=config.max_grad_norm is not None,
        )
        parameters = self.network.init(stream_generator(seed, "init")).to(device)
        moment = torch.zeros_like(parameters)
        self._set_learner(LearnerState(parameters, moment, moment, torch.zeros((), device=device)))

    def _set_learner(self, learner: LearnerState) -> None:
        self.learner = learner
        self._views = self.network.unflatten(learner.parameters)

    # --- acting -----------------------------------------------------------------------------------------------

    def get_action(self, state: npt.ArrayLike, deterministic: bool = False) -> tuple[int, float, float]:
        """Choose an action for one observation of shape (state_dim,).

        Returns:
            The action, its log-probability under the policy, and the value of ``state``.
        """
        with torch.inference_mode():
            outputs, values = self.forward(self._observation(state))
            if deterministic:
                action = self.head.mode(outputs)
            else:
                action = self.head.sample(outputs, self.noise(1).to(self.device))
            log_prob, _ = self.head.score(outputs, action)
        return int(action.item()), float(log_prob.item()), float(values.item())

    def noise(self, *shape: int) -> Tensor:
        """Randomness for acting, from the agent's action stream: (*shape, outputs of the head), on the CPU."""
        return self.head.noise(shape, self._action_stream)

    def act(self, observations: npt.NDArray[np.float32], noise: Tensor | None) -> npt.NDArray[np.int64]:
        """Actions (envs,) for observations (envs, obs_size): sampled with ``noise``, or the most probable without."""
        with torch.inference_mode():
            prepared = self._prepare(torch.from_numpy(observations).to(self.device))
            outputs = self.network.policy(self._views, prepared)
            actions = self.head.mode(outputs) if noise is None else self.head.sample(outputs, noise)
            return actions.cpu().numpy()

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Head outputs (batch, outputs) and values (batch,), in units of the return, for (batch, obs_size)."""
        outputs, values = self.network.forward(self._views, self._prepare(observations))
        return outputs, self.normalizers.value.denormalize(values)

    def _prepare(self, observations: Tensor) -> Tensor:
        if self.spec.obs_scale != 1.0:
            observations = observations * self.spec.obs_scale
        return self.normalizers.observation(observations)

    def _observation(self, state: npt.ArrayLike) -> Tensor:
        array = np.asarray(state, np.float32).reshape(1, -1)
        if array.shape[1] != self.spec.obs_size:
            raise ConfigError(
                Problem(
                    f"a state of shape {np.shape(state)} came to an agent with state_dim={self.spec.obs_size}",
                    f"PPOAgent(state_dim={array.shape[1]}, …)",
                )
            )
        return torch.from_numpy(array).to(self.device)

    # --- remembering ------------------------------------------------------------------------------------------

    def store_experience(
        self,
        state: npt.ArrayLike,
        action: int,
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
        following = None if next_state is None else self._observation(next_state).cpu().numpy()
        finals = FinalObservations(np.array([0]), following) if truncated and following is not None else None
        self.memory.append(
            self._observation(state).cpu().numpy(),
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
            self.memory.next_observations = self._observation(next_state).cpu().numpy()
        if len(self.memory) == 0:
            return None
        ended = bool(self.memory["terminated"][-1, 0] or self.memory["truncated"][-1, 0])
        waits = not ended and self.memory.next_observations is None
        rows = self.memory.size - int(waits)
        result = self._learn(rows) if rows else None
        self.memory.clear(keep_last=waits)
        return result

    def learn(self) -> UpdateResult:
        """Learn from a memory that the trainer filled without values and log-probabilities, and empty it."""
        memory = self.memory
        with torch.inference_mode():
            observations = torch.from_numpy(memory["observations"]).to(self.device).flatten(0, 1)
            outputs, values = self.forward(observations)
            log_probs, _ = self.head.score(outputs, torch.from_numpy(memory["actions"]).to(self.device).flatten())
            memory["values"][:] = values.view(memory.size, -1).cpu().numpy()
            memory["log_probs"][:] = log_probs.view(memory.size, -1).cpu().numpy()
        result = self._learn(memory.size)
        memory.clear()
        return result

    def _next_values(self, values: Tensor) -> Tensor:
        """V of what really followed each row, (steps, envs)."""
        memory, steps = self.memory, len(values)
        following = torch.zeros_like(values[:1])
        with torch.inference_mode():
            if steps < memory.size:  # the row after the last one is known, and waits
                following = torch.from_numpy(memory["values"][steps : steps + 1]).to(self.device)
            elif memory.next_observations is not None:
                _, value = self.forward(torch.from_numpy(memory.next_observations).to(self.device))
                following = value.unsqueeze(0)
            next_values = torch.cat((values[1:], following))
            if memory.finals:
                rows = np.concatenate([np.full(len(final.envs), row) for row, final in memory.finals])
                envs = np.concatenate([final.envs for _, final in memory.finals])
                observations = np.concatenate([final.observations for _, final in memory.finals])
                _, value = self.forward(torch.from_numpy(observations).to(self.device))
                next_values[torch.from_numpy(rows), torch.from_numpy(envs)] = value
        return next_values

    def _learn(self, steps: int) -> UpdateResult:
        config, memory = self.config, self.memory
        column = {name: torch.from_numpy(memory[name][:steps]).to(self.device) for name in memory.columns}
        weights = column["weights"]
        real = weights.flatten() > 0
        done = torch.maximum(column["terminated"], column["truncated"])
        advantages, returns = ppo.estimate_advantages(
            self.normalizers.reward(column["rewards"], done, weights),
            column["values"],
            self._next_values(column["values"]),
            column["terminated"],
            column["truncated"],
            config.gamma,
            config.lam,
        )
        explained = ppo.explained_variance(column["values"], returns, weights)
        observations = column["observations"].flatten(0, 1)
        self._rescale_value_head(returns.flatten()[real])
        normalize = self.normalizers.value.normalize
        rollout = Minibatch(
            self._prepare(observations),
            column["actions"].flatten(),
            column["log_probs"].flatten(),
            normalize(column["values"].flatten()),
            advantages.flatten(),
            normalize(returns.flatten()),
            weights.flatten(),
        )
        metrics, epochs = self._run_epochs(rollout, real.nonzero().squeeze(-1).cpu())
        self.normalizers.observation.update(observations[real] * self.spec.obs_scale)
        return UpdateResult(*metrics.tolist(), float(explained.item()), epochs)

    def _rescale_value_head(self, returns: Tensor) -> None:
        parameters = self.learner.parameters.clone()
        named = self.network.named(parameters)
        self.normalizers.value.update(returns, named["value.weight"], named["value.bias"])
        self._set_learner(self.learner._replace(parameters=parameters))

    def _run_epochs(self, rollout: Minibatch, rows: Tensor) -> tuple[Tensor, int]:
        """Run the gradient steps; returns the mean metrics, (metrics,), and the number of epochs made."""
        config, learner, coefficients = self.config, self.learner, self._coefficients()
        history: list[Tensor] = []
        epoch = 0
        for epoch in range(1, config.epochs + 1):
            shuffled = rows[torch.randperm(len(rows), generator=self._shuffle_stream)]
            places, weights = (part.to(self.device) for part in ppo.minibatch_rows(shuffled, config.batch_size))
            columns = [column[places].unbind(0) for column in rollout[:-1]]
            losses = []
            for minibatch in zip(*columns, weights.unbind(0), strict=True):
                learner, metrics = self._update_step(learner, Minibatch(*minibatch), coefficients)
                losses.append(metrics)
            history += losses
            if config.target_kl is not None:
                divergence = torch.stack(losses).mean(0)[ppo.LOSS_METRICS.index("approx_kl")]
                if divergence.item() > config.target_kl:
                    break
        self._set_learner(learner)
        return torch.stack(history).mean(0), epoch

    def _coefficients(self) -> Coefficients:
        config = self.config
        values = (
            self.lr,
            self.clip_ratio,
            config.value_clip or 0.0,
            config.value_coef,
            config.entropy_coef,
            config.max_grad_norm or 0.0,
        )
        return Coefficients(*torch.tensor(values, device=self.device).unbind())

    def _evaluate(self, parameters: Tensor, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs, values = self.network.forward(self.network.unflatten(parameters), observations)
        return (*self.head.score(outputs, actions), values)

    # --- keeping ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything about the agent as plain data and CPU tensors."""
        learner, named = self.learner, self.network.named
        return {
            "config": to_plain(self.config),
            "spec": dataclasses.asdict(self.spec),
            "parameters": _on_cpu(named(learner.parameters)),
            "first_moment": _on_cpu(named(learner.first_moment)),
            "second_moment": _on_cpu(named(learner.second_moment)),
            "updates": learner.updates.cpu(),
            "normalizers": {name: _on_cpu(part.state()) for name, part in self.normalizers._asdict().items()},
            "streams": {"action": self._action_stream.get_state(), "shuffle": self._shuffle_stream.get_state()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the agent that :meth:`state` described: network and settings come from there, the device stays.

        Raises:
            CheckpointError: if the spaces differ, or anything is missing or has another shape or type.
        """
        config, spec = read_description(state)
        if (spec.obs_size, spec.num_actions) != (self.spec.obs_size, self.spec.num_actions):
            raise CheckpointError(
                Problem(
                    f"the checkpoint is of an agent with state_dim={spec.obs_size}, action_dim={spec.num_actions}, and "
                    f"this one has state_dim={self.spec.obs_size}, action_dim={self.spec.num_actions}",
                    f"PPOAgent(state_dim={spec.obs_size}, action_dim={spec.num_actions})",
                )
            )
        loaded = PPOAgent.from_spec(spec, config, seed=0, device=self.device, num_envs=self.memory.num_envs)
        loaded._restore(state)
        self.__dict__.update(loaded.__dict__)

    @classmethod
    def from_state(cls, state: dict[str, Any], device: str | torch.device = "cpu") -> PPOAgent:
        """The agent that :meth:`state` described, for one environment."""
        config, spec = read_description(state)
        agent = cls.from_spec(spec, config, seed=0, device=device)
        agent._restore(state)
        return agent

    def load_weights(self, state: dict[str, Any]) -> None:
        """Start from the network and normalisers of another agent's :meth:`state`; optimiser and streams stay fresh.

        Raises:
            CheckpointError: if the spaces or the network differ, or what their inputs and outputs mean.
        """
        config, spec = read_description(state)
        own = self.config
        names = ("normalize_obs", "normalize_value", "network.hidden_sizes", "network.activation", "network.shared")
        pairs = [(name, attrgetter(name)(config), attrgetter(name)(own)) for name in names]
        pairs += [(item.name, getattr(spec, item.name), getattr(self.spec, item.name)) for item in fields(Spec)]
        problems = [
            Problem(f"init_from: the checkpoint has {name}={show(saved)}, and this run {show(mine)}", f"{name}={show(saved)}")
            for name, saved, mine in pairs
            if saved != mine
        ]
        if problems:
            raise CheckpointError(problems)
        other = PPOAgent.from_state(state, self.device)
        self._set_learner(self.learner._replace(parameters=other.learner.parameters))
        self.normalizers.observation.load(other.normalizers.observation.state())
        self.normalizers.value.load(other.normalizers.value.state())

    def _restore(self, state: dict[str, Any]) -> None:
        flat = [self._flat(state, name) for name in ("parameters", "first_moment", "second_moment")]
        updates = checked_tensor(state, "updates", (), torch.float32).to(self.device)
        self._set_learner(LearnerState(*flat, updates))
        saved = state.get("normalizers")
        for name, part in self.normalizers._asdict().items():
            section = saved.get(name) if isinstance(saved, dict) else None
            expected = {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in part.state().items()}
            if name == "reward" and isinstance(section, dict) and isinstance(section.get("discounted"), Tensor):
                expected["discounted"] = (tuple(section["discounted"].shape), torch.float64)
            part.load({key: checked_tensor(section, key, *form) for key, form in expected.items()} if expected else {})
        streams = state.get("streams")
        for name, stream in (("action", self._action_stream), ("shuffle", self._shuffle_stream)):
            stream.set_state(checked_tensor(streams, name, tuple(stream.get_state().shape), torch.uint8))

    def _flat(self, state: dict[str, Any], name: str) -> Tensor:
        section = state.get(name)
        if not isinstance(section, dict) or set(section) != set(self.network.shapes):
            wanted = ", ".join(self.network.shapes)
            raise CheckpointError(Problem(f"the checkpoint's {name} are not those of its network ({wanted})", "another"))
        parts = [checked_tensor(section, key, shape, torch.float32) for key, shape in self.network.shapes.items()]
        return torch.cat([part.reshape(-1) for part in parts]).to(self.device)

    def save(self, filepath: str | os.PathLike[str]) -> None:
        """Write a checkpoint: whole or not at all."""
        save_checkpoint(Path(filepath), self.state())

    def load(self, filepath: str | os.PathLike[str]) -> None:
        """Become the agent a checkpoint holds, be it from :meth:`save` or from ``ppo-train``.

        Network, settings, normalisers and optimiser come from the file; the memory starts empty.

        Raises:
            CheckpointError: if the file is unusable or its agent has other spaces.
        """
        path = Path(filepath)
        if not path.is_file():
            raise CheckpointError(Problem(f"{path} does not exist", "the path of a .pt file"))
        self.load_state(load_checkpoint(path)["agent"])


def read_description(state: dict[str, Any]) -> tuple[PPOConfig, Spec]:
    """Settings and spaces of a saved agent.

    Raises:
        CheckpointError: if they do not fit their definitions.
    """
    try:
        config = from_plain(PPOConfig, state["config"])
        spec = Spec(**{**state["spec"], "obs_shape": tuple(state["spec"]["obs_shape"])})
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(Problem(f"the checkpoint does not describe its agent ({error!r})", "another")) from error
    except ConfigError as error:
        raise CheckpointError(error.problems) from error
    return config, spec


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # a view would drag the whole flat vector into the file with it
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
