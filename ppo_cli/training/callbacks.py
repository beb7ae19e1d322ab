"""Code of the user's that is called while a run goes on, and may steer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.config import TrainConfig
from ppo_cli.envs.vector import VectorEnv
from ppo_cli.errors import CheckpointError, Problem, add_note
from ppo_cli.loggers.metrics import Metrics
from ppo_cli.runs.progress import Evaluation, Progress
from ppo_cli.seeding import global_streams
from ppo_cli.training import user_classes


class Run(Protocol):
    """What a callback sees of a run, and may do to it."""

    @property
    def config(self) -> TrainConfig:
        """Its settings."""

    run_dir: Path
    """Its folder."""
    agent: PPOAgent
    progress: Progress
    """How far it has come: ``step``, ``iteration``, ``episodes``, ``best_return`` and others."""
    total_timesteps: int
    """Its budget."""

    @property
    def envs(self) -> VectorEnv:
        """The environments that it trains on; see :meth:`ppo_cli.envs.vector.VectorEnv.call`."""

    def stop(self, reason: str) -> None:
        """End the run after this iteration; its record says why, and it counts as finished."""


class Callback:
    """Base of what is called while a run goes on; override what is needed.

    Random numbers that a callback draws from the global generators of Python, NumPy and torch follow from the run's
    seed and touch no other stream. One that raises ends the run.

    Attributes:
        metrics: Names of the metrics that :meth:`on_iteration` reports, each with a ``/``; they have columns in
            ``metrics.csv`` and curves in TensorBoard for the whole run.
    """

    metrics: Sequence[str] = ()

    def on_start(self, run: Run) -> None:
        """The run begins, or goes on: settings, agent and environments are there, and nothing has been collected."""

    def on_iteration(self, row: Mapping[str, Any], run: Run) -> Mapping[str, float | int | None] | None:
        """One iteration is over; ``row`` has its metrics.

        Returns:
            Metrics of its own, by the names in :attr:`metrics`.
        """

    def on_evaluation(self, evaluation: Evaluation, run: Run) -> None:
        """An evaluation is over: its ``mean``, ``returns`` and ``lengths``."""

    def on_end(self, run: Run) -> None:
        """The run is over, finished or stopped; one that breaks does not come here."""

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on must know: plain data and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take :meth:`state_dict` over."""


def callback_classes(config: TrainConfig) -> list[tuple[type[Callback], dict[str, Any]]]:
    """The classes that ``callbacks`` names, each with its part of ``callback_kwargs``.

    Raises:
        ConfigError: if there is no such class, or an argument fits none.
    """
    kinds = [user_classes.find_class("callbacks", name, Callback) for name in config.callbacks]
    arguments = user_classes.arguments_of(kinds, "callback_kwargs", config.callback_kwargs, fixed=0)
    return list(zip(kinds, arguments, strict=True))


class Callbacks:
    """A run's callbacks as one.

    Args:
        config: The run's settings, whose ``callbacks`` are built.
        more: Callbacks that are there already.
    """

    def __init__(self, config: TrainConfig, more: Sequence[Callback] = ()) -> None:
        self._seed, classes = config.seed, callback_classes(config)
        with global_streams(config.seed, "callbacks/build"):
            built = [kind(**deepcopy(own)) for kind, own in classes]
        both = [*built, *more]
        self._all: dict[str, Callback] = dict(zip(user_classes.names_of(both), both, strict=True))
        for name, one in self._all.items():
            user_classes.check_metrics(name, one.metrics)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all their metrics."""
        return tuple(dict.fromkeys(name for one in self._all.values() for name in one.metrics))

    def _tell(self, method: str, iteration: int, call: Callable[[Callback], Any]) -> list[Any]:
        """Call all of them; a random stream of its own is the same in a run that goes on."""
        answers = []
        for number, (name, one) in enumerate(self._all.items()):
            try:
                with global_streams(self._seed, f"callbacks/{method}", iteration, number):
                    answers.append(call(one))
            except Exception as error:
                add_note(error, f"in {method}() of {name}")
                raise
        return answers

    def on_start(self, run: Run) -> None:
        """The run begins; a state that no checkpoint could hold is found now and not at the first one."""
        self._tell("on_start", run.progress.iteration, lambda one: one.on_start(run))
        self.state_dict()

    def on_evaluation(self, evaluation: Evaluation, run: Run) -> None:
        """An evaluation is over."""
        self._tell("on_evaluation", run.progress.iteration, lambda one: one.on_evaluation(evaluation, run))

    def on_iteration(self, row: Metrics, run: Run) -> Metrics:
        """One iteration is over; returns the metrics that they report."""
        view = MappingProxyType(row)
        found: Metrics = {}
        for metrics in self._tell(
            "on_iteration",
            run.progress.iteration,
            lambda one: user_classes.added(one, one.metrics, one.on_iteration(view, run)),
        ):
            found |= metrics
        return found

    def on_end(self, run: Run) -> None:
        """The run is over."""
        self._tell("on_end", run.progress.iteration, lambda one: one.on_end(run))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of each."""
        return {name: user_classes.kept(one, one.state_dict()) for name, one in self._all.items()}

    def load_state_dict(self, state: Any) -> None:
        """Take :meth:`state_dict` over; one that the checkpoint does not know begins anew.

        Raises:
            CheckpointError: if it is none.
        """
        if not isinstance(state, dict):
            raise CheckpointError(Problem("the checkpoint's callbacks should be a mapping", "another checkpoint"))
        for name, one in self._all.items():
            if name in state:
                one.load_state_dict(state[name])
