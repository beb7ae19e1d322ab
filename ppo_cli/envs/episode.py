"""One complete episode in an environment built for it alone, in this process or in another one."""

from __future__ import annotations

import logging
import multiprocessing
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ppo_cli.algorithm.rollout import ObsRows
from ppo_cli.config import EnvConfig
from ppo_cli.envs.calls import EnvCall
from ppo_cli.envs.edge import SUCCESS_KEY
from ppo_cli.envs.make import make_env
from ppo_cli.envs.spaces import Codec
from ppo_cli.envs.workers import LOST, PATIENCE, cause_of_death, settle_in_process
from ppo_cli.errors import ConfigError, Problem, RunError, UserError, notes
from ppo_cli.seeding import Globals, seed_globals, stream_seed
from ppo_cli.spec import Spec

log = logging.getLogger("ppo_cli")


@dataclass(frozen=True)
class Order:
    """Which episode, and of what.

    Attributes:
        env: The environment.
        spec: Its rows.
        seed: Root of the episodes' streams.
        episode: Its number; all that is drawn in it follows from both.
        calls: What the environment is told before.
        render_mode: As Gymnasium has it.
        apart: Let it have global generators of its own.
    """

    env: EnvConfig
    spec: Spec
    seed: int
    episode: int
    calls: Sequence[EnvCall]
    render_mode: str | None
    apart: bool


class Moment(NamedTuple):
    """What there is after a reset or a step."""

    row: ObsRows  # (1, obs_size)
    reward: float
    over: bool
    success: bool | None  # None: the environment does not say


class Episode:
    """One in this process.

    A reused environment may carry state over its own ``reset(seed)`` (BipedalWalker does). One that draws from the
    global generators has states of its own for them, so that an episode does not depend on those beside it.
    """

    def __init__(self, order: Order) -> None:
        self._globals: Globals | None = None
        if order.apart:
            seed_globals(order.seed, "episode/global", order.episode)
        self.env = make_env(order.env, order.render_mode, order.episode, order.spec)
        for call in order.calls:
            self.env.call(call)
        self._codec = Codec(order.spec, self.env.observation_space, self.env.action_space)
        observation, info = self.env.reset(seed=stream_seed(order.seed, "episode/env", order.episode))
        self._now = Moment(self._codec.pack_one(observation, info), 0.0, False, None)
        if order.apart:
            self._globals = Globals.now()

    def send(self, command: ObsRows) -> None:
        """Apply an action (action_size,); :meth:`receive` says what came of it."""
        if self._globals is not None:
            self._globals.take_effect()
        observation, reward, terminated, truncated, info = self.env.step(self._codec.unpack_one(command))
        if self._globals is not None:
            self._globals = Globals.now()
        row = self._codec.pack_one(observation, info)
        self._now = Moment(row, float(reward), bool(terminated or truncated), info.get(SUCCESS_KEY))

    def receive(self) -> Moment:
        """What the reset or the last step led to."""
        return self._now

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def end(self) -> None:
        """The same, before the episode is over."""
        self.env.close()


class Failure(NamedTuple):
    """What an environment raised in another process, told in words: not every error survives the journey."""

    problems: list[Problem]
    title: str | None
    refused: bool  # whether the configuration was, and no run broken
    trace: str


class EpisodeProcess:
    """Another process, in which one episode after the other is played, each as :class:`Episode` plays it.

    Args:
        timeout: Seconds that building an environment may take.
    """

    def __init__(self, timeout: float) -> None:
        self.busy = False
        self._timeout, self._number, self._building = timeout, 0, False
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, order: Order) -> None:
        """Build an environment and reset it; :meth:`receive` says what came of it."""
        self._number, self._building, self.busy = order.episode, True, True
        self._send(order)

    def send(self, command: ObsRows) -> None:
        """Apply an action (action_size,); likewise."""
        self._send(command)

    def _send(self, what: Any) -> None:
        try:
            self._pipe.send(what)
        except LOST as error:
            raise self._died() from error

    def receive(self) -> Moment:
        """What the reset or the last step led to.

        Raises:
            UserError: if the environment raised, could not be built in time, or its process died.
        """
        if self._building and not self._pipe.poll(self._timeout):
            what = f"an evaluation's environment is not built after env.start_timeout={self._timeout:g} seconds"
            raise ConfigError(Problem(what, f"env.start_timeout={10 * self._timeout:g}"))
        self._building = False
        moment: Moment = self._receive()
        return moment

    def _receive(self) -> Any:
        try:
            answer = self._pipe.recv()
        except LOST as error:
            raise self._died() from error
        if isinstance(answer, Failure):
            log.debug("from the process of an evaluation's episode:\n%s", answer.trace)
            raise (ConfigError if answer.refused else RunError)(answer.problems, answer.title)
        return answer

    def _died(self) -> RunError:
        what = f"the process of an evaluation's episode {self._number} died ({cause_of_death(self._process)})"
        return RunError(Problem(what, "vector_backend=sync, where the cause shows"))

    def close(self) -> None:
        """Close the environment; the process waits for the next one."""
        self._send(None)
        self._receive()
        self.busy = False

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.join(PATIENCE)
        self._pipe.close()


class EpisodeProcesses:
    """As many of those as episodes are played side by side; all are ended where the block is left.

    Args:
        number: How many.
        timeout: Seconds that building an environment may take.
    """

    def __init__(self, number: int, timeout: float) -> None:
        self._number, self._timeout = number, timeout
        self._processes: list[EpisodeProcess] = []

    def __enter__(self) -> EpisodeProcesses:
        try:
            for _ in range(self._number):
                self._processes.append(EpisodeProcess(self._timeout))
        except OSError as error:  # too many processes, or files
            self._end()
            what = f"the processes of an evaluation's {self._number} episodes cannot be started: {error}"
            raise RunError(Problem(what, "a smaller num_envs, or vector_backend=sync")) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def begin(self, order: Order) -> EpisodeProcess:
        """One that was idle, and plays that episode now."""
        process = next(one for one in self._processes if not one.busy)
        process.begin(order)
        return process

    def _end(self) -> None:
        for process in self._processes:
            process.end()


def _serve(pipe: Any) -> None:
    settle_in_process()
    episode: Episode | None = None
    while True:
        try:
            asked = pipe.recv()
        except LOST:
            return
        try:
            if isinstance(asked, Order):
                episode = Episode(asked)
            elif episode is not None:
                episode.close() if asked is None else episode.send(asked)
            pipe.send(None if asked is None or episode is None else episode.receive())
        except (Exception, SystemExit) as error:
            pipe.send(_told(error))


def _told(error: BaseException) -> Failure:
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, UserError):
        return Failure(error.problems, error.title, isinstance(error, ConfigError), trace)
    what = f"{type(error).__name__}: {error}{notes(error)}"
    return Failure([Problem(what, "an environment that does not raise")], None, False, trace)
