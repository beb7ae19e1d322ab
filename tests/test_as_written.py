"""Environments as people write them: the right value, or one clear message; the same on every backend."""

from __future__ import annotations

import logging
import multiprocessing
import random
from pathlib import Path
from typing import Any

import numpy as np
import odd_envs
import pytest
import torch
from resuming import metrics

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.config import EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.envs.inspect import inspect
from ppo_cli.envs.vector import VectorEnv
from ppo_cli.errors import ConfigError, RunError, UserError
from ppo_cli.loggers.curves import CurvesLogger
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.training.episodes import far_below
from ppo_cli.training.evaluate import evaluate
from ppo_cli.training.plan import Planner
from ppo_cli.training.play import play
from ppo_cli.training.run import train
from ppo_cli.training.trainer import Trainer

BACKENDS = ("sync", "async")


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CurvesLogger, "close", lambda *_: None)


def make_config(env: str, backend: str = "sync", **settings: Any) -> TrainConfig:
    common: dict[str, Any] = {"num_envs": 2, "buffer_size": 128, "batch_size": 64, "epochs": 1}
    common |= {"total_timesteps": 256, "eval_every": 128, "eval_episodes": 2, "logger": ["csv"]}
    common |= {"network": NetworkConfig(hidden_sizes=[8]), "threads": 1, "compile": False}
    of_env = settings.pop("of_env", {})
    kwargs = settings.pop("kwargs", {})
    env_config = EnvConfig(id=f"odd_envs:Odd{env}-v0", kwargs=kwargs, **of_env)
    return TrainConfig(env=env_config, vector_backend=backend, **common | settings)


def last_row(folder: Path) -> dict[str, str]:
    return metrics(folder)[-1]


# sizes


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("dtype", "offset"), [("int64", 1e5), ("int32", 1e9), ("float64", 1e9), ("float32", 1e3)])
def test_a_signal_is_standardized_whatever_its_type_and_offset(
    tmp_path: Path, backend: str, dtype: str, offset: float
) -> None:
    config = make_config("Far", backend, kwargs={"dtype": dtype, "offset": offset}, normalize_obs=True)
    result = train(config, tmp_path / "run", show=False)
    assert "no effect" not in (tmp_path / "run" / "train.log").read_text()
    agent = PPOAgent.from_state_dict(load_checkpoint(result.run_dir / "checkpoints" / "last.pt")["agent"])
    signal = np.arange(-10.0, 11.0)
    seen = agent.policy.prepare(torch.from_numpy((offset + signal[:, None]).astype(agent.spec.obs_dtype)))
    spread = seen[:, 0].diff()
    assert spread.mean().item() == pytest.approx(1.0 / np.std(signal), rel=0.2)  # of 256 draws
    torch.testing.assert_close(spread, spread.mean().expand(20), rtol=1e-3, atol=0.0)


def test_a_number_beyond_what_a_network_can_read_is_told(tmp_path: Path) -> None:
    config = make_config("Lossy", kwargs={"dtype": "float64", "value": 1e39})
    with pytest.raises(UserError, match=r"observation\[0\] of environment 0 is 1e\+39"):
        train(config, tmp_path / "run", show=False)


# arguments


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_construction_has_arguments_of_its_own(tmp_path: Path, backend: str) -> None:
    config = make_config("Takes", backend, kwargs={"options": {"worth": 5.0}})
    train(config, tmp_path / "run", show=False)
    assert last_row(tmp_path / "run")["rollout/episode_return_mean"] == "50.0"
    assert last_row(tmp_path / "run")["eval/episode_return_mean"] == "50.0"
    assert config.env.kwargs == {"options": {"worth": 5.0}}
    assert evaluate(tmp_path / "run", env="odd_envs:OddTakes-v0", episodes=1).episode_return_mean == 50.0


# observations


