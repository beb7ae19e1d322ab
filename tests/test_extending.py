"""What the pages on environments and extensions show works as shown: their files, by the console scripts."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from console import run
from test_docs import blocks, commands, write_files

PAGES = ("docs/environments.md", "docs/extending.md")
STEPS = ["total_timesteps=256", "num_envs=2", "buffer_size=128", "epochs=1", "eval_every=null"]
SHORT = [*STEPS, "compile=false", "vector_backend=sync", "hydra.run.dir=run"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of both pages."""
    for page in PAGES:
        write_files(page, tmp_path)
    return tmp_path


def shown(page: str, *parts: str) -> list[str]:
    """The words of the only command of a page that has all these parts."""
    (command,) = [line for line in commands(page) if all(part in line for part in parts)]
    return [word for word in shlex.split(command) if not word.startswith(("checkpoint=", "total_timesteps="))]


def test_files_are_under_a_page() -> None:
    for page in PAGES:
        for text in blocks(page, "python"):
            assert len(text.splitlines()) < 40


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
    answer = run(folder, *shown(PAGES[1], "ppo-eval"), "checkpoint=run", "episodes=2")
    assert answer.code == 0, answer.err
    assert len(json.loads((folder / "run" / "eval.json").read_text())["episode_returns"]) == 2
