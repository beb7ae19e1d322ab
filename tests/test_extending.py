"""What the pages on environments and extensions show works as shown: their files, by the console scripts."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from console import run
from resuming import differences, signalled
from test_docs import EXAMPLES, blocks, commands, write_files

from ppo_cli.config import EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.training.run import resume, train

PAGES = ("docs/environments.md", "docs/extending.md")
STEPS = ["total_timesteps=256", "num_envs=2", "buffer_size=128", "epochs=1", "eval_every=null"]
SHORT = [*STEPS, "compile=false", "vector_backend=sync", "hydra.run.dir=run"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of both pages, and the environment that some of them are tried on."""
    for page in PAGES:
        write_files(page, tmp_path)
    shutil.copy(EXAMPLES / "sparse_grid.py", tmp_path)
    return tmp_path


def rows_of(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def shown(page: str, *parts: str) -> list[str]:
    """The words of the only command of a page that has all these parts."""
    (command,) = [line for line in commands(page) if all(part in line for part in parts)]
    return [word for word in shlex.split(command) if not word.startswith(("checkpoint=", "total_timesteps="))]


def test_files_are_under_a_page() -> None:
    for page in PAGES:
        for text in blocks(page, "python"):
            assert len(text.splitlines()) < 40


def test_what_lies_in_examples_is_shown_as_it_is_there() -> None:
    shown = {text.split()[1]: text for text in blocks(PAGES[1], "python")}
    same = [name for name, text in shown.items() if (EXAMPLES / name).is_file()]
    assert sorted(same) == ["curriculum.py", "plateau.py", "rnd.py"]
    for name in same:
        assert (EXAMPLES / name).read_text(encoding="utf-8") == shown[name]


def test_an_environment_of_ones_own_is_trained_and_evaluated(folder: Path) -> None:
    train = shown(PAGES[0], "ppo-train", "env.kwargs.size=5")
    mask = shown(PAGES[0], "ppo-train", "my_masks:NoWall")
    answer = run(folder, *train, mask[-1], "logger=[]", *SHORT)
    assert answer.code == 0, answer.err
    answer = run(folder, *shown(PAGES[0], "ppo-eval", "my_pkg"), "checkpoint=run", "episodes=2", "deterministic=false",
                 "wrappers=[my_masks:NoWall]")  # fmt: skip
    assert answer.code == 0, answer.err
    assert len(json.loads((folder / "run" / "eval.json").read_text())["episode_returns"]) == 2


def test_a_loss_of_ones_own_is_learnt_by_and_not_needed_to_evaluate(folder: Path) -> None:
    answer = run(
        folder, *shown(PAGES[1], "ppo-train", " objective=my_loss"), "hyperparameters=default", "logger=[]", *SHORT
    )
    assert answer.code == 0, answer.err
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert (summary["status"], summary["config"]["objective"]) == ("finished", "my_loss:kl_penalty")
    (folder / "my_loss.py").unlink()
    answer = run(folder, "ppo-eval", "checkpoint=run", "episodes=2")
    assert answer.code == 0, answer.err
    assert len(json.loads((folder / "run" / "eval.json").read_text())["episode_returns"]) == 2


def test_a_network_and_a_logger_of_ones_own_are_used(folder: Path) -> None:
    train, logger = shown(PAGES[1], "ppo-train", "network=my_net"), shown(PAGES[1], "ppo-train", "my_log")[-1]
    answer = run(folder, *train, logger, "hyperparameters=default", *SHORT)
    assert answer.code == 0, answer.err
    first, *lines, last = (folder / "run" / "returns.txt").read_text().splitlines()
    assert first == "CartPole-v1, 256 steps"
    assert [line.partition(":")[0] for line in lines] == ["128", "256"]
    assert last == "finished"
    assert (folder / "run" / "metrics.csv").is_file()
    answer = run(folder, *shown(PAGES[1], "ppo-eval", "my_net"), "checkpoint=run", "episodes=2")
    assert answer.code == 0, answer.err
    assert len(json.loads((folder / "run" / "eval.json").read_text())["episode_returns"]) == 2


def test_a_plateau_ends_a_run_and_patience_lets_it_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_ = [*shown(PAGES[1], "ppo-train", "callback_kwargs.patience=3"), "resume=auto", *SHORT]
    train_ += ["hyperparameters=default", "total_timesteps=4096", "eval_every=128", "eval_episodes=2", "lr=1e-9"]
    train_ += ["checkpoint_every=2048", "env.max_episode_steps=20"]  # which every evaluation reaches, or nearly so
    answer = run(folder, *train_)
    assert answer.code == 0, answer.err
    means = [float(row["eval/episode_return_mean"]) for row in rows_of(folder / "run")]
    surpassed = [mean > max(means[:number], default=float("-inf")) for number, mean in enumerate(means)]
    assert not any(surpassed[-3:])
    assert all(any(surpassed[first : first + 3]) for first in range(len(means) - 3))
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["stop_reason"] == f"3 evaluations without a better one than {max(means):g}"
    assert f"the run ends: {summary['stop_reason']}" in (folder / "run" / "train.log").read_text()
    answer = run(folder, *train_)  # with resume=auto, which names all that is to be named
    assert "finished before" in answer.out, answer.err
    monkeypatch.syspath_prepend(folder)
    resume(folder / "run", {"callbacks": ["plateau:Plateau"], "callback_kwargs.patience": 9}, show=False)
    assert len(rows_of(folder / "run")) > len(means)


def test_a_curriculum_and_a_bonus_for_exploring_are_used(folder: Path) -> None:
    bonus = shown(PAGES[1], "ppo-train", "reward_transform=rnd:RND")
    extra = shown(PAGES[1], "ppo-train", "callbacks=[curriculum:Curriculum]")[2]
    answer = run(folder, *bonus, extra, *SHORT, "batch_size=64")
    assert answer.code == 0, answer.err
    assert [row["curriculum/distance"] for row in rows_of(folder / "run")] == ["0", "0"]
    content = load_checkpoint(folder / "run" / "checkpoints" / "last.pt")["run"]
    assert content["calls"] == [["set_start", (9,), {}, True]]
    assert content["rewards"]["rnd:RND"]["seen"]["count"] == 256
    evaluate = shown(PAGES[1], "ppo-eval", "sparse_grid")
    answer = run(folder, *evaluate, "checkpoint=run/checkpoints/last.pt", "episodes=2")
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("after", [3, 4])
def test_what_they_know_survives_a_stop_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Checkpoints after every second of six iterations, and a room further with every second one."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr("ppo_cli.loggers.curves.CurvesLogger.close", lambda *_: None)
    named = {"callbacks": ["curriculum:Curriculum"], "reward_transform": "rnd:RND"}
    config = TrainConfig(
        env=EnvConfig(id="sparse_grid:SparseGrid-v0", kwargs={"side": 2}, max_episode_steps=4),
        network=NetworkConfig(hidden_sizes=[8]), num_envs=2, buffer_size=256, batch_size=64, epochs=1,
        total_timesteps=6 * 256, checkpoint_every=512, eval_every=512, eval_episodes=2, logger=["csv"],
        vector_backend="sync", threads=1, compile=False, **named, callback_kwargs={"bar": -1.0},
    )  # fmt: skip
    train(config, tmp_path / "whole", show=False)
    with signalled(after):
        train(config, tmp_path / "run", show=False)
    again = {**named, "env.id": config.env.id}
    assert resume(tmp_path / "run", again, show=False).status == "finished"
    assert differences(tmp_path / "whole", tmp_path / "run") == []
    assert [row["curriculum/distance"] for row in rows_of(tmp_path / "run")] == ["0", "1", "1", "2", "2", "3"]
    first, last = (
        load_checkpoint(tmp_path / "run" / "checkpoints" / f"step_{step}.pt")["run"] for step in ("0512", "1536")
    )
    assert [content["calls"] for content in (first, last)] == [
        [["set_start", (8,), {}, True]],
        [["set_start", (6,), {}, True]],
    ]
    known = [content["rewards"]["rnd:RND"] for content in (first, last)]
    assert [one["optimizer"]["state"][0]["step"].item() for one in known] == [2, 6]
    assert not torch.equal(*(one["predictor"]["0.weight"] for one in known))
    assert torch.equal(*(one["target"]["0.weight"] for one in known))
