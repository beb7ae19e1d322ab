"""Three doors for research: callbacks, calls on environments, and reward transforms."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import door_toys
import numpy as np
import pytest
import torch
import toys
from console import Train
from console import run as command
from resuming import differences, metrics, signalled
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ppo_cli.config import EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.envs.calls import EnvCall, EnvCalls
from ppo_cli.envs.inspect import inspect
from ppo_cli.envs.vector import VectorEnv
from ppo_cli.errors import ConfigError, RunError
from ppo_cli.loggers.curves import CurvesLogger
from ppo_cli.runs.checkpoint import load_checkpoint, save_checkpoint
from ppo_cli.training.evaluate import evaluate
from ppo_cli.training.run import resume, train

ROLLOUT = 32  # steps of an iteration
TESTS = Path(__file__).parent


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CurvesLogger, "close", lambda *_: None)  # one takes longer than ten of these runs


def make_config(env: str = "Lift-v0", **settings: Any) -> TrainConfig:
    """Six iterations with checkpoints after the second, the fourth and the last, and evaluations after each third."""
    common: dict[str, Any] = {"num_envs": 2, "buffer_size": ROLLOUT, "batch_size": 16, "epochs": 2, "lr": 0.01}
    common |= {"total_timesteps": 6 * ROLLOUT, "checkpoint_every": 2 * ROLLOUT, "eval_every": 3 * ROLLOUT}
    common |= {"eval_episodes": 2, "network": NetworkConfig(hidden_sizes=[8]), "logger": ["csv"]}
    common |= {"vector_backend": "sync", "threads": 1, "compile": False}
    return TrainConfig(env=EnvConfig(id=env, **settings.pop("of_env", {})), **common | settings)


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


# callbacks


def test_a_callback_is_called_in_order(tmp_path: Path) -> None:
    tells = door_toys.Tells()
    train(make_config(), tmp_path / "run", show=False, callbacks=[tells])
    iterations = [("iteration", number) for number in range(1, 7)]
    assert tells.heard == [
        ("start", 0), *iterations[:2], ("evaluation", 2), *iterations[2:5], ("evaluation", 2), iterations[5], ("end", 6)
    ]  # fmt: skip


def test_its_metrics_have_a_column_and_a_curve_for_the_whole_run(tmp_path: Path) -> None:
    config = make_config(callbacks=["door_toys:Raise"], logger=["csv", "tensorboard"])
    train(config, tmp_path / "run", show=False)
    with (tmp_path / "run/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["lift/level"] for row in rows] == ["1.0", "1.0", "2.0", "2.0", "3.0", "3.0"]
    assert [row["lift/told"] for row in rows] == ["2", "", "2", "", "2", ""]
    events = EventAccumulator(str(tmp_path / "run/tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    assert [event.value for event in events.Scalars("lift/level")] == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize("backend", ["sync", "async"])
@pytest.mark.parametrize("after", [1, 3, 4])
def test_stopped_and_gone_on_with_all_doors_open_equals_undisturbed(tmp_path: Path, backend: str, after: int) -> None:
    names = ["door_toys:Raise", "door_toys:Draws"]
    config = make_config(vector_backend=backend, callbacks=names, reward_transform="door_toys:Learnt")
    config.reward_kwargs = {"scale": 0.3}
    train(config, tmp_path / "whole", show=False)
    with signalled(after):
        train(config, tmp_path / "run", show=False)
    result = resume(tmp_path / "run", {"callbacks": names, "reward_transform": "door_toys:Learnt"}, show=False)
    assert result.status == "finished"
    assert differences(tmp_path / "whole", tmp_path / "run") == []
    returns = [float(row["rollout/episode_return_mean"]) for row in metrics(tmp_path / "whole")[1:]]
    assert returns == sorted(returns)  # the level is what is reported, and not what the transform adds
    assert returns[-1] > 2 * returns[0]


def test_what_it_draws_touches_no_other_stream(tmp_path: Path) -> None:
    def told(name: str, *callbacks: str) -> list[dict[str, str]]:
        train(make_config(callbacks=list(callbacks)), tmp_path / name, show=False)
        rows = metrics(tmp_path / name)
        assert ["draws/sum" in row for row in rows] == [bool(callbacks)] * 6
        return [{key: cell for key, cell in row.items() if key != "draws/sum"} for row in rows]

    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(()).item(), np.random.random()
    torch.manual_seed(5)
    np.random.seed(5)
    assert told("with", "door_toys:Draws") == told("without")
    assert (torch.rand(()).item(), np.random.random()) == expected


def test_a_callback_ends_the_run_as_finished_and_the_run_can_be_extended(tmp_path: Path) -> None:
    config = make_config(callbacks=["door_toys:Stops"], callback_kwargs={"at": 3}, eval_every=None)
    folder = tmp_path / "run"
    assert train(config, folder, show=False).status == "finished"
    assert (summary(folder)["step"], summary(folder)["stop_reason"]) == (96, "iteration 3 is enough")
    again = Path(shutil.copytree(folder, tmp_path / "again"))
    named = {"callbacks": ["door_toys:Stops"]}
    told = (again / "summary.json").read_text().replace('"finished"', '"running"')
    (again / "summary.json").write_text(told)  # killed before it could say so
    assert resume(again, named, show=False).step == 96
    assert resume(folder, {**named, "callback_kwargs.at": 5}, show=False).step == 160
    assert summary(folder)["resumed"][0]["changes"] == {"callback_kwargs.at": "5"}
    assert summary(folder)["stop_reason"] == "iteration 5 is enough"


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("raise", r"ValueError: no more \(in on_iteration\(\) of door_toys:Wrong\)"),
        ("write", "TypeError: 'mappingproxy' object does not support item assignment"),
        ("undeclared", r"Wrong reports 'wrong/other', which is not among its metrics=\('wrong/number',\)"),
        ("text", "Wrong reports wrong/number='many', which is no number"),
        ("state", r"Wrong: state_dict\(\)\['array'\]\[0\] is of type ndarray, which no checkpoint can hold"),
    ],
)
def test_one_that_breaks_its_word_ends_the_run_with_one_message(tmp_path: Path, how: str, told: str) -> None:
    config = make_config(callbacks=["door_toys:Wrong"], callback_kwargs={"how": how})
    with pytest.raises(RunError, match=told):
        train(config, tmp_path / "run", show=False)
    assert summary(tmp_path / "run")["status"] == "failed"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"callbacks": ["door_toys"]}, "callbacks: door_toys is not of the form module:Class"),
        ({"callbacks": ["nowhere:At"]}, "callbacks: nowhere:At cannot be imported: ModuleNotFoundError"),
        ({"callbacks": ["door_toys:Lift"]}, "callbacks: door_toys:Lift is not derived from ppo_cli.Callback"),
        ({"callbacks": ["door_toys:Taken"]}, r"metrics=\('train/lr',\) should be names of its own"),
        ({"callbacks": ["door_toys:Stops"]}, r"Stops cannot be built with callback_kwargs=\{\}: missing .*'at'"),
        ({"callback_kwargs": {"at": 3}}, "callback_kwargs.at is an argument of none of nobody"),
        (
            {"callbacks": ["door_toys:Stops", "door_toys:Draws"], "callback_kwargs": {"at": 3, "size": 1}},
            "callback_kwargs.size is an argument of none of Stops, Draws",
        ),
        ({"reward_transform": "door_toys:Draws"}, "door_toys:Draws is not derived from ppo_cli.RewardTransform"),
        ({"reward_transform": "door_toys:Spoils"}, "Spoils cannot be built with reward_kwargs"),
        ({"reward_kwargs": {"scale": 3}}, "reward_kwargs.scale is an argument of none"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        train(make_config(**settings, output_dir=str(tmp_path / "out")), show=False)
    assert not list(tmp_path.iterdir())


def test_all_are_named_again_where_a_run_goes_on(tmp_path: Path) -> None:
    names = {"callbacks": ["door_toys:Draws"], "reward_transform": "door_toys:Learnt"}
    with signalled(3):
        train(make_config(**names), tmp_path / "run", show=False)
    with pytest.raises(ConfigError) as caught:
        resume(tmp_path / "run", show=False)
    fixes = [problem.fix for problem in caught.value.problems]
    assert fixes == ["'callbacks=[door_toys:Draws]'", "reward_transform=door_toys:Learnt"]
    assert resume(tmp_path / "run", names, show=False).status == "finished"


def test_a_callback_can_be_added_to_a_run_that_goes_on(tmp_path: Path) -> None:
    with signalled(3):
        train(make_config(), tmp_path / "run", show=False)
    resume(tmp_path / "run", {"callbacks": ["door_toys:Raise"]}, show=False)
    assert [row["lift/level"] for row in metrics(tmp_path / "run")] == ["", "", "1.0", "1.0", "2.0", "2.0"]


def test_the_command_line_names_them_and_their_arguments(tmp_path: Path, here: Train, evaluate: Train) -> None:
    shutil.copy(TESTS / "door_toys.py", tmp_path)
    shutil.copy(TESTS / "toys.py", tmp_path)
    words = ["env=door_toys:Lift-v0", "num_envs=2", "buffer_size=32", "batch_size=16", "vector_backend=sync"]
    words += ["callbacks=[door_toys:Stops,door_toys:Raise]", "reward_transform=door_toys:Learnt", "compile=false"]
    words += [
        "reward_kwargs.scale=0.5",
        "hydra.run.dir=run",
        "eval_every=null",
        "checkpoint_every=32",
        "callback_kwargs.at=2",
        "logger=[csv]",
    ]
    answer = command(tmp_path, "ppo-train", *words)
    assert answer.code == 0, answer.err
    assert summary(tmp_path / "run")["stop_reason"] == "iteration 2 is enough"
    assert summary(tmp_path / "run")["config"]["callback_kwargs"] == {"at": 2}
    again = ["resume=run", "env=door_toys:Lift-v0", words[5], words[6], "callback_kwargs.at=3"]
    answer = here(*again)
    assert answer.code == 0, answer.err
    assert summary(tmp_path / "run")["step"] == 96
    answer = evaluate("checkpoint=run", "env=door_toys:Lift-v0", "episodes=2")
    assert answer.code == 0, answer.err  # neither callbacks nor transform are needed to play


def test_each_job_of_a_sweep_has_its_own(tmp_path: Path) -> None:
    shutil.copy(TESTS / "door_toys.py", tmp_path)
    shutil.copy(TESTS / "toys.py", tmp_path)
    words = [
        "env=door_toys:Lift-v0",
        "num_envs=2",
        "buffer_size=32",
        "batch_size=16",
        "total_timesteps=96",
        "logger=[csv]",
    ]
    words += ["callbacks=[door_toys:Raise]", "seed=0,1", "hydra.sweep.dir=sweep", "eval_every=null", "compile=false"]
    answer = command(tmp_path, "ppo-train", "-m", *words)
    assert answer.code == 0, answer.err
    for job in (tmp_path / "sweep").glob("*/"):
        assert [row["lift/level"] for row in metrics(job)] == ["1.0", "1.0", "2.0"]


# calls


def vector(backend: str, **settings: Any) -> VectorEnv:
    config = EnvConfig(id="Lift-v0", **settings)
    return VectorEnv(backend, config, inspect(config, 0), [1, 2])


@pytest.mark.parametrize("backend", ["sync", "async"])
def test_every_environment_is_called_and_answers(backend: str) -> None:
    envs = vector(backend)
    try:
        assert envs.call("set_level", 3.0, times=2.0) == [6.0, 6.0]
        assert envs.call("level") == [6.0, 6.0]
        envs.reset()
        assert envs.step(np.zeros((2, 1), np.int64)).rewards.tolist() == [6.0, 6.0]
    finally:
        envs.close()


@pytest.mark.parametrize("backend", ["sync", "async"])
@pytest.mark.parametrize(
    ("name", "level", "told"),
    [("jump", 1.0, "the environment has no jump to call"), ("set_level", -1.0, "below the ground")],
)
def test_a_call_that_fails_is_told_of(backend: str, name: str, level: float, told: str) -> None:
    envs = vector(backend)
    try:
        with pytest.raises((RunError, ValueError), match=told):
            envs.call(name, level)
    finally:
        envs.close()


def test_what_cannot_be_kept_is_not_called() -> None:
    envs = vector("sync")
    with pytest.raises(RunError, match=r"call\('set_level', …\) has an argument .*ndarray"):
        envs.call("set_level", np.zeros(1))
    assert envs.call("level") == [0.0, 0.0]
    envs.close()


def test_a_call_that_fails_is_not_made_again() -> None:
    envs = vector("sync")  # an environment's process ends with its first error
    envs.call("set_level", 3.0)
    for name, level in (("jump", 1.0), ("set_level", -1.0)):
        with pytest.raises((RunError, ValueError)):
            envs.call(name, level)
    assert list(envs.calls) == [EnvCall("set_level", (3.0,), {}, False)]
    envs.close()


def test_one_list_told_twice_and_changed_later_is_kept_as_it_was_told(tmp_path: Path) -> None:
    calls, level = EnvCalls(), [1, 2]
    for name in ("a", "b"):
        calls.keep(EnvCall(name, (level,), {}, False))
    level.append(3)
    save_checkpoint(tmp_path / "told.pt", {}, {"calls": calls.state_dict()})
    held = load_checkpoint(tmp_path / "told.pt")["run"]["calls"]
    assert held == [["a", ([1, 2],), {}, False], ["b", ([1, 2],), {}, False]]


def test_programs_without_python_environments_refuse_by_name() -> None:
    config = EnvConfig(id="CartPole-v1")
    envs = VectorEnv("native", config, inspect(config, 0), [1, 2])
    with pytest.raises(RunError, match="vector_backend=native has no Python environments, so set_level"):
        envs.call("set_level", 1.0)
    envs.close()


def test_an_environment_that_is_built_anew_after_a_crash_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_toys.Lift, "built", 0)
    envs = vector("sync", kwargs={"breaks_at": 2}, restart_crashed=True)
    envs.call("set_level", 4.0)
    envs.reset()
    rewards = [envs.step(np.zeros((2, 1), np.int64)).rewards.tolist() for _ in range(4)]
    assert door_toys.Lift.built == 4
    assert rewards == [[4.0, 4.0], [4.0, 4.0], [0.0, 4.0], [4.0, 4.0]]  # the crash itself pays nothing
    envs.close()


@pytest.mark.parametrize("told", [True, False])
def test_evaluations_are_told_if_they_are_to_be_and_repeat_what_they_gave(tmp_path: Path, told: bool) -> None:
    config = make_config(callbacks=["door_toys:Raise"], callback_kwargs={"in_evaluation": told})
    train(config, tmp_path / "run", show=False)
    expected = float(metrics(tmp_path / "run")[2]["eval/episode_return_mean"])
    assert (expected > 0.0) == told
    run = load_checkpoint(tmp_path / "run/checkpoints/last.pt")["run"]
    assert run["calls"] == [["set_level", (3,), {"times": 1.0}, told]]
    # the evaluation came before the callback raised the level once more, at which last.pt was saved
    again = evaluate(tmp_path / "run/checkpoints/best.pt", seed="run").episode_return_mean
    assert again == pytest.approx(summary(tmp_path / "run")["best_return"])


# rewards


@pytest.mark.parametrize("env", ["Clock-v0", "ClockInStep-v0"])
def test_a_transform_sees_what_really_followed(tmp_path: Path, env: str) -> None:
    backend = "native" if "InStep" in env else "sync"
    config = make_config(
        env, of_env={"kwargs": {"length": 3}}, vector_backend=backend, reward_transform="door_toys:Seen"
    )
    config.total_timesteps = ROLLOUT
    train(config, tmp_path / "run", show=False)
    seen = door_toys.Seen.last
    assert seen.observations.shape == seen.next_observations.shape == (16, 2, 1)
    shown, following = seen.observations[seen.valid].flatten(), seen.next_observations[seen.valid].flatten()
    assert torch.equal(following, shown + 1)  # at an episode's end, too
    assert (following[seen.terminated[seen.valid]] == 3).all()
    assert seen.terminated[seen.valid].sum() >= 6
    assert seen.valid.all() == (backend == "sync")


def test_truncated_ends_are_seen_as_they_were(tmp_path: Path) -> None:
    config = make_config("Clock-v0", of_env={"max_episode_steps": 4}, reward_transform="door_toys:Seen")
    train(config, tmp_path / "run", show=False)
    seen = door_toys.Seen.last
    assert torch.equal(seen.next_observations, seen.observations + 1)
    assert seen.truncated.sum() == 8


def test_a_transform_that_changes_nothing_changes_nothing(tmp_path: Path) -> None:
    for name, transform in (("with", "door_toys:Seen"), ("without", None)):
        train(make_config("Walk-v0", reward_transform=transform), tmp_path / name, show=False)
    assert metrics(tmp_path / "with") == metrics(tmp_path / "without")


def test_returns_are_reported_as_the_environment_pays_them(tmp_path: Path) -> None:
    config = make_config("Clock-v0", of_env={"kwargs": {"length": 4}}, reward_transform="door_toys:Learnt")
    config.reward_kwargs = {"scale": 100.0}
    train(config, tmp_path / "run", show=False)
    assert {row["rollout/episode_return_mean"] for row in metrics(tmp_path / "run")} == {"4.0"}
    assert all(float(row["learnt/error"]) > 0 for row in metrics(tmp_path / "run"))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("raise", r"ValueError: no reward \(in door_toys:Spoils\)"),
        ("shape", r"door_toys:Spoils made \(2,\) of rewards of shape \(16, 2\)"),
        ("text", "door_toys:Spoils made str of rewards"),
        ("nan", "door_toys:Spoils makes the reward of environment 0 nan at step 0"),
    ],
)
def test_rewards_that_are_none_end_the_run_with_one_message(tmp_path: Path, how: str, told: str) -> None:
    config = make_config(reward_transform="door_toys:Spoils", reward_kwargs={"how": how})
    with pytest.raises(RunError, match=told):
        train(config, tmp_path / "run", show=False)


# one plan


@pytest.mark.parametrize("backend", ["sync", "async"])
def test_a_run_builds_its_environment_once_to_look_at_and_once_for_each(tmp_path: Path, backend: str) -> None:
    (tmp_path / "counted.py").write_text(
        "import os, gymnasium as gym, toys\n"
        "class Counted(toys.Walk):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        with open('built', 'a') as file: file.write(f'{os.getpid()}\\n')\n"
        "gym.register('Counted-v0', entry_point=Counted)\n"
    )
    shutil.copy(TESTS / "toys.py", tmp_path)
    words = ["env=counted:Counted-v0", "num_envs=2", "total_timesteps=64", "buffer_size=32", "batch_size=16"]
    words += [f"vector_backend={backend}", "eval_every=null", "checkpoint_every=null", "logger=[]", "compile=false"]
    answer = command(tmp_path, "ppo-train", *words)
    assert answer.code == 0, answer.err
    built = (tmp_path / "built").read_text().split()
    assert len(built) == 1 + 2
    assert len(set(built)) == (1 if backend == "sync" else 3)
    assert not re.search("Traceback", answer.err)


assert toys.TOYS
