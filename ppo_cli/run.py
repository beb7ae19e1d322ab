"""One training run from configuration to result: what ``ppo-train`` does, for notebooks and scripts too."""

from __future__ import annotations

import dataclasses
import logging
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ppo_cli.acceleration import choose_compile, choose_threads, intra_op_threads
from ppo_cli.agent import PPOAgent
from ppo_cli.backends import choose_backend
from ppo_cli.checkpoint import find_checkpoint, load_checkpoint
from ppo_cli.config import TrainConfig, validate, whole_iterations
from ppo_cli.config import show as show_value
from ppo_cli.devices import resolve_device
from ppo_cli.distributions import make_head
from ppo_cli.env_ids import newer_version
from ppo_cli.envs import longest_episode, read_spec, try_out
from ppo_cli.errors import ConfigError, Problem, RunError, UserError
from ppo_cli.folders import new_run_dir
from ppo_cli.learner import sequence_length
from ppo_cli.lock import locked
from ppo_cli.loggers import make_loggers, own_logger
from ppo_cli.loggers.csv import read_rows
from ppo_cli.loggers.lines import run_logging, terminal_can_repaint
from ppo_cli.metrics import Row
from ppo_cli.networks import ActorCritic
from ppo_cli.record import Record, fingerprint, now
from ppo_cli.resumption import Saved, find_saved
from ppo_cli.signals import stoppable
from ppo_cli.specs import Spec
from ppo_cli.trainer import Trainer

