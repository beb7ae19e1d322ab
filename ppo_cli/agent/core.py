"""An agent's parts, wired together, and what is kept of them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

import torch

from ppo_cli.agent import state
from ppo_cli.agent.learner import Learner, UpdateResult
from ppo_cli.agent.policy import Policy
from ppo_cli.algorithm import objectives
from ppo_cli.algorithm.rollout import RolloutBuffer
from ppo_cli.config import PPOConfig, show
from ppo_cli.errors import CheckpointError, Problem
from ppo_cli.plain import as_data
from ppo_cli.spec import Spec
from ppo_cli.validation import validate

Self = TypeVar("Self", bound="Agent")


class Agent:
    """Policy, memory and learner under one configuration.

    Attributes:
        spec: The rows of observations and actions.
        config: Network and algorithm.
        policy: Acts.
        memory: Holds what happened since it learnt last.
        learner: Improves the policy.
    """

    @classmethod
    def from_spec(
        cls: type[Self],
        spec: Spec,
        config: PPOConfig,
        *,
        seed: int,
        device: str | torch.device = "cpu",
        num_envs: int = 1,
        compiled: bool = False,
    ) -> Self:
        """An agent for given spaces and a full configuration; its memory takes ``num_envs`` transitions a step."""
        agent = cls.__new__(cls)
        agent._build(spec, config, torch.device(device), seed, num_envs, compiled)
        return agent

    def _build(
        self,
        spec: Spec,
        config: PPOConfig,
        device: torch.device,
        seed: int,
        num_envs: int,
        compiled: bool = False,
        named: bool = True,
    ) -> None:
        """Wire the parts; with ``named`` a module of the user's that the objective names may be imported."""
        self.spec = spec
        self._compiled = compiled
        self.config = as_data(PPOConfig(**{item.name: getattr(config, item.name) for item in fields(PPOConfig)}))
        validate(self.config)
        self.policy = Policy(spec, self.config, device, seed, num_envs)
        row, action = (self.policy.row_size, self.policy.row_dtype), (spec.action_size, spec.action_dtype)
        self.memory = RolloutBuffer(-(-config.buffer_size // num_envs), num_envs, row, action)
        policy_loss = objectives.make_policy_loss(self.config.objective, named)
        self.learner = Learner(self.policy, self.config, seed, compiled, self.memory.steps, policy_loss)

    def learn(self) -> UpdateResult:
        """Learn from a memory that was filled without values and log-probabilities, and empty it."""
        self.learner.fill_in(self.memory)
        result = self.learner.learn(self.memory, self.memory.size)
        self.memory.clear()
        return result

    def state_dict(self) -> dict[str, Any]:
        """Everything about the agent as plain data and CPU tensors."""
        return state.state_dict(self.learner)

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take over all that :meth:`state_dict` holds but settings and spaces, which must be alike.

        Raises:
            CheckpointError: if anything is missing or has another shape or type.
        """
        state.load_state_dict(self.learner, saved)

    @classmethod
    def from_state_dict(
        cls: type[Self], saved: dict[str, Any], device: str | torch.device = "cpu", *, module: str | None = None
    ) -> Self:
        """The agent that :meth:`state_dict` described, for one environment.

        One that learnt by an ``objective`` of the user's acts, but does not learn: that module is not imported.

        Args:
            saved: What it described.
            device: Where tensors live.
            module: The ``network.module`` that may be imported; to import what a file names would be to run it.

        Raises:
            CheckpointError: if the network is another, or anything is missing or has another shape or type.
        """
        config, spec = state.read_description(saved)
        if config.network.module != module:
            what = f"the checkpoint's network is {show(config.network.module)}, and the one asked for {show(module)}"
            raise CheckpointError(Problem(what, f"network={config.network.module}, if you trust that module"))
        return cls._rebuilt(config, spec, saved, device=torch.device(device), num_envs=1, named=False)

    @classmethod
    def _rebuilt(cls: type[Self], config: PPOConfig, spec: Spec, saved: dict[str, Any], **keywords: Any) -> Self:
        def build() -> Self:
            agent = cls.__new__(cls)
            agent._build(spec, config, seed=0, **keywords)
            return agent

        agent = state.buildable(config, spec, saved, build)
        agent.load_state_dict(saved)
        return agent

    def load_weights(self, saved: dict[str, Any]) -> None:
        """Start from another agent's network and normalisers; optimiser and streams stay fresh.

        Args:
            saved: Its :meth:`state_dict`.

        Raises:
            CheckpointError: if the spaces or the network differ, or what their inputs and outputs mean.
        """
        state.check_same_function(self.config, self.spec, *state.read_description(saved))
        other = Agent.from_state_dict(saved, self.policy.device, module=self.config.network.module)
        state.copy_function(other.learner, self.learner)

    def become(self, saved: dict[str, Any]) -> None:
        """Be the agent that was saved: network and settings come from there, the device stays, the memory is empty.

        Raises:
            CheckpointError: if the spaces' sizes differ, it names a module of the user's that this agent was not made
                with, or anything is missing or has another shape or type.
        """
        config, spec = state.read_description(saved)
        state.check_same_kind(self.config, self.spec, config, spec)
        held = {"device": self.policy.device, "num_envs": self.memory.num_envs, "compiled": self._compiled}
        self.__dict__.update(self._rebuilt(config, spec, saved, **held).__dict__)
