"""A run that was stopped and gone on with is the run that nothing disturbed; and what may and may not be changed."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import toys
from console import Answer, command, environment
from resuming import Kind, differences, go_through, metrics, signalled, why_missing
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ppo_cli.config import EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.errors import CheckpointError, ConfigError, RunError
from ppo_cli.loggers.curves import CurvesLogger
from ppo_cli.loggers.metrics import COLUMNS
from ppo_cli.plain import to_plain
from ppo_cli.runs.checkpoint import load_checkpoint, save_checkpoint
from ppo_cli.runs.progress import Evaluation
from ppo_cli.runs.resume import find_saved
from ppo_cli.training import stretches
from ppo_cli.training.plan import Planner
from ppo_cli.training.result import TrainResult
from ppo_cli.training.run import resume, train
from ppo_cli.training.trainer import Trainer

ROLLOUT = 32  # steps of an iteration; checkpoints after 64, 128, 192 and 224


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CurvesLogger, "close", lambda *_: None)  # one takes longer than ten of these runs


def make_config(env: str = "Walk-v0", **settings: Any) -> TrainConfig:
    """Seven iterations, of which every second ends with a checkpoint, and so does the last."""
    common: dict[str, Any] = {"num_envs": 2, "buffer_size": ROLLOUT, "batch_size": 16, "epochs": 2}
    common |= {"total_timesteps": 7 * ROLLOUT, "checkpoint_every": 2 * ROLLOUT, "eval_every": 3 * ROLLOUT}
    common |= {"eval_episodes": 2, "network": NetworkConfig(hidden_sizes=[8]), "logger": ["csv"], "lr": 0.01}
    common |= {"vector_backend": "sync", "threads": 1, "compile": False}
    common |= {"normalize_obs": True, "normalize_reward": True}
    return TrainConfig(env=EnvConfig(id=env, **settings.pop("of_env", {})), **common | settings)


def run(folder: Path, config: TrainConfig) -> Path:
    train(config, folder, show=False)
    return folder


def stopped(folder: Path, config: TrainConfig, after: int = 5) -> Path:
    """A run that a signal ended after an iteration."""
    with signalled(after):
        result = train(config, folder, show=False)
    assert (result.status, result.step) == ("interrupted", after * ROLLOUT)
    return folder


def go_on(run: Path, **changes: Any) -> TrainResult:
    return resume(run, {key.replace("__", "."): value for key, value in changes.items()}, show=False)


def copy_of(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def steps_of(folder: Path) -> list[int]:
    """The steps of the scheduled checkpoints."""
    return sorted(int(path.stem.removeprefix("step_")) for path in (folder / "checkpoints").glob("step_*.pt"))


def steps_in_metrics(folder: Path) -> list[int]:
    return [int(row["step"]) for row in metrics(folder)]


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: the values of each tag."""
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of the file that breaks off
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def shown_steps(folder: Path) -> dict[str, list[int]]:
    return {tag: [step for step, _ in values] for tag, values in curves(folder).items()}