def test_stacked_frames_are_those_that_were_seen() -> None:
    config = EnvConfig(id="odd_envs:OddOneArray-v0", frame_stack=3)
    envs = VectorEnv("sync", config, inspect(config), [1])
    envs.reset()
    for _ in range(4):
        rows = envs.step(np.zeros((1, 1), np.int64)).observations
    assert rows.reshape(3, 2)[:, 0].tolist() == [2.0, 3.0, 4.0]
    envs.close()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("dtype", "value"), [("int8", 0.5), ("uint8", 300), ("int64", 1e30), ("float16", 1e6)])
def test_what_the_type_of_a_space_cannot_hold_is_told_of(
    tmp_path: Path, backend: str, dtype: str, value: float
) -> None:
    config = make_config("Lossy", backend, kwargs={"dtype": dtype, "value": value})
    with pytest.raises(UserError, match=rf"the observation after step 21 holds .*, {dtype}"):
        train(config, tmp_path / "run", show=False)
    policy = Trainer(Planner().plan(config), tmp_path, []).agent.policy
    with pytest.raises(UserError, match="the observation after step 21 holds"):
        play(policy, config.env, episodes=1, seed=0, deterministic=True, num_envs=1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("multi", [True, False])
def test_categories_that_are_none_are_told_of_with_their_place(tmp_path: Path, backend: str, multi: bool) -> None:
    entry = int(multi)
    told = f"entry {entry} of the observation of environment 0 is 30, and its 30 categories"
    with pytest.raises(UserError, match=rf"{told}.* at step 60"):
        train(make_config("Beyond", backend, kwargs={"multi": multi}), tmp_path / "run", show=False)


def test_spaces_and_shapes_that_change_are_told_of(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"reset\(\) changes the observation space from .*\(2,\).* to .*\(3,\)"):
        inspect(EnvConfig(id="odd_envs:OddLate-v0"))
    with pytest.raises(UserError, match=r"the observation after step 25 has shape \(3,\), and its space \(2,\)"):
        train(make_config("Grows"), tmp_path / "run", show=False)


# masks


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", ["info", "dict", "method"])
def test_a_mask_that_allows_nothing_ends_the_run(tmp_path: Path, backend: str, how: str) -> None:
    with pytest.raises(UserError, match=r"the action mask of environment 0 allows nothing, .* at step 40"):
        train(make_config("Stuck", backend, kwargs={"how": how}), tmp_path / "run", show=False)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kwargs", [{"how": "info", "late": 3, "stuck": 99}, {"how": "none", "stuck": 99}])
def test_a_mask_that_is_not_given_allows_everything(tmp_path: Path, backend: str, kwargs: dict[str, Any]) -> None:
    config = make_config("Stuck", backend, kwargs=kwargs)
    plan = Planner().plan(config)
    assert plan.spec.mask == "info"
    trainer = Trainer(plan, tmp_path, [])
    trainer.collector.begin_stretch()
    if kwargs["how"] == "none":
        trainer.collector.collect()
        masks = trainer.agent.memory["observations"][:4, 0, 2:]
        assert masks.tolist() == [[0, 1], [1, 1], [0, 1], [1, 1]]
    trainer.collector.envs.close()


def test_a_mask_is_never_stacked() -> None:
    config = EnvConfig(id="odd_envs:OddStuck-v0", kwargs={"how": "dict", "stuck": 99}, frame_stack=2)
    found = inspect(config)
    assert [part.kind for part in found.spec.observations] == ["numbers", "mask"]
    assert found.spec.obs_size == 2 + 2


# actions, rewards, infos


@pytest.mark.parametrize("backend", BACKENDS)
def test_actions_are_of_one_type_and_rewards_may_be_arrays_of_one(tmp_path: Path, backend: str) -> None:
    train(make_config("Typed", backend), tmp_path / "run", show=False)
    assert last_row(tmp_path / "run")["eval/episode_return_mean"] == "10.0"


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("bare", r"returns a ndarray from reset\(\)|cannot unpack"),
        ("no info", r"returns info=None from reset\(\), and a mapping is due"),
        ("four", r"returns 4 values from step\(\)|cannot unpack"),
    ],
)
def test_the_old_api_is_told_to_be_it(what: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        inspect(EnvConfig(id="odd_envs:OddOld-v0", kwargs={"what": what}))
    assert "Gymnasium's API" in caught.value.problems[0].fix


# processes


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("raise", r"environment 0: odd_envs:OddStarts-v0 cannot be built: OSError: port 6005 is in use"),
        ("exit", r"the process of environment 0 died \(exit code 7\) while it was built"),
        ("kill", r"the process of environment 0 died \(SIGKILL.*\) while it was built"),
        ("hang", "environment 0 is not built after env.start_timeout=2 seconds"),
    ],
)
def test_a_process_that_builds_no_environment_ends_the_run_and_leaves_none(tmp_path: Path, how: str, told: str) -> None:
    patience = {"start_timeout": 2.0} if how == "hang" else {}  # a busy machine may take that long to fork and raise
    config = make_config("Starts", "async", kwargs={"how": how}, of_env=patience)
    before = multiprocessing.active_children()
    with pytest.raises(UserError, match=told):
        train(config, tmp_path / "run", show=False)
    assert multiprocessing.active_children() == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_bounds_may_differ(tmp_path: Path, backend: str) -> None:
    assert train(make_config("Bounds", backend), tmp_path / "run", show=False).status == "finished"


