"""Spaces of every kind: what is read out of them, and the way into rows and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import toys
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    Graph,
    MultiBinary,
    MultiDiscrete,
    OneOf,
    Sequence,
    Space,
    Text,
    Tuple,
)
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from ppo_cli.config import EnvConfig
from ppo_cli.envs.inspect import inspect
from ppo_cli.envs.spaces import MOST_CATEGORIES, Codec, describe, flat_mask
from ppo_cli.envs.vector import VectorEnv
from ppo_cli.errors import ConfigError
from ppo_cli.spec import ActionPart, ObsPart, Spec

assert toys.TOYS  # importing them registers them

ENVS = 3
PICTURE = Box(0, 255, (48, 40, 3), np.uint8)

OBSERVATIONS: dict[str, tuple[Space[Any], tuple[ObsPart, ...]]] = {
    "float32": (Box(-np.inf, np.inf, (4,), np.float32), (ObsPart("", "numbers", (4,), measured=True),)),
    "float64": (Box(-9, 9, (2, 3), np.float64), (ObsPart("", "numbers", (2, 3), measured=True, wide=True),)),
    "float16": (Box(-9, 9, (2,), np.float16), (ObsPart("", "numbers", (2,), measured=True),)),
    "no_axes": (Box(-1, 1, (), np.float32), (ObsPart("", "numbers", (1,), measured=True),)),
    "int": (Box(-5, 5, (3,), np.int64), (ObsPart("", "numbers", (3,), measured=True, wide=True),)),
    "bytes": (Box(0, 255, (6,), np.uint8), (ObsPart("", "numbers", (6,), measured=True),)),
    "image": (PICTURE, (ObsPart("", "image", (48, 40, 3), scale=1 / 255),)),
    "image_channels_first": (Box(0, 255, (3, 48, 40), np.uint8), (ObsPart("", "image", (3, 48, 40), scale=1 / 255),)),
    "image_grey": (Box(0, 255, (9, 7), np.uint8), (ObsPart("", "image", (9, 7), scale=1 / 255),)),
    "image_stack": (Box(0, 255, (4, 8, 9, 3), np.uint8), (ObsPart("", "image", (4, 8, 9, 3), scale=1 / 255),)),
    "image_of_15": (Box(0, 15, (8, 9, 3), np.uint8), (ObsPart("", "image", (8, 9, 3), scale=1 / 15),)),
    "image_of_1": (Box(0, 1, (8, 9, 3), np.uint8), (ObsPart("", "image", (8, 9, 3)),)),
    "image_float": (Box(0, 1, (36, 40, 3), np.float32), (ObsPart("", "image", (36, 40, 3)),)),
    "image_float_stack": (Box(0, 1, (4, 1, 36, 40), np.float32), (ObsPart("", "image", (4, 1, 36, 40)),)),
    "numbers_of_three_axes": (
        Box(0, 1, (35, 40, 3), np.float32),
        (ObsPart("", "numbers", (35, 40, 3), measured=True),),
    ),
    "discrete": (Discrete(5), (ObsPart("", "categories", (1,), counts=(5,)),)),
    "discrete_start": (Discrete(5, start=-2), (ObsPart("", "categories", (1,), counts=(5,)),)),
    "multi_discrete": (
        MultiDiscrete([3, 2, 4], start=[1, 0, -7]),
        (ObsPart("", "categories", (3,), counts=(3, 2, 4)),),
    ),
    "multi_discrete_table": (
        MultiDiscrete(np.array([[3, 2], [4, 5]]), start=np.array([[0, 1], [2, 3]])),
        (ObsPart("", "categories", (2, 2), counts=(3, 2, 4, 5)),),
    ),
    "multi_binary": (MultiBinary((2, 3)), (ObsPart("", "numbers", (2, 3)),)),
    "one_in_dict": (Dict(a=Box(-1, 1, (2,), np.float32)), (ObsPart("a", "numbers", (2,), measured=True),)),
    "one_in_tuple": (Tuple([Box(-1, 1, (2,), np.float32)]), (ObsPart("0", "numbers", (2,), measured=True),)),
    "nested": (
        Dict(
            eye=Box(0, 255, (8, 9, 3), np.uint8),
            arm=Tuple([Discrete(3, start=1), Dict(speed=Box(-1, 1, (2,), np.float32), on=MultiBinary(2))]),
        ),
        (
            ObsPart("eye", "image", (8, 9, 3), scale=1 / 255),
            ObsPart("arm/0", "categories", (1,), counts=(3,)),
            ObsPart("arm/1/speed", "numbers", (2,), measured=True),
            ObsPart("arm/1/on", "numbers", (2,)),
        ),
    ),
}

ACTIONS: dict[str, tuple[Space[Any], tuple[ActionPart, ...]]] = {
    "discrete": (Discrete(4), (ActionPart("", "categorical", 1, (4,)),)),
    "discrete_start": (Discrete(4, start=-3), (ActionPart("", "categorical", 1, (4,)),)),
    "multi_discrete": (MultiDiscrete([3, 2, 4], start=[1, 0, -7]), (ActionPart("", "categorical", 3, (3, 2, 4)),)),
    "multi_discrete_of_one": (MultiDiscrete([3], start=[2]), (ActionPart("", "categorical", 1, (3,)),)),
    "multi_discrete_small": (MultiDiscrete([3, 2], dtype=np.int8), (ActionPart("", "categorical", 2, (3, 2)),)),
    "multi_discrete_table": (
        MultiDiscrete(np.array([[3, 2], [4, 5]]), start=np.array([[0, 1], [2, 3]])),
        (ActionPart("", "categorical", 4, (3, 2, 4, 5)),),
    ),
    "multi_binary": (MultiBinary(3), (ActionPart("", "categorical", 3, (2, 2, 2)),)),
    "multi_binary_table": (MultiBinary((2, 2)), (ActionPart("", "categorical", 4, (2, 2, 2, 2)),)),
    "box": (Box(-2, 3, (2,), np.float32), (ActionPart("", "continuous", 2, (), (-2.0, -2.0), (3.0, 3.0)),)),
    "box64": (Box(-0.1, 0.1, (2, 1), np.float64), (ActionPart("", "continuous", 2, (), (-0.1,) * 2, (0.1,) * 2),)),
    "box16": (Box(-1, 1, (1,), np.float16), (ActionPart("", "continuous", 1, (), (-1.0,), (1.0,)),)),
    "box_no_axes": (Box(-1, 1, (), np.float32), (ActionPart("", "continuous", 1, (), (-1.0,), (1.0,)),)),
    "box_half_open": (
        Box(np.array([0, -np.inf]), np.array([np.inf, 1]), dtype=np.float32),
        (ActionPart("", "continuous", 2, (), (0.0, -np.inf), (np.inf, 1.0)),),
    ),
    "nested": (
        Dict(
            steer=Box(-1, 1, (2,), np.float32),
            press=Tuple([Discrete(3, start=1), MultiDiscrete([2, 3])]),
            flags=MultiBinary(2),
        ),
        (
            ActionPart("steer", "continuous", 2, (), (-1.0, -1.0), (1.0, 1.0)),
            ActionPart("press/0", "categorical", 1, (3,)),
            ActionPart("press/1", "categorical", 2, (2, 3)),
            ActionPart("flags", "categorical", 2, (2, 2)),
        ),
    ),
}


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_an_observation_space_is_read(name: str) -> None:
    space, parts = OBSERVATIONS[name]
    assert describe("Env-v0", space, Discrete(2)).observations == parts


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_space_is_read(name: str) -> None:
    space, parts = ACTIONS[name]
    assert describe("Env-v0", Discrete(2), space).actions == parts


@pytest.mark.parametrize("name", OBSERVATIONS)
@pytest.mark.parametrize("action", ACTIONS)
def test_a_spec_survives_being_made_plain(name: str, action: str) -> None:
    spec = describe("Env-v0", OBSERVATIONS[name][0], ACTIONS[action][0])
    assert Spec.from_plain(asdict(spec)) == spec
    assert Spec.from_plain(json.loads(json.dumps(asdict(spec)))) == spec  # lists in place of tuples


@pytest.mark.parametrize("mask", ["info", "method"])
def test_a_spec_with_a_mask_survives_being_made_plain(mask: str) -> None:
    spec = describe("Env-v0", PICTURE, MultiDiscrete([2, 3]), mask)
    assert spec.observations[-1] == ObsPart("action_mask", "mask", (5,))
    assert Spec.from_plain(asdict(spec)) == spec


# observations


def batched(space: Space[Any], observations: list[Any]) -> Any:
    """As a vector environment batches them."""
    room: Any = create_empty_array(space, len(observations))
    return concatenate(space, observations, room)


def flat(space: Space[Any], observation: Any) -> list[float]:
    """An observation's row, by hand."""
    if isinstance(space, Dict):
        return [number for key, one in space.spaces.items() for number in flat(one, observation[key])]
    if isinstance(space, Tuple):
        return [number for index, one in enumerate(space.spaces) for number in flat(one, observation[index])]
    start = space.start if isinstance(space, Discrete | MultiDiscrete) else 0
    numbers: list[float] = (np.asarray(observation, np.float64) - start).flatten().tolist()
    return numbers


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_a_batch_of_observations_becomes_rows(name: str) -> None:
    space, _ = OBSERVATIONS[name]
    space.seed(1)
    spec = describe("Env-v0", space, Discrete(2))
    codec = Codec(spec, space, Discrete(2))
    observations = [space.sample() for _ in range(ENVS)]
    batch = batched(space, observations)
    rows = codec.pack(batch, {})
    assert rows.shape == (ENVS, spec.obs_size)
    assert rows.dtype == spec.obs_dtype
    expected = np.array([flat(space, observation) for observation in observations])
    np.testing.assert_allclose(rows, expected, rtol=1e-6)
    for row, observation in zip(rows, observations, strict=True):
        single = codec.pack_one(observation, {})
        assert single.dtype == rows.dtype
        np.testing.assert_array_equal(single, row[None])
    for part, columns in spec.obs_columns():
        for column, count in zip(range(columns.start, columns.stop), part.counts, strict=bool(part.counts)):
            assert ((rows[:, column] >= 0) & (rows[:, column] < count)).all()