@pytest.fixture
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this test begin in other seconds, as runs of several processes do."""
    seconds = count(1_700_000_000)
    monkeypatch.setattr("ppo_cli.loggers.tensorboard.time", SimpleNamespace(time=lambda: next(seconds)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CurvesLogger, "close", lambda *_: None)
        return run(tmp_path_factory.mktemp("undisturbed") / "run", make_config())


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stopped after the fifth iteration, with checkpoints of the second and the fourth; to be copied, not used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CurvesLogger, "close", lambda *_: None)
        return stopped(tmp_path_factory.mktemp("half") / "run", make_config())


# equal to the last bit

COVER = (
    Kind("cartpole", "sync"),
    Kind("cartpole", "native"),
    Kind("lunarlander", "sync"),
    Kind("gsde", "async"),
    Kind("lstm", "sync"),
    Kind("masked", "native"),
    Kind("normalised", "envpool"),
)


def test_stopped_and_gone_on_with_in_another_process_equals_undisturbed(tmp_path: Path) -> None:
    kinds = [kind for kind in COVER if not why_missing(kind)]
    assert len(kinds) >= len(COVER) - 2  # Box2D and EnvPool may be missing
    found = go_through(kinds, tmp_path)
    assert {str(kind): problems[:5] for kind, problems in found.items() if problems} == {}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="nothing can be compiled here")
def test_so_it_is_where_the_gradient_step_is_compiled(tmp_path: Path) -> None:
    kind = Kind("cartpole", "sync", compiled=True)
    assert go_through([kind], tmp_path)[kind] == []


def test_every_stop_of_several_leaves_no_trace(tmp_path: Path, undisturbed: Path) -> None:
    folder = stopped(tmp_path / "run", make_config(), after=1)  # before there is any checkpoint
    for after in (3, 4, 6, 7):  # off the schedule, on it, and when all is done
        with signalled(after):
            assert go_on(folder).step == after * ROLLOUT
    assert go_on(folder).status == "finished"
    assert differences(undisturbed, folder) == []
    assert [entry["step"] for entry in summary(folder)["resumed"]] == [0, 64, 128, 192]
    assert summary(folder)["total_timesteps"] == 224


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_each_signal_ends_the_run_after_its_iteration_and_is_told(tmp_path: Path, name: str) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with signalled(3, number):
        result = train(make_config(), tmp_path / "run", show=False)
    assert (result.status, result.step, result.signal) == ("interrupted", 96, number)
    assert signal.getsignal(number) is before
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")["run"]["progress"]["step"] == 96
    assert steps_of(tmp_path / "run") == [64]
    assert summary(tmp_path / "run")["status"] == "interrupted"


def test_every_stretch_has_seeds_of_its_own_in_whichever_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reset, seeds = toys.Walk.reset, []

    def recorded(env: Any, *, seed: int | None = None, options: Any = None) -> Any:
        if seed:  # the trial before a run has 0, and an episode that follows another none
            seeds.append(seed)
        return reset(env, seed=seed, options=options)

    monkeypatch.setattr(toys.Walk, "reset", recorded)
    run(tmp_path / "whole", make_config(eval_every=None))
    whole, seeds = seeds, []
    assert len(set(whole)) == len(whole) == 2 * 4  # environments, stretches
    stopped(tmp_path / "run", make_config(eval_every=None))
    go_on(tmp_path / "run")
    assert seeds == whole[:6] + whole[4:]


# what can be gone on with


def test_a_finished_run_is_left_as_it_is(tmp_path: Path, undisturbed: Path) -> None:
    folder = copy_of(undisturbed, tmp_path / "run")
    before = content_of(folder)
    result = go_on(folder)
    assert (result.status, result.step, result.untouched) == ("finished", 224, True)
    assert result.final_return == summary(undisturbed)["final_return"] is not None
    assert result.checkpoint == folder / "checkpoints" / "best.pt"
    assert content_of(folder) == before


@pytest.mark.usefixtures("_later")
def test_a_run_without_checkpoint_starts_again_from_its_summary(tmp_path: Path) -> None:
    config = make_config(logger=["csv", "tensorboard"], seed=4)
    whole = run(tmp_path / "whole", config)
    folder = stopped(tmp_path / "run", config, after=1)
    shutil.rmtree(folder / "checkpoints")
    go_on(folder)
    assert differences(whole, folder) == []
    assert [entry["step"] for entry in summary(folder)["resumed"]] == [0]
    assert shown_steps(folder) == shown_steps(whole)


def test_without_scheduled_checkpoints_a_run_starts_again(tmp_path: Path) -> None:
    config = make_config(checkpoint_every=None)
    whole = run(tmp_path / "whole", config)
    folder = stopped(tmp_path / "run", config)
    go_on(folder)
    assert differences(whole, folder) == []
    assert summary(folder)["resumed"][0]["step"] == 0


@pytest.mark.parametrize("what", ["nowhere", "empty", "broken", "other", "outside"])
def test_what_is_no_run_is_refused(tmp_path: Path, half: Path, what: str) -> None:
    folder = tmp_path / what
    if what != "nowhere":
        folder.mkdir()
    if what == "broken":
        (folder / "summary.json").write_text("{")
    if what == "other":
        (folder / "summary.json").write_text('{"config": {"lr": 1}}')
    if what == "outside":
        folder = Path(shutil.copy(half / "checkpoints" / "step_064.pt", folder))
    before = content_of(tmp_path)
    with pytest.raises(CheckpointError, match=str(folder)):
        go_on(folder)
    assert content_of(tmp_path) == before


@pytest.mark.parametrize("name", ["best.pt", "last.pt"])
def test_checkpoints_to_be_evaluated_are_refused_with_one_to_type(half: Path, name: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        go_on(half / "checkpoints" / name)
    (problem,) = caught.value.problems
    assert name in problem.what
    assert problem.fix == f"resume={half / 'checkpoints' / 'step_128.pt'}"


def test_last_of_a_run_without_scheduled_checkpoints_is_refused_with_its_folder(tmp_path: Path) -> None:
    folder = stopped(tmp_path / "run", make_config(), after=1)
    with pytest.raises(CheckpointError) as caught:
        go_on(folder / "checkpoints" / "last.pt")
    assert caught.value.problems[0].fix == f"resume={folder}"


def test_a_file_that_is_no_checkpoint_is_told_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "notes.pt").write_text("buy milk")
    with pytest.raises(CheckpointError, match=r"notes\.pt is no checkpoint") as caught:
        go_on(tmp_path / "notes.pt")
    assert caught.value.problems[0].fix != "resume=."


def test_a_file_of_a_run_is_answered_with_the_runs_folder(half: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        go_on(half / "metrics.csv")
    assert caught.value.problems[0].fix == f"resume={half}"


def test_the_folder_of_the_checkpoints_will_do(tmp_path: Path, half: Path, undisturbed: Path) -> None:
    folder = copy_of(half, tmp_path / "run")
    assert go_on(folder / "checkpoints").status == "finished"
    assert differences(undisturbed, folder) == []


def test_an_earlier_checkpoint_sets_the_later_ones_aside(tmp_path: Path, undisturbed: Path) -> None:
    folder = copy_of(undisturbed, tmp_path / "run")
    later = {name: (folder / "checkpoints" / name).read_bytes() for name in ("step_128.pt", "step_192.pt")}
    with signalled(3):
        go_on(folder / "checkpoints" / "step_064.pt")
    assert steps_of(folder) == [64]
    assert steps_in_metrics(folder) == [32, 64, 96]
    replaced = content_of(folder / "checkpoints" / "replaced" / "1")
    steps = {"step_128.pt", "step_192.pt", "step_224.pt"}
    assert replaced.keys() == {*steps, "best.pt", "last.pt", "metrics.csv"}
    assert {name: replaced[name] for name in later} == later
    assert go_on(folder).status == "finished"
    assert differences(undisturbed, folder) == []


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 1
    path.unlink()  # last.pt is the same file
    path.write_bytes({"empty": b"", "cut": bytes(content[:-100]), "flipped": bytes(content)}[how])


@pytest.mark.parametrize("how", ["empty", "cut", "flipped"])
def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, half: Path, undisturbed: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy_of(half, tmp_path / "run")
    damage(folder / "checkpoints" / "step_128.pt", how)
    go_on(folder)
    (warning,) = [record for record in caplog.records if "passed over" in record.getMessage()]
    assert warning.levelname == "WARNING"
    assert "step_128.pt" in warning.getMessage()
    assert summary(folder)["resumed"][0]["step"] == 64
    assert differences(undisturbed, folder) == []


def test_with_all_checkpoints_damaged_nothing_is_begun_and_nothing_lost(tmp_path: Path) -> None:
    folder = stopped(tmp_path / "run", make_config(keep_last=1))
    assert steps_of(folder) == [128]
    damage(folder / "checkpoints" / "step_128.pt", "cut")
    before = content_of(folder)
    with pytest.raises(CheckpointError, match=r"step_128\.pt is passed over"):
        go_on(folder)
    assert content_of(folder) == before


def test_settings_that_changed_do_not_take_the_place_of_what_was(tmp_path: Path, undisturbed: Path) -> None:
    folder = copy_of(undisturbed, tmp_path / "run")
    for number, lr in ((1, 1e-4), (2, 1e-5)):
        resume(folder / "checkpoints" / "step_064.pt", {"lr": lr}, show=False)
        kept = content_of(folder / "checkpoints" / "replaced" / str(number))
        assert {"step_128.pt", "step_224.pt", "last.pt", "metrics.csv"} <= kept.keys()
    first = content_of(folder / "checkpoints" / "replaced" / "1")
    assert first["last.pt"] == content_of(undisturbed / "checkpoints")["last.pt"]


def test_a_finished_run_takes_no_changes_that_leave_it_nothing_to_do(tmp_path: Path, undisturbed: Path) -> None:
    folder = copy_of(undisturbed, tmp_path / "run")
    before = content_of(folder / "checkpoints")
    with pytest.raises(ConfigError, match="is finished at step 224"):
        resume(folder, {"lr": 1e-4}, show=False)
    assert content_of(folder / "checkpoints") == before


def test_the_run_that_weights_came_from_is_needed_at_the_start_only(tmp_path: Path, half: Path) -> None:
    first = copy_of(half, tmp_path / "first")
    config = make_config(init_from=str(first), seed=7)
    whole = run(tmp_path / "whole", config)
    folder, early = stopped(tmp_path / "run", config), stopped(tmp_path / "early", config, after=1)
    go_on(early)
    assert differences(whole, early) == []
    shutil.rmtree(first)
    go_on(folder)
    assert differences(whole, folder) == []


# changes


def test_a_larger_budget_goes_on_after_the_end(tmp_path: Path) -> None:
    config = make_config(total_timesteps=6 * ROLLOUT)
    folder = run(tmp_path / "run", config)
    assert go_on(folder, total_timesteps=12 * ROLLOUT).status == "finished"
    # nothing follows a schedule, and the first budget ended with a stretch, so all is as if it had been long at once
    found = differences(run(tmp_path / "long", make_config(total_timesteps=12 * ROLLOUT)), folder)
    assert {line.partition(": run: config: ")[2] or line for line in found} == {"total_timesteps: 384 and 192"} | {
        line for line in found if line.startswith("summary.json: request")
    }
    assert steps_in_metrics(folder) == [ROLLOUT * count for count in range(1, 13)]
    assert summary(folder)["total_timesteps"] == 12 * ROLLOUT
    assert summary(folder)["resumed"][0]["changes"] == {"total_timesteps": str(12 * ROLLOUT)}


def test_a_changed_setting_counts_from_the_checkpoint_on_and_is_recorded(
    tmp_path: Path, half: Path, undisturbed: Path
) -> None:
    folder = copy_of(half, tmp_path / "run")
    go_on(folder, lr=0.5)
    assert [float(row["train/lr"]) for row in metrics(folder)] == [0.01] * 4 + [0.5] * 3
    assert metrics(folder)[:4] == metrics(undisturbed)[:4]
    assert metrics(folder)[4] != metrics(undisturbed)[4]
    (entry,) = summary(folder)["resumed"]
    assert (entry["step"], entry["changes"]) == (128, {"lr": "0.5"})
    assert summary(folder)["config"]["lr"] == 0.5
    assert load_checkpoint(folder / "checkpoints" / "last.pt")["run"]["config"]["lr"] == 0.5


def test_an_objective_may_change(tmp_path: Path, half: Path, undisturbed: Path) -> None:
    folder = copy_of(half, tmp_path / "run")
    assert go_on(folder, objective="spo").status == "finished"
    assert metrics(folder)[4]["train/policy_loss"] != metrics(undisturbed)[4]["train/policy_loss"]
    assert summary(folder)["resumed"][0]["changes"] == {"objective": "spo"}


@pytest.mark.parametrize("stop", [False, True], ids=["at once", "stopped again"])
def test_a_best_that_was_set_aside_is_no_longer_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: bool
) -> None:
    worse = Evaluation(0, True, [0.0], [1])
    monkeypatch.setattr(
        Trainer, "evaluate", lambda self: replace(worse, returns=[-float(self.progress.iteration)])
    )  # so the first is the best
    run = stopped(tmp_path / "run", make_config())
    shutil.copy(run / "checkpoints/last.pt", run / "checkpoints/best.pt")  # and comes after the checkpoint at 128
    if stop:
        with signalled(5):
            assert go_on(run, lr=0.02).status == "interrupted"
        assert go_on(run).status == "finished"
    else:
        go_on(run, lr=0.02)
    best = load_checkpoint(run / "checkpoints/best.pt")["run"]["progress"]
    assert (best["step"], best["best_step"]) == (224, 224) or (best["step"], best["best_step"]) == (192, 192)
    assert summary(run)["best_step"] == best["step"]


def test_a_best_that_is_still_there_stays_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Evaluation(0, True, [0.0], [1])
    monkeypatch.setattr(Trainer, "evaluate", lambda self: replace(first, returns=[-float(self.progress.iteration)]))
    run = stopped(tmp_path / "run", make_config())
    go_on(run, lr=0.02)
    assert summary(run)["best_step"] == 96
    assert load_checkpoint(run / "checkpoints/best.pt")["run"]["progress"]["step"] == 96


def test_a_budget_that_is_used_up_already_is_refused(tmp_path: Path, half: Path) -> None:
    run = copy_of(half, tmp_path / "run")
    before = content_of(run)
    for place in (run, run / "checkpoints/step_064.pt"):
        with pytest.raises(ConfigError, match="total_timesteps=32 leaves it nothing to do"):
            go_on(place, total_timesteps=32)
    assert content_of(run) == before


def test_a_run_that_reached_its_target_can_be_extended(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(make_config(target_return=-1e9), run, show=False).step == 96
    assert steps_of(run)[-1] == 96
    again = copy_of(run, tmp_path / "again")
    (again / "summary.json").write_text((again / "summary.json").read_text().replace('"finished"', '"running"'))
    assert (go_on(again).status, summary(again)["step"]) == ("finished", 96)  # killed before it could say so
    assert (go_on(run, target_return=None).status, summary(run)["step"]) == ("finished", 224)


def test_a_checkpoint_that_a_crash_left_over_is_let_go(tmp_path: Path, undisturbed: Path) -> None:
    run = copy_of(undisturbed, tmp_path / "run")
    kept = steps_of(run)
    few = summary(run)
    few["config"]["keep_last"] = 2
    (run / "summary.json").write_text(json.dumps(few | {"status": "running"}))  # killed at the very end
    assert len(kept) > 2
    assert go_on(run).status == "finished"
    assert steps_of(run) == kept[-2:]


def test_what_went_wrong_before_is_still_told(tmp_path: Path, half: Path) -> None:
    run = copy_of(half, tmp_path / "run")
    (run / "summary.json").write_text(json.dumps(summary(run) | {"problems": ["the disk was full"]}))
    go_on(run)
    assert summary(run)["problems"] == ["the disk was full"]


def test_the_clock_goes_on_without_metrics_too(tmp_path: Path) -> None:
    run = stopped(tmp_path / "run", make_config(logger=[]))
    told = summary(run) | {"wall_time": 1600.0}
    (run / "summary.json").write_text(json.dumps(told))
    go_on(run)
    after = summary(run)
    assert 1280.0 < after["wall_time"] < 1380.0  # 128 of the 160 steps count
    assert after["steps_per_second"] == pytest.approx(after["step"] / after["wall_time"])


def test_a_row_of_the_checkpoints_step_but_a_later_iteration_is_written_once(
    tmp_path: Path, half: Path, undisturbed: Path
) -> None:
    run = copy_of(half, tmp_path / "run")
    lines = (run / "metrics.csv").read_text().splitlines(keepends=True)
    assert lines[5].startswith("5,160,")
    (run / "metrics.csv").write_text("".join([*lines[:5], lines[5].replace("5,160,", "5,128,", 1), *lines[6:]]))
    go_on(run)
    assert steps_in_metrics(run) == steps_in_metrics(undisturbed)


def test_a_change_outlives_a_stop_before_the_next_checkpoint(tmp_path: Path, half: Path) -> None:
    folder, straight = copy_of(half, tmp_path / "run"), copy_of(half, tmp_path / "straight")
    go_on(straight, lr=0.5, total_timesteps=8 * ROLLOUT)
    with signalled(5):
        go_on(folder, lr=0.5, total_timesteps=8 * ROLLOUT)
    go_on(folder)
    assert differences(straight, folder) == []


def test_a_budget_that_was_raised_stays_so_after_a_stop_before_the_next_checkpoint(
    tmp_path: Path, undisturbed: Path
) -> None:
    folder = copy_of(undisturbed, tmp_path / "run")
    with signalled(8):
        go_on(folder, total_timesteps=10 * ROLLOUT, checkpoint_every=3 * ROLLOUT)
    assert go_on(folder).step == 10 * ROLLOUT


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 1),
        ("num_envs", 4),
        ("buffer_size", 64),
        ("output_dir", "elsewhere"),
        ("init_from", "somewhere"),
        ("env.id", "CartPole-v1"),
        ("env.kwargs", {"render_mode": None}),
        ("env.max_episode_steps", 7),
        ("network.hidden_sizes", [9]),
        ("network.recurrent", "lstm"),
        ("network.module", "toys:Mirror"),
        ("continuous.distribution", "beta"),
        ("normalize_obs", False),
        ("normalize_reward", False),
        ("normalize_value", False),
        ("learning_rate", 0.1),
        ("env.name", "x"),
        ("hyperparameters", "default"),
        ("network", "lstm"),
        ("lr", "fast"),
        ("lr", -1.0),
        ("total_timesteps", 1.5),
        ("batch_size", 33),
    ],
)
def test_a_change_that_does_not_fit_is_refused_by_name(half: Path, key: str, value: Any) -> None:
    before = content_of(half)
    with pytest.raises(ConfigError) as caught:
        resume(half, {key: value, "entropy_coef": 0.0}, show=False)
    assert key in str(caught.value)
    assert "entropy_coef" not in str(caught.value)
    assert content_of(half) == before


def test_every_change_that_does_not_fit_is_named_at_once(half: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        resume(half, {"seed": 1, "num_envs": 4, "colour": "red"}, show=False)
    assert [problem.what.partition("=")[0] for problem in caught.value.problems[:2]] == ["seed", "num_envs"]
    assert "colour" in caught.value.problems[2].what


def test_what_is_as_it_was_is_no_change(tmp_path: Path, half: Path, undisturbed: Path) -> None:
    folder = copy_of(half, tmp_path / "run")
    go_on(folder, seed=0, num_envs=2, env__id="Walk-v0", network__hidden_sizes=[8], normalize_obs=True)
    assert differences(undisturbed, folder) == []


# modules of the user's

OWN = """
from pathlib import Path
import gymnasium as gym
import toys
Path(__file__).with_name("imported").touch()

