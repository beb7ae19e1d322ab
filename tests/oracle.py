"""Environments made at random, and an oracle that steps them by hand to say what a rollout must hold.

What such an environment gives follows from its seed, the number of the episode and that of the step alone, so that the
oracle can say it again without an environment. ``tests/test_oracle.py`` tries some cases, ``benchmarks/env_oracle.py``
thousands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from hypothesis import strategies as st

from ppo_cli.config import EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.seeding import stream_seed
from ppo_cli.training.plan import Planner
from ppo_cli.training.trainer import Trainer

STEPS, ENVS = 12, 2
STYLES = ("fresh", "reused", "lists", "wide")
INFOS = ("none", "shapes", "nothing", "texts", "nested", "big", "numbers")
MASKS = ("", "info", "sometimes", "observation", "method")
ENDS = ("terminated", "truncated", "both", "never")


def space_of(told: Any) -> spaces.Space[Any]:
    """The space that plain data describes."""
    kind, *rest = told
    if kind == "dict":
        return spaces.Dict({key: space_of(inner) for key, inner in rest[0].items()})
    if kind == "tuple":
        return spaces.Tuple([space_of(inner) for inner in rest[0]])
    if kind == "box":
        shape, dtype = rest
        low, high = (-100, 100) if np.dtype(dtype).kind != "u" else (0, 200)
        return spaces.Box(low, high, tuple(shape), np.dtype(dtype))
    if kind == "discrete":
        return spaces.Discrete(rest[0], start=rest[1])
    return spaces.MultiDiscrete(rest[0]) if kind == "multidiscrete" else spaces.MultiBinary(rest[0])


def value_of(space: spaces.Space[Any], draw: np.random.Generator) -> Any:
    """A value that fits."""
    if isinstance(space, spaces.Dict):
        return {key: value_of(inner, draw) for key, inner in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(value_of(inner, draw) for inner in space.spaces)
    if isinstance(space, spaces.Discrete):
        return int(space.start + draw.integers(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return draw.integers(space.nvec).astype(space.dtype)
    if isinstance(space, spaces.MultiBinary):
        return draw.integers(2, size=space.shape).astype(np.int8)
    assert isinstance(space, spaces.Box)
    low, high = (-100, 100) if space.dtype.kind != "u" else (0, 200)
    whole = draw.integers(low, high, size=space.shape)
    return (whole if space.dtype.kind in "iu" else whole / 8.0).astype(space.dtype)


def row_of(space: spaces.Space[Any], value: Any) -> list[float]:
    """A value's columns."""
    if isinstance(space, spaces.Dict):
        return [x for key, inner in space.spaces.items() if key != "action_mask" for x in row_of(inner, value[key])]
    if isinstance(space, spaces.Tuple):
        return [x for inner, one in zip(space.spaces, value, strict=True) for x in row_of(inner, one)]
    if isinstance(space, spaces.Discrete):
        return [float(value - int(space.start))]
    return [float(x) for x in np.ravel(value)]


def dressed(space: spaces.Space[Any], value: Any, style: str) -> Any:
    """The same value as somebody might write it."""
    if isinstance(space, spaces.Dict):
        dressed_up = {key: dressed(inner, value[key], style) for key, inner in space.spaces.items()}
        return {**dict(reversed(dressed_up.items())), "beside": "text"} if style == "lists" else dressed_up
    if isinstance(space, spaces.Tuple):
        return tuple(dressed(inner, one, style) for inner, one in zip(space.spaces, value, strict=True))
    if style == "lists":
        return np.asarray(value).tolist()
    if style == "wide":
        return np.asarray(value, np.float64 if isinstance(space, spaces.Box) else np.int64)
    return value


def same_arrays(kept: Any, fresh: Any) -> Any:
    """``fresh`` written into the arrays of ``kept``."""
    if isinstance(fresh, dict):
        return {key: same_arrays(kept[key], value) for key, value in fresh.items()}
    if isinstance(fresh, tuple):
        return tuple(same_arrays(old, new) for old, new in zip(kept, fresh, strict=True))
    if isinstance(kept, np.ndarray) and kept.shape:
        kept[...] = fresh
        return kept
    return fresh


class Made(gym.Env[Any, Any]):
    """An environment of plain data."""

    def __init__(self, space: Any, style: str, info: str, mask: str, end: str, length: int) -> None:
        self.observation_space, self.action_space = space_of(space), spaces.Discrete(3)
        if mask == "observation":
            inner = {"rest": self.observation_space, "action_mask": spaces.MultiBinary(3)}
            self.observation_space = spaces.Dict(inner)
        self.style, self.info, self.mask, self.end, self.length = style, info, mask, end, length
        if mask == "method":
            self.action_masks = lambda: self.said["mask"]
        self.seed, self.episode, self.kept = 0, 0, None

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        if seed is not None:
            self.seed, self.episode = seed, 0
        self.time = 0
        self.episode += 1
        return self._show()

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        assert self.said["mask"][action], "forbidden"
        self.time += 1
        observation, info = self._show()
        said = self.said
        return observation, np.float32(said["reward"]), np.bool_(said["terminated"]), said["truncated"], info

    def _show(self) -> tuple[Any, Any]:
        self.said = say(self, self.seed, self.episode, self.time)
        shown = dressed(self.observation_space, self.said["observation"], self.style)
        if self.style == "reused":
            self.kept = shown if self.kept is None else same_arrays(self.kept, shown)
            shown = self.kept
        info = {
            "none": {}, "shapes": {"seen": np.arange(self.time)}, "nothing": {"winner": None if self.time % 2 else 1},
            "texts": {"event": "fell" if self.time % 3 else 0}, "nested": {"a": {"b": 1} if self.time % 2 else 2},
            "big": {"id": 2**70}, "numbers": {1: 2.5},
        }[self.info]  # fmt: skip
        if self.mask == "info" or (self.mask == "sometimes" and self.said["shows"]):
            info = {**info, "action_mask": self.said["mask"]}
        return shown, info