def test_rows_do_not_change_when_the_environment_writes_its_next_observation() -> None:
    for name in ("float32", "image", "nested"):
        space, _ = OBSERVATIONS[name]
        space.seed(2)
        codec = Codec(describe("Env-v0", space, Discrete(2)), space, Discrete(2))
        room: Any = create_empty_array(space, ENVS)
        rows = codec.pack(concatenate(space, [space.sample() for _ in range(ENVS)], room), {})
        kept = rows.copy()
        concatenate(space, [space.sample() for _ in range(ENVS)], room)
        np.testing.assert_array_equal(rows, kept)


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_rows_have_as_many_bits_as_lose_nothing(name: str) -> None:
    spec = describe("Env-v0", OBSERVATIONS[name][0], Discrete(2))
    small = {"image", "image_channels_first", "image_grey", "image_stack", "image_of_15"}
    wide = {"float64", "int"}
    assert spec.obs_dtype == ("uint8" if name in small else "float64" if name in wide else "float32")


# actions


def random_rows(spec: Spec, rows: int) -> Any:
    """Any choice of each entry, and continuous entries in and far out of their bounds."""
    generator = np.random.default_rng(0)
    columns: list[Any] = []
    for part in spec.actions:
        columns += [generator.integers(count, size=rows) for count in part.counts]
        columns += [generator.normal(scale=5, size=rows) for _ in part.low]
    return np.stack(columns, 1).astype(spec.action_dtype)