def test_the_last_observation_before_a_crash_is_kept_as_it_was(tmp_path: Path) -> None:
    config = make_config("Diverges", of_env={"restart_crashed": True})
    assert train(config, tmp_path / "run", show=False).status == "finished"


# generators and torch's settings


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("where", ["numpy", "python", "torch", "space"])
def test_what_is_drawn_from_shared_generators_follows_from_the_seed(tmp_path: Path, backend: str, where: str) -> None:
    config = make_config("Draws", backend, kwargs={"where": where})
    np.random.seed(1)
    random.seed(1)
    torch.manual_seed(1)
    expected = np.random.random(), random.random(), torch.rand(()).item()
    for name, seed in (("one", 1), ("other", 2)):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        train(config, tmp_path / name, show=False)
        if seed == 1:
            assert (np.random.random(), random.random(), torch.rand(()).item()) == expected
    assert metrics(tmp_path / "one") == metrics(tmp_path / "other")
    last = tmp_path / "one/checkpoints/last.pt"
    again = evaluate(last, env="odd_envs:OddDraws-v0", seed="run", num_envs=1)
    assert again.episode_return_mean == float(last_row(tmp_path / "one")["eval/episode_return_mean"])


def test_what_an_environment_sets_of_torch_it_sets_for_itself(tmp_path: Path) -> None:
    train(make_config("Doubles"), tmp_path / "run", show=False)
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()


