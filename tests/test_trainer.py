"""One run from configuration to result: repeatability, periods, ends of every kind, what it leaves behind."""

from __future__ import annotations

import csv
import json
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from watching import watch_steps

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.config import EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.errors import CheckpointError, ConfigError, RunError
from ppo_cli.loggers.metrics import COLUMNS
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.training.plan import Planner
from ppo_cli.training.result import TrainResult
from ppo_cli.training.run import train
from ppo_cli.training.trainer import Trainer

assert toys.TOYS


def make_config(env: str = "Walk-v0", **settings: Any) -> TrainConfig:
    common: dict[str, Any] = {"num_envs": 2, "buffer_size": 32, "batch_size": 16, "epochs": 2, "total_timesteps": 160}
    common |= {"network": NetworkConfig(hidden_sizes=[8]), "eval_every": 64, "eval_episodes": 3, "logger": ["csv"]}
    common |= {"vector_backend": "sync", "threads": 1, "compile": False, "checkpoint_every": 10_000}
    limit = settings.pop("max_episode_steps", None)
    kwargs = settings.pop("kwargs", {})
    return TrainConfig(env=EnvConfig(id=env, kwargs=kwargs, max_episode_steps=limit), **common | settings)


def run(folder: Path, config: TrainConfig) -> TrainResult:
    return train(config, folder, show=False)


