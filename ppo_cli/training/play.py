"""Playing complete episodes with a fixed policy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat

import numpy as np
import torch
from torch import Tensor

from ppo_cli.agent.policy import Policy
from ppo_cli.algorithm.finite import MEND_SPACES, first_wrong
from ppo_cli.algorithm.rollout import ObsRows
from ppo_cli.config import EnvConfig, TrainConfig
from ppo_cli.envs.calls import EnvCall
from ppo_cli.envs.episode import Episode, EpisodeProcess, EpisodeProcesses, Order
from ppo_cli.envs.inspect import longest_episode
from ppo_cli.envs.video import Film, Reel
from ppo_cli.errors import Problem, RunError
from ppo_cli.runs.progress import Evaluation
from ppo_cli.seeding import Globals, kept_globals, stream_generator

log = logging.getLogger("ppo_cli")


CHUNK = 16  # observations per forward pass, always: a row's result must not depend on how many play side by side


NOISE_STEPS = 64  # steps that an episode's randomness is drawn for at once


MOST_STEPS = 30_000  # of an episode that no known limit ends: it may never end by itself


@dataclass(frozen=True)
class Episodes:
    """Raw returns and lengths of complete episodes, in the order of their numbers."""

    returns: list[float]
    lengths: list[int]
    successes: list[bool]  # of those that say whether they were solved

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))


DRAWS: set[str] = set()
"""Environments that are known to draw from the global generators, which makes a difference in time alone."""


SLOW: set[str] = set()
"""Environments that are known to be worth a process for each episode in progress, likewise."""


TRIAL_STEPS, SLOW_STEP = 32, 1e-3  # steps that tell, and the seconds that one of them takes from which it is worth it


class _Otherwise(Exception):  # noqa: N818 - nothing is wrong
    """It shows that an environment belongs to those known for something, and its episodes are to be played so."""

    def __init__(self, known: set[str]) -> None:
        super().__init__()
        self.known = known


class _Trial:
    """The first steps in this process, of one episode at a time: whether the environment is a slow one."""

    def __init__(self, wanted: bool) -> None:
        self._left, self._seconds = TRIAL_STEPS if wanted else 0, 0.0

    @property
    def goes_on(self) -> bool:
        """Whether it is still open."""
        return self._left > 0

    def count(self, seconds: float) -> None:
        """Take the time of a step into account.

        Raises:
            _Otherwise: if they were slow.
        """
        if self._left:
            self._left, self._seconds = self._left - 1, self._seconds + seconds
            if not self._left and self._seconds > TRIAL_STEPS * SLOW_STEP:
                raise _Otherwise(SLOW)


class _Slot:
    """One episode in progress, and what the policy needs for it."""

    def __init__(self, policy: Policy, order: Order, episode: Episode | EpisodeProcess, reel: Reel | None) -> None:
        self.number, self.episode_return, self.length = order.episode, 0.0, 0
        self.success: bool | None = None
        self.row: ObsRows | None = None
        self._policy, self._episode, self._reel = policy, episode, reel
        self._state: ObsRows | None = None
        self._stream = stream_generator(order.seed, "episode/action", order.episode)
        self._noise: Iterator[Tensor] = iter(())

    def noise(self) -> Tensor:
        """Randomness for the next action, (1, numbers of the head), drawn for many steps at once."""
        noise = next(self._noise, None)
        if noise is None:
            head = self._policy.head
            drawn = head.noise(NOISE_STEPS, 1, self._stream).to(self._policy.device)
            self._noise = iter(drawn) if head.noise_lasts is not None else repeat(drawn[0])
            noise = next(self._noise)
        return noise

    def see(self) -> ObsRows:
        """The row to act on, (1, row_size)."""
        if self.row is None:
            self.row = self._policy.compose(self._episode.receive().row, None, None)
        return self.row

    def send(self, command: ObsRows, state: ObsRows | None) -> None:
        """Apply an action (action_size,), and remember ``state``."""
        self._state = state
        self._episode.send(command)

    def receive(self) -> bool:
        """See what came of it; returns whether the episode is over."""
        moment = self._episode.receive()
        self.row = self._policy.compose(moment.row, self._state, None)
        self.episode_return += moment.reward
        self.length += 1
        self.success = moment.success
        if self._reel is not None:
            self._reel.add()
        return moment.over

    def close(self, over: bool) -> None:
        """Close the environment, and its film; where the episode is not over, without waiting for anything."""
        if self._reel is not None:
            self._reel.close()
        (self._episode.close if over else self._episode.end)()


def play(
    policy: Policy,
    env: EnvConfig,
    *,
    episodes: int,
    seed: int,
    deterministic: bool,
    num_envs: int,
    film: Film | None = None,
    human: bool = False,
    calls: Sequence[EnvCall] = (),
    in_processes: bool = False,
) -> Episodes:
    """Play ``episodes`` complete episodes; episode k depends on (seed, k) and the policy alone.

    Where no time limit is known, an episode that does not end counts as it stands after :data:`MOST_STEPS`.

    Args:
        policy: Who plays; nothing about it changes.
        env: The environment.
        episodes: How many.
        seed: Root of the episodes' streams.
        deterministic: Take the most probable action instead of sampling.
        num_envs: Episodes played side by side.
        film: Takes pictures of the first episodes.
        human: Show each environment in a window.
        calls: What each environment is told before its episode.
        in_processes: Where the environment turns out to be slow, play each of those in a process of its own, unless
            there is something to see. The episodes are the same.
    """

    def make(episode: int, apart: bool, begin: Callable[[Order], Episode | EpisodeProcess] = Episode) -> _Slot:
        filmed = film is not None and episode < film.episodes
        mode = "human" if human else "rgb_array" if filmed else None
        order = Order(env, policy.spec, seed, episode, tuple(calls), mode, apart)
        begun = begin(order)
        reel = film.reel(episode, begun.env) if film is not None and filmed and isinstance(begun, Episode) else None
        return _Slot(policy, order, begun, reel)

    how, key = (policy, env, episodes, deterministic, num_envs), repr(env)
    in_processes = in_processes and film is None and not human
    while True:
        try:
            if in_processes and key in SLOW:
                with EpisodeProcesses(min(num_envs, episodes), env.start_timeout) as processes:
                    return _play(partial(make, apart=True, begin=processes.begin), *how)
            with kept_globals():
                shared = None if key in DRAWS else Globals.now()
                return _play(partial(make, apart=shared is None), *how, shared, _Trial(in_processes))
        except _Otherwise as otherwise:
            otherwise.known.add(key)


def _play(
    make: Callable[[int], _Slot],
    policy: Policy,
    env: EnvConfig,
    episodes: int,
    deterministic: bool,
    num_envs: int,
    shared: Globals | None = None,
    trial: _Trial | None = None,
) -> Episodes:
    """Play them.

    Raises:
        _Otherwise: if episodes that share the global generators draw from them, or those of a trial are slow.
    """
    returns, lengths, cut = [0.0] * episodes, [0] * episodes, 0
    solved: list[bool | None] = [None] * episodes
    most = MOST_STEPS if longest_episode(env) is None else None
    waiting = iter(range(episodes))
    slots: list[_Slot] = []
    try:
        while True:
            room = 1 if trial is not None and trial.goes_on else num_envs
            while len(slots) < room and (number := next(waiting, None)) is not None:
                slots.append(make(number))
            if not slots:
                if cut:
                    told = "%d of an evaluation's %d episodes had not ended after %d steps and count as they stood then"
                    log.warning(told + "; env.max_episode_steps=1000 ends them earlier", cut, episodes, MOST_STEPS)
                return Episodes(returns, lengths, [one for one in solved if one is not None])
            choices, began = _choose(policy, slots, deterministic), time.perf_counter()
            for slot, choice in zip(slots, choices, strict=True):
                slot.send(*choice)
            if trial is not None:
                trial.count(time.perf_counter() - began)
            for slot in list(slots):
                over = slot.receive()
                if over or slot.length == most:
                    cut += not over
                    returns[slot.number], lengths[slot.number] = slot.episode_return, slot.length
                    solved[slot.number] = slot.success
                    slots.remove(slot)
                    slot.close(over=True)
                    if shared is not None and not shared.same_as(Globals.now()):
                        raise _Otherwise(DRAWS)
    finally:
        for slot in slots:
            slot.close(over=False)


def evaluate_policy(policy: Policy, config: TrainConfig, seed: int, calls: Sequence[EnvCall]) -> Evaluation:
    """The evaluation that a run's settings ask for, in environments that are told what ``calls`` say."""
    in_processes = config.vector_backend == "async"
    played = play(
        policy,
        config.env,
        episodes=config.eval_episodes,
        seed=seed,
        deterministic=config.eval_deterministic,
        num_envs=min(config.eval_episodes, config.num_envs) if in_processes else config.eval_episodes,
        calls=calls,
        in_processes=in_processes,
    )
    return Evaluation(seed, config.eval_deterministic, played.returns, played.lengths, played.successes)


def _choose(policy: Policy, slots: list[_Slot], deterministic: bool) -> list[tuple[ObsRows, ObsRows | None]]:
    """One action per slot, (action_size,), and what the network remembers then, (1, state_size)."""
    choices: list[tuple[ObsRows, ObsRows | None]] = []
    for first in range(0, len(slots), CHUNK):
        chunk = slots[first : first + CHUNK]
        rows = np.zeros((CHUNK, policy.row_size), policy.row_dtype)
        rows[: len(chunk)] = np.concatenate([slot.see() for slot in chunk])
        wrong = first_wrong(policy.spec, rows[: len(chunk)])
        if wrong is not None:
            number, where, how = wrong
            what = f"{where} of an evaluation's episode {chunk[number].number} {how}".rstrip(",")
            raise RunError(Problem(what, MEND_SPACES), "Broken environment")
        noise = None
        if not deterministic:
            parts = [slot.noise() for slot in chunk]
            noise = torch.cat([*parts, parts[0].expand(CHUNK - len(chunk), -1)])
        acted = policy.act(rows, noise)
        for index in range(len(chunk)):
            state = None if acted.states is None else acted.states[index : index + 1]
            choices.append((acted.env_actions[index], state))
    return choices