# evaluation and budget


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("place", "what", "told"),
    [
        ("terminated", None, "says of step 21 terminated=None, truncated=False"),
        ("truncated", "no", "says of step 21 terminated=False, truncated='no'"),
        ("terminated", [True, False], r"terminated=\[True, False\]"),
        ("reward", "1.5", "the reward of step 21 is '1.5', which is no number"),
        ("reward", None, "the reward of step 21 is None, which is no number"),
    ],
)
def test_what_is_no_truth_value_or_number_is_told_of(
    tmp_path: Path, backend: str, place: str, what: Any, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        train(make_config("Says", backend, kwargs={"place": place, "what": what}), tmp_path / "run", show=False)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_environment_that_calls_exit_does_not_end_the_command_without_a_word(tmp_path: Path, backend: str) -> None:
    config = make_config("Leaves", backend)
    with pytest.raises(RunError, match=r"it called sys.exit\(3\)"):
        train(config, tmp_path / "run", show=False)
    config.env.restart_crashed = True
    assert train(config, tmp_path / "again", show=False).status == "finished"


@pytest.mark.parametrize(
    ("place", "what", "rate"),
    [
        ("terminated", [0.0], 1.0),
        ("truncated", 0, 1.0),
        ("is_success", 0.0, 0.0),
        ("is_success", [[1]], 1.0),
        ("is_success", "no", None),
        ("is_success", {"really": False}, None),
    ],
)
def test_what_is_one_is_read(place: str, what: Any, rate: float | None) -> None:
    env = EnvConfig(id="odd_envs:OddSays-v0", max_episode_steps=30, kwargs={"place": place, "what": what})
    envs = VectorEnv("sync", env, inspect(env), [1])
    envs.reset()
    solved = [envs.step(np.zeros((1, 1), np.int64)).successes for _ in range(30)]
    envs.close()
    assert solved[:29] == [{}] * 29
    assert solved[29] == ({} if rate is None else {0: bool(rate)})


@pytest.mark.parametrize("backend", BACKENDS)
def test_success_is_counted_where_it_is_told(tmp_path: Path, backend: str) -> None:
    train(make_config("Solved", backend), tmp_path / "run", show=False)
    row = last_row(tmp_path / "run")
    assert 0.3 < float(row["rollout/success_rate"]) < 0.7
    assert row["eval/success_rate"] == "0.0"  # each of its episodes is its environment's first
    assert evaluate(tmp_path / "run", env="odd_envs:OddSolved-v0", episodes=3).success_rate == 0.0


def test_evaluations_far_below_training_are_told_of_once_and_may_sample(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config("Coin", total_timesteps=512, eval_episodes=5)
    with caplog.at_level(logging.WARNING, "ppo_cli"):
        train(config, tmp_path / "run", show=False)
    assert caplog.text.count("lies far below") == 1
    assert float(last_row(tmp_path / "run")["eval/episode_return_mean"]) <= 1.0
    config.eval_deterministic = False
    train(config, tmp_path / "sampled", show=False)
    assert float(last_row(tmp_path / "sampled")["eval/episode_return_mean"]) > 2.5
    assert far_below([0.0, 0.1], [5.0, 5.1, 4.9])
    assert not far_below([4.9, 5.0], [5.0, 5.1, 4.9])


def test_a_budget_is_real_steps_where_some_steps_only_fetch(tmp_path: Path) -> None:
    config = make_config("Takes", total_timesteps=8192, eval_every=None, checkpoint_every=2000, anneal_lr=True)
    config.env, config.vector_backend, config.buffer_size = EnvConfig("CartPole-v1"), "native", 512
    result = train(config, tmp_path / "run", show=False)
    rows = metrics(tmp_path / "run")
    assert result.step == int(rows[-1]["step"]) >= 8192 > int(rows[-2]["step"])
    rates = [float(row["train/lr"]) for row in rows]
    steps = [0, *(int(row["step"]) for row in rows[:-1])]
    assert rates == pytest.approx([3e-4 * (1 - step / 8192) for step in steps])
    saved = [int(path.stem.removeprefix("step_")) for path in (tmp_path / "run/checkpoints").glob("step_*.pt")]
    assert sorted(step // 2048 for step in saved) == [1, 2, 3, 4]


assert odd_envs.MAIN


# masks that say something else


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("how", "mask", "told"),
    [
        ("info", [0.0, -np.inf], r"gives the mask \[0.0, -inf\]; try a mask of 1 where a choice is allowed"),
        ("info", [0.5, 1.0], r"gives the mask \[0.5, 1.0\]"),
        ("info", ["yes", "no"], r"gives the mask \['yes', 'no'\]"),
        ("method", [-1, 1], r"gives the mask array\(\[-1,  1\]\)"),
        ("dict", [-1.0, 1.0], "entry 0 of the action mask of environment 0 is -1, and a mask has 1 where"),
    ],
)
def test_a_mask_of_other_numbers_than_0_and_1_is_told_of(
    tmp_path: Path, backend: str, how: str, mask: list[Any], told: str
) -> None:
    config = make_config("Speaks", backend, kwargs={"how": how, "mask": mask})
    with pytest.raises(UserError, match=told):
        train(config, tmp_path / "run", show=False)


@pytest.mark.parametrize("mask", [[True, False], [1, 0], [1.0, 0.0], [np.True_, np.False_]])
def test_a_mask_may_be_written_in_any_type(tmp_path: Path, mask: list[Any]) -> None:
    config = make_config("Speaks", "sync", kwargs={"how": "info", "mask": mask})
    assert train(config, tmp_path / "run", show=False).status == "finished"