class Log:
    def __init__(self, run_dir):
        self.file = run_dir / "own.log"
    def start(self, run):
        pass
    def log(self, row):
        with self.file.open("a") as file:
            file.write(f"{row['step']}\\n")
    def close(self, summary):
        pass

def worth(log_probs, old_log_probs, advantages, clip_ratio):
    return (log_probs - old_log_probs) * advantages

class Net(toys.Mirror):
    pass

class Twice(toys.Doubled):
    pass

gym.register("Mine-v0", entry_point=toys.Walk)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stopped run; environment, wrappers, network, objective and logger live in a module that tells of its import."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "ownresumed.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path / "code")
    wrappers = ["ownresumed:Twice", {"ownresumed:Twice": {"factor": 0.5}}]
    config = make_config(
        "ownresumed:Mine-v0",
        of_env={"wrappers": wrappers},
        network=NetworkConfig(module="ownresumed:Net", hidden_sizes=[8]),
        objective="ownresumed:worth",
        logger=["csv", "ownresumed:Log"],
    )
    run(tmp_path / "whole", config)
    stopped(tmp_path / "run", config)
    (tmp_path / "code" / "imported").unlink()
    del sys.modules["ownresumed"]
    yield tmp_path / "run"
    sys.modules.pop("ownresumed", None)


