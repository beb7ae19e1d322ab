"""Playing complete episodes, and evaluating a checkpoint."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.agent.policy import Policy
from ppo_cli.config import EnvConfig, EvalConfig, NetworkConfig, TrainConfig
from ppo_cli.envs.episode import EpisodeProcesses
from ppo_cli.envs.inspect import read_spec
from ppo_cli.errors import CheckpointError, ConfigError, RunError, UserError
from ppo_cli.plain import to_plain
from ppo_cli.runs.checkpoint import load_checkpoint, save_checkpoint
from ppo_cli.training.evaluate import EvalResult, evaluate, run_eval
from ppo_cli.training.play import play
from ppo_cli.training.run import train

assert toys.TOYS


def policy(name: str = "Walk-v0", seed: int = 0) -> Policy:
    """Some policy, whose actions depend on what it sees."""
    config = TrainConfig(env=EnvConfig(id=name), network=NetworkConfig(hidden_sizes=[16, 16]))
    made = PPOAgent.from_spec(read_spec(config.env), config, seed=seed).policy
    generator = torch.Generator().manual_seed(seed)
    made.set_parameters(torch.randn(len(made.parameters), generator=generator) * 0.5)
    return made


def episodes(number: int = 12, *, env: str = "Walk-v0", **changes: Any) -> list[tuple[float, int]]:
    settings: dict[str, Any] = {"seed": 3, "deterministic": True, "num_envs": 4} | changes
    played = play(policy(env), EnvConfig(id=env), episodes=number, **settings)
    return list(zip(played.returns, played.lengths, strict=True))


@pytest.mark.parametrize("deterministic", [True, False])
def test_how_many_play_side_by_side_changes_nothing(deterministic: bool) -> None:
    alone = episodes(20, deterministic=deterministic, num_envs=1)
    assert len({length for _, length in alone}) > 5
    for num_envs in (3, 17, 50):
        assert episodes(20, deterministic=deterministic, num_envs=num_envs) == alone


def test_episode_k_depends_on_the_seed_and_k_alone() -> None:
    assert episodes(12)[:5] == episodes(5)
    assert len(set(episodes(12))) == 12
    assert not set(episodes(12)) & set(episodes(12, seed=4))


def test_an_episode_without_end_counts_as_it_stands(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ppo_cli.training.play.MOST_STEPS", 30)
    with caplog.at_level("WARNING", logger="ppo_cli"):
        assert episodes(3, env="Toy-v0", num_envs=2) == [(30.0, 30)] * 3
    (message,) = caplog.messages
    assert message.startswith("3 of an evaluation's 3 episodes had not ended after 30 steps")
    assert "env.max_episode_steps=1000" in message


def test_an_episode_with_a_limit_lasts_as_long_as_that_lets_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ppo_cli.training.play.MOST_STEPS", 30)
    env = EnvConfig(id="Toy-v0", max_episode_steps=50)
    assert play(policy("Toy-v0"), env, episodes=1, seed=0, deterministic=True, num_envs=1).lengths == [50]
    assert not caplog.messages


def test_sampled_actions_differ_from_the_most_probable_ones_and_repeat() -> None:
    sampled = episodes(deterministic=False)
    assert sampled != episodes(deterministic=True)
    assert sampled == episodes(deterministic=False)


def test_each_episode_has_an_environment_of_its_own() -> None:
    # the reward is the environment's age: 1 + 2 + 3 in a new one
    assert episodes(6, env="Worn-v0", num_envs=2) == [(6.0, 3)] * 6


def test_every_environment_is_closed_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"made": 0, "closed": 0}

    def init(self: Any, at_step: int = 2) -> None:
        self.at_step, self.at_reset, self.total = at_step, 0, 0
        counts["made"] += 1

    monkeypatch.setattr(toys.Breaks, "__init__", init)
    monkeypatch.setattr(toys.Breaks, "close", lambda _: counts.update(closed=counts["closed"] + 1))
    with pytest.raises(ValueError, match="the wheel came off"):
        episodes(5, env="Breaks-v0", num_envs=3)
    assert counts["made"] == counts["closed"] >= 3


def test_playing_draws_from_none_of_the_policys_streams() -> None:
    player = policy()
    before = player.action_stream.get_state()
    play(player, EnvConfig(id="Walk-v0"), episodes=3, seed=0, deterministic=False, num_envs=2)
    assert torch.equal(player.action_stream.get_state(), before)


def test_actions_reach_the_environment_under_its_own_names() -> None:
    assert all(return_ in (20.0, 24.0, 28.0) for return_, _ in episodes(3, env="FromFive-v0"))


# in processes of their own


@pytest.fixture
def _slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every environment is slow enough for processes."""
    monkeypatch.setattr("ppo_cli.training.play.TRIAL_STEPS", 4)
    monkeypatch.setattr("ppo_cli.training.play.SLOW_STEP", 0.0)
    monkeypatch.setattr("ppo_cli.training.play.SLOW", set())


