"""Atari: one game with its wrappers and ALE's vector program are the same environment, and what is missing is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from console import files_in, run
from test_conf import compose

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.config import EnvConfig, NetworkConfig, PPOConfig, TrainConfig
from ppo_cli.envs.backends import build, choose_backend
from ppo_cli.envs.families import warn_of_raw_pictures
from ppo_cli.envs.inspect import inspect
from ppo_cli.envs.make import make_env
from ppo_cli.errors import ConfigError
from ppo_cli.plain import to_plain
from ppo_cli.spec import Spec
from ppo_cli.training.evaluate import evaluate
from ppo_cli.training.run import train

GAMES = ["Pong", "Breakout"]


@pytest.fixture
def _ale() -> None:
    pytest.importorskip("ale_py", reason="ale-py is not installed")
    pytest.importorskip("cv2", reason="OpenCV is not installed")


needs_ale = pytest.mark.usefixtures("_ale")


def game(name: str = "Pong", preprocessing: Any = None, **settings: Any) -> EnvConfig:
    wrapper: Any = "AtariPreprocessing" if preprocessing is None else {"AtariPreprocessing": preprocessing}
    settings = {"kwargs": {"frameskip": 1, "repeat_action_probability": 0.0}, "frame_stack": 4, **settings}
    return EnvConfig(id=f"ALE/{name}-v5", wrappers=[wrapper], **settings)


@needs_ale
@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"preprocessing": {"noop_max": 1, "frame_skip": 2, "screen_size": 60}, "frame_stack": 3},
        {"preprocessing": {"noop_max": 1, "frame_skip": 1}, "frame_stack": 2},
    ],
    ids=["standard", "smaller", "every frame"],
)
def test_one_game_and_the_vector_program_show_the_same_frames(name: str, settings: dict[str, Any]) -> None:
    # the wrapper draws its no-ops from 1 up, and the program from 0 up; without any, both begin alike
    settings = {"preprocessing": {}, **settings}
    settings["preprocessing"] = {**settings["preprocessing"], "noop_max": 0}
    limit = {"frameskip": 1, "repeat_action_probability": 0.0, "max_num_frames_per_episode": 1_001}
    config = game(name, **settings, kwargs=limit)
    env = make_env(config)
    envs, _ = build("native", config, [0])
    assert env.observation_space == envs.single_observation_space
    assert env.action_space == envs.single_action_space
    seen, _ = env.reset(seed=0)
    shown, _ = envs.reset(seed=0)
    assert (shown[0] == seen).all()
    random = np.random.default_rng(0)
    ends = 0
    while ends < 2:
        action = random.integers(env.action_space.n)
        seen, reward, terminated, truncated, _ = env.step(action)
        shown, *numbers, info = envs.step(np.array([action]))
        assert [number.item() for number in numbers] == [reward, terminated, truncated]
        if terminated or truncated:
            ends += 1
            assert (info["final_obs"][0] == seen).all()
            seen, _ = env.reset()
        assert (shown[0] == seen).all()
    env.close()
    envs.close()


@needs_ale
def test_games_begin_differently_and_a_seed_repeats_them() -> None:
    config = game()
    envs, seed = build("native", config, [5, 6, 7, 8])
    first, info = envs.reset(seed=seed)
    assert len(set(info["episode_frame_number"].tolist())) > 1
    again, _ = build("native", config, [5, 6, 7, 8])
    assert (again.reset(seed=seed)[0] == first).all()


@needs_ale
def test_the_standard_preprocessing_is_stepped_by_the_vector_program() -> None:
    config = game()
    assert choose_backend("auto", config, inspect(config, 0))[0] == "native"


@needs_ale
@pytest.mark.parametrize(
    "config",
    [
        game(preprocessing={"terminal_on_life_loss": True}),
        game(preprocessing={"grayscale_obs": False}),
        game(preprocessing={"scale_obs": True}),
        game(frame_stack=None),
        game(restart_crashed=True),
        game(max_episode_steps=100),
        game(kwargs={"frameskip": 1, "mode": 1}),
        game(preprocessing={"frame_skip": 1}, kwargs={"frameskip": 4}),
        EnvConfig(id="ALE/Pong-v5"),
        EnvConfig(id="ALE/Pong-v5", frame_stack=4),
        EnvConfig(
            id="ALE/Pong-v5",
            kwargs={"frameskip": 1},
            wrappers=["AtariPreprocessing", {"ClipReward": {"min_reward": -1, "max_reward": 1}}],
        ),
        EnvConfig(id="ALE/Pong-v5", kwargs={"frameskip": 1}, wrappers=["GrayscaleObservation"]),
    ],
    ids=str,
)
def test_any_other_is_stepped_one_by_one(config: EnvConfig) -> None:
    found = inspect(config, 0)
    assert choose_backend("auto", config, found)[0] == "sync"
    with pytest.raises(ConfigError, match="vector_backend=native"):
        choose_backend("native", config, found)


@needs_ale
@pytest.mark.parametrize(
    "line", [["env=ALE/Pong-v5"], ["env=ALE/Breakout-v5"], ["env=ALE/Seaquest-v5", "preset=atari"]]
)
def test_presets_are_the_atari_one(line: list[str]) -> None:
    pong = to_plain(compose("train", TrainConfig, "env=ALE/Pong-v5"))
    config = compose("train", TrainConfig, *line)
    assert config.env.id == line[0].removeprefix("env=")
    assert {**to_plain(config), "env": {**to_plain(config)["env"], "id": "ALE/Pong-v5"}} == pong
    assert config.total_timesteps % config.buffer_size == 0
    assert config.env.wrappers == ["AtariPreprocessing"]


@needs_ale
def test_a_run_learns_from_clipped_rewards_and_reports_whole_ones(tmp_path: Path) -> None:
    # 150 steps of a game whose first rewards are 20 and more
    env = game("SpaceInvaders", kwargs={"frameskip": 1, "max_num_frames_per_episode": 600})
    config = TrainConfig(
        env=env,
        network=NetworkConfig(hidden_sizes=[8]),
        reward_clip=1.0,
        num_envs=2,
        buffer_size=512,
        batch_size=256,
        epochs=1,
        total_timesteps=512,
        eval_every=None,
        logger=["csv"],
        compile=False,
        threads=1,
    )
    result = train(config, tmp_path / "run", show=False)
    assert result.status == "finished"
    assert "vector_backend=native" in (tmp_path / "run" / "train.log").read_text()
    assert result.final_return is not None
    assert result.final_return > 20
    assert evaluate(result.run_dir, episodes=2, num_envs=2, deterministic=False).episode_return_max > 20


@pytest.mark.parametrize(
    ("env", "warned"),
    [
        (EnvConfig(id="ale_py:ALE/Freeway-v5"), True),
        (EnvConfig(id="ALE/Freeway-v5", wrappers=["AtariPreprocessing"]), False),
        (EnvConfig(id="ALE/Freeway-v5", kwargs={"obs_type": "ram"}), False),
        (EnvConfig(id="CartPole-v1"), False),
    ],
)
def test_raw_pictures_of_atari_are_told_of(env: EnvConfig, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", logger="ppo_cli"):
        warn_of_raw_pictures(env)
    assert [("preset=atari" in message) for message in caplog.messages] == [True] * warned


def test_clipped_rewards_are_what_is_learnt_from() -> None:
    def parameters(rewards: list[float], clip: float | None) -> Any:
        config = PPOConfig(
            network=NetworkConfig(hidden_sizes=[4]), buffer_size=4, batch_size=4, epochs=1, reward_clip=clip
        )
        agent = PPOAgent.from_spec(Spec.simple(2, 2), config, seed=0)
        state = np.ones(2, np.float32)
        for reward in rewards:
            action, log_prob, value = agent.get_action(state)
            agent.store_experience(state, action, reward, value, log_prob, False)
        agent.update(state)
        return agent.policy.parameters.tolist()

    whole, clipped = [5.0, -3.0, 0.5, 0.0], [1.0, -1.0, 0.5, 0.0]
    assert parameters(whole, 1.0) == parameters(clipped, None) != parameters(whole, None)


@pytest.mark.parametrize(
    ("env", "package", "line"),
    [
        ("ALE/Pong-v5", "ale_py", 'pip install "gymnasium[atari,other]"'),
        ("HalfCheetah-v5", "mujoco", 'pip install "gymnasium[mujoco]"'),
        ("LunarLander-v3", "Box2D", 'pip install "gymnasium[box2d]"'),
    ],
)
def test_a_missing_package_is_answered_with_its_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: str, package: str, line: str
) -> None:
    without(package, tmp_path, monkeypatch)
    answer = run(tmp_path / "here", "ppo-train", f"env={env}")
    assert answer.code == 2
    assert line in answer.words
    assert not files_in(tmp_path / "here")


@needs_ale
def test_missing_opencv_is_answered_with_its_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without("cv2", tmp_path, monkeypatch)
    answer = run(tmp_path / "here", "ppo-train", "env=ALE/Pong-v5")
    assert answer.code == 2
    assert 'pip install "gymnasium[other]"' in answer.words


def without(package: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands run as if ``package``, which may be installed here, were not."""
    (folder / "here").mkdir()
    (folder / "stubs").mkdir()
    (folder / "stubs" / f"{package}.py").write_text(f"raise ModuleNotFoundError(name={package!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(folder / "stubs"))
