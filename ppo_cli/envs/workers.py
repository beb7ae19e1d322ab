"""Environments in processes of their own: what they raise, told in words, and what they die of."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Iterable, Sequence
from multiprocessing import connection
from typing import Any

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv
from gymnasium.vector.async_vector_env import AsyncState

from ppo_cli.config import EnvConfig
from ppo_cli.envs.calls import EnvCall
from ppo_cli.envs.inspect import Inspection
from ppo_cli.envs.make import make_env
from ppo_cli.errors import UserError
from ppo_cli.seeding import seed_globals
from ppo_cli.signals import ENDING

log = logging.getLogger("ppo_cli")

LOST = (EOFError, BrokenPipeError, ConnectionResetError)
"""What reading from or writing to a process that has died raises."""
HEARTBEAT = 1.0  # seconds between two looks at whether the parent lives
PATIENCE = 5.0  # seconds that a process may take to end


class WorkerError(Exception):
    """What an environment raised in a process of its own, told in words: not every error survives the journey.

    Args:
        told: The environment, the method and the error; or the same error, as Gymnasium raises it once more.
        trace: The traceback.
    """

    def __init__(self, told: str | WorkerError, trace: str = "") -> None:
        if isinstance(told, WorkerError):
            told, trace = told.args
        super().__init__(told, trace)

    def __str__(self) -> str:
        return str(self.args[0])


class Teller(gym.Wrapper[Any, Any, Any, Any]):
    """Makes a :class:`WorkerError` of whatever an environment raises."""

    def __init__(self, env: gym.Env[Any, Any], index: int) -> None:
        super().__init__(env)
        self._index = index

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment does."""
        try:
            return self.env.step(action)
        except Exception as error:
            raise self._told(error, "step") from None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the environment does."""
        try:
            return self.env.reset(seed=seed, options=options)
        except Exception as error:
            raise self._told(error, "reset") from None

    def call(self, call: EnvCall) -> Any:
        """As :meth:`ppo_cli.envs.restart.RestartOnError.call`."""
        try:
            return self.env.get_wrapper_attr("call")(call)
        except Exception as error:
            raise self._told(error, call.name) from None

    def _told(self, error: Exception, method: str) -> WorkerError:
        if isinstance(error, UserError):
            return WorkerError(error.problems[0].what)
        told = f"environment {self._index} raised {type(error).__name__} in {method}(): {error}"
        return WorkerError(told, "".join(traceback.format_exception(error)))


class Workers(AsyncVectorEnv):
    """Gymnasium's processes, one per environment, that say less about errors and more about deaths."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # Whoever forgets to close them would wait for them at the interpreter's end: its SIGTERM does not reach them.
        weakref.finalize(self, _kill, self.processes)

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        level, gym.logger.min_level = gym.logger.min_level, gym.logger.ERROR + 1
        try:
            super()._raise_if_errors(successes)
        except WorkerError as error:
            log.debug("from the environment's process:\n%s", error.args[1])
            raise
        finally:
            gym.logger.min_level = level

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """Ask the processes to end; one that is busy, or dead, is not waited for."""
        if terminate or self._state is not AsyncState.DEFAULT:
            self._end()
            return
        try:
            super().close_extras(timeout, terminate)
        except LOST:
            self._end()

    def _end(self) -> None:
        _kill(self.processes)
        for process in self.processes:
            process.join(PATIENCE)
        for pipe in self.parent_pipes:
            if pipe is not None:
                pipe.close()
        self.closed = True

    def terminate_all(self) -> list[tuple[int, str]]:
        """End all processes; returns the numbers of those that were dead before, and what of."""
        ended = connection.wait([process.sentinel for process in self.processes], PATIENCE)
        dead = [(index, _cause(process)) for index, process in enumerate(self.processes) if process.sentinel in ended]
        self._end()
        return dead


def _kill(processes: Sequence[Any]) -> None:
    """End processes that ignore whatever is more polite."""
    for process in processes:
        process.kill()


def _cause(process: Any) -> str:
    process.join(PATIENCE)
    code = process.exitcode
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal
        name = f"signal {-code}"
    return f"{name}: perhaps the memory was full" if name == "SIGKILL" else name


class StandIn(gym.Env[Any, Any]):
    """Has an environment's spaces and nothing else: what Gymnasium builds beside the processes, to read them."""

    def __init__(self, inspection: Inspection) -> None:
        self.observation_space, self.action_space = inspection.observations, inspection.actions
        self.metadata = inspection.metadata


def in_process(config: EnvConfig, index: int, seed: int, parent: int, inspection: Inspection) -> gym.Env[Any, Any]:
    """Build environment ``index`` in a process of its own; in ``parent``, which reads spaces alone, a stand-in."""
    if os.getpid() == parent:
        return StandIn(inspection)
    # Ctrl-C reaches every process of a terminal, and Slurm's signals every process of a job; it is the parent that
    # decides when to stop
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    seed_globals(seed, "env/global")
    spaces = (inspection.observations, inspection.actions)
    return Teller(make_env(config, index=index, spec=inspection.spec, spaces=spaces), index)


def _follow(parent: int) -> None:
    """End this process when its parent has ended, however that was.

    Nothing else does: processes that were forked later hold the other end of this one's pipe too. An orphan would keep
    the run's folder locked.
    """
    while os.getppid() == parent:
        time.sleep(HEARTBEAT)
    os._exit(1)
