"""Environments in processes of their own: what they raise, told in words, and what they die of."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterable, Sequence
from multiprocessing import connection
from typing import Any, NamedTuple

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv
from gymnasium.vector.async_vector_env import AsyncState

from ppo_cli.config import EnvConfig
from ppo_cli.envs.calls import EnvCall
from ppo_cli.envs.inspect import Inspection
from ppo_cli.envs.make import make_env
from ppo_cli.errors import Problem, RunError, UserError
from ppo_cli.seeding import seed_globals
from ppo_cli.signals import ENDING

log = logging.getLogger("ppo_cli")

LOST = (EOFError, BrokenPipeError, ConnectionResetError)
"""What reading from or writing to a process that has died raises."""
HEARTBEAT = 1.0  # seconds between two looks at whether the parent lives
PATIENCE = 5.0  # seconds that a process may take to end
SLOW = 10.0  # seconds of building after which a line says so
SYNC = "vector_backend=sync, which builds them one after another in this process"


class WorkerError(Exception):
    """What an environment raised in a process of its own, told in words: not every error survives the journey.

    Args:
        told: The environment, the method and the error; or the same error, as Gymnasium raises it once more.
        trace: The traceback.
        fix: What to do, where the environment's side knows that.
    """

    def __init__(self, told: str | WorkerError, trace: str = "", fix: str = "") -> None:
        if isinstance(told, WorkerError):
            told, trace, *rest = told.args
            fix = rest[0] if rest else ""
        super().__init__(told, trace, *([fix] if fix else []))

    @property
    def fix(self) -> str:
        """What to do; empty where nothing is known."""
        return str(self.args[2]) if len(self.args) > 2 else ""

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

    def built(self) -> None:
        """It is built: there is nothing to say."""

    def _told(self, error: Exception, method: str) -> WorkerError:
        if isinstance(error, UserError):
            return WorkerError(error.problems[0].what, "", error.problems[0].fix)
        told = f"environment {self._index} raised {type(error).__name__} in {method}(): {error}"
        return WorkerError(told, "".join(traceback.format_exception(error)))


class Workers(AsyncVectorEnv):
    """Gymnasium's processes, one per environment, that say less about errors and more about deaths."""

    def __init__(self, makers: Sequence[Callable[[], gym.Env[Any, Any]]], timeout: float, **keywords: Any) -> None:
        self._timeout = timeout
        self.processes: list[Any] = []
        try:
            super().__init__(makers, **keywords)
        except BaseException:  # whoever is left would be waited for at the interpreter's end
            self._end()
            raise
        # So would whoever is forgotten: the SIGTERM of the interpreter's end does not reach them.
        weakref.finalize(self, _kill, self.processes)

    def _check_spaces(self) -> None:
        """Wait until all are built; that they are of one form, they have seen to themselves.

        Raises:
            RunError: names the first that could not be built, died or took too long.
        """
        began = time.monotonic()
        for pipe in self.parent_pipes:
            pipe.send(("_call", ("built", (), {})))
        for index, pipe in enumerate(self.parent_pipes):
            self._await(index, pipe, began)
            try:
                answer, _ = pipe.recv()
            except LOST as error:
                cause = cause_of_death(self.processes[index])
                what = f"the process of environment {index} died ({cause}) while it was built"
                raise RunError(Problem(what, SYNC)) from error
            if answer is not None and answer.told is not None:
                log.debug("from the environment's process:\n%s", answer.trace)
                raise RunError(Problem(answer.told, SYNC))

    def _await(self, index: int, pipe: Any, began: float) -> None:
        patience = min(SLOW, self._timeout)
        while not pipe.poll(max(0.0, began + patience - time.monotonic())):
            if patience >= self._timeout:
                what = f"environment {index} is not built after env.start_timeout={self._timeout:g} seconds"
                raise RunError(Problem(what, f"env.start_timeout={10 * self._timeout:g}, or {SYNC}"))
            if patience == SLOW:
                log.warning("environments take long to build; env.start_timeout=%g ends the wait", self._timeout)
            patience = min(self._timeout, patience + SLOW)

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
            if process.pid is not None:  # the last one may not have been started
                process.join(PATIENCE)
        for pipe in getattr(self, "parent_pipes", []):
            if pipe is not None:
                pipe.close()
        self.closed = True

    def terminate_all(self) -> list[tuple[int, str]]:
        """End all processes; returns the numbers of those that were dead before, and what of."""
        ended = connection.wait([process.sentinel for process in self.processes], PATIENCE)
        dead = [
            (index, cause_of_death(process))
            for index, process in enumerate(self.processes)
            if process.sentinel in ended
        ]
        self._end()
        return dead


def _kill(processes: Sequence[Any]) -> None:
    """End processes that ignore whatever is more polite."""
    for process in processes:
        if process.pid is not None:
            process.kill()


def cause_of_death(process: Any) -> str:
    """What a process ended of: its exit code, or the signal by name."""
    process.join(PATIENCE)
    code = process.exitcode
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal
        name = f"signal {-code}"
    return f"{name}: perhaps the memory was full" if name == "SIGKILL" else name


class Unbuilt(NamedTuple):
    """Why an environment could not be built."""

    told: str | None
    trace: str


class StandIn(gym.Env[Any, Any]):
    """Has an environment's spaces and nothing else: what Gymnasium builds beside the processes, to read them.

    In a process it stands for an environment that could not be built, and says why.
    """

    def __init__(self, inspection: Inspection, why: Unbuilt | None = None) -> None:
        self.observation_space, self.action_space = inspection.observations, inspection.actions
        self.metadata, self._why = inspection.metadata, why

    def built(self) -> Unbuilt | None:
        """Why there is none."""
        return self._why


def in_process(config: EnvConfig, index: int, seed: int, parent: int, inspection: Inspection) -> gym.Env[Any, Any]:
    """Build environment ``index`` in a process of its own; in ``parent``, which reads spaces alone, a stand-in."""
    if os.getpid() == parent:
        return StandIn(inspection)
    settle_in_process()
    seed_globals(seed, "env/global")
    spaces = (inspection.observations, inspection.actions)
    try:
        return Teller(make_env(config, index=index, spec=inspection.spec, spaces=spaces), index)
    except (Exception, SystemExit) as error:  # the process would die of it, and nobody know why
        told = error.problems[0].what if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        trace = "".join(traceback.format_exception(error))
        return StandIn(inspection, Unbuilt(f"environment {index}: {told}", trace))


def settle_in_process() -> None:
    """Leave signals to the parent, and end with it; called first of all in a process of an environment's own."""
    # Ctrl-C reaches every process of a terminal, and Slurm's signals every process of a job; it is the parent that
    # decides when to stop
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()


def _follow(parent: int) -> None:
    """End this process when its parent has ended, however that was.

    Nothing else does: processes that were forked later hold the other end of this one's pipe too. An orphan would keep
    the run's folder locked.
    """
    while os.getppid() == parent:
        time.sleep(HEARTBEAT)
    os._exit(1)
