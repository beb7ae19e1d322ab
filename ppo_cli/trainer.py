"""The training loop: set schedules → collect → update → evaluate → log → save."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ppo_cli import ppo
from ppo_cli.agent import PPOAgent
from ppo_cli.buffer import FinalObservations, Rows
from ppo_cli.checkpoint import load_checkpoint, save_checkpoint
from ppo_cli.config import TrainConfig, to_plain, whole_iterations
from ppo_cli.devices import resolve_device
from ppo_cli.envs import read_spec
from ppo_cli.evaluator import play
from ppo_cli.loggers.base import Logger, RunInfo
from ppo_cli.metrics import COLUMNS, Row
from ppo_cli.seeding import stream_seed
from ppo_cli.vector import Transition, VectorEnv

log = logging.getLogger("ppo_cli")

WINDOW = 100  # episodes that the running means of return and length look back on


@dataclasses.dataclass
class Progress:
    """How far a run has come."""

    iteration: int = 0
    step: int = 0
    episodes: int = 0
    best_return: float | None = None
    best_training_return: float | None = None
    best_step: int | None = None
    final_return: float | None = None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One evaluation during training, with what repeats it."""

    seed: int
    deterministic: bool
    returns: list[float]
    lengths: list[int]

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))


def _rank(*returns: float | None) -> tuple[float, ...]:
    return tuple(-math.inf if value is None else value for value in returns)


