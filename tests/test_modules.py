"""What lives in modules of the user's is imported only where the user names it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest

from ppo_cli import PPOAgent, TrainConfig, train
from ppo_cli.config import EnvConfig, EvalConfig, NetworkConfig, PPOConfig, own_modules
from ppo_cli.errors import CheckpointError, ConfigError
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.spec import Spec
from ppo_cli.training.evaluate import run_eval
from ppo_cli.training.preflight import preflight

SOURCE = """
import gymnasium as gym
import torch


class Same(gym.Wrapper):
    pass


class Net(torch.nn.Module):
    width = 8

    def __init__(self, obs_size):
        super().__init__()
        self.layer = torch.nn.Linear(obs_size, 8)

    def forward(self, rows):
        return self.layer(rows).tanh()


class Log:
    def __init__(self, run_dir):
        self.path = run_dir / "mine.txt"

    def start(self, run):
        self.path.write_text("started")

    def log(self, row):
        pass

    def close(self, summary):
        self.path.write_text(summary["status"])
"""


LOSS = """
def worth(log_probs, old_log_probs, advantages, clip_ratio):
    return (log_probs - old_log_probs) * advantages
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's that is not imported yet."""
    (tmp_path / "users_own.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "users_own", raising=False)
    return "users_own"


@pytest.fixture
def run_dir(tmp_path: Path, module: str) -> Path:
    """A run that used all of it, after which the module is forgotten."""
    config = TrainConfig(
        env=EnvConfig(wrappers=["TimeAwareObservation", f"{module}:Same"]),
        network=NetworkConfig(hidden_sizes=[8], module=f"{module}:Net"),
        num_envs=2, buffer_size=32, batch_size=16, epochs=1, total_timesteps=32, eval_every=None,
        logger=[f"{module}:Log"], output_dir=str(tmp_path),
    )  # fmt: skip
    assert own_modules(config) == {"network": f"{module}:Net", "wrappers": f"[{module}:Same]"}
    result = train(config, tmp_path / "run", show=False)
    assert (result.run_dir / "mine.txt").read_text() == "finished"
    del sys.modules[module]
    return result.run_dir


def test_an_evaluation_imports_what_is_named_and_nothing_else(run_dir: Path, module: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run_eval(EvalConfig(str(run_dir)))
    fixes = [f"network={module}:Net", f"'wrappers=[{module}:Same]'"]  # quoted, so that the shell leaves it alone
    assert [problem.fix for problem in caught.value.problems] == fixes
    with pytest.raises(ConfigError, match=r"network=users_own:Other, but the checkpoint was trained with"):
        run_eval(EvalConfig(str(run_dir), network=f"{module}:Other", wrappers=[f"{module}:Same"]))
    assert module not in sys.modules
    named = EvalConfig(str(run_dir), network=f"{module}:Net", wrappers=[f"{module}:Same"], episodes=1)
    assert len(run_eval(named).episode_returns) == 1
    assert module in sys.modules


def test_an_agent_does_not_import_what_a_file_names(run_dir: Path, module: str) -> None:
    with pytest.raises(CheckpointError, match="network is users_own:Net, and this agent's None"):
        PPOAgent(5, 2).load(run_dir)
    assert module not in sys.modules


@pytest.fixture
def with_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose objective is a function of the user's, after which its module is forgotten."""
    (tmp_path / "users_loss.py").write_text(LOSS)
    monkeypatch.syspath_prepend(str(tmp_path))
    result = train(small(tmp_path, objective="users_loss:worth"), tmp_path / "run", show=False)
    monkeypatch.delitem(sys.modules, "users_loss")
    return result.run_dir


def small(folder: Path, **settings: Any) -> TrainConfig:
    common = {"num_envs": 2, "buffer_size": 32, "batch_size": 16, "epochs": 1, "total_timesteps": 32}
    common |= {"eval_every": None, "logger": [], "output_dir": str(folder)}
    return TrainConfig(network=NetworkConfig(hidden_sizes=[8]), **{**common, **settings})


def test_neither_an_evaluation_nor_a_start_from_its_weights_needs_the_objective(
    with_loss: Path, tmp_path: Path
) -> None:
    assert len(run_eval(EvalConfig(str(with_loss), episodes=1)).episode_returns) == 1
    result = train(small(tmp_path, objective="spo", init_from=str(with_loss)), tmp_path / "other", show=False)
    assert result.status == "finished"
    assert "users_loss" not in sys.modules


def test_who_learns_by_an_objective_of_the_users_has_named_it(with_loss: Path) -> None:
    saved = load_checkpoint(with_loss / "checkpoints" / "last.pt")["agent"]
    config, spec = PPOConfig(network=NetworkConfig(hidden_sizes=[8])), Spec.simple(4, 2)
    with pytest.raises(CheckpointError, match="objective is users_loss:worth, and this agent's clip"):
        PPOAgent.from_spec(spec, config, seed=0).load(with_loss)
    agent = PPOAgent.from_state_dict(saved)
    action, log_prob, value = agent.get_action([0.0] * 4)
    agent.store_experience([0.0] * 4, action, 1.0, value, log_prob, done=True)
    with pytest.raises(
        ConfigError, match="objective=users_loss:worth lives in a module that only the checkpoint names"
    ):
        agent.update()
    assert "users_loss" not in sys.modules
    named = PPOAgent.from_spec(spec, dataclasses.replace(config, objective="users_loss:worth"), seed=0)
    named.load(with_loss)
    named.store_experience([0.0] * 4, action, 1.0, value, log_prob, done=True)
    assert named.update() is not None


def test_an_agent_takes_over_an_objective_that_everybody_has(tmp_path: Path) -> None:
    config, spec = PPOConfig(network=NetworkConfig(hidden_sizes=[8])), Spec.simple(4, 2)
    PPOAgent.from_spec(spec, dataclasses.replace(config, objective="spo"), seed=0).save(tmp_path / "agent.pt")
    agent = PPOAgent.from_spec(spec, config, seed=1)
    agent.load(tmp_path / "agent.pt")
    assert agent.config.objective == "spo"


@pytest.mark.parametrize("name", ["nowhere:Log", "users_own:Nope"])
def test_a_logger_that_is_not_there_is_found_before_the_run(module: str, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"logger: {name} cannot be imported"):
        preflight(TrainConfig(logger=["csv", name], output_dir=str(tmp_path)))


def test_a_module_without_a_class_is_told_how(tmp_path: Path) -> None:
    config = TrainConfig(network=NetworkConfig(module="users_own"), output_dir=str(tmp_path))
    with pytest.raises(ConfigError, match=r"network\.module=users_own is not of the form module:Class"):
        preflight(config)
