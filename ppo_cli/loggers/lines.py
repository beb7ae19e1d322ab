"""Plain lines of progress, and where log messages go while a run is on."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ppo_cli.config import TrainConfig, whole_iterations
from ppo_cli.loggers.base import RunInfo
from ppo_cli.loggers.metrics import Metrics
from ppo_cli.loggers.text import Pace, duration, number
from ppo_cli.places import shown
from ppo_cli.runs.files import check_regular
from ppo_cli.runs.names import LOG_FILE
from ppo_cli.streams import plain

LOGGER = logging.getLogger("ppo_cli")


class PlainLines:
    """Logs the first, every n-th and the last iteration as a line each, n iterations being ``log_every`` steps.

    Args:
        config: The run's configuration.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._every = whole_iterations(config.log_every, config.buffer_size)
        self._waiting: Metrics | None = None
        self._eval: float | None = None

    def start(self, run: RunInfo) -> None:
        """Log what is about to be trained, and where it is kept."""
        self._total, self._first = run.total_timesteps, True
        self._pace = Pace(run.total_timesteps)
        config = run.config
        about = f"{config.env.id} · seed {config.seed} · {config.device} · {run.num_parameters:,} parameters"
        LOGGER.info("%s · %s", about, shown(run.run_dir))

    def log(self, row: Metrics) -> None:
        """Log a line if one is due."""
        self._pace.add(row)
        self._waiting = row
        if row["eval/episode_return_mean"] is not None:
            self._eval = row["eval/episode_return_mean"]
        if self._first or int(row["iteration"] or 0) % self._every == 0:
            self._line(row)
        self._first = False

    def close(self, summary: dict[str, Any]) -> None:  # noqa: ARG002
        """Log the last iteration, unless it has been."""
        if self._waiting is not None:
            self._line(self._waiting)

    def _line(self, row: Metrics) -> None:
        step, remaining = int(row["step"] or 0), self._pace.remaining()
        parts = [
            f"step {step:,}/{self._total:,} ({min(100, 100 * step // self._total)}%)",
            f"return {number(row['rollout/episode_return_mean'], 1)}",
            f"eval {number(self._eval, 1)}" if self._eval is not None else None,
            f"kl {number(row['train/approx_kl'])}",
            f"ev {number(row['train/explained_variance'], 2)}",
            f"entropy {number(row['train/entropy'], 2)}",
            f"{number(row['time/steps_per_second'], 0)} steps/s",
            f"{duration(remaining)} left" if remaining else None,
        ]
        LOGGER.info("%s", " · ".join(part for part in parts if part is not None))
        self._waiting = self._eval = None


def terminal_can_repaint() -> bool:
    """Whether standard output is a terminal that can show the live display; elsewhere plain lines serve better."""
    return cursor_moves() and ((sys.stdout and sys.stdout.encoding) or "").lower().startswith("utf")


def cursor_moves() -> bool:
    """Whether standard output is a terminal on which one can write over what stands there."""
    if sys.stdout is None or not sys.stdout.isatty() or os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
        return False
    # What a notebook shows of a command is a terminal by its own account, and cannot move its cursor up.
    return not any(name == "JPY_PARENT_PID" or name.startswith("COLAB_") for name in os.environ)


@contextmanager
def run_logging(run_dir: Path, *, to_stdout: bool) -> Iterator[None]:
    """Keep the messages of a run in its ``train.log``, and show them.

    With ``to_stdout`` they are printed as they are, and the caller's own logging stays out of it, so that nothing
    appears twice. Without, the caller's logging gets those that it would get at any other time. Debug messages are
    for the file alone.

    Args:
        run_dir: The run's folder; it exists.
        to_stdout: Whether to print the messages.
    """
    check_regular(run_dir / LOG_FILE)
    file = _File(run_dir / LOG_FILE, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = LOGGER.level
    screen: logging.Handler = _Stdout(sys.stdout or io.StringIO()) if to_stdout else _Caller()
    screen.setLevel(logging.INFO if to_stdout else LOGGER.getEffectiveLevel())
    with ExitStack() as stack:
        stack.callback(file.close)
        stack.enter_context(shown_by(screen))
        stack.enter_context(_attached(file))
        stack.callback(LOGGER.setLevel, level)
        LOGGER.setLevel(logging.DEBUG)
        yield


@contextmanager
def shown_by(screen: logging.Handler) -> Iterator[None]:
    """Let ``screen`` alone show messages: what else would show them waits until the end; files go on."""
    others = [handler for handler in LOGGER.handlers if not isinstance(handler, logging.FileHandler)]
    propagate = LOGGER.propagate
    LOGGER.propagate = False
    try:
        for handler in others:
            LOGGER.removeHandler(handler)
        with _attached(screen):
            yield
    finally:
        for handler in others:
            LOGGER.addHandler(handler)
        LOGGER.propagate = propagate


@contextmanager
def _attached(handler: logging.Handler) -> Iterator[None]:
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)


class _Caller(logging.Handler):
    """Passes messages on to the logging that the caller has set up, as if the run had not lowered the level."""

    def emit(self, record: logging.LogRecord) -> None:
        if LOGGER.parent is not None:
            LOGGER.parent.callHandlers(record)


class _File(logging.FileHandler):
    """A log that a full disk leaves incomplete; the messages still reach the screen."""

    def close(self) -> None:
        with suppress(OSError):  # of what was held back
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class _Stdout(logging.StreamHandler[Any]):
    """Prints messages, and trains on in silence when they reach nobody, as in ``ppo-train … | head``."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[1]
        if isinstance(error, UnicodeEncodeError):
            with suppress(OSError):
                self.stream.write(plain(self.format(record), self.stream.encoding) + self.terminator)
                self.flush()
        elif not isinstance(error, OSError) and not getattr(self.stream, "closed", False):
            super().handleError(record)
