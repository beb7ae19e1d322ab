"""The training loop: set schedules → collect → update → evaluate → log → save."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.algorithm import ppo
from ppo_cli.config import whole_iterations
from ppo_cli.envs.calls import EnvCalls
from ppo_cli.envs.vector import VectorEnv
from ppo_cli.errors import BadNumbersError, ConfigError
from ppo_cli.loggers.base import Logger, RunInfo
from ppo_cli.loggers.hub import LoggerHub
from ppo_cli.loggers.metrics import COLUMNS, Metrics
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.runs.progress import Evaluation, Progress
from ppo_cli.runs.store import CheckpointStore
from ppo_cli.seeding import stream_seed
from ppo_cli.training import state
from ppo_cli.training.callbacks import Callback, Callbacks
from ppo_cli.training.collector import Collector
from ppo_cli.training.episodes import EpisodeStatistics, tell_of_gap
from ppo_cli.training.plan import Plan
from ppo_cli.training.play import evaluate_policy
from ppo_cli.training.postmortem import located, skip_or_stop
from ppo_cli.training.rewards import make_rewards
from ppo_cli.training.row import make_row
from ppo_cli.training.stretches import Stretch

log = logging.getLogger("ppo_cli")


class Trainer:
    """One run: environments, agent, loggers and the loop over them.

    Args:
        plan: What to train.
        run_dir: The run's folder; checkpoints go below it.
        loggers: Who is told of it.
        init_from: A checkpoint's file to start the weights from.
        saved: A scheduled checkpoint's content to go on from.
        history: The rows of the iterations before that one, as far as they are known.
        elapsed: The seconds that those took.
        callbacks: Who is called besides those that the settings name.
    """

    def __init__(
        self,
        plan: Plan,
        run_dir: Path,
        loggers: Sequence[Logger],
        init_from: Path | None = None,
        saved: dict[str, Any] | None = None,
        history: Sequence[Metrics] = (),
        elapsed: float = 0.0,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        config = self.config = plan.config
        self.run_dir, self.history, self._elapsed = run_dir, history, elapsed
        spec = plan.spec if saved is None else state.spec_of(plan.spec, saved)
        build = partial(PPOAgent.from_spec, spec, config, seed=config.seed, device=plan.device)
        self.agent = build(num_envs=config.num_envs, compiled=config.compile)
        if init_from is not None:
            self.agent.load_weights(load_checkpoint(init_from)["agent"])
        self.progress = Progress()
        self.evaluation: Evaluation | None = None
        self.stopping = False
        self.stop_reason: str | None = None
        self.unsaved: OSError | None = None
        self._told_of_gap = False
        self.problems: list[str] = []
        self.store = CheckpointStore(run_dir, config.keep_last)
        self.hub = LoggerHub(loggers, self._record_problem)
        self.callbacks = Callbacks(config, callbacks)
        self.rewards = make_rewards(config, plan.spec, plan.device)
        self.columns = tuple(dict.fromkeys((*COLUMNS, *self.callbacks.metrics, *self.rewards.metrics)))
        self.episode_statistics, self.calls = EpisodeStatistics(config.num_envs), EnvCalls()
        if saved is not None:
            state.restore(self, saved)
        self.stretch = Stretch(config, self.progress, self.episode_statistics)
        parts = (self.agent, self.progress, self.episode_statistics, self.calls)
        self.collector = Collector(plan, *parts, all_finals=self.rewards.all_finals)
        # a budget is real steps: where some of a rollout's only fetch observations, it ends where it ends
        whole = whole_iterations(config.total_timesteps, config.buffer_size) * config.buffer_size
        self.total_timesteps = config.total_timesteps if self.envs.fetches else whole

    @property
    def used_up(self) -> bool:
        """Whether the budget is."""
        return self.progress.step >= self.total_timesteps

    @property
    def envs(self) -> VectorEnv:
        """The environments that it trains on, until the next checkpoint."""
        return self.collector.envs

    def run(self, on_checkpoint: Callable[[], object] = lambda: None) -> None:
        """Train to the end of the budget, to ``target_return``, or until someone sets ``stopping``.

        Args:
            on_checkpoint: Called after each scheduled checkpoint.
        """
        about = (self.total_timesteps, self.agent.policy.network.num_parameters, self.progress.step)
        self.hub.start(RunInfo(self.config, self.run_dir, *about, self.history, self.columns))
        self.store.prune()  # whoever ran here before may have been killed between writing one and deleting another
        began = time.perf_counter() - self._elapsed
        self.callbacks.on_start(self)
        self.collector.begin_stretch()
        while not self.used_up and not self.stopping:
            before = self.progress.step
            row = self.iterate()
            row["time/elapsed"] = time.perf_counter() - began
            row |= self.callbacks.on_iteration(row, self)
            self.hub.log(row)
            if self._checkpoint_is_due(before):  # after the row was written: a run that goes on from here must find it
                self.checkpoint()
                on_checkpoint()
        self.callbacks.on_end(self)
        self.unsaved = self.save("last.pt")

    def interrupt(self) -> None:
        """End the run after the iteration in progress; it is not finished, and can go on."""
        self.stopping = True

    def stop(self, reason: str) -> None:
        """End the run after the iteration in progress, as finished.

        Args:
            reason: Why, for its record.
        """
        if reason != self.stop_reason:  # a run that goes on after its end says so once
            log.info("the run ends: %s", reason)
        self.stop_reason, self.stopping = reason, True

    def iterate(self) -> Metrics:
        """One iteration; returns its metrics."""
        config, progress, clock, before = self.config, self.progress, [time.perf_counter()], self.progress.step
        self._set_schedules()
        update = None
        try:
            self.collector.collect()
            clock.append(time.perf_counter())
            self.rewards.apply(self.agent.memory, progress.iteration)
            update = self.agent.learn()
            progress.skipped_in_a_row = 0
        except BadNumbersError as error:
            skip_or_stop(
                located(error, self.agent, state.state_dict(self), before, self.run_dir), progress, config.on_nan
            )
            self.agent.memory.clear()
            clock[1:] = [time.perf_counter()]  # all of it counts as collecting
        clock.append(time.perf_counter())
        progress.iteration += 1
        progress.episodes = self.episode_statistics.finished
        if update is None:  # what state such environments are in, nobody knows
            self.collector.rebuild()
            self.collector.begin_stretch()
        evaluation = self._try_to_evaluate() if self._evaluation_is_due(before) else None
        clock.append(time.perf_counter())
        self._update_best(evaluation)
        row = make_row(self.columns, progress, self.agent.learner, self.episode_statistics, update, evaluation)
        row |= {} if update is None else self.rewards.report()
        collect, learn, evaluate = np.diff(clock).tolist()
        row |= {"time/collect": collect, "time/update": learn, "time/evaluate": evaluate}
        row["time/steps_per_second"] = (progress.step - before) / (collect + learn)
        return row

    def _set_schedules(self) -> None:
        config, learner, done, total = self.config, self.agent.learner, self.progress.step, self.total_timesteps
        learner.lr = ppo.annealed(config.lr, done, total) if config.anneal_lr else config.lr
        clip_ratio = config.clip_ratio
        learner.clip_ratio = ppo.annealed(clip_ratio, done, total) if config.anneal_clip else clip_ratio

    def _is_due(self, every: int | None, before: int) -> bool:
        """Whether the iteration that began at step ``before`` took the run past a multiple of a period."""
        if every is None:
            return False
        period = whole_iterations(every, self.config.buffer_size) * self.config.buffer_size
        return self.progress.step // period > before // period

    def _checkpoint_is_due(self, before: int) -> bool:
        every, over = self.config.checkpoint_every, self.used_up
        due = self.stretch.is_long_enough() if isinstance(every, str) else self._is_due(every, before)
        # an end for a reason is one that the run can be extended from; a signal's is none, for it goes on without a cut
        return (every is not None and (over or self.stop_reason is not None)) or due

    def _evaluation_is_due(self, before: int) -> bool:
        last = self.used_up and self.config.eval_every is not None
        return last or self._is_due(self.config.eval_every, before)

    def _try_to_evaluate(self) -> Evaluation | None:
        """The evaluation that is due, unless its environments cannot be built, which is no reason to stop learning."""
        try:
            return self.evaluate()
        except ConfigError as error:
            told = f"the evaluation at step {self.progress.step:,} could not be made, and training goes on: {error}"
            log.error("%s", told)
            self.problems.append(told)
            return None

    def evaluate(self) -> Evaluation:
        """Play complete episodes in environments of their own, with streams that training never touches."""
        seed = stream_seed(self.config.seed, "evaluation", self.progress.iteration)
        return evaluate_policy(self.agent.policy, self.config, seed, self.calls.of_evaluation())

    def _update_best(self, evaluation: Evaluation | None) -> None:
        """Keep the best, and stop where it is good enough."""
        progress, self.evaluation = self.progress, evaluation
        if evaluation is not None:
            if progress.take(evaluation.mean, self.episode_statistics.mean_return) and self.config.keep_best:
                self.save("best.pt")
            self._told_of_gap = self._told_of_gap or tell_of_gap(evaluation, self.episode_statistics.returns)
            self.stop_if_good_enough()
            self.callbacks.on_evaluation(evaluation, self)

    def stop_if_good_enough(self) -> None:
        """Stop where the last iteration's evaluation reaches ``target_return``."""
        target, evaluation = self.config.target_return, self.evaluation
        if target is not None and evaluation is not None and evaluation.mean >= target:
            self.stop(f"target_return={target:g} reached: evaluation mean {evaluation.mean:g}")

    def checkpoint(self) -> None:
        """Save what the run can go on from, and begin the next stretch as a process that goes on from it would."""
        self.agent.policy.normalizers.reward.begin_episodes()
        digits = len(str(self.total_timesteps))
        self._write(partial(self.store.save_scheduled, self.progress.step, digits))
        if not self.used_up and not self.stopping:
            self.stretch.cut()
            self.collector.rebuild()
            self.collector.begin_stretch()

    def save(self, name: str) -> OSError | None:
        """Write ``checkpoints/<name>``, to be evaluated; a run goes on from scheduled checkpoints alone."""
        return self._write(partial(self.store.save, name))

    def _write(self, write: Callable[[dict[str, Any], dict[str, Any]], Path]) -> OSError | None:
        """Write a checkpoint; a disk that is full does not end the training, for it may have room again."""
        try:
            write(self.agent.state_dict(), state.state_dict(self))
        except OSError as error:
            where = error.filename or self.store.folder
            log.error("a checkpoint could not be written (%s: %s); training goes on", where, error.strerror or error)
            self.problems.append(f"checkpoint of step {self.progress.step:,}: {error}")
            return error
        return None

    @property
    def final_return(self) -> float | None:
        """Mean return of the last evaluation; without evaluations, of the last episodes."""
        final = self.progress.final_return
        return self.episode_statistics.mean_return if final is None else final

    def _record_problem(self, owner: object, error: Exception, what: str) -> None:
        """Say what went wrong beside the training, and keep it for the summary."""
        told = " ".join(f"{type(owner).__name__} {what}: {type(error).__name__}: {error}".split())  # one line
        log.error("%s", told)
        log.debug("its traceback", exc_info=error)
        self.problems.append(f"{told} (step {self.progress.step:,})")

    def close(self, summary: dict[str, Any]) -> None:
        """Close environments and loggers; one that fails does not keep the others from closing."""
        try:
            self.envs.close()
        except Exception as error:
            self._record_problem(self.envs, error, "could not be closed")
        self.hub.close(summary)
