"""The checkpoint file: whole or not at all, plain data, and an answer to every kind of damage."""

from __future__ import annotations

import json
import math
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.config import EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.errors import CheckpointError
from ppo_cli.runs.checkpoint import checked_tensor, find_checkpoint, load_checkpoint, save_checkpoint
from ppo_cli.runs.files import write_atomically
from ppo_cli.runs.formats import FORMAT_VERSION
from ppo_cli.runs.resume import find_saved
from ppo_cli.training.evaluate import evaluate
from ppo_cli.training.run import train


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole.pt"
    PPOAgent(3, 2, hidden_dim=4, seed=0).save(path)
    return path


def test_a_checkpoint_is_plain_data_of_version_2(whole: Path) -> None:
    payload = torch.load(whole, weights_only=True)
    assert payload["format_version"] == 3
    assert payload["run"] is None
    parts = {"config", "spec", "parameters", "first_moment", "second_moment", "updates", "normalizers", "streams"}
    assert set(payload["agent"]) == parts
    assert set(payload["agent"]["parameters"]) == {
        *(f"body.{layer}.{kind}" for layer in (0, 1) for kind in ("weight", "bias")),
        *(f"{head}.{kind}" for head in ("policy", "value") for kind in ("weight", "bias")),
    }


def test_the_folder_of_a_sweep_leads_to_its_jobs(tmp_path: Path) -> None:
    sweep = tmp_path / "my sweep"
    for number, best in enumerate((3.0, 20.0, math.nan)):
        job = sweep / str(number)
        (job / "checkpoints").mkdir(parents=True)
        (job / "checkpoints" / "last.pt").touch()
        (job / "job.json").touch()
        (job / "summary.json").write_text(json.dumps({"best_return": best}))
    (sweep / "sweep.json").touch()
    with pytest.raises(CheckpointError, match=r"is the folder of a sweep, of many runs; try checkpoint=.*/my sweep/1$"):
        find_checkpoint(sweep)
    with pytest.raises(CheckpointError, match=r"is the folder of a sweep, .* try ppo-train -m 'resume=.*/my sweep'$"):
        find_saved(sweep, {})


def test_saving_makes_the_folder_and_leaves_nothing_else_in_it(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a" / "b" / "c.pt", {"x": torch.ones(2)}, {"y": 1})
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c.pt"]
    payload = load_checkpoint(tmp_path / "a" / "b" / "c.pt")
    assert payload["agent"]["x"].tolist() == [1.0, 1.0]
    assert payload["run"] == {"y": 1}


def test_a_failed_write_leaves_the_previous_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    path.write_text("previous")

    def fail(temporary: Path) -> None:
        temporary.write_text("half of the n")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "previous"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_saved_leaves_the_previous_checkpoint(whole: Path) -> None:
    before = whole.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_checkpoint(whole, {"function": lambda: None})
    assert whole.read_bytes() == before
    assert list(whole.parent.iterdir()) == [whole]


# damage


def spoil(path: Path, kind: str) -> None:
    """Turn a whole checkpoint into something else."""
    content = path.read_bytes()
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("lr: 0.1\n")
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "last byte missing":
            path.write_bytes(content[:-1])
        case "one bit of a weight":
            weight = torch.load(path)["agent"]["parameters"]["body.0.weight"]
            place = content.index(weight.numpy().tobytes()) + 5
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        case "another zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("data.txt", "hello")
        case "a bare pickle":
            path.write_bytes(pickle.dumps({"kind": "ppo-cli checkpoint"}))
        case "weights of another program":
            torch.save({"state_dict": {"weight": torch.ones(2)}}, path)
        case "a list":
            torch.save([1, 2], path)
        case "another version":
            torch.save(torch.load(path) | {"format_version": FORMAT_VERSION + 1}, path)
        case "the version before the first":
            torch.save(torch.load(path) | {"format_version": 0}, path)
        case "no version":
            payload = torch.load(path)
            del payload["format_version"]
            torch.save(payload, path)
        case "no agent":
            torch.save(torch.load(path) | {"agent": None}, path)
        case "run is a list":
            torch.save(torch.load(path) | {"run": []}, path)
        case _:
            raise AssertionError(kind)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "is empty"),
        ("text", "no checkpoint"),
        ("cut", "cut off"),
        ("last byte missing", "whole.pt"),
        ("one bit of a weight", "damaged"),
        ("another zip", "whole.pt"),
        ("a bare pickle", "no checkpoint"),
        ("weights of another program", "no ppo-cli checkpoint"),
        ("a list", "no ppo-cli checkpoint"),
        ("another version", "version 4.*versions up to 3"),
        ("the version before the first", "version 0"),
        ("no version", "version None"),
        ("no agent", "lacks its agent"),
        ("run is a list", "whole.pt"),
    ],
)
def test_every_damage_is_a_checkpoint_error_that_names_the_file(whole: Path, kind: str, message: str) -> None:
    load_checkpoint(whole)
    spoil(whole, kind)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(whole)
    assert "whole.pt" in str(caught.value)
    assert caught.value.exit_code == 2


