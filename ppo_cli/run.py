"""One training run from configuration to result: what ``ppo-train`` does, for notebooks and scripts too."""

from __future__ import annotations

import dataclasses
import logging
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from ppo_cli.acceleration import choose_compile, choose_threads, intra_op_threads
from ppo_cli.agent import PPOAgent
from ppo_cli.backends import choose_backend
from ppo_cli.checkpoint import find_checkpoint, load_checkpoint, write_json
from ppo_cli.config import TrainConfig, validate, whole_iterations
from ppo_cli.config import show as show_value
from ppo_cli.devices import resolve_device
from ppo_cli.distributions import make_head
from ppo_cli.env_ids import newer_version
from ppo_cli.envs import read_spec, try_out
from ppo_cli.errors import ConfigError, Problem, RunError, UserError
from ppo_cli.folders import new_run_dir
from ppo_cli.learner import sequence_length
from ppo_cli.loggers import make_loggers, own_logger
from ppo_cli.loggers.lines import run_logging, terminal_can_repaint
from ppo_cli.networks import ActorCritic
from ppo_cli.trainer import Trainer

log = logging.getLogger("ppo_cli")

PACKAGES = ("ppo-cli", "torch", "numpy", "gymnasium", "hydra-core", "omegaconf")


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
    """

    run_dir: Path
    status: str
    step: int
    final_return: float | None
    best_return: float | None
    best_step: int | None

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
    agent = PPOAgent.from_spec(spec, config, seed=0, device=device)
    choose_backend(config.vector_backend, config.env, spec)
    try_out(config.env)
    for name in config.logger:
        if ":" in name:
            own_logger(name)
    if config.init_from is not None:
        state = load_checkpoint(find_checkpoint(config.init_from, key="init_from"))["agent"]
        agent.load_weights(state)


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
    }
    reasons = [f"{key}={show_value(value)} ({reason})" for key, (value, reason) in choices.items()]
    return dataclasses.replace(config, **{key: value for key, (value, _) in choices.items()}), reasons


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
    preflight(config)
    run_dir = run_dir or new_run_dir(config.output_dir, config.env.id)
    (run_dir / "checkpoints").mkdir(parents=True)
    live = show and terminal_can_repaint()
    config, reasons = resolve(config)
    assert isinstance(config.threads, int)
    with intra_op_threads(config.threads), run_logging(run_dir, to_stdout=show and not live):
        log.info("%s", " · ".join(reasons))
        try:
            return _train(config, run_dir, command or shlex.join(sys.argv), live)
        except Exception as error:
            log.debug("the run failed", exc_info=True)  # into train.log only: the person gets one message, not two
            if isinstance(error, UserError):
                raise
            notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
            what = f"{type(error).__name__}: {error}{notes}"
            raise RunError(Problem(what, f"reading the traceback in {run_dir / 'train.log'}")) from error


def _train(config: TrainConfig, run_dir: Path, command: str, live: bool) -> TrainResult:
    started, began = datetime.now(timezone.utc), time.perf_counter()
    init_from = None if config.init_from is None else find_checkpoint(config.init_from, key="init_from")
    trainer = Trainer(config, run_dir, make_loggers(config, run_dir, live), init_from)
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
        with _interruptible(trainer) as interruption:
            trainer.run()
        status = "interrupted" if interruption.is_set() else "finished"
    finally:
        seconds = time.perf_counter() - began
        summary = {
            "status": status,
            "env": config.env.id,
            "seed": config.seed,
            "total_timesteps": trainer.total_timesteps,
            **dataclasses.asdict(trainer.progress),
            "final_return": trainer.final_return,
            "wall_time": seconds,
            "steps_per_second": trainer.progress.step / seconds,
            "started": started.isoformat(timespec="seconds"),
            "command": command,
            "git_commit": _git_commit(),
            "versions": _versions(),
        }
        trainer.close(summary)
        write_json(run_dir / "summary.json", summary)
    progress = trainer.progress
    return TrainResult(run_dir, status, progress.step, trainer.final_return, progress.best_return, progress.best_step)


@contextmanager
def _interruptible(trainer: Trainer) -> Iterator[threading.Event]:
    """Let the first Ctrl-C end the run after the iteration in progress, and the second one at once."""
    interruption = threading.Event()

    def stop(*_: object) -> None:
        interruption.set()
        trainer.stopping = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log.warning("stopping after this iteration; Ctrl-C again stops at once")

    if threading.current_thread() is not threading.main_thread():  # only there can a handler be set
        yield interruption
        return
    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, previous)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # a checkout on the path, never installed
            versions[package] = "unknown"
    return versions


def _git_commit() -> str | None:
    """The commit checked out in the working directory, if that is a repository."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None