def test_modules_that_a_run_names_are_imported_only_if_they_are_typed(own: Path) -> None:
    canary = own.parent / "code" / "imported"
    named = {
        "env.id": "ownresumed:Mine-v0",
        "env.wrappers": ["ownresumed:Twice", {"ownresumed:Twice": {"factor": 0.5}}],
        "network.module": "ownresumed:Net",
        "objective": "ownresumed:worth",
        "logger": ["csv", "ownresumed:Log"],
    }
    for left_out in [None, *named]:
        typed = {key: value for key, value in named.items() if left_out is not None and key != left_out}
        with pytest.raises(ConfigError) as caught:
            resume(own, typed, show=False)
        assert len(caught.value.problems) == 5 - len(typed)
    (problem,) = caught.value.problems
    assert problem.fix == "'logger=[csv,ownresumed:Log]'"
    assert "ownresumed" not in sys.modules
    assert not canary.exists()
    resume(own, named, show=False)
    assert canary.exists()
    assert differences(own.parent / "whole", own) == []


def test_another_module_than_the_runs_own_is_no_answer(own: Path) -> None:
    with pytest.raises(ConfigError, match="other:Mine-v0"):
        resume(own, {"env.id": "other:Mine-v0"}, show=False)
    assert "ownresumed" not in sys.modules