def how_many_processes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many each play has, once there is one that has any."""
    found: list[int] = []
    enter = EpisodeProcesses.__enter__

    def counted(self: EpisodeProcesses) -> EpisodeProcesses:
        entered = enter(self)
        found.append(len(multiprocessing.active_children()))
        return entered

    monkeypatch.setattr(EpisodeProcesses, "__enter__", counted)
    return found


@pytest.mark.usefixtures("_slow")
@pytest.mark.parametrize(
    ("env", "kwargs"),
    [
        ("Walk-v0", {}),
        ("Worn-v0", {}),
        ("FromFive-v0", {}),
        ("Any-v0", {"mask": "info", "observation": "dict"}),
        ("Any-v0", {"mask": "method", "action": "dict"}),
        ("odd_envs:OddDraws-v0", {"where": "numpy"}),
        ("odd_envs:OddDraws-v0", {"where": "torch"}),
        ("odd_envs:OddDraws-v0", {"where": "space"}),
    ],
)
def test_episodes_in_processes_are_the_same(monkeypatch: pytest.MonkeyPatch, env: str, kwargs: dict[str, Any]) -> None:
    config = EnvConfig(id=env, kwargs=kwargs)
    player = PPOAgent.from_spec(read_spec(config), TrainConfig(env=config), seed=1).policy
    settings: dict[str, Any] = {"episodes": 8, "seed": 3, "deterministic": False}
    counts = how_many_processes(monkeypatch)
    here = play(player, config, num_envs=5, **settings)
    assert not counts
    assert here == play(player, config, num_envs=3, in_processes=True, **settings)
    assert counts == [3]
    assert not multiprocessing.active_children()


def test_an_environment_that_is_fast_needs_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppo_cli.training.play.SLOW_STEP", 1.0)
    counts = how_many_processes(monkeypatch)
    assert episodes(20, in_processes=True) == episodes(20)
    assert not counts


@pytest.mark.usefixtures("_slow")
def test_the_evaluations_of_a_run_with_processes_are_those_of_one_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counts = how_many_processes(monkeypatch)
    common: dict[str, Any] = {"num_envs": 2, "buffer_size": 64, "total_timesteps": 192, "eval_every": 64}
    common |= {"eval_episodes": 5, "logger": ["csv"], "network": NetworkConfig(hidden_sizes=[8]), "compile": False}
    found = []
    for backend in ("sync", "async"):
        config = TrainConfig(env=EnvConfig(id="Walk-v0"), vector_backend=backend, **common)
        train(config, tmp_path / backend, show=False)
        found.append(load_checkpoint(tmp_path / backend / "checkpoints" / "last.pt")["run"]["evaluation"])
        found.append(evaluate(tmp_path / backend, episodes=30, num_envs=3).episode_returns)
    assert found[:2] == found[2:]
    assert counts == [4, 4, 4, 3]  # two beside those that train, three in ppo-eval


@pytest.mark.usefixtures("_slow")
@pytest.mark.parametrize(
    ("env", "kwargs", "kind", "said"),
    [
        ("Breaks-v0", {"at_step": 40}, RunError, r"ValueError: the wheel came off \(in step\(\) of environment 0\)"),
        ("Breaks-v0", {"at_reset": 1}, RunError, "the reset motor is stuck"),
        ("Dies-v0", {"at_step": 40, "how": "kill"}, RunError, r"process of an evaluation's episode 0 died \(SIGKILL"),
        ("Dies-v0", {"at_step": 40, "how": "odd"}, RunError, "Odd: the wheel is odd"),
        ("Walk-v0", {"nonsense": 1}, ConfigError, "Walk-v0 cannot be built: TypeError"),
    ],
)
def test_what_goes_wrong_in_a_process_is_told(
    monkeypatch: pytest.MonkeyPatch, env: str, kwargs: dict[str, Any], kind: type[UserError], said: str
) -> None:
    config = EnvConfig(id=env, kwargs=kwargs)
    monkeypatch.setattr("ppo_cli.training.play.SLOW", {repr(config)})
    with pytest.raises(kind, match=said):
        play(policy("Toy-v0"), config, episodes=3, seed=0, deterministic=True, num_envs=2, in_processes=True)
    assert not multiprocessing.active_children()


def test_an_environment_that_takes_too_long_to_build_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    config, player = EnvConfig(id="Walk-v0", start_timeout=0.2), policy()
    monkeypatch.setattr("ppo_cli.training.play.SLOW", {repr(config)})
    monkeypatch.setattr(toys.Walk, "__init__", lambda *_, **__: time.sleep(20))
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"is not built after env.start_timeout=0.2 seconds; try env.start_timeout=2"):
        play(player, config, episodes=3, seed=0, deterministic=True, num_envs=2, in_processes=True)
    assert time.monotonic() - began < 10
    assert not multiprocessing.active_children()


# of a checkpoint


def save(path: Path, name: str = "Walk-v0", *, run: dict[str, Any] | None = None, **kwargs: Any) -> Path:
    """A run's checkpoint with a policy of its own."""
    config = TrainConfig(env=EnvConfig(id=name, kwargs=kwargs), network=NetworkConfig(hidden_sizes=[8]), seed=2)
    agent = PPOAgent.from_spec(read_spec(config.env), config, seed=2)
    progress = {"config": to_plain(config), "progress": {}, "evaluation": None}
    save_checkpoint(path, agent.state_dict(), progress | (run or {}))
    return path


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return save(tmp_path / "run, [1]=x" / "checkpoints" / "last.pt").parent.parent