def leaves(value: Any) -> list[Any]:
    """Everything in nested dictionaries, with tensors as lists."""
    if isinstance(value, dict):
        return [[key, leaves(item)] for key, item in value.items()]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def test_no_cut_of_the_file_and_no_spoilt_stretch_gets_through_unnoticed(whole: Path) -> None:
    content = whole.read_bytes()
    expected = leaves(load_checkpoint(whole))
    refused = 0
    for place in np.random.default_rng(0).integers(0, len(content) - 8, 100).tolist():
        stretch = bytes(byte ^ 0x55 for byte in content[place : place + 8])
        for spoilt in (content[:place], content[:place] + stretch + content[place + 8 :]):
            whole.write_bytes(spoilt)
            try:
                payload = load_checkpoint(whole)
            except CheckpointError:
                refused += 1
            else:  # it hit what lies between the archive's parts
                assert leaves(payload) == expected
    assert refused > 150


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_loading_executes_nothing(whole: Path) -> None:
    trace = whole.with_name("executed")
    torch.save(torch.load(whole) | {"evil": Evil(trace)}, whole)
    with pytest.raises(CheckpointError, match="nothing in it was executed"):
        PPOAgent(3, 2).load(whole)
    assert not trace.exists()
    torch.load(whole, weights_only=False)
    assert trace.exists()  # it would have been


# finding


def run_folder(folder: Path, *names: str) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    for name in names:
        (folder / "checkpoints" / name).write_bytes(b"x")
    return folder


def test_a_folder_that_has_neither_best_nor_last_is_answered_with_what_it_has(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint(tmp_path)
    assert caught.value.problems[0].fix == "checkpoint=<the folder of a run that has saved one>"
    (folder / "step_128.pt").touch()
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint(tmp_path)
    assert caught.value.problems[0].fix == f"checkpoint={folder / 'step_128.pt'}"


def test_a_runs_folder_means_its_best_checkpoint_and_else_its_last(tmp_path: Path) -> None:
    both = run_folder(tmp_path / "a=1, [b]", "last.pt", "best.pt", "step_5.pt")
    assert find_checkpoint(both) == both / "checkpoints" / "best.pt"
    assert find_checkpoint(str(both / "checkpoints")) == both / "checkpoints" / "best.pt"
    assert find_checkpoint(both / "checkpoints" / "step_5.pt").name == "step_5.pt"
    last = run_folder(tmp_path / "b", "last.pt")
    assert find_checkpoint(last) == last / "checkpoints" / "last.pt"


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    run_folder(tmp_path / "none")
    for path, message in [("", "no checkpoint was named"), (tmp_path / "nowhere", "does not exist"),
                          (tmp_path / "none", "holds no")]:  # fmt: skip
        with pytest.raises(CheckpointError, match=message):
            find_checkpoint(path)


@pytest.mark.parametrize("source", [{"x": torch.zeros(2)}, {"x": torch.zeros(3).double()}, {"x": 1}, {}, None, [1]])
def test_a_tensor_of_another_shape_or_type_is_refused_by_name(source: Any) -> None:
    with pytest.raises(CheckpointError, match="x should be"):
        checked_tensor(source, "x", (3,), torch.float32)
    assert checked_tensor({"x": torch.ones(3)}, "x", (3,), torch.float32).tolist() == [1.0] * 3


# the first version, for ever

VERSION_1 = Path(__file__).parent / "data" / "checkpoint_v1.pt"


def behaviour(path: Path) -> dict[str, Any]:
    """What the agent of a checkpoint does, sampled and not, down to the last digit that other machines share."""
    agent = PPOAgent(4, 2)
    agent.load(path)
    played = [evaluate(path, episodes=5, seed=7, deterministic=choice) for choice in (True, False)]
    action, log_prob, value = agent.get_action([0.1, -0.2, 0.3, -0.4], deterministic=True)
    return {
        "returns": [result.episode_returns for result in played],
        "lengths": [result.episode_lengths for result in played],
        "action": [action, round(log_prob, 5), round(value, 4)],
        "updates": agent.learner.updates,
    }


def make_version_1(folder: Path) -> None:
    """Write the data of the test below, once: ``python -c "import test_checkpoint as t; t.make_version_1(…)"``."""
    config = TrainConfig(
        env=EnvConfig(id="CartPole-v1"),
        network=NetworkConfig(hidden_sizes=[8]),
        buffer_size=256,
        batch_size=64,
        num_envs=2,
        total_timesteps=1024,
        eval_every=512,
        eval_episodes=3,
        normalize_obs=True,
        normalize_reward=True,
        compile=False,
        threads=1,
        logger=["csv"],
    )
    result = train(config, folder / "run", show=False)
    VERSION_1.parent.mkdir(exist_ok=True)
    shutil.copy(result.run_dir / "checkpoints" / "last.pt", VERSION_1)
    shutil.copy(VERSION_1, folder / VERSION_1.name)
    VERSION_1.with_suffix(".json").write_text(json.dumps(behaviour(folder / VERSION_1.name), indent=2) + "\n")


def test_a_checkpoint_of_the_first_version_does_what_it_always_did(tmp_path: Path) -> None:
    path = tmp_path / VERSION_1.name  # an evaluation writes beside it
    shutil.copy(VERSION_1, path)
    assert torch.load(path, weights_only=True)["format_version"] == 1
    assert behaviour(path) == json.loads(VERSION_1.with_suffix(".json").read_text())
