"""Playing complete episodes with a fixed policy."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppo_cli.agent.policy import Policy
from ppo_cli.algorithm.rollout import ObsRows
from ppo_cli.config import EnvConfig, TrainConfig
from ppo_cli.envs.calls import EnvCall
from ppo_cli.envs.inspect import longest_episode
from ppo_cli.envs.make import make_env
from ppo_cli.envs.spaces import Codec
from ppo_cli.envs.video import Film
from ppo_cli.runs.progress import Evaluation
from ppo_cli.seeding import stream_generator, stream_seed

log = logging.getLogger("ppo_cli")


CHUNK = 16  # observations per forward pass, always: a row's result must not depend on how many play side by side


NOISE_STEPS = 64  # steps that an episode's randomness is drawn for at once


MOST_STEPS = 30_000  # of an episode that no known limit ends: it may never end by itself


@dataclass(frozen=True)
class Episodes:
    """Raw returns and lengths of complete episodes, in the order of their numbers."""

    returns: list[float]
    lengths: list[int]

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))


class _Slot:
    """One episode in progress, in an environment built for it alone.

    A reused environment may carry state over its own ``reset(seed)`` (BipedalWalker does).
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
    ) -> None:
        self.episode, self.episode_return, self.length = episode, 0.0, 0
        filmed = film is not None and episode < film.episodes
        self.env = make_env(config, "human" if human else "rgb_array" if filmed else None)
        for call in calls:
            self.env.call(call)
        self._policy, self._asks = policy, policy.spec.mask == "method"
        self._codec = Codec(policy.spec, self.env.observation_space, self.env.action_space)
        self._stream = stream_generator(seed, "episode/action", episode)
        self._noise: Iterator[Tensor] = iter(())
        observation, info = self.env.reset(seed=stream_seed(seed, "episode/env", episode))
        self.row = policy.compose(self._pack(observation, info), None, None)
        self.reel = film.reel(episode, self.env) if film is not None and filmed else None

    def noise(self) -> Tensor:
        """Randomness for the next action, (1, numbers of the head), drawn for many steps at once."""
        noise = next(self._noise, None)
        if noise is None:
            self._noise = iter(self._policy.head.noise(NOISE_STEPS, 1, self._stream).to(self._policy.device))
            noise = next(self._noise)
        return noise

    def _pack(self, observation: Any, info: dict[str, Any]) -> ObsRows:
        return self._codec.pack_one(
            observation, info, self.env.get_wrapper_attr("action_masks")() if self._asks else None
        )

    def step(self, command: ObsRows, state: ObsRows | None) -> bool:
        """Apply an action (action_size,), and remember ``state``; returns whether the episode is over."""
        observation, reward, terminated, truncated, info = self.env.step(self._codec.unpack_one(command))
        self.row = self._policy.compose(self._pack(observation, info), state, None)
        self.episode_return += float(reward)
        self.length += 1
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
    returns, lengths, cut = [0.0] * episodes, [0] * episodes, 0
    most = MOST_STEPS if longest_episode(env) is None else None
    waiting = iter(range(episodes))
    slots: list[_Slot] = []
    try:
        while True:
            while len(slots) < num_envs and (number := next(waiting, None)) is not None:
                slots.append(_Slot(env, policy, seed, number, film, human, calls))
            if not slots:
                if cut:
                    told = "%d of an evaluation's %d episodes had not ended after %d steps and count as they stood then"
                    log.warning(told + "; env.max_episode_steps=1000 ends them earlier", cut, episodes, MOST_STEPS)
                return Episodes(returns, lengths)
            for slot, (command, state) in zip(list(slots), _choose(policy, slots, deterministic), strict=True):
                over = slot.step(command, state)
                if over or slot.length == most:
                    cut += not over
                    returns[slot.episode], lengths[slot.episode] = slot.episode_return, slot.length
                    slots.remove(slot)
                    slot.close()
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
        deterministic=True,
        num_envs=config.eval_episodes,
        calls=calls,
    )
    return Evaluation(seed, True, played.returns, played.lengths)


def _choose(policy: Policy, slots: list[_Slot], deterministic: bool) -> list[tuple[ObsRows, ObsRows | None]]:
    """One action per slot, (action_size,), and what the network remembers then, (1, state_size)."""
    choices: list[tuple[ObsRows, ObsRows | None]] = []
    for first in range(0, len(slots), CHUNK):
        chunk = slots[first : first + CHUNK]
        rows = np.zeros((CHUNK, policy.row_size), policy.row_dtype)
        rows[: len(chunk)] = np.concatenate([slot.row for slot in chunk])
        noise = None
        if not deterministic:
            parts = [slot.noise() for slot in chunk]
            noise = torch.cat([*parts, parts[0].expand(CHUNK - len(chunk), -1)])
        acted = policy.act(rows, noise)
        for index in range(len(chunk)):
            state = None if acted.states is None else acted.states[index : index + 1]
            choices.append((acted.env_actions[index], state))
    return choices