@pytest.mark.parametrize("name", ACTIONS)
def test_rows_become_actions_of_the_space(name: str) -> None:
    space, _ = ACTIONS[name]
    spec = describe("Env-v0", Discrete(2), space)
    codec = Codec(spec, Discrete(2), space)
    rows = random_rows(spec, 200)
    batch = codec.unpack(rows)
    assert batch_space(space, len(rows)).contains(batch)
    actions = list(iterate(batch_space(space, len(rows)), batch))
    assert len(actions) == len(rows)
    for row, action in zip(rows, actions, strict=True):
        assert space.contains(action), action
        single = codec.unpack_one(row)
        assert space.contains(single), single
        np.testing.assert_array_equal(flat(space, single), flat(space, action))
        expected = np.clip(row, *bounds_of(spec))
        np.testing.assert_allclose(flat(space, action), expected, rtol=1e-3, atol=1e-6)


def bounds_of(spec: Spec) -> tuple[list[float], list[float]]:
    low, high = [], []
    for part in spec.actions:
        low += list(part.low) or [0.0] * part.size
        high += list(part.high) or [float(count - 1) for count in part.counts]
    return low, high


@pytest.mark.parametrize("name", ["discrete_start", "multi_discrete", "multi_discrete_table", "nested"])
def test_choices_are_all_reached_and_counted_from_the_spaces_start(name: str) -> None:
    space, _ = ACTIONS[name]
    spec = describe("Env-v0", Discrete(2), space)
    codec = Codec(spec, Discrete(2), space)
    rows = random_rows(spec, 500)
    reached = np.array([flat(space, codec.unpack_one(row)) for row in rows])
    column = 0
    for part in spec.actions:
        for count in part.counts:
            assert sorted(set(reached[:, column])) == list(range(count))
            column += 1
        column += len(part.low)