def rows(folder: Path) -> list[dict[str, str]]:
    """The run's metrics as text, without what depends on the machine."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [{key: cell for key, cell in row.items() if not key.startswith("time/")} for row in csv.DictReader(file)]


def column(folder: Path, name: str) -> list[float]:
    return [float(row[name]) for row in rows(folder)]


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


EVERYTHING: dict[str, Any] = {"normalize_obs": True, "normalize_reward": True, "value_clip": 0.5, "anneal_lr": True}


# repeatability


@pytest.mark.parametrize("settings", [{}, EVERYTHING])
def test_the_same_configuration_gives_the_same_bits_and_another_seed_does_not(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    run(tmp_path / "a", make_config(**settings))
    torch.manual_seed(12345)
    np.random.seed(54321)
    run(tmp_path / "b", make_config(**settings))
    run(tmp_path / "c", make_config(**settings, seed=1))
    assert len(rows(tmp_path / "a")) == 5
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    losses = [column(tmp_path / name, "train/policy_loss") for name in "abc"]
    assert not set(losses[0]) & set(losses[2])
    states = [load_checkpoint(tmp_path / name / "checkpoints" / "last.pt")["agent"] for name in "ab"]
    assert all(torch.equal(tensor, states[1]["parameters"][name]) for name, tensor in states[0]["parameters"].items())


def test_evaluating_and_saving_the_best_change_nothing_about_training(tmp_path: Path) -> None:
    run(tmp_path / "with", make_config(eval_every=32, checkpoint_every=None, **EVERYTHING))
    run(tmp_path / "without", make_config(eval_every=None, checkpoint_every=None, **EVERYTHING))

    def training(folder: Path) -> list[dict[str, str]]:
        return [{key: cell for key, cell in row.items() if not key.startswith("eval/")} for row in rows(folder)]

    assert training(tmp_path / "with") == training(tmp_path / "without")
    assert all(row["eval/episode_return_mean"] for row in rows(tmp_path / "with"))
    assert not any(row["eval/episode_return_mean"] for row in rows(tmp_path / "without"))


# columns


def test_every_run_has_the_same_columns(tmp_path: Path) -> None:
    for name, config in {"a": make_config(eval_every=None), "b": make_config(**EVERYTHING, target_kl=0.01)}.items():
        run(tmp_path / name, config)
        assert (tmp_path / name / "metrics.csv").read_text().splitlines()[0] == ",".join(COLUMNS)


def test_returns_and_lengths_are_those_of_whole_episodes_over_rollout_borders(tmp_path: Path) -> None:
    # 16 steps a rollout in each of 2 environments, episodes of 12 steps with reward 1: after 16 steps one each
    run(tmp_path / "a", make_config("Clock-v0", max_episode_steps=12, normalize_reward=True))
    assert column(tmp_path / "a", "rollout/episodes") == [2, 4, 8, 10, 12]
    assert set(column(tmp_path / "a", "rollout/episode_return_mean")) == {12.0}
    assert set(column(tmp_path / "a", "rollout/episode_length_mean")) == {12.0}


def test_before_the_first_episodes_end_there_is_no_return(tmp_path: Path) -> None:
    run(tmp_path / "a", make_config("Clock-v0", max_episode_steps=30, eval_every=None))
    returns = [row["rollout/episode_return_mean"] for row in rows(tmp_path / "a")]
    assert returns == ["", "30.0", "30.0", "30.0", "30.0"]


# schedules and periods


def test_annealing_follows_the_step_over_the_rounded_budget(tmp_path: Path) -> None:
    # 130 steps become 5 iterations of 32; each uses the value at its start: 1, 4/5, 3/5, 2/5, 1/5
    settings = {"lr": 0.1, "clip_ratio": 0.2, "total_timesteps": 130}
    run(tmp_path / "on", make_config(anneal_lr=True, anneal_clip=True, **settings))
    assert column(tmp_path / "on", "train/lr") == pytest.approx([0.1, 0.08, 0.06, 0.04, 0.02])
    assert column(tmp_path / "on", "train/clip_ratio") == pytest.approx([0.2, 0.16, 0.12, 0.08, 0.04])
    run(tmp_path / "off", make_config(**settings))
    assert set(column(tmp_path / "off", "train/lr")) == {0.1}
    assert set(column(tmp_path / "off", "train/clip_ratio")) == {0.2}
    assert rows(tmp_path / "on")[0] == rows(tmp_path / "off")[0]
    assert rows(tmp_path / "on")[1] != rows(tmp_path / "off")[1]


def test_the_annealed_step_size_is_the_one_that_is_used(tmp_path: Path) -> None:
    trainer = Trainer(
        Planner().plan(make_config(anneal_lr=True, anneal_clip=True, eval_every=None, epochs=1)), tmp_path, []
    )
    used: list[tuple[float, float, float]] = []
    watch_steps(
        trainer.agent.learner,
        lambda _, coef, __: used.append((coef.step_size.item(), coef.clip_low.item(), coef.clip_high.item())),
    )
    trainer.run()
    trainer.close({})
    for iteration, part in enumerate((1, 0.8, 0.6, 0.4, 0.2)):
        for taken in (2 * iteration, 2 * iteration + 1):  # Adam's own count goes on
            correction = (1 - 0.999 ** (taken + 1)) ** 0.5 / (1 - 0.9 ** (taken + 1))
            assert used[taken] == pytest.approx((3e-4 * part * correction, 1 - 0.2 * part, 1 + 0.2 * part))
    assert len(used) == 10


def test_the_budget_is_rounded_up_to_whole_iterations(tmp_path: Path) -> None:
    result = run(tmp_path / "a", make_config(total_timesteps=97))
    assert result.step == 128
    assert column(tmp_path / "a", "step") == [32, 64, 96, 128]
    assert summary(tmp_path / "a")["total_timesteps"] == 128
    assert "rounded up to 128" in (tmp_path / "a" / "train.log").read_text()


def test_periods_are_rounded_up_to_whole_iterations(tmp_path: Path) -> None:
    config = make_config(eval_every=33, checkpoint_every=65, total_timesteps=7 * 32)
    run(tmp_path / "a", config)
    evaluated = [bool(row["eval/episode_return_mean"]) for row in rows(tmp_path / "a")]
    assert evaluated == [False, True, False, True, False, True, True]  # every second, and the last
    names = {path.name for path in (tmp_path / "a" / "checkpoints").iterdir()}
    assert names == {"best.pt", "last.pt", "step_096.pt", "step_192.pt", "step_224.pt"}  # likewise
    progress = load_checkpoint(tmp_path / "a" / "checkpoints" / "step_096.pt")["run"]["progress"]
    assert (progress["iteration"], progress["step"]) == (3, 96)


def test_the_best_checkpoint_is_that_of_the_best_evaluation(tmp_path: Path) -> None:
    result = run(tmp_path / "a", make_config(eval_every=32, lr=0.02, total_timesteps=320))
    means = column(tmp_path / "a", "eval/episode_return_mean")
    best = load_checkpoint(result.checkpoint)["run"]
    assert result.checkpoint.name == "best.pt"
    assert result.best_return == max(means) == np.mean(best["evaluation"]["returns"])
    assert result.best_step == best["progress"]["step"] == column(tmp_path / "a", "step")[means.index(max(means))]
    assert result.final_return == means[-1]
    assert len(set(means)) > 3


def test_target_return_ends_the_run_at_the_first_evaluation_that_reaches_it(tmp_path: Path) -> None:
    run(tmp_path / "free", make_config(eval_every=32, lr=0.02, total_timesteps=320))
    means = column(tmp_path / "free", "eval/episode_return_mean")
    first = next(number for number in range(1, 9) if means[number] > max(means[:number]))
    result = run(tmp_path / "a", make_config(eval_every=32, lr=0.02, total_timesteps=320, target_return=means[first]))
    assert result.status == "finished"
    assert result.step == 32 * (first + 1)
    assert column(tmp_path / "a", "eval/episode_return_mean") == means[: first + 1]


# ends


def test_a_finished_run_leaves_its_whole_story(tmp_path: Path) -> None:
    result = run(tmp_path / "a", make_config())
    assert result.status == "finished"
    content = summary(tmp_path / "a")
    assert (content["status"], content["step"], content["final_return"]) == ("finished", 160, result.final_return)
    assert content["wall_time"] > 0
    assert content["versions"]["torch"] == torch.__version__
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert {"checkpoints", "curves.png", "metrics.csv", "summary.json", "train.log"} <= names
    assert (tmp_path / "a" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_ctrl_c_ends_the_run_after_its_iteration_with_a_checkpoint(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    config = make_config("Interrupts-v0", kwargs={"at_step": 20}, num_envs=1, eval_every=None)
    result = run(tmp_path / "a", config)
    assert result.status == "interrupted"
    assert result.step == 32
    assert summary(tmp_path / "a")["status"] == "interrupted"
    assert load_checkpoint(result.checkpoint)["run"]["progress"]["step"] == 32
    assert (tmp_path / "a" / "curves.png").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_stopping_from_outside_saves_what_was_learnt(tmp_path: Path) -> None:
    trainer = Trainer(Planner().plan(make_config(eval_every=None)), tmp_path, [])
    trainer.stopping = True
    trainer.run()
    trainer.close({})
    assert load_checkpoint(tmp_path / "checkpoints" / "last.pt")["run"]["progress"]["iteration"] == 0


@pytest.mark.parametrize(
    ("kwargs", "limit", "message", "step"),
    [  # 16 steps of both to an iteration; 39 of both were whole, or 19
        ({"at_step": 40}, None, "the wheel came off", 78),
        ({"at_reset": 2}, 20, "the reset motor is stuck", 38),
    ],
)
def test_an_environment_that_breaks_fails_the_run_and_the_folder_says_why(
    tmp_path: Path, kwargs: dict[str, Any], limit: int | None, message: str, step: int
) -> None:
    with pytest.raises(RunError, match=f"ValueError: {message}") as caught:
        run(tmp_path / "a", make_config("Breaks-v0", kwargs=kwargs, max_episode_steps=limit, eval_every=None))
    assert caught.value.exit_code == 1
    log = (tmp_path / "a" / "train.log").read_text()
    assert "Traceback" in log
    assert message in log
    content = summary(tmp_path / "a")
    assert (content["status"], content["step"]) == ("failed", step)


def test_closing_goes_on_past_what_cannot_be_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails:
        closed = False

        def start(self, run: Any) -> None: ...
        def log(self, row: Any) -> None: ...

        def close(self, summary: dict[str, Any]) -> None:
            self.closed = True
            raise OSError("disk full")

    loggers = [Fails(), Fails()]
    trainer = Trainer(Planner().plan(make_config()), tmp_path, loggers)
    monkeypatch.setattr(trainer.collector.envs, "close", lambda: 1 / 0)
    trainer.close({})
    assert all(logger.closed for logger in loggers)


BROKEN = {"env": "Breaks-v0", "kwargs": {"at_reset": 1}}


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": -1.0},
        {"env": "Nothing-v7"},
        {"env": "Dial-v0"},
        BROKEN,
        {"device": "banana"},
        {"init_from": "nowhere.pt"},
    ],
)
def test_a_run_that_cannot_start_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        train(make_config(**wrong), show=False)
    assert list(tmp_path.iterdir()) == []


def test_two_runs_of_the_same_moment_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = make_config(total_timesteps=32, eval_every=None, output_dir="out")
    folders = [train(config, show=False).run_dir for _ in range(2)]
    assert folders[0] != folders[1]
    assert {folder.parent for folder in folders} == {Path("out/Walk-v0")}


def test_a_numpy_number_in_the_configuration_leaves_the_checkpoint_readable(tmp_path: Path) -> None:
    config = make_config(lr=np.float64(0.01), total_timesteps=32, kwargs={}, eval_every=None)
    result = run(tmp_path / "a", config)
    assert load_checkpoint(result.checkpoint)["run"]["config"]["lr"] == 0.01


# what auto came to


def test_what_auto_came_to_is_kept_and_logged_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppo_cli.envs.backends.importlib.util.find_spec", lambda _: None)  # no EnvPool
    autos = {"vector_backend": "auto", "threads": "auto", "compile": "auto", "eval_every": None}
    result = run(tmp_path / "a", make_config(**autos))
    config = load_checkpoint(result.checkpoint)["run"]["config"]
    assert {key: config[key] for key in autos} == {
        "vector_backend": "sync",
        "threads": 1,
        "compile": False,
        "eval_every": None,
    }
    log = (tmp_path / "a" / "train.log").read_text()
    for phrase in (
        "vector_backend=sync (Walk-v0 has no vector program of its own; EnvPool is not installed",
        "threads=1 (small",
    ):
        assert phrase in log
    assert "compile=false (20 updates save about 0 s" in log  # 5 iterations, 2 epochs, 2 minibatches
    run(tmp_path / "b", make_config(eval_every=None))
    assert rows(tmp_path / "a") == rows(tmp_path / "b")


def test_to_compile_without_a_compiler_is_to_run_eagerly_and_to_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppo_cli.training.auto.shutil.which", lambda _: None)
    result = run(tmp_path / "a", make_config(compile=True, total_timesteps=32, eval_every=None))
    assert load_checkpoint(result.checkpoint)["run"]["config"]["compile"] is False
    (line,) = [line for line in (tmp_path / "a" / "train.log").read_text().splitlines() if "compiler" in line]
    assert "compile=false (there is no C++ compiler here (g++), so the gradient step is not compiled)" in line


def test_a_run_takes_its_threads_and_gives_them_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    taken = []

    def fail(*_: object) -> None:
        taken.append(torch.get_num_threads())
        raise ValueError

    monkeypatch.setattr(Trainer, "run", fail)
    with pytest.raises(RunError):
        run(tmp_path / "a", make_config(threads=before + 1))
    assert taken == [before + 1]
    assert torch.get_num_threads() == before


# starting from weights


def test_a_run_can_start_from_the_weights_of_another(tmp_path: Path) -> None:
    first = run(tmp_path / "a", make_config(lr=0.01, normalize_obs=True))
    trained = load_checkpoint(first.checkpoint)["agent"]
    config = make_config(seed=5, normalize_obs=True, init_from=str(first.run_dir))
    trainer = Trainer(Planner().plan(config), tmp_path / "b", [], first.checkpoint)
    policy = trainer.agent.policy
    named = policy.network.named(policy.parameters)
    assert all(torch.equal(named[name], tensor) for name, tensor in trained["parameters"].items())
    statistics = policy.normalizers.observation.state_dict()
    assert all(torch.equal(statistics[name], tensor) for name, tensor in trained["normalizers"]["observation"].items())
    assert trainer.agent.learner.updates == 0
    trainer.close({})
    run(tmp_path / "c", config)
    run(tmp_path / "d", make_config(seed=5, normalize_obs=True))
    assert rows(tmp_path / "c")[0] != rows(tmp_path / "d")[0]


def test_weights_of_another_network_are_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(tmp_path / "a", make_config(total_timesteps=32))
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    config = make_config(network=NetworkConfig(hidden_sizes=[9]), init_from=str(first.run_dir))
    with pytest.raises(CheckpointError, match=r"hidden_sizes=\[8\]"):
        train(config, show=False)
    assert list(empty.iterdir()) == []


def test_a_librarys_agent_goes_on_from_a_runs_checkpoint(tmp_path: Path) -> None:
    result = run(tmp_path / "a", make_config())
    agent = PPOAgent(1, 2, seed=0)
    agent.load(result.run_dir / "checkpoints" / "last.pt")
    assert agent.config.network.hidden_sizes == [8]
    assert agent.get_action([0.5])[0] in (0, 1)


def test_steps_and_iterations_count_up_evenly(tmp_path: Path) -> None:
    run(tmp_path / "a", make_config())
    assert column(tmp_path / "a", "iteration") == [1, 2, 3, 4, 5]
    assert {after - before for before, after in pairwise(column(tmp_path / "a", "step"))} == {32}


@pytest.mark.parametrize(("buffer_size", "fits"), [(2**28, True), (2**28 + 2**20, False)])
def test_a_rollout_is_refused_where_its_rows_do_not_fit_into_the_machine(
    monkeypatch: pytest.MonkeyPatch, buffer_size: int, fits: bool
) -> None:
    pages = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 2**30 + 2**21}  # rows of 4 bytes, and room for those on their way
    monkeypatch.setattr("os.sysconf", lambda name: pages[name])
    config = make_config(buffer_size=buffer_size)
    if fits:
        assert Planner().plan(config).config.buffer_size == buffer_size
    else:
        with pytest.raises(ConfigError, match=r"buffer_size=269484032 needs 1 GiB, and this machine has 1"):
            Planner().plan(config)