def test_what_a_refusal_says_to_type_can_be_typed(own: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        go_on(own)
    words = [word for problem in caught.value.problems for word in shlex.split(problem.fix)]
    tests = str(Path(__file__).parent)
    (answer,) = commands(own.parent / "code", [f"resume={own}", *words], path=tests)
    assert answer.code == 0, answer.words
    assert differences(own.parent / "whole", own) == []


# metrics


@pytest.mark.usefixtures("_later")
def test_what_a_crash_had_written_beyond_the_checkpoint_is_written_once(tmp_path: Path) -> None:
    config = make_config(logger=["csv", "tensorboard"])
    whole = run(tmp_path / "whole", config)
    folder = stopped(tmp_path / "run", config)
    (folder / "checkpoints" / "step_128.pt").unlink()  # as if the crash had come before it: three rows are beyond
    metrics_file = folder / "metrics.csv"
    text = metrics_file.read_text()
    assert text.count("\n") == 1 + 5
    metrics_file.write_text(text + text.splitlines()[-1][:20])  # torn in the middle of a line
    (events,) = (folder / "tensorboard").iterdir()
    events.write_bytes(events.read_bytes()[:-7])
    go_on(folder)
    assert [int(row["iteration"]) for row in metrics(folder)] == [1, 2, 3, 4, 5, 6, 7]
    assert differences(whole, folder) == []
    assert shown_steps(folder) == shown_steps(whole)
    ours, theirs = curves(folder), curves(whole)
    assert all(ours[tag] == theirs[tag] for tag in theirs if not tag.startswith("time/"))


def test_going_on_within_the_same_second_leaves_tensorboard_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(logger=["csv", "tensorboard"])
    monkeypatch.setattr("ppo_cli.loggers.tensorboard.time", SimpleNamespace(time=lambda: 1_700_000_000.5))
    folder = stopped(tmp_path / "run", config)
    go_on(folder)
    assert [step for step, _ in curves(folder)["train/policy_loss"]] == steps_in_metrics(folder)


def test_rows_that_are_lost_are_warned_of(tmp_path: Path, half: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = copy_of(half, tmp_path / "run")
    (folder / "metrics.csv").unlink()
    go_on(folder)
    assert "metrics.csv has 0 of the 4 rows" in caplog.text
    assert steps_in_metrics(folder) == [160, 192, 224]
    assert (folder / "metrics.csv").read_text().splitlines()[0] == ",".join(COLUMNS)


def test_the_clock_goes_on(tmp_path: Path, half: Path) -> None:
    folder = copy_of(half, tmp_path / "run")
    rows = list(csv.DictReader(io.StringIO((folder / "metrics.csv").read_text())))
    for row in rows:
        row["time/elapsed"] = str(1000 * int(row["iteration"]))
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    go_on(folder)
    with (folder / "metrics.csv").open(newline="") as file:
        elapsed = [float(row["time/elapsed"]) for row in csv.DictReader(file)]
    assert elapsed[:4] == [1000, 2000, 3000, 4000]
    assert all(value > 4000 for value in elapsed[4:])
    assert summary(folder)["wall_time"] > 4000


# the command line

SCRIPT = """
import contextlib, io, json, sys
from hydra.core.global_hydra import GlobalHydra
from ppo_cli.cli.train import main
from ppo_cli.loggers.curves import CurvesLogger

CurvesLogger.close = lambda *_: None
sys.path += sys.argv[2:]
answers = []
for line in json.loads(sys.argv[1]):
    GlobalHydra.instance().clear()
    sys.argv = ["ppo-train", *line]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    answers.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(answers))
"""


def commands(folder: Path, *lines: list[str], path: str = "") -> list[Answer]:
    """Run ``ppo-train`` in ``folder`` once for each line, all in one process."""
    words = [sys.executable, "-c", SCRIPT, json.dumps(lines), *([path] if path else [])]
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return [Answer(*answer) for answer in json.loads(done.stdout.splitlines()[-1])]


TINY = (
    "env=CartPole-v1", "hyperparameters=default", "num_envs=2", "buffer_size=32", "batch_size=16", "epochs=1",
    "total_timesteps=128", "checkpoint_every=64", "eval_every=null", "logger=[csv]", "threads=1", "compile=false",
    "vector_backend=sync",
)  # fmt: skip


def test_resume_auto_begins_goes_on_and_says_when_all_is_done(tmp_path: Path) -> None:
    auto = [*TINY, "resume=auto"]
    first, done, other, wider = commands(tmp_path, auto, auto, [*auto, "seed=1"], [*auto, "entropy_coef=0.5"])
    assert [answer.code for answer in (first, done, other, wider)] == [0, 0, 0, 0], first.err
    assert "finished before, at" in done.out
    assert "finished before" not in first.out + other.out + wider.out
    runs = sorted((tmp_path / "outputs" / "CartPole-v1").iterdir(), key=lambda folder: summary(folder)["started"])
    assert len(runs) == 3
    (zero,) = [folder for folder in runs if f"{folder.name}" in done.out]
    assert (summary(zero)["seed"], summary(zero)["config"]["entropy_coef"], summary(zero)["step"]) == (0, 0.01, 128)
    # as if it had been killed after its first checkpoint
    story = summary(zero)
    (zero / "summary.json").write_text(json.dumps({**story, "status": "running"}))
    (zero / "checkpoints" / "step_128.pt").unlink()
    before = metrics(zero)
    (again,) = commands(tmp_path, auto)
    assert again.code == 0, again.words
    assert f"step {128}" in again.out
    assert len(list((tmp_path / "outputs" / "CartPole-v1").iterdir())) == 3
    assert metrics(zero) == before
    assert [entry["step"] for entry in summary(zero)["resumed"]] == [64]
    assert summary(zero)["resumed"][0]["changes"] == {}
    assert steps_of(zero) == [64, 128]


def test_a_command_line_that_does_not_fit_changes_nothing(tmp_path: Path, half: Path) -> None:
    folder = copy_of(half, tmp_path / "run")
    before = content_of(folder)
    refusals = commands(
        tmp_path,
        ["-m", f"resume={folder}"],
        ["-m", "resume=auto", "seed=1,2"],
        [f"resume={folder},{folder}"],
        [f"resume={folder}", "lr=0.1,0.2"],
        [f"resume={folder}", "~lr"],
        [f"resume={folder}", "seed=1", "hyperparameters=default", "lrr=1"],
        [f"resume={folder}/checkpoints/best.pt"],
    )
    assert [answer.code for answer in refusals] == [2] * len(refusals)
    for answer, words in zip(
        refusals,
        [
            ("is for a single run", "without -m"),
            ("resume=auto is for a single run",),
            ("does not exist",),
            ("lr=0.1,0.2 holds several values",),
            ("~lr",),
            ("seed=1 cannot change", "hyperparameters=default", "'lrr'"),
            ("step_128.pt",),
        ],
        strict=True,
    ):
        assert all(word in answer.words for word in words), answer.words
    assert content_of(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_saved_settings_win_over_conf(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"lr": 0.123, "gamma": 0.5, "entropy_coef": 0.25, "max_grad_norm": None}
    config = make_config("CartPole-v1", **settings)  # conf/ has other ones, and a tuned preset for this environment
    whole = run(tmp_path / "whole", config)
    folder = stopped(tmp_path / "run", config)
    went, done = commands(tmp_path, [f"resume={folder}"], [f"resume={folder}"])
    assert went.code == 0, went.words
    assert "vector_backend=sync (as the run began) · threads=1 (as the run began)" in went.out
    assert differences(whole, folder) == []
    assert summary(folder)["config"] == json.loads(json.dumps(to_plain(config)))
    assert done.code == 0
    assert "finished before" in done.out
    assert str(folder) in done.out


# one process at a time


def test_a_runs_folder_belongs_to_one_process_and_is_free_once_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    words = [*TINY, "total_timesteps=100000000", "vector_backend=async", f"hydra.run.dir={folder}"]
    process = subprocess.Popen(command("ppo-train", *words), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL)
    try:
        while not steps_of(folder):
            assert process.poll() is None
            time.sleep(0.05)
        with monkeypatch.context() as patch:
            patch.setattr("ppo_cli.runs.lock.PATIENCE", 0.1)
            with pytest.raises(RunError) as caught:
                go_on(folder)
        assert f"process {process.pid} on {socket.gethostname()}" in str(caught.value)
        assert caught.value.title == "Run in use"
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert summary(folder)["status"] == "running"
    newest = steps_of(folder)[-1]
    result = go_on(folder, total_timesteps=newest + 64)
    assert (result.status, result.step) == ("finished", newest + 64)
    assert steps_in_metrics(folder) == list(range(32, newest + 65, 32))
    assert steps_of(folder)[-2:] == [newest, newest + 64]


def test_a_signal_to_all_processes_of_a_job_stops_it_as_well(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = [*TINY, "total_timesteps=100000000", "checkpoint_every=null", "vector_backend=async"]
    process = subprocess.Popen(
        command("ppo-train", *words, f"hydra.run.dir={folder}"),
        cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        while not (folder / "metrics.csv").exists() or not metrics(folder):
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGTERM)  # as srun and scancel do
        assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        process.kill()
    assert summary(folder)["status"] == "interrupted"


# which checkpoints there are


@pytest.mark.parametrize(
    ("env", "limit", "num_envs", "every"),
    [
        ("Walk-v0", None, 8, "auto"),  # no limit known: it follows from the episodes that are seen
        ("CartPole-v1", None, 8, 100_000),  # 10 × 500 × 8 is less
        ("CartPole-v1", None, 32, 160_000),
        ("Walk-v0", 2_000, 8, 160_000),
        ("CartPole-v1", 50, 32, 100_000),
    ],
)
def test_auto_leaves_ten_of_the_longest_episodes_between_checkpoints(
    env: str, limit: int | None, num_envs: int, every: int | str
) -> None:
    config = make_config(
        env, of_env={"max_episode_steps": limit}, num_envs=num_envs, buffer_size=64, checkpoint_every="auto"
    )
    plan = Planner().plan(config)
    assert plan.config.checkpoint_every == every
    assert any(line.startswith(f"checkpoint_every={every} (") for line in plan.lines())
    assert Planner().plan(make_config(checkpoint_every=64)).config.checkpoint_every == 64
    assert Planner().plan(make_config(checkpoint_every=None)).config.checkpoint_every is None


@pytest.mark.parametrize(
    ("limit", "every", "warned"),
    [(3, 32, True), (3, 60, False), (20, 200, True), (20, 224, False), (None, 32, False), (3, None, False)],
)  # 10 × 3 × 2 are 60 steps; 10 × 20 × 2 are more than the run has
def test_checkpoints_that_disturb_learning_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, limit: int | None, every: int | None, warned: bool
) -> None:
    config = make_config(of_env={"max_episode_steps": limit}, checkpoint_every=every, epochs=1, eval_every=None)
    run(tmp_path / "run", config)
    assert (f"checkpoint_every={every} leaves" in caplog.text) == warned


@pytest.fixture
def _short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``checkpoint_every=auto``, 64 steps and more; 320 where no episode ends, or 200 of each environment."""
    monkeypatch.setattr(stretches, "CHECKPOINT_EVERY", 64)
    monkeypatch.setattr(stretches, "PATIENCE", 5)
    monkeypatch.setattr(stretches, "MOST_STEPS", 200)


def without_limit(length: int | None, **settings: Any) -> TrainConfig:
    """Episodes of a length that Gymnasium does not know; 30 iterations."""
    common: dict[str, Any] = {"checkpoint_every": "auto", "keep_last": None, "eval_every": None, "epochs": 1}
    common |= {"total_timesteps": 30 * ROLLOUT, "of_env": {"kwargs": {"length": length}}}
    return make_config("Clock-v0", **common | settings)


@pytest.mark.usefixtures("_short_stretches")
@pytest.mark.parametrize(
    ("length", "num_envs", "steps"),
    [
        (3, 2, [*range(64, 961, 64)]),  # 10 × 3 × 2 are less than 64
        (7, 2, [160, 320, 480, 640, 800, 960]),  # 140, in whole iterations
        (24, 2, [480, 960]),
        (24, 1, [256, 512, 768, 960]),
        (100, 1, [960]),  # the first has lasted as long as 100 episodes of this length would when it ends
        (30, 16, [960]),  # 480 have gone by when the first 16 end, and 4,800 are due
        (None, 2, [416, 832, 960]),
        (None, 1, [320, 640, 960]),
    ],
)
def test_where_no_limit_is_known_stretches_follow_from_the_episodes_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, length: int | None, num_envs: int, steps: list[int]
) -> None:
    config = without_limit(length, num_envs=num_envs)
    assert steps_of(run(tmp_path / "run", config)) == steps
    told = [line for line in caplog.messages if "cuts" in line]
    if length is not None:
        assert not told
    else:
        (line,) = told  # once, though there are several
        assert line.startswith(f"the checkpoint of step {steps[0]} cuts {num_envs} episodes in progress, and 0 ended")
        assert "env.max_episode_steps=1000" in line


@pytest.mark.parametrize(("every", "cuts", "ended"), [(32, 2, 0), (64, 2, 2), (128, 2, 6), (960, 0, 80)])
def test_a_stretch_that_cuts_more_than_it_ends_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, every: int, cuts: int, ended: int
) -> None:
    run(tmp_path / "run", without_limit(20, checkpoint_every=every))
    told = f"the checkpoint of step {every} cuts {cuts} episodes in progress, and {ended} ended since the one before"
    assert (told in caplog.text) == (cuts > ended) == ("checkpoint_every=auto waits for their ends" in caplog.text)


@pytest.mark.usefixtures("_short_stretches")
@pytest.mark.parametrize(("env", "kwargs"), [("Walk-v0", {}), ("Clock-v0", {"length": 7}), ("Clock-v0", {})])
@pytest.mark.parametrize("after", [11, 25])
def test_stretches_that_follow_from_episodes_are_those_of_an_undisturbed_run(
    tmp_path: Path, env: str, kwargs: dict[str, Any], after: int
) -> None:
    config = replace(without_limit(None), env=EnvConfig(id=env, kwargs=kwargs))
    whole = run(tmp_path / "whole", config)
    assert len(steps_of(whole)) > 1
    folder = stopped(tmp_path / "stopped", config, after)
    assert go_on(folder).status == "finished"
    assert differences(whole, folder) == []


@pytest.mark.usefixtures("_short_stretches")
def test_a_checkpoint_that_knows_no_longest_episode_takes_it_from_its_last_ones(tmp_path: Path) -> None:
    folder = stopped(tmp_path / "run", without_limit(7), 11)  # at step 352, after checkpoints at 160 and 320
    path = folder / "checkpoints" / "step_320.pt"
    saved = load_checkpoint(path)
    assert saved["run"]["episodes"].pop("longest") == 7
    save_checkpoint(path, saved["agent"], saved["run"])
    go_on(folder)
    assert steps_of(folder) == [160, 320, 480, 640, 800, 960]


@pytest.mark.parametrize(("keep", "steps"), [(1, [224]), (2, [192, 224]), (None, [64, 128, 192, 224])])
def test_only_the_newest_checkpoints_are_kept(tmp_path: Path, keep: int | None, steps: list[int]) -> None:
    folder = run(tmp_path / "run", make_config(keep_last=keep))
    assert steps_of(folder) == steps
    last, newest = (folder / "checkpoints" / name for name in ("last.pt", "step_224.pt"))
    assert last.read_bytes() == newest.read_bytes()
    assert (folder / "checkpoints" / "best.pt").exists()


def test_the_best_checkpoint_is_kept_only_if_wanted(tmp_path: Path, undisturbed: Path) -> None:
    result = train(make_config(keep_best=False), tmp_path / "run", show=False)
    assert not (tmp_path / "run" / "checkpoints" / "best.pt").exists()
    assert result.checkpoint.name == "last.pt"
    assert result.best_return == summary(undisturbed)["best_return"] is not None
    assert metrics(tmp_path / "run") == metrics(undisturbed)


def test_a_stretch_begins_with_no_part_of_an_episode(tmp_path: Path, undisturbed: Path) -> None:
    reward = load_checkpoint(undisturbed / "checkpoints" / "step_064.pt")["agent"]["normalizers"]["reward"]
    assert reward["count"] == 64
    assert reward["discounted"].tolist() == [0.0, 0.0]
    # 32 steps to a stretch, and 24 to an episode, whose other 8 enter nowhere: one each of two environments
    config = make_config("Clock-v0", of_env={"max_episode_steps": 24}, eval_every=None, checkpoint_every=2 * ROLLOUT)
    content = load_checkpoint(run(tmp_path / "run", config) / "checkpoints" / "step_192.pt")["run"]
    episodes = {"finished": 6, "returns": [24.0] * 6, "lengths": [24] * 6, "successes": [], "longest": 24}
    assert content["episodes"] == episodes
    assert content["progress"]["episodes"] == 6


def test_finding_a_run_changes_nothing(half: Path) -> None:
    before = content_of(half)
    saved = find_saved(half, {})
    assert (saved.progress.step, saved.progress.iteration, saved.finished) == (128, 4, False)
    assert saved.path == half / "checkpoints" / "step_128.pt"
    assert content_of(half) == before
    assert isinstance(saved.content, dict)
    assert torch.is_tensor(saved.content["agent"]["streams"]["action"])