class Trainer:
    """One run: environments, agent, loggers and the loop over them.

    Args:
        config: A valid configuration without any ``auto`` left in it; see :func:`ppo_cli.run.resolve`.
        run_dir: The run's folder; checkpoints go below it.
        loggers: Who is told of it.
        init_from: A checkpoint's file to start the weights from.
    """

    def __init__(
        self, config: TrainConfig, run_dir: Path, loggers: list[Logger], init_from: Path | None = None
    ) -> None:
        self.config, self.run_dir, self.loggers = config, run_dir, loggers
        spec = read_spec(config.env)
        self.agent = PPOAgent.from_spec(
            spec,
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
        seeds = [stream_seed(config.seed, "env", index) for index in range(config.num_envs)]
        self.envs = VectorEnv(config.vector_backend, config.env, spec, seeds)
        self._returns: deque[float] = deque(maxlen=WINDOW)
        self._lengths: deque[int] = deque(maxlen=WINDOW)
        self._running_return = np.zeros(config.num_envs)
        self._running_length = np.zeros(config.num_envs, np.int64)
        self._rows: Rows = np.empty((0, self.agent.policy.row_size), np.float32)

    def run(self) -> None:
        """Train to the end of the budget, to ``target_return``, or until someone sets ``stopping``."""
        info = RunInfo(self.config, self.run_dir, self.total_timesteps, self.agent.policy.network.num_parameters)
        for logger in self.loggers:
            logger.start(info)
        self._rows = self.agent.policy.compose(self.envs.reset(), None, None)
        began = time.perf_counter()
        while self.progress.iteration < self.iterations and not self.stopping:
            row = self.iterate()
            row["time/elapsed"] = time.perf_counter() - began
            for logger in self.loggers:
                logger.log(row)
        self.save("last.pt")

    def iterate(self) -> Row:
        """One iteration; returns its metrics."""
        config, agent, progress = self.config, self.agent, self.progress
        learner = agent.learner
        learner.lr = self._schedule(config.lr, config.anneal_lr)
        learner.clip_ratio = self._schedule(config.clip_ratio, config.anneal_clip)
        clock = [time.perf_counter()]
        before = progress.step
        self.collect()
        clock.append(time.perf_counter())
        update = agent.learn()
        clock.append(time.perf_counter())
        progress.iteration += 1
        evaluation = self.evaluate() if self._evaluation_is_due() else None
        clock.append(time.perf_counter())
        self._keep(evaluation)
        collect, learn, judge = np.diff(clock).tolist()
        row: Row = dict.fromkeys(COLUMNS)
        row |= {"iteration": progress.iteration, "step": progress.step, "rollout/episodes": progress.episodes}
        row["rollout/episode_return_mean"] = self.training_return
        if self._lengths:
            row["rollout/episode_length_mean"] = float(np.mean(self._lengths))
        row |= {f"train/{name}": value for name, value in update._asdict().items()}
        row |= {"train/lr": learner.lr, "train/clip_ratio": learner.clip_ratio}
        if evaluation is not None:
            row["eval/episode_return_mean"] = evaluation.mean
            row["eval/episode_return_std"] = float(np.std(evaluation.returns))
            row["eval/episode_length_mean"] = float(np.mean(evaluation.lengths))
        row |= {"time/collect": collect, "time/update": learn, "time/evaluate": judge}
        row["time/steps_per_second"] = (progress.step - before) / (collect + learn)
        return row

    def collect(self) -> None:
        """Fill the agent's memory with one rollout."""
        policy, memory = self.agent.policy, self.agent.memory
        noise = policy.noise(memory.steps, memory.num_envs).unbind(0)
        rows = self._rows
        for step_noise in noise:
            actions, commands, states = policy.act(rows, step_noise)
            result = self.envs.step(commands)
            memory.append(
                rows,
                actions,
                result.rewards,
                result.terminated,
                result.truncated,
                finals=None if result.finals is None else self._last_rows(result.finals, states),
                weights=1.0 if result.real is None else result.real,
            )
            self._count(result)
            rows = policy.compose(result.observations, states, result.starts)
        memory.next_observations = self._rows = rows

    def _last_rows(self, finals: FinalObservations, states: Rows | None) -> FinalObservations:
        """The last observations with what the network remembered of the episode that they end."""
        remembered = None if states is None else states[finals.envs]
        return finals._replace(observations=self.agent.policy.compose(finals.observations, remembered, None))

    def _count(self, result: Transition) -> None:
        """Keep the books of steps and episodes; a step that is no transition has no reward and no length."""
        real = self.config.num_envs if result.real is None else int(result.real.sum())
        self.progress.step += real
        self._running_return += result.rewards
        self._running_length += 1 if result.real is None else result.real
        ended = result.ended
        if ended is not None:
            self._returns.extend(self._running_return[ended].tolist())
            self._lengths.extend(self._running_length[ended].tolist())
            self.progress.episodes += int(ended.sum())
            self._running_return[ended] = 0.0
            self._running_length[ended] = 0

    def _schedule(self, initial: float, anneal: bool) -> float:
        return ppo.annealed(initial, self.progress.iteration, self.iterations) if anneal else initial

    def _is_due(self, every: int | None) -> bool:
        if every is None:
            return False
        return self.progress.iteration % whole_iterations(every, self.config.buffer_size) == 0

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

    def _keep(self, evaluation: Evaluation | None) -> None:
        """Save what this iteration is to be remembered by."""
        progress, self.evaluation = self.progress, evaluation
        if evaluation is not None:
            progress.final_return = evaluation.mean
            # of equal evaluations the one whose training went better: a few episodes do not show every weakness
            training = self.training_return
            if _rank(evaluation.mean, training) >= _rank(progress.best_return, progress.best_training_return):
                progress.best_return, progress.best_step = evaluation.mean, progress.step
                progress.best_training_return = training
                self.save("best.pt")
            target = self.config.target_return
            if target is not None and evaluation.mean >= target:
                log.info("target_return=%g reached: evaluation mean %g", target, evaluation.mean)
                self.stopping = True
        if self._is_due(self.config.checkpoint_every):
            self.save(f"step_{progress.step:0{len(str(self.total_timesteps))}d}.pt")
            self.save("last.pt")

    def save(self, name: str) -> Path:
        """Write ``checkpoints/<name>``."""
        path = self.run_dir / "checkpoints" / name
        evaluation = None if self.evaluation is None else dataclasses.asdict(self.evaluation)
        run = {
            "config": to_plain(self.config),
            "progress": dataclasses.asdict(self.progress),
            "evaluation": evaluation,
        }
        save_checkpoint(path, self.agent.state(), run)
        return path

    @property
    def training_return(self) -> float | None:
        """Mean return of the last episodes; ``None`` before the first has ended."""
        return float(np.mean(self._returns)) if self._returns else None

    @property
    def final_return(self) -> float | None:
        """Mean return of the last evaluation; without evaluations, of the last episodes."""
        final = self.progress.final_return
        return self.training_return if final is None else final

    def close(self, summary: dict[str, Any]) -> None:
        """Close environments and loggers; one that fails does not keep the others from closing."""
        closings: list[tuple[object, Callable[[], None]]] = [(self.envs, self.envs.close)]
        closings += [(logger, partial(logger.close, summary)) for logger in self.loggers]
        for owner, close in closings:
            try:
                close()
            except Exception:
                log.exception("%s could not be closed", type(owner).__name__)