@pytest.mark.parametrize("backend", ["sync", "async"])
def test_a_vector_of_environments_takes_nested_actions(backend: str) -> None:
    config = EnvConfig(id="Nested-v0")
    spec = (found := inspect(config, 0)).spec
    envs = VectorEnv(backend, config, found, [0, 1])
    try:
        first = envs.reset()
        assert first.shape == (2, spec.obs_size)
        for row in random_rows(spec, 12).reshape(6, 2, -1):
            step = envs.step(row)
            # it shows the action it took, counted from 0 and clipped, and asserts that it lies in its space
            np.testing.assert_allclose(step.observations[:, -spec.action_size :], np.clip(row, *bounds_of(spec)))
    finally:
        envs.close()


# masks


def masked(codec: Codec, infos: dict[str, Any], masks: Any = None) -> list[list[int]]:
    rows = codec.pack(np.zeros((2, 1), np.float32), infos, masks)
    allowed: list[list[int]] = rows[:, 1:].astype(int).tolist()
    return allowed


def plain_codec(actions: Space[Any], mask: str) -> Codec:
    observations = Box(-1, 1, (1,), np.float32)
    return Codec(describe("Env-v0", observations, actions, mask), observations, actions)


def test_a_mask_from_info_is_one_array() -> None:
    codec = plain_codec(Discrete(3), "info")
    masks = np.array([[1, 0, 1], [0, 1, 0]], np.int8)
    assert masked(codec, {"action_mask": masks}) == masks.tolist()
    row = codec.pack_one(np.zeros(1, np.float32), {"action_mask": masks[0]})
    assert row.tolist() == [[0, 1, 0, 1]]


def test_a_mask_from_info_is_one_array_per_entry() -> None:
    codec = plain_codec(MultiDiscrete([2, 3]), "info")
    first, second = (np.array([1, 0]), np.array([0, 1, 1])), (np.array([True, True]), np.array([False, True, False]))
    masks = np.empty(2, object)
    masks[:] = [first, second]
    assert masked(codec, {"action_mask": masks}) == [[1, 0, 0, 1, 1], [1, 1, 0, 1, 0]]
    assert codec.pack_one(np.zeros(1, np.float32), {"action_mask": first}).tolist() == [[0, 1, 0, 0, 1, 1]]
    assert flat_mask([[1, 0], [2.0, 0, 0]]).tolist() == [True, False, True, False, False]


def test_without_a_mask_everything_is_allowed() -> None:
    codec = plain_codec(Discrete(3), "info")
    assert masked(codec, {}) == [[1, 1, 1]] * 2
    masks = np.empty(2, object)
    masks[1] = np.array([0, 0, 1])
    assert masked(codec, {"action_mask": masks}) == [[1, 1, 1], [0, 0, 1]]
    assert codec.pack_one(np.zeros(1, np.float32), {}).tolist() == [[0, 1, 1, 1]]


def test_a_mask_of_a_method_goes_before_that_of_info() -> None:
    codec = plain_codec(Discrete(2), "method")
    given = (np.array([True, False]), [0, 1])
    assert masked(codec, {"action_mask": np.ones((2, 2))}, given) == [[1, 0], [0, 1]]


MASK_SPACES = [Box(0, 1, (3,), np.int8), Box(0, 1, (3,), np.float32), MultiBinary(3), MultiDiscrete([2, 2, 2])]


@pytest.mark.parametrize("mask_space", MASK_SPACES, ids=str)
def test_a_mask_is_a_key_of_the_observation(mask_space: Space[Any]) -> None:
    observations = Dict(action_mask=mask_space, seen=PICTURE)
    spec = describe("Env-v0", observations, Discrete(3))
    assert spec.mask == "observation"
    assert spec.observations[0] == ObsPart("action_mask", "mask", (3,))
    assert spec.obs_dtype == "uint8"
    codec = Codec(spec, observations, Discrete(3))
    one = {"action_mask": np.array([0, 1, 1], mask_space.dtype), "seen": PICTURE.sample()}
    row = codec.pack_one(one, {"action_mask": np.zeros(3)})  # what the observation says counts
    assert row[0, :3].tolist() == [0, 1, 1]
    np.testing.assert_array_equal(row[0, 3:], one["seen"].flatten())
    np.testing.assert_array_equal(codec.pack(batched(observations, [one, one]), {}), row.repeat(2, 0))


def test_a_mask_further_down_is_no_mask() -> None:
    spec = describe("Env-v0", Dict(inner=Dict(action_mask=MultiBinary(2))), Discrete(2))
    assert spec.mask == ""
    assert [part.kind for part in spec.observations] == ["numbers"]