log = logging.getLogger("ppo_cli")


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What came of a run.

    Attributes:
        run_dir: The run's folder.
        status: ``finished`` (budget used or ``target_return`` reached) or ``interrupted``.
        step: Environment steps taken.
        final_return: Mean return of the last evaluation; without evaluations, of the last 100 episodes.
        best_return: Mean return of the best evaluation, if there was one.
        best_step: When that was.
        signal: The signal that interrupted it.
        untouched: Whether the run had been finished before, and nothing was done.
    """

    run_dir: Path
    status: str
    step: int
    final_return: float | None
    best_return: float | None
    best_step: int | None
    signal: int | None = None
    untouched: bool = False

    @property
    def checkpoint(self) -> Path:
        """The best checkpoint, or the last where nothing was evaluated."""
        return find_checkpoint(self.run_dir)


def preflight(config: TrainConfig) -> None:
    """Find out whether a run could start, without leaving anything on disk.

    Raises:
        ConfigError: if a value, the environment, the device, the output folder or ``init_from`` does not fit.
    """
    validate(config)
    _check_output_dir(Path(config.output_dir))
    device = resolve_device(config.device)
    spec = read_spec(config.env)
    _check_memory(config, spec)
    agent = PPOAgent.from_spec(spec, config, seed=0, device=device)
    choose_backend(config.vector_backend, config.env, spec)
    try_out(config.env)
    for name in config.logger:
        if ":" in name:
            own_logger(name)
    if config.init_from is not None:
        state = load_checkpoint(find_checkpoint(config.init_from, key="init_from"))["agent"]
        agent.load_weights(state)


def _check_memory(config: TrainConfig, spec: Spec) -> None:
    """See that network and rollout fit into this machine, before any of it is made."""
    network = ActorCritic(spec, partial(make_head, spec, config.continuous), config.network)
    row = (spec.obs_size + network.state_size) * np.dtype(spec.obs_dtype).itemsize
    needs = {  # parameters, two moments and a gradient; rows once in the memory and once on their way to the network
        f"network.hidden_sizes={show_value(config.network.hidden_sizes)}": 4 * 4 * network.num_parameters,
        f"buffer_size={config.buffer_size}": 2 * row * config.buffer_size,
    }
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # Windows
        return
    problems = [
        Problem(f"{setting} needs {need / 2**30:,.0f} GiB, and this machine has {there / 2**30:,.0f}", "a smaller one")
        for setting, need in needs.items()
        if need > there
    ]
    if problems:
        raise ConfigError(problems)


def _check_output_dir(folder: Path) -> None:
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:  # to write is the only sure way to know: root passes every check of permissions, even where nobody can write
        with tempfile.TemporaryDirectory(dir=existing):
            return
    except OSError as error:
        what = f"output_dir={folder} cannot be written: {existing}: {error.strerror}"
        raise ConfigError(Problem(what, "output_dir=outputs, or another folder of yours")) from error


def resolve(config: TrainConfig) -> tuple[TrainConfig, list[str]]:
    """Put what was chosen in the place of every ``auto``; with a reason for each.

    The choices follow from the configuration and from what is installed, so the same command makes the same ones.
    """
    updates = whole_iterations(config.total_timesteps, config.buffer_size) * config.epochs
    updates *= whole_iterations(config.buffer_size, config.batch_size)
    spec = read_spec(config.env)
    network = ActorCritic(spec, partial(make_head, spec, config.continuous), config.network)
    sequence = 1 if config.network.memory is None else sequence_length(config, config.buffer_size // config.num_envs)
    choices: dict[str, tuple[Any, str]] = {
        "vector_backend": choose_backend(config.vector_backend, config.env, spec),
        "threads": choose_threads(config.threads, network.work, config.batch_size),
        "compile": choose_compile(config.compile, resolve_device(config.device), updates, sequence),
        "checkpoint_every": _choose_checkpoint_every(config),
    }
    reasons = [f"{key}={show_value(value)} ({reason})" for key, (value, reason) in choices.items()]
    return dataclasses.replace(config, **{key: value for key, (value, _) in choices.items()}), reasons


STRETCH = 10  # longest episodes of each environment that should fit between two scheduled checkpoints, or more
CHECKPOINT_EVERY = 100_000


def _choose_checkpoint_every(config: TrainConfig) -> tuple[int | None, str]:
    """Steps between scheduled checkpoints, which cut the episodes in progress.

    Cuts that lie far apart change nothing about what is learnt; close ones would show the agent the beginnings of
    episodes more often than their ends.
    """
    if config.checkpoint_every != "auto":
        assert not isinstance(config.checkpoint_every, str)
        return config.checkpoint_every, "as asked"
    least = _shortest_stretch(config)
    if least > CHECKPOINT_EVERY:
        return least, f"{STRETCH} of the longest episodes in each environment"
    return CHECKPOINT_EVERY, f"at least {STRETCH} of the longest episodes in each environment" if least else "as usual"


def _shortest_stretch(config: TrainConfig) -> int:
    """Steps between checkpoints below which their cuts are felt; 0 where episodes have no limit."""
    return STRETCH * (longest_episode(config.env) or 0) * config.num_envs


def _warn_of_short_stretches(config: TrainConfig, total_timesteps: int) -> None:
    every, least = config.checkpoint_every, _shortest_stretch(config)
    if isinstance(every, int) and every < min(least, total_timesteps):
        log.warning(
            "checkpoint_every=%d leaves each environment less than %d of its longest episodes between two checkpoints, "
            "which cut them: their late parts are seen less often; checkpoint_every=%d would not disturb learning",
            every,
            STRETCH,
            least,
        )


def train(
    config: TrainConfig, run_dir: Path | None = None, *, command: str | None = None, show: bool = True
) -> TrainResult:
    """Train, and keep everything about it in a folder.

    Args:
        config: What to train.
        run_dir: An empty folder for the run; by default a new one under ``config.output_dir``.
        command: The command line, for the record.
        show: Show progress: a live display in a terminal, plain lines elsewhere.

    Raises:
        ConfigError: if the configuration does not fit; nothing is left on disk.
        RunError: if the run broke; its folder has what it had come to, and the traceback in ``train.log``.
    """
    if config.resume is not None:
        raise ConfigError(Problem(f"train() begins a run, and resume={config.resume} asks to go on", "resume(run)"))
    preflight(config)
    run_dir = run_dir or new_run_dir(config.output_dir, config.env.id)
    (run_dir / "checkpoints").mkdir(parents=True)
    about = {"request": fingerprint(config), "started": now(), "command": command or shlex.join(sys.argv)}
    return _run(config, run_dir, {**about, "resumed": []}, None, show)


def resume(
    run: str | os.PathLike[str],
    changes: Mapping[str, Any] | None = None,
    *,
    command: str | None = None,
    show: bool = True,
) -> TrainResult:
    """Go on with a run in its own folder, from its newest scheduled checkpoint that can be read, else from the start.

    With the same packages on the same machine the result equals that of a run that was never stopped, bit for bit.

    Args:
        run: The run's folder, or one of its ``step_….pt`` files to go on from.
        changes: Settings by dotted key that differ from now on. A module of the user's that the run's settings name
            must be named here too, or it is not imported.
        command: The command line, for the record.
        show: As for :func:`train`.

    Raises:
        ConfigError: if there is no such run, or a change does not fit; the folder is as it was.
        RunError: if another process is at it, or the run broke.
    """
    saved = find_saved(run, dict(changes or {}))
    if saved.finished:
        return _as_it_was(saved)
    _check_output_dir(saved.run_dir)
    preflight(dataclasses.replace(saved.config, init_from=None) if saved.content else saved.config)
    resumption = {
        "time": now(),
        "step": saved.progress.step,
        "command": command or shlex.join(sys.argv),
        "changes": {key: show_value(value) for key, value in (changes or {}).items()},
    }
    about = {**saved.about, "resumed": [*saved.about["resumed"], resumption]}
    return _run(saved.config, saved.run_dir, about, saved, show)


def _as_it_was(saved: Saved) -> TrainResult:
    """The result of a run that was finished before."""
    final, best, best_step = (saved.summary.get(name) for name in ("final_return", "best_return", "best_step"))
    return TrainResult(saved.run_dir, "finished", saved.summary["step"], final, best, best_step, untouched=True)


def _run(config: TrainConfig, run_dir: Path, about: dict[str, Any], saved: Saved | None, show: bool) -> TrainResult:
    live = show and terminal_can_repaint()
    with locked(run_dir), run_logging(run_dir, to_stdout=show and not live):
        config, reasons = resolve(config)
        assert isinstance(config.threads, int)
        log.info("%s", " · ".join(reasons))
        if saved is not None:
            log.info("resumed at step %d%s", saved.progress.step, "" if saved.path is None else f" from {saved.path}")
        try:
            with intra_op_threads(config.threads):
                return _train(config, run_dir, about, saved, live)
        except Exception as error:
            log.debug("the run failed", exc_info=True)  # into train.log only: the person gets one message, not two
            if isinstance(error, UserError):
                raise
            notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
            what = f"{type(error).__name__}: {error}{notes}"
            raise RunError(Problem(what, f"reading the traceback in {run_dir / 'train.log'}")) from error


def _train(config: TrainConfig, run_dir: Path, about: dict[str, Any], saved: Saved | None, live: bool) -> TrainResult:
    began = time.perf_counter()
    content = None if saved is None else saved.content
    init_from: Path | None = None
    history: Sequence[Row] = ()
    if content is None and config.init_from is not None:
        init_from = find_checkpoint(config.init_from, key="init_from")
    if saved is not None and content is not None:
        saved.set_newer_aside()
        history = _history(run_dir, saved)
    trainer = Trainer(config, run_dir, make_loggers(config, run_dir, live), init_from, content, history)
    before = float((history[-1]["time/elapsed"] if history else None) or 0.0)
    record = Record(run_dir, config, about)

    def facts() -> dict[str, Any]:
        seconds = before + time.perf_counter() - began
        return {
            "total_timesteps": trainer.total_timesteps,
            **dataclasses.asdict(trainer.progress),
            "final_return": trainer.final_return,
            "problems": list(trainer.problems),
            "wall_time": seconds,
            "steps_per_second": trainer.progress.step / seconds,
        }

    record.write("running", facts())
    status = "failed"
    try:
        if (newer := newer_version(config.env.id)) is not None:
            log.warning("env=%s is out of date; there is env=%s", config.env.id, newer)
        if trainer.total_timesteps != config.total_timesteps:
            log.info(
                "total_timesteps=%d is rounded up to %d: whole iterations of buffer_size=%d",
                config.total_timesteps,
                trainer.total_timesteps,
                config.buffer_size,
            )
        _warn_of_short_stretches(config, trainer.total_timesteps)
        with stoppable(trainer.stop) as asked:
            trainer.run()
        status = "finished" if asked.signal is None else "interrupted"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        trainer.close({"status": status, **facts()})
        unwritten = _unwritten(record, status, facts())
    if not trainer.saved or unwritten is not None:
        what = f"the run ended at step {trainer.progress.step:,}, but its last records could not be written"
        raise RunError(Problem(f"{what}: {unwritten or trainer.problems[-1]}", f"making room, then resume={run_dir}"))
    progress = trainer.progress
    return TrainResult(
        run_dir,
        status,
        progress.step,
        trainer.final_return,
        progress.best_return,
        progress.best_step,
        asked.signal,
    )


def _unwritten(record: Record, status: str, facts: dict[str, Any]) -> OSError | None:
    """Write the summary; what kept it from being written, for that must not hide what ended the run."""
    try:
        record.write(status, facts)
    except OSError as error:
        log.error("summary.json could not be written: %s", error)
        return error
    return None


def _history(run_dir: Path, saved: Saved) -> Sequence[Row]:
    """The rows up to the checkpoint."""
    history = read_rows(run_dir / "metrics.csv", saved.progress.step)
    if "csv" in saved.config.logger and len(history) < saved.progress.iteration:
        log.warning(
            "metrics.csv has %d of the %d rows up to the checkpoint; the others are lost",
            len(history),
            saved.progress.iteration,
        )
    return history
