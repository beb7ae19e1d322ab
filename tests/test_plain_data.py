"""What is given in Python becomes what files keep, or is refused before anything begins."""

from __future__ import annotations

import datetime
import enum
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import toys

import ppo_cli
from ppo_cli.agent.agent import PPOAgent
from ppo_cli.config import EnvConfig, NetworkConfig, PPOConfig, TrainConfig
from ppo_cli.envs.make import make_env
from ppo_cli.envs.video import Film
from ppo_cli.errors import ConfigError
from ppo_cli.plain import as_data
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.spec import Spec
from ppo_cli.training.evaluate import evaluate
from ppo_cli.training.plan import Planner
from ppo_cli.training.run import resume, train
from ppo_cli.validation import validate

SEEN: list[Any] = []


class Market(toys.Clock):
    """Keeps what it is built with."""

    def __init__(self, prices: Any = None, **more: Any) -> None:
        super().__init__(length=4)
        SEEN.append({"prices": prices, **more})


class Wrapped(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps what it is built with, too."""

    def __init__(self, env: Any, weights: Any) -> None:
        super().__init__(env)
        SEEN.append(weights)


class Pops(ppo_cli.Callback):
    """Takes an option out of its mapping."""

    def __init__(self, options: Any) -> None:
        assert options.pop("level") == [1, 2]


gym.register("Market-v0", entry_point=Market)


class Colour(enum.Enum):
    """No plain data."""

    RED = 1


def test_arrays_and_numbers_become_plain() -> None:
    given = {
        "prices": np.linspace(0.0, 1.0, 3),
        "table": np.arange(4, dtype=np.int8).reshape(2, 2),
        "numbers": [np.float32(0.5), np.int64(3), np.bool_(True), np.str_("a"), np.longdouble(2.0), Fraction(1, 2)],
        "nested": OrderedDict({np.int64(1): (np.zeros(1), None)}),
        "nothing": np.array(5),
    }
    config = as_data(TrainConfig(env=EnvConfig(kwargs=given), callback_kwargs=given, reward_kwargs=given))
    plain = {
        "prices": [0.0, 0.5, 1.0],
        "table": [[0, 1], [2, 3]],
        "numbers": [0.5, 3, True, "a", 2.0, 0.5],
        "nested": {1: ([0.0], None)},
        "nothing": 5,
    }
    assert config.env.kwargs == config.callback_kwargs == config.reward_kwargs == plain
    assert repr(config.env.kwargs) == repr(plain)  # so are their types
    assert isinstance(given["prices"], np.ndarray)  # whose it is keeps it


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({1, 2}, "is of type set"),
        (Path("x"), "is of type PosixPath"),
        (b"x", "is of type bytes"),
        (datetime.date(2026, 1, 1), "is of type date"),
        (np.datetime64("2026-01-01"), "is of type datetime64"),
        (Colour.RED, "is of type Colour"),
        (Market, "is the class Market"),
        (lambda: 1, "is of type function"),
        (1j, "is of type complex"),
        (np.array([None, {1}], dtype=object), "[1] is of type set"),
        ({"deep": [1, {2}]}, ".deep[1] is of type set"),
    ],
)
def test_the_rest_is_refused_by_name(value: Any, what: str) -> None:
    arguments = {"x": value}
    config = TrainConfig(
        env=EnvConfig(kwargs=arguments, wrappers=[{"a:B": arguments}]),
        callback_kwargs=arguments,
        reward_kwargs=arguments,
    )
    with pytest.raises(ConfigError) as caught:
        Planner().plan(config)
    keys = ["env.kwargs.x", "env.wrappers[0].a:B.x", "callback_kwargs.x", "reward_kwargs.x"]
    told = {key: [problem.what for problem in caught.value.problems if problem.what.startswith(key)] for key in keys}
    assert all(len(lines) == 1 and what in lines[0] for lines in told.values()), told


@pytest.mark.parametrize(("key", "kind"), [(b"k", "bytes"), ((1, 2), "tuple")])
def test_so_are_keys(key: Any, kind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        as_data(TrainConfig(reward_kwargs={"x": {key: 1}}))
    (problem,) = caught.value.problems
    assert problem.what.startswith(f"the key {key!r} of reward_kwargs.x is of type {kind}")


def test_a_class_can_be_named_where_a_setting_takes_one() -> None:
    with pytest.raises(ConfigError) as caught:
        as_data(TrainConfig(env=EnvConfig(wrappers=[Wrapped]), callbacks=[Pops]))  # type: ignore[list-item]
    names = ['"test_plain_data:Wrapped"', '"test_plain_data:Pops"']
    assert [problem.fix for problem in caught.value.problems] == names


def test_training_checkpoint_resume_and_evaluation_see_the_same(tmp_path: Path) -> None:
    prices, weights = np.linspace(0.0, 1.0, 3), np.ones(2, np.float32)
    wrappers = [{"test_plain_data:Wrapped": {"weights": weights}}]
    config = TrainConfig(
        env=EnvConfig("Market-v0", {"prices": prices, "on": np.bool_(True)}, wrappers=wrappers),
        network=NetworkConfig(hidden_sizes=(8, 8)),  # type: ignore[arg-type]
        total_timesteps=64,
        buffer_size=np.int64(32),  # type: ignore[arg-type]
        batch_size=32,
        epochs=1,
        num_envs=2,
        eval_every=32,
        eval_episodes=1,
        checkpoint_every=32,
        logger=[],
        vector_backend="sync",
        callbacks=("test_plain_data:Pops",),  # type: ignore[arg-type]
        callback_kwargs={"options": {"level": np.array([1, 2])}},
    )  # fmt: skip
    SEEN.clear()
    result = train(config, tmp_path / "run", show=False)
    names = {"env.wrappers": wrappers, "callbacks": ["test_plain_data:Pops"]}
    resume(result.run_dir, {"total_timesteps": np.int64(96), **names}, show=False)
    evaluate(result.run_dir, episodes=1, wrappers=("test_plain_data:Wrapped",))
    assert {repr(seen) for seen in SEEN} == {repr({"prices": [0.0, 0.5, 1.0], "on": True}), repr([1.0, 1.0])}
    saved = load_checkpoint(result.checkpoint)["run"]["config"]
    assert saved["env"]["kwargs"] == {"prices": [0.0, 0.5, 1.0], "on": True}
    assert saved["callback_kwargs"] == {"options": {"level": [1, 2]}}
    assert saved["network"]["hidden_sizes"] == [8, 8]


def test_nothing_is_left_of_a_run_that_is_refused(tmp_path: Path) -> None:
    config = TrainConfig(env=EnvConfig("Market-v0", {"prices": {1}}), output_dir=str(tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"env\.kwargs\.prices is of type set"):
        train(config, show=False)
    assert not list(tmp_path.iterdir())


def test_an_id_needs_its_version(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs its version; there is .*; try env=CartPole-v1"):
        train(TrainConfig(env=EnvConfig(id="CartPole"), output_dir=str(tmp_path / "runs")), show=False)
    assert not list(tmp_path.iterdir())


def test_an_agent_takes_tuples_too() -> None:
    config = PPOConfig(network=NetworkConfig(hidden_sizes=(8, 4)))  # type: ignore[arg-type]
    agent = PPOAgent.from_spec(Spec.simple(2, 2), config, seed=0)
    assert agent.config.network.hidden_sizes == [8, 4]


@pytest.mark.parametrize(
    ("name", "fix"),
    [("max_episode_steps", "env.max_episode_steps=5"), ("id", "env=5"), ("disable_env_checker", "the same without")],
)
def test_names_that_gymnasium_keeps_to_itself(name: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(TrainConfig(env=EnvConfig(kwargs={name: 5})))
    (problem,) = caught.value.problems
    assert problem.what.startswith(f"env.kwargs.{name}=5: ")
    assert problem.fix.startswith(fix)


class Blind:
    """Shows nothing."""

    metadata: dict[str, Any] = {}  # noqa: RUF012

    def render(self) -> None:
        return None


class Dark(Blind):
    """Cannot show anything."""

    def render(self) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(("env", "what"), [(Blind(), "gives NoneType, and no picture"), (Dark(), "raises Not")])
def test_a_film_needs_pictures(tmp_path: Path, env: Any, what: str) -> None:
    pytest.importorskip("imageio_ffmpeg")
    with pytest.raises(ConfigError) as caught:
        Film(tmp_path / "video").reel(0, env)
    (problem,) = caught.value.problems
    assert problem.what.startswith(f"video=true: render() with render_mode=rgb_array {what}")
    assert not list(tmp_path.iterdir())


class Lit(Blind):
    """Shows a picture."""

    def render(self) -> Any:
        return np.zeros((4, 4, 3), np.uint8)


def test_a_film_needs_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    (tmp_path / "video").touch()  # in the folder's place; permissions would not hold a superuser back
    with pytest.raises(ConfigError, match=r"video=true: \S+ cannot be written: File exists; try video=false"):
        Film(tmp_path / "video").reel(0, Lit())


@pytest.mark.parametrize("env", [EnvConfig(id="Clock-v0", kwargs={"length": 4}), EnvConfig(id="Both-v0")])
@pytest.mark.parametrize(
    ("mode", "off"), [("rgb_array", "filmed; try video=false"), ("human", "shown; try render=null")]
)
@pytest.mark.filterwarnings("error")
def test_an_environment_that_takes_no_render_mode(env: EnvConfig, mode: str, off: str) -> None:
    with pytest.raises(ConfigError, match=f"has no render_mode={mode}, so it cannot be {off}"):
        make_env(env, mode)