def test_an_evaluation_writes_what_it_found_into_the_runs_folder(run_dir: Path) -> None:
    result = evaluate(run_dir, episodes=7, seed=5, num_envs=3)
    assert isinstance(result, EvalResult)
    assert result.written == run_dir / "eval.json"
    content = json.loads(result.written.read_text())
    statistics = [f"episode_return_{name}" for name in ("mean", "std", "median", "min", "max", "ci95")]
    others = ["episode_returns", "episode_lengths", "success_rate", "seed", "episodes", "deterministic", "checkpoint"]
    assert set(content) == {*statistics, *others}
    returns = content["episode_returns"]
    assert len(returns) == len(content["episode_lengths"]) == content["episodes"] == 7
    expected = (np.mean(returns), np.std(returns), np.median(returns), min(returns), max(returns))
    assert [content[name] for name in statistics[:5]] == pytest.approx(expected)
    low, high = content["episode_return_ci95"]
    assert min(returns) <= low < content["episode_return_mean"] < high <= max(returns)
    assert (content["seed"], content["deterministic"]) == (5, True)
    assert content["checkpoint"] == str(run_dir / "checkpoints" / "last.pt")


def test_the_interval_is_about_two_standard_errors_wide_on_each_side(tmp_path: Path) -> None:
    result = evaluate(save(tmp_path / "a.pt"), episodes=100, deterministic=False)
    error = result.episode_return_std / 10
    low, high = result.episode_return_ci95
    assert (result.episode_return_mean - low) / error == pytest.approx(1.96, abs=0.35)
    assert (high - result.episode_return_mean) / error == pytest.approx(1.96, abs=0.35)