gym.register("Made-v0", entry_point=Made)


def say(env: Made, seed: int, episode: int, time: int) -> dict[str, Any]:
    """All there is to say of one moment."""
    draw = np.random.default_rng((seed, episode, time))
    reward, over = draw.integers(-50, 50) / 8.0, time > 0 and time >= env.length
    mask = draw.integers(2, size=3).astype(np.int8)
    mask[draw.integers(3)] = 1
    shows = time == 0 or bool(draw.integers(2))
    if env.mask == "" or (env.mask == "sometimes" and not shows):
        mask = np.ones(3, np.int8)
    observation = value_of(env.observation_space, draw)
    if env.mask == "observation":
        observation["action_mask"] = mask
    terminated, truncated = over and env.end in ("terminated", "both"), over and env.end in ("truncated", "both")
    return {
        "observation": observation, "reward": reward, "mask": mask, "shows": shows,
        "terminated": terminated, "truncated": truncated,
    }  # fmt: skip


leaves = st.one_of(
    st.tuples(
        st.just("box"),
        st.sampled_from([[], [1], [3], [2, 2]]),
        st.sampled_from(["float32", "float64", "float16", "int8", "int64", "uint8"]),
    ),
    st.tuples(st.just("discrete"), st.integers(1, 5), st.integers(-2, 3)),
    st.tuples(st.just("multidiscrete"), st.sampled_from([[2], [3, 2]])),
    st.tuples(st.just("multibinary"), st.integers(1, 3)),
).map(list)
inner = st.one_of(
    leaves,
    st.dictionaries(st.sampled_from(["x", "y", "z"]), leaves, min_size=1, max_size=2).map(lambda one: ["dict", one]),
    st.lists(leaves, min_size=1, max_size=2).map(lambda one: ["tuple", one]),
)
trees = st.one_of(
    inner,
    st.dictionaries(st.sampled_from(["a", "b"]), inner, min_size=1, max_size=2).map(lambda one: ["dict", one]),
)
cases = st.fixed_dictionaries(
    {
        "space": trees,
        "style": st.sampled_from(STYLES),
        "info": st.sampled_from(INFOS),
        "mask": st.sampled_from(MASKS),
        "end": st.sampled_from(ENDS),
        "length": st.integers(1, 9),
    }
)
"""Keyword arguments of :class:`Made`."""


def check(case: dict[str, Any], backend: str, folder: Path) -> None:
    """Collect two rollouts and compare what they hold with what the oracle says.

    Raises:
        AssertionError: where they differ.
    """
    config = TrainConfig(env=EnvConfig(id="oracle:Made-v0", kwargs=case), vector_backend=backend, num_envs=ENVS)
    config.buffer_size = config.batch_size = STEPS * ENVS
    config.network, config.compile, config.threads, config.logger = NetworkConfig(hidden_sizes=[4]), False, 1, []
    trainer = Trainer(Planner().plan(config), folder, [])
    collector, memory = trainer.collector, trainer.agent.memory
    twins = [Made(**case) for _ in range(ENVS)]
    seeds = [stream_seed(config.seed, "env", index) for index in range(ENVS)]
    places = [(1, 0)] * ENVS  # episode and step
    try:
        collector.begin_stretch()
        for _ in range(2):
            collector.collect()
            for index, twin in enumerate(twins):
                places[index] = _compare(twin, seeds[index], places[index], index, memory)
            memory.clear()
    finally:
        collector.envs.close()


def _compare(twin: Made, seed: int, place: tuple[int, int], index: int, memory: Any) -> tuple[int, int]:
    """One environment's part of a rollout; returns where it stands after it."""
    finals = {(row, env): one for row, final in memory.finals for env, one in zip(*final, strict=True)}
    episode, time = place
    for row in range(memory.size):
        here, there = say(twin, seed, episode, time), say(twin, seed, episode, time + 1)
        _same_row(twin, here, memory["observations"][row, index])
        assert here["mask"][memory["actions"][row, index, 0]], "a forbidden action"
        assert memory["rewards"][row, index] == there["reward"]
        over = there["terminated"] or there["truncated"]
        ends = (memory["terminated"][row, index], memory["truncated"][row, index])
        assert ends == (there["terminated"], there["truncated"] and not there["terminated"])
        if ends[1]:
            _same_row(twin, there, finals[row, index])
        episode, time = (episode + 1, 0) if over else (episode, time + 1)
    _same_row(twin, say(twin, seed, episode, time), memory.next_observations[index])
    return episode, time


def _same_row(twin: Made, said: dict[str, Any], row: Any) -> None:
    expected = row_of(twin.observation_space, said["observation"])
    expected_mask = said["mask"].tolist() if twin.mask else []
    order = [*expected_mask, *expected] if twin.mask == "observation" else [*expected, *expected_mask]
    assert row.tolist() == order, f"{row.tolist()} and {order}"