@pytest.mark.parametrize("size", [2, 4])
def test_a_mask_of_the_wrong_length_is_refused(size: int) -> None:
    with pytest.raises(ConfigError) as raised:
        describe("Env-v0", Dict(seen=PICTURE, action_mask=MultiBinary(size)), Discrete(3))
    assert "Env-v0" in str(raised.value)
    assert "mask" in str(raised.value)


@pytest.mark.parametrize("source", ["info", "method", "observation", "tuple"])
def test_masks_reach_the_rows_of_a_vector_of_environments(source: str) -> None:
    config = EnvConfig(id="Masked-v0", kwargs={"source": source})
    spec = (found := inspect(config, 0)).spec
    assert spec.mask == ("info" if source == "tuple" else source)
    columns = next(columns for part, columns in spec.obs_columns() if part.kind == "mask")
    envs = VectorEnv("sync", config, found, [0, 1])
    shown = [envs.reset()]
    for _ in range(5):
        shown.append(envs.step(np.zeros((2, spec.action_size), np.int64)).observations)
    envs.close()
    # step 2 of an episode allows its second option alone, and so on; episodes of 3 steps
    expected = [np.eye(5, dtype=int)[step % 3].tolist() for step in range(6)]
    for row, mask in zip(shown, expected, strict=True):
        assert row[:, columns].astype(int).tolist() == [mask, mask]


def test_an_environment_that_gave_no_mask_beside_one_that_did_is_free_to_choose() -> None:
    config = EnvConfig(id="Masked-v0", kwargs={"source": "info"})
    found = inspect(config, 0)

    def alone(every: int) -> Callable[[], gym.Env[Any, Any]]:
        return lambda: toys.Masked("info", every)

    batch = gym.vector.SyncVectorEnv([alone(1), alone(2)], autoreset_mode=AutoresetMode.SAME_STEP)
    envs = VectorEnv("sync", config, found, [0, 1])
    envs._envs.close()
    envs._envs = batch
    assert envs.reset()[:, 1:].tolist() == [[1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]
    after = envs.step(np.zeros((2, 1), np.int64)).observations
    assert after[:, 1:].tolist() == [[0, 1, 0, 0, 0], [1, 1, 1, 1, 1]]
    envs.close()


# what is not supported


@pytest.mark.parametrize(
    ("space", "named"),
    [
        (Text(5), "Text"),
        (Sequence(Discrete(2)), "Sequence"),
        (Graph(Box(0, 1, (2,)), None), "Graph"),
        (OneOf([Discrete(2), Discrete(3)]), "OneOf"),
        (Dict(a=Discrete(2), b=Tuple([Text(5)])), "(at b/0)"),
    ],
    ids=["text", "sequence", "graph", "one_of", "nested"],
)
def test_a_space_of_another_kind_is_one_clear_error(space: Space[Any], named: str) -> None:
    for observations, actions, side in [(space, Discrete(2), "observations"), (Discrete(2), space, "actions")]:
        with pytest.raises(ConfigError) as raised:
            describe("Env-v0", observations, actions)
        (problem,) = raised.value.problems
        assert "Env-v0" in problem.what
        assert f"{side} of kind" in problem.what
        assert named in problem.what
        assert "env.wrappers" in problem.fix


def test_every_wrong_part_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        describe("Env-v0", Dict(a=Text(5), b=Discrete(2), c=Text(4)), Box(0, 9, (2,), np.int64))
    assert len(raised.value.problems) == 3
    assert "Box of int64" in raised.value.problems[2].what


@pytest.mark.parametrize("space", [Box(0, 1, (0,), np.float32), Dict(a=Discrete(2), b=Box(0, 1, (3, 0), np.float32))])
def test_an_observation_without_a_number_is_refused(space: Any) -> None:
    with pytest.raises(ConfigError, match="which holds nothing"):
        describe("Env-v0", space, Discrete(2))


def test_too_many_categories_are_refused() -> None:
    with pytest.raises(ConfigError, match="10,001 categories"):
        describe("Env-v0", Discrete(MOST_CATEGORIES + 1), Discrete(2))
    assert describe("Env-v0", Discrete(MOST_CATEGORIES), Discrete(2)).obs_size == 1


@pytest.mark.parametrize(
    ("observations", "actions"),
    [
        (Box(0, 1, (0,)), Discrete(2)),
        (Dict(), Discrete(2)),
        (Tuple([]), Discrete(2)),
        (Discrete(2), Box(0, 1, (0,))),
        (Discrete(2), Dict()),
    ],
    ids=str,
)
def test_an_empty_space_is_a_clear_error(observations: Space[Any], actions: Space[Any]) -> None:
    with pytest.raises(ConfigError, match="not empty"):
        describe("Env-v0", observations, actions)
