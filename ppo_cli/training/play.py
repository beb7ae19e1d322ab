"""Playing complete episodes with a fixed policy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppo_cli.agent.policy import Policy
from ppo_cli.algorithm.finite import MEND_SPACES, first_wrong
from ppo_cli.algorithm.rollout import ObsRows
from ppo_cli.config import EnvConfig, TrainConfig
from ppo_cli.envs.calls import EnvCall
from ppo_cli.envs.edge import SUCCESS_KEY
from ppo_cli.envs.inspect import longest_episode
from ppo_cli.envs.make import make_env
from ppo_cli.envs.spaces import Codec
from ppo_cli.envs.video import Film
from ppo_cli.errors import Problem, RunError
from ppo_cli.runs.progress import Evaluation
from ppo_cli.seeding import Globals, kept_globals, seed_globals, stream_generator, stream_seed

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


class _Drew(Exception):  # noqa: N818 - nothing is wrong
    """An environment drew from the global generators while episodes shared them."""


class _Slot:
    """One episode in progress, in an environment built for it alone.

    A reused environment may carry state over its own ``reset(seed)`` (BipedalWalker does). One that draws from the
    global generators has states of its own for them, so that an episode does not depend on those beside it.
    """

    def __init__(
        self,
        config: EnvConfig,
        policy: Policy,
        seed: int,
        episode: int,
        film: Film | None,
        human: bool,
        calls: Sequence[EnvCall],
        apart: bool,
    ) -> None:
        self.episode, self.episode_return, self.length = episode, 0.0, 0
        self.success: bool | None = None
        self._globals: Globals | None = None
        if apart:
            seed_globals(seed, "episode/global", episode)
        filmed = film is not None and episode < film.episodes
        self.env = make_env(config, "human" if human else "rgb_array" if filmed else None, episode, policy.spec)
        for call in calls:
            self.env.call(call)
        self._policy = policy
        self._codec = Codec(policy.spec, self.env.observation_space, self.env.action_space)
        self._stream = stream_generator(seed, "episode/action", episode)
        self._noise: Iterator[Tensor] = iter(())
        observation, info = self.env.reset(seed=stream_seed(seed, "episode/env", episode))
        self.row = policy.compose(self._pack(observation, info), None, None)
        if apart:
            self._globals = Globals.now()
        self.reel = film.reel(episode, self.env) if film is not None and filmed else None

    def noise(self) -> Tensor:
        """Randomness for the next action, (1, numbers of the head), drawn for many steps at once."""
        noise = next(self._noise, None)
        if noise is None:
            head = self._policy.head
            drawn = head.noise(NOISE_STEPS, 1, self._stream).to(self._policy.device)
            self._noise = iter(drawn) if head.noise_lasts is not None else repeat(drawn[0])
            noise = next(self._noise)
        return noise

    def _pack(self, observation: Any, info: dict[str, Any]) -> ObsRows:
        return self._codec.pack_one(observation, info)

    def step(self, command: ObsRows, state: ObsRows | None) -> bool:
        """Apply an action (action_size,), and remember ``state``; returns whether the episode is over."""
        if self._globals is not None:
            self._globals.take_effect()
        observation, reward, terminated, truncated, info = self.env.step(self._codec.unpack_one(command))
        if self._globals is not None:
            self._globals = Globals.now()
        self.row = self._policy.compose(self._pack(observation, info), state, None)
        self.episode_return += float(reward)
        self.length += 1
        self.success = info.get(SUCCESS_KEY)
        if self.reel is not None:
            self.reel.add()
        return bool(terminated or truncated)

    def close(self) -> None:
        """Close the environment, and its film."""
        if self.reel is not None:
            self.reel.close()
        self.env.close()


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
    """
    make = partial(_Slot, env, policy, seed, film=film, human=human, calls=calls)
    with kept_globals():
        if repr(env) not in DRAWS:
            try:
                return _play(partial(make, apart=False), policy, env, episodes, deterministic, num_envs)
            except _Drew:
                DRAWS.add(repr(env))
        return _play(partial(make, apart=True), policy, env, episodes, deterministic, num_envs)


def _play(
    make: Callable[..., _Slot], policy: Policy, env: EnvConfig, episodes: int, deterministic: bool, num_envs: int
) -> Episodes:
    """Play them.

    Raises:
        _Drew: if episodes that share the global generators draw from them.
    """
    returns, lengths, cut = [0.0] * episodes, [0] * episodes, 0
    solved: list[bool | None] = [None] * episodes
    most = MOST_STEPS if longest_episode(env) is None else None
    waiting = iter(range(episodes))
    slots: list[_Slot] = []
    shared = None if make.keywords["apart"] else Globals.now()  # type: ignore[attr-defined]
    try:
        while True:
            while len(slots) < num_envs and (number := next(waiting, None)) is not None:
                slots.append(make(episode=number))
            if not slots:
                if cut:
                    told = "%d of an evaluation's %d episodes had not ended after %d steps and count as they stood then"
                    log.warning(told + "; env.max_episode_steps=1000 ends them earlier", cut, episodes, MOST_STEPS)
                return Episodes(returns, lengths, [one for one in solved if one is not None])
            for slot, (command, state) in zip(list(slots), _choose(policy, slots, deterministic), strict=True):
                over = slot.step(command, state)
                if over or slot.length == most:
                    cut += not over
                    returns[slot.episode], lengths[slot.episode] = slot.episode_return, slot.length
                    solved[slot.episode] = slot.success
                    slots.remove(slot)
                    slot.close()
                    if shared is not None and not shared.same_as(Globals.now()):
                        raise _Drew
    finally:
        for slot in slots:
            slot.close()


def evaluate_policy(policy: Policy, config: TrainConfig, seed: int, calls: Sequence[EnvCall]) -> Evaluation:
    """The evaluation that a run's settings ask for, in environments that are told what ``calls`` say."""
    played = play(
        policy,
        config.env,
        episodes=config.eval_episodes,
        seed=seed,
        deterministic=config.eval_deterministic,
        num_envs=config.eval_episodes,
        calls=calls,
    )
    return Evaluation(seed, config.eval_deterministic, played.returns, played.lengths, played.successes)


def _choose(policy: Policy, slots: list[_Slot], deterministic: bool) -> list[tuple[ObsRows, ObsRows | None]]:
    """One action per slot, (action_size,), and what the network remembers then, (1, state_size)."""
    choices: list[tuple[ObsRows, ObsRows | None]] = []
    for first in range(0, len(slots), CHUNK):
        chunk = slots[first : first + CHUNK]
        rows = np.zeros((CHUNK, policy.row_size), policy.row_dtype)
        rows[: len(chunk)] = np.concatenate([slot.row for slot in chunk])
        wrong = first_wrong(policy.spec, rows[: len(chunk)])
        if wrong is not None:
            number, where, how = wrong
            what = f"{where} of an evaluation's episode {chunk[number].episode} {how}".rstrip(",")
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