def test_a_folder_that_cannot_be_written_is_evaluated_all_the_same(
    run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (run_dir / "eval.json").mkdir()  # in the file's place; permissions would not hold a superuser back
    result = evaluate(run_dir, episodes=2)
    assert result.written is None
    assert "eval.json could not be written (Is a directory)" in caplog.text
    assert sorted(path.name for path in run_dir.iterdir()) == ["checkpoints", "eval.json"]


def test_seed_run_repeats_the_evaluation_that_training_logged(tmp_path: Path) -> None:
    config = TrainConfig(
        env=EnvConfig(id="Walk-v0"),
        network=NetworkConfig(hidden_sizes=[8]),
        num_envs=2,
        buffer_size=64,
        total_timesteps=256,
        eval_every=64,
        eval_episodes=5,
        normalize_obs=True,
        normalize_reward=True,
        logger=["csv"],
    )
    result = train(config, tmp_path / "run", show=False)
    evaluated = evaluate(tmp_path / "run", seed="run", num_envs=2)
    assert evaluated.checkpoint.name == "best.pt"
    assert evaluated.episode_return_mean == result.best_return
    logged = load_checkpoint(evaluated.checkpoint)["run"]["evaluation"]
    assert (evaluated.episode_returns, evaluated.episode_lengths) == (logged["returns"], logged["lengths"])
    assert evaluated.episodes == 5
    assert evaluate(tmp_path / "run", episodes=5, seed=0).episode_returns != logged["returns"]


@pytest.mark.parametrize("asked", [{"episodes": 7}, {"deterministic": False}])
def test_seed_run_repeats_nothing_else(tmp_path: Path, asked: dict[str, Any]) -> None:
    evaluation = {"seed": 3, "deterministic": True, "returns": [4.0, 4.0], "lengths": [4, 4]}
    path = save(tmp_path / "a.pt", "Clock-v0", run={"evaluation": evaluation}, length=4)
    assert evaluate(path, seed="run", episodes=2).episodes == 2
    with pytest.raises(ConfigError, match="repeats the run's evaluation, which had"):
        evaluate(path, seed="run", **asked)


@pytest.mark.parametrize("evaluation", [torch.zeros(3), "returns", [1.0], {"seed": 1}], ids=str)
def test_an_evaluation_that_is_none_is_told_of(tmp_path: Path, evaluation: Any) -> None:
    path = save(tmp_path / "a.pt", "Clock-v0", run={"evaluation": evaluation}, length=4)
    with pytest.raises(CheckpointError, match="does not describe its own evaluation"):
        evaluate(path, seed="run")


def test_seed_run_needs_an_evaluation(run_dir: Path) -> None:
    with pytest.raises(ConfigError, match="without an evaluation"):
        evaluate(run_dir, seed="run")


def test_the_checkpoints_own_arguments_build_the_environment(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", "Clock-v0", length=4)
    assert evaluate(path, episodes=3).episode_lengths == [4, 4, 4]


def test_a_checkpoint_alone_imports_no_module(tmp_path: Path) -> None:
    home = tmp_path / "modules"
    home.mkdir()
    (home / "strange.py").write_text("raise SystemExit('imported!')\n")
    path = save(tmp_path / "a.pt")
    payload = load_checkpoint(path)
    payload["run"]["config"]["env"]["id"] = "strange:Walk-v0"
    save_checkpoint(path, payload["agent"], payload["run"])
    code = f"import sys; sys.path.insert(0, {str(home)!r})\nfrom ppo_cli import evaluate\nevaluate({str(path)!r})"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "imported!" not in answer.stderr
    assert "env=strange:Walk-v0" in answer.stderr


def test_an_environment_of_a_module_is_built_if_the_user_names_it(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", "toys:Clock-v0", length=2)
    assert evaluate(path, env="toys:Clock-v0", episodes=1).episode_lengths == [2]
    with pytest.raises(ConfigError, match="trained with env=toys:Clock-v0"):
        evaluate(path, env="toys:Walk-v0", episodes=1)


def test_an_agent_saved_without_a_run_names_no_environment(tmp_path: Path) -> None:
    PPOAgent(1, 2, seed=0).save(tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="names no environment"):
        evaluate(tmp_path / "a.pt")


def test_a_run_that_does_not_describe_itself_is_refused(tmp_path: Path) -> None:
    for run in ({"config": {}}, {"config": None}, {"config": {"env": {"id": 3}}}):
        with pytest.raises(CheckpointError):
            evaluate(save(tmp_path / "a.pt", run=run))


@pytest.mark.parametrize(
    "wrong", [{"seed": "ran"}, {"seed": -1}, {"episodes": 0}, {"video": True, "render": "human"}, {"render": "mars"}]
)
def test_settings_that_do_not_fit_are_refused(run_dir: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        run_eval(EvalConfig(checkpoint=str(run_dir), **wrong))
    assert not (run_dir / "eval.json").exists()


def test_a_film_of_the_first_episodes_is_playable_and_changes_nothing(run_dir: Path) -> None:
    imageio = pytest.importorskip("imageio.v2")
    pytest.importorskip("imageio_ffmpeg")
    filmed = evaluate(run_dir, episodes=5, video=True)
    assert filmed.episode_returns == evaluate(run_dir, episodes=5).episode_returns
    assert filmed.video == run_dir / "video"
    assert sorted(path.name for path in filmed.video.iterdir()) == [f"episode_{number}.mp4" for number in range(3)]
    with imageio.get_reader(filmed.video / "episode_1.mp4") as reader:
        frames = [np.asarray(frame) for frame in reader]
        assert reader.get_meta_data()["fps"] == 10
    assert abs(len(frames) - (filmed.episode_lengths[1] + 1)) <= 1
    assert frames[0].shape == (64, 96, 3)
    assert frames[-1].mean() > frames[0].mean()
