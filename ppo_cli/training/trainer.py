"""The training loop: set schedules → collect → update → evaluate → log → save.

A run is a chain of stretches, each from one scheduled checkpoint to the next. A stretch begins with environments built
anew, from seeds that follow from the run's seed and the stretch's place alone, whether the process went on or another
one took over. That is why a run that was stopped and resumed equals one that was not, bit for bit, though no
environment's state is ever saved.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.algorithm import ppo
from ppo_cli.algorithm.finite import check_rollout
from ppo_cli.algorithm.rollout import FinalObservations, ObsRows
from ppo_cli.config import TrainConfig, whole_iterations
from ppo_cli.devices import resolve_device
from ppo_cli.envs.inspect import read_spec
from ppo_cli.envs.vector import VectorEnv
from ppo_cli.errors import BadNumbersError, Problem
from ppo_cli.loggers.base import Logger, RunInfo
from ppo_cli.loggers.metrics import COLUMNS, Metrics
from ppo_cli.plain import to_plain
from ppo_cli.runs.checkpoint import load_checkpoint, save_checkpoint
from ppo_cli.runs.progress import Evaluation, Progress, read_run
from ppo_cli.runs.store import CheckpointStore
from ppo_cli.runs.summary import as_json
from ppo_cli.seeding import stream_seed
from ppo_cli.training.episodes import EpisodeStatistics
from ppo_cli.training.play import play

log = logging.getLogger("ppo_cli")

MOST_SKIPPED = 10  # updates in a row; whatever is wrong will not mend itself after that


def _rank(*returns: float | None) -> tuple[float, ...]:
    return tuple(-math.inf if value is None else value for value in returns)


class Trainer:
    """One run: environments, agent, loggers and the loop over them.

    Args:
        config: A valid configuration without any ``auto`` left in it; see :func:`ppo_cli.training.run.resolve`.
        run_dir: The run's folder; checkpoints go below it.
        loggers: Who is told of it.
        init_from: A checkpoint's file to start the weights from.
        saved: A scheduled checkpoint's content to go on from.
        history: The rows of the iterations before that one, as far as they are known.
        elapsed: The seconds that those took.
    """

    def __init__(
        self,
        config: TrainConfig,
        run_dir: Path,
        loggers: list[Logger],
        init_from: Path | None = None,
        saved: dict[str, Any] | None = None,
        history: Sequence[Metrics] = (),
        elapsed: float = 0.0,
    ) -> None:
        self.config, self.run_dir, self.loggers, self.history = config, run_dir, loggers, history
        self._elapsed = elapsed
        self._spec = read_spec(config.env)
        self.agent = PPOAgent.from_spec(
            self._spec,
            config,
            seed=config.seed,
            device=resolve_device(config.device),
            num_envs=config.num_envs,
            compiled=bool(config.compile),
        )
        if init_from is not None:
            self.agent.load_weights(load_checkpoint(init_from)["agent"])
        self.iterations = whole_iterations(config.total_timesteps, config.buffer_size)
        self.total_timesteps = self.iterations * config.buffer_size
        self.progress = Progress()
        self.evaluation: Evaluation | None = None
        self.stopping = False
        self.reached = False
        self.unsaved: OSError | None = None
        self.problems: list[str] = []
        self._failed: list[Logger] = []
        self.store = CheckpointStore(run_dir, config.keep_last)
        self.episode_statistics = EpisodeStatistics(config.num_envs)
        if saved is not None:
            self._restore(saved)
        self.envs = self._build_envs()
        self._rows: ObsRows = np.empty((0, self.agent.policy.row_size), np.float32)

    def _restore(self, saved: dict[str, Any]) -> None:
        """Be where :meth:`checkpoint` left off."""
        self.agent.load_state_dict(saved["agent"])
        state = read_run(saved["run"])
        self.progress, self.evaluation = state.progress, state.evaluation
        self.episode_statistics.load_state_dict(state.episodes)
        if as_json(saved["run"]["config"]) == as_json(to_plain(self.config)):
            self._stop_if_good_enough()  # so it ended here; whoever changes a setting wants it to go on

    def _build_envs(self) -> VectorEnv:
        """The environments of the stretch that begins now."""
        config, iteration = self.config, self.progress.iteration
        stretch = (iteration,) if iteration else ()
        seeds = [stream_seed(config.seed, "env", *stretch, index) for index in range(config.num_envs)]
        return VectorEnv(config.vector_backend, config.env, self._spec, seeds)

    def _begin_stretch(self, rebuild: bool) -> None:
        """Reset the environments; episodes that were in progress are cut, and enter no statistics."""
        if rebuild:
            self.envs.close()
            self.envs = self._build_envs()
        self.agent.policy.normalizers.reward.begin_episodes()
        self.episode_statistics.begin()
        self._rows = self.agent.policy.compose(self.envs.reset(), None, None)

    def run(self, on_checkpoint: Callable[[], object] = lambda: None) -> None:
        """Train to the end of the budget, to ``target_return``, or until someone sets ``stopping``.

        Args:
            on_checkpoint: Called after each scheduled checkpoint.
        """
        parameters = self.agent.policy.network.num_parameters
        info = RunInfo(self.config, self.run_dir, self.total_timesteps, parameters, self.progress.step, self.history)
        self._notify_loggers("start", info)
        self.store.prune()  # whoever ran here before may have been killed between writing one and deleting another
        began = time.perf_counter() - self._elapsed
        self._begin_stretch(rebuild=False)
        while self.progress.iteration < self.iterations and not self.stopping:
            row = self.iterate()
            row["time/elapsed"] = time.perf_counter() - began
            self._notify_loggers("log", row)
            if self._checkpoint_is_due():  # after the row was written: a run that goes on from here must find it
                self.checkpoint()
                on_checkpoint()
        self.unsaved = self.save("last.pt")

    def _notify_loggers(self, method: str, what: Any) -> None:
        """Tell all loggers; one that fails is told no more, and the training goes on."""
        for logger in list(self.loggers):
            try:
                getattr(logger, method)(what)
            except Exception as error:
                self._record_problem(logger, error, "failed and is off from here on")
                self.loggers.remove(logger)
                self._failed.append(logger)

    def _record_problem(self, owner: object, error: Exception, what: str) -> None:
        """Say what went wrong beside the training, and keep it for the summary."""
        told = f"{type(owner).__name__} {what}: {type(error).__name__}: {error}"
        log.error("%s", told)
        log.debug("its traceback", exc_info=error)
        self.problems.append(f"{told} (step {self.progress.step:,})")

    def stop(self) -> None:
        """End the run after the iteration in progress."""
        self.stopping = True

    def iterate(self) -> Metrics:
        """One iteration; returns its metrics."""
        config, agent, progress = self.config, self.agent, self.progress
        learner = agent.learner
        learner.lr = self._schedule(config.lr, config.anneal_lr)
        learner.clip_ratio = self._schedule(config.clip_ratio, config.anneal_clip)
        clock = [time.perf_counter()]
        before = progress.step
        update = None
        try:
            self._collect_soundly()
            clock.append(time.perf_counter())
            update = agent.learn()
            progress.skipped_in_a_row = 0
        except BadNumbersError as error:
            self._skip(self._located(error, before))
            clock[1:] = [time.perf_counter()]  # all of it counts as collecting
        clock.append(time.perf_counter())
        progress.iteration += 1
        progress.episodes = self.episode_statistics.finished
        if update is None:
            self._begin_stretch(rebuild=True)  # what state such environments are in, nobody knows
        evaluation = self.evaluate() if self._evaluation_is_due() else None
        clock.append(time.perf_counter())
        self._update_best(evaluation)
        collect, learn, judge = np.diff(clock).tolist()
        row: Metrics = dict.fromkeys(COLUMNS)
        row |= {"iteration": progress.iteration, "step": progress.step, "rollout/episodes": progress.episodes}
        row["rollout/episode_return_mean"] = self.episode_statistics.mean_return
        row["rollout/episode_length_mean"] = self.episode_statistics.mean_length
        if update is not None:
            row |= {f"train/{name}": value for name, value in update._asdict().items()}
        row["train/skipped_updates"] = progress.skipped_updates
        row |= {"train/lr": learner.lr, "train/clip_ratio": learner.clip_ratio}
        if evaluation is not None:
            row["eval/episode_return_mean"] = evaluation.mean
            row["eval/episode_return_std"] = float(np.std(evaluation.returns))
            row["eval/episode_length_mean"] = float(np.mean(evaluation.lengths))
        row |= {"time/collect": collect, "time/update": learn, "time/evaluate": judge}
        row["time/steps_per_second"] = (progress.step - before) / (collect + learn)
        return row

    def _collect_soundly(self) -> None:
        """Collect; an environment that breaks after bad numbers broke of them, and that is what is told.

        Raises:
            BadNumbersError: in place of what the environment raised.
        """
        memory = self.agent.memory
        try:
            self.collect()
        except Exception as error:
            try:
                check_rollout(memory, memory.size)
            except BadNumbersError as first:
                raise first from error
            raise

    def _skip(self, found: BadNumbersError) -> None:
        """Leave an update out.

        Raises:
            BadNumbersError: where the run is to stop at bad numbers, or they do not end.
        """
        progress = self.progress
        progress.skipped_in_a_row += 1
        if self.config.on_nan == "stop" or progress.skipped_in_a_row > MOST_SKIPPED:
            raise found
        log.warning("%s; this update is skipped, and the environments are built anew", found.problems[0].what)
        progress.skipped_updates += 1
        self.agent.memory.clear()

    def _located(self, error: BadNumbersError, before: int) -> BadNumbersError:
        """The error with the step at which it was found, and all there was then in a file."""
        weights = self.agent.memory["weights"]  # rows of weight 0 are no steps
        step = before + int(weights[: error.row].sum())
        (problem,) = error.problems
        dump = self._dump(problem.what, step)
        fix = problem.fix if dump is None else f"{problem.fix}; {dump} holds the rollout and the agent before it"
        return BadNumbersError(Problem(f"{problem.what} at step {step:,}", fix), error.row)

    def _dump(self, what: str, step: int) -> Path | None:
        """Keep the rollout and the agent that bad numbers were found with."""
        memory = self.agent.memory
        columns = {name: torch.from_numpy(memory[name]).clone() for name in memory.columns}
        path = self.run_dir / "postmortem.pt"
        try:
            save_checkpoint(
                path, self.agent.state_dict(), {**self._state(), "rollout": columns, "found": what, "at": step}
            )
        except OSError as error:
            log.error("%s could not be written: %s", path, error)
            return None
        return path

    def collect(self) -> None:
        """Fill the agent's memory with one rollout."""
        policy, memory = self.agent.policy, self.agent.memory
        noise = policy.noise(memory.steps, memory.num_envs).unbind(0)
        rows = self._rows
        for step_noise in noise:
            actions, env_actions, states = policy.act(rows, step_noise)
            memory.next_observations = rows  # for whoever wants to know what an environment broke of
            result = self.envs.step(env_actions)
            memory.append(
                rows,
                actions,
                result.rewards,
                result.terminated,
                result.truncated,
                finals=None if result.finals is None else self._last_rows(result.finals, states),
                weights=1.0 if result.valid is None else result.valid,
            )
            self.progress.step += self.episode_statistics.count(result)
            rows = policy.compose(result.observations, states, result.starts)
        memory.next_observations = self._rows = rows

    def _last_rows(self, finals: FinalObservations, states: ObsRows | None) -> FinalObservations:
        """The last observations with what the network remembered of the episode that they end."""
        remembered = None if states is None else states[finals.envs]
        return finals._replace(observations=self.agent.policy.compose(finals.observations, remembered, None))

    def _schedule(self, initial: float, anneal: bool) -> float:
        return ppo.annealed(initial, self.progress.iteration, self.iterations) if anneal else initial

    def _is_due(self, every: int | None) -> bool:
        if every is None:
            return False
        return self.progress.iteration % whole_iterations(every, self.config.buffer_size) == 0

    def _checkpoint_is_due(self) -> bool:
        every = self.config.checkpoint_every
        assert not isinstance(every, str)
        # target_return's end is one that the run can be extended from; a signal's is none, for it goes on without a cut
        last = (self.progress.iteration == self.iterations or self.reached) and every is not None
        return last or self._is_due(every)

    def _evaluation_is_due(self) -> bool:
        last = self.progress.iteration == self.iterations and self.config.eval_every is not None
        return last or self._is_due(self.config.eval_every)

    def evaluate(self) -> Evaluation:
        """Play complete episodes in environments of their own, with streams that training never touches."""
        config = self.config
        seed = stream_seed(config.seed, "evaluation", self.progress.iteration)
        played = play(
            self.agent.policy,
            config.env,
            episodes=config.eval_episodes,
            seed=seed,
            deterministic=True,
            num_envs=config.eval_episodes,
        )
        return Evaluation(seed, True, played.returns, played.lengths)

    def _update_best(self, evaluation: Evaluation | None) -> None:
        """Keep the best, and stop where it is good enough."""
        progress, self.evaluation = self.progress, evaluation
        if evaluation is not None:
            progress.final_return = evaluation.mean
            # of equal evaluations the one whose training went better: a few episodes do not show every weakness
            training = self.episode_statistics.mean_return
            if _rank(evaluation.mean, training) >= _rank(progress.best_return, progress.best_training_return):
                progress.best_return, progress.best_step = evaluation.mean, progress.step
                progress.best_training_return = training
                if self.config.keep_best:
                    self.save("best.pt")
            self._stop_if_good_enough()

    def _stop_if_good_enough(self) -> None:
        """Stop where the last iteration's evaluation reaches ``target_return``."""
        target, evaluation = self.config.target_return, self.evaluation
        if target is not None and evaluation is not None and evaluation.mean >= target:
            log.info("target_return=%g reached: evaluation mean %g", target, evaluation.mean)
            self.reached = self.stopping = True

    def checkpoint(self) -> None:
        """Save what the run can go on from, and begin the next stretch as a process that goes on from it would."""
        self.agent.policy.normalizers.reward.begin_episodes()
        digits = len(str(self.total_timesteps))
        self._write(partial(self.store.save_scheduled, self.progress.step, digits))
        if self.progress.iteration < self.iterations and not self.stopping:
            self._begin_stretch(rebuild=True)

    def save(self, name: str) -> OSError | None:
        """Write ``checkpoints/<name>``, to be evaluated; a run goes on from scheduled checkpoints alone."""
        return self._write(partial(self.store.save, name))

    def _write(self, write: Callable[[dict[str, Any], dict[str, Any]], Path]) -> OSError | None:
        """Write a checkpoint; a disk that is full does not end the training, for it may have room again."""
        try:
            write(self.agent.state_dict(), self._state())
        except OSError as error:
            where = error.filename or self.store.folder
            log.error("a checkpoint could not be written (%s: %s); training goes on", where, error.strerror or error)
            self.problems.append(f"checkpoint of step {self.progress.step:,}: {error}")
            return error
        return None

    def _state(self) -> dict[str, Any]:
        """What a checkpoint holds of the run beside its agent."""
        return {
            "config": to_plain(self.config),
            "progress": dataclasses.asdict(self.progress),
            "evaluation": None if self.evaluation is None else dataclasses.asdict(self.evaluation),
            "episodes": dataclasses.asdict(self.episode_statistics.state_dict()),
        }

    @property
    def final_return(self) -> float | None:
        """Mean return of the last evaluation; without evaluations, of the last episodes."""
        final = self.progress.final_return
        return self.episode_statistics.mean_return if final is None else final

    def close(self, summary: dict[str, Any]) -> None:
        """Close environments and loggers; one that fails does not keep the others from closing."""
        closings: list[tuple[object, Callable[[], None]]] = [(self.envs, self.envs.close)]
        # only then looked up: somebody's logger may lack it
        closings += [(each, partial(lambda one: one.close(summary), each)) for each in (*self.loggers, *self._failed)]
        for owner, close in closings:
            try:
                close()
            except Exception as error:
                self._record_problem(owner, error, "could not be closed")
