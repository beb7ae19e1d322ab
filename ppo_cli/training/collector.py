"""Collecting rollouts: environments that are built anew with each stretch, and what their episodes come to."""

from __future__ import annotations

import numpy as np

from ppo_cli.agent.actor import make_actor
from ppo_cli.agent.agent import PPOAgent
from ppo_cli.algorithm.finite import check_rollout
from ppo_cli.algorithm.rollout import FinalObservations, ObsRows
from ppo_cli.envs.calls import EnvCalls
from ppo_cli.envs.vector import VectorEnv
from ppo_cli.errors import BadNumbersError
from ppo_cli.runs.progress import Progress
from ppo_cli.seeding import seed_globals, stream_seed
from ppo_cli.training.episodes import EpisodeStatistics
from ppo_cli.training.plan import Plan


class Collector:
    """Fills an agent's memory.

    A run is a chain of stretches, each from one scheduled checkpoint to the next. A stretch begins with environments
    built anew, from seeds that follow from the run's seed and the stretch's place alone, whether the process went on or
    another one took over. That is why a run that was stopped and resumed equals one that was not, bit for bit, though
    no environment's state is ever saved.

    Args:
        plan: The run's.
        agent: Who acts.
        progress: How far the run has come; its steps are counted here.
        statistics: Of the run's episodes.
        calls: What environments were told before, and are told when they are built anew.
        all_finals: Keep the last observations of terminated episodes too.
    """

    def __init__(
        self,
        plan: Plan,
        agent: PPOAgent,
        progress: Progress,
        statistics: EpisodeStatistics,
        calls: EnvCalls,
        all_finals: bool,
    ) -> None:
        self._plan, self._agent, self._progress, self._statistics = plan, agent, progress, statistics
        self._calls, self._all_finals = calls, all_finals
        self.envs = self.build_envs()
        self.rows: ObsRows = np.empty((0, agent.policy.row_size), np.float32)

    def build_envs(self) -> VectorEnv:
        """The environments of the stretch that begins now."""
        config, iteration = self._plan.config, self._progress.iteration
        stretch = (iteration,) if iteration else ()
        seeds = [stream_seed(config.seed, "env", *stretch, index) for index in range(config.num_envs)]
        seed_globals(config.seed, "env/global", *stretch)  # many an environment draws from the global generators
        which = (config.vector_backend, config.env, self._plan.inspection, seeds)
        return VectorEnv(*which, calls=self._calls, all_finals=self._all_finals)

    def rebuild(self) -> None:
        """Build the environments of the next stretch."""
        self.envs.close()
        self.envs = self.build_envs()

    def begin_stretch(self) -> None:
        """Reset the environments; episodes that were in progress are cut, and enter no statistics."""
        self._agent.policy.normalizers.reward.begin_episodes()
        self._statistics.begin()
        self.rows = self._agent.policy.compose(self.envs.reset(), None, None)

    def collect(self) -> None:
        """Fill the agent's memory with one rollout; what breaks after bad numbers broke of them, and those are told.

        Raises:
            BadNumbersError: in place of what an environment raised.
        """
        memory = self._agent.memory
        try:
            self._collect()
        except Exception as error:
            try:
                check_rollout(memory, memory.size, self._plan.spec)
            except BadNumbersError as first:
                raise first from error
            raise

    def _collect(self) -> None:
        policy, memory = self._agent.policy, self._agent.memory
        actor = make_actor(policy, memory.steps, memory.num_envs)
        size, none_ended = self._plan.spec.obs_size, (None, None)
        rows = memory.row(0)
        rows[:] = self.rows
        for step in range(memory.steps):
            memory.next_observations = rows  # for whoever wants to know what network or environment broke of
            actions, env_actions, states = actor.act(rows, step)
            rows = memory.row(step + 1)
            result = self.envs.step(env_actions, rows[:, :size])
            memory.append(
                None,
                actions,
                result.rewards,
                *(none_ended if result.ended is None else (result.terminated, result.truncated)),
                finals=None if result.finals is None else self._last_rows(result.finals, states),
                weights=result.valid,
            )
            self._progress.step += self._statistics.count(result)
            policy.remember(rows, states, result.starts)
        memory.next_observations = self.rows = rows

    def _last_rows(self, finals: FinalObservations, states: ObsRows | None) -> FinalObservations:
        """The last observations with what the network remembered of the episode that they end."""
        remembered = None if states is None else states[finals.envs]
        return finals._replace(observations=self._agent.policy.compose(finals.observations, remembered, None))
