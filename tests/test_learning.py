"""Does it learn? The command line's preset, the library's loop, and a task whose answer is known."""

from __future__ import annotations

import ast
import re
import runpy
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
import toys
import yaml

from ppo_cli.config import EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.training.run import train

assert toys.TOYS

ROOT = Path(__file__).parents[1]


def test_the_answer_to_each_symbol_is_learnt_in_a_few_thousand_steps(tmp_path: Path) -> None:
    config = TrainConfig(
        env=EnvConfig(id="Identity-v0"), lr=0.003, buffer_size=256, total_timesteps=5120, eval_every=1024, logger=[]
    )
    result = train(config, tmp_path / "run", show=False)
    assert result.final_return == 8.0  # each of an episode's eight steps right; by chance it would be 2


@pytest.mark.slow
def test_cartpole_is_solved_with_its_preset(tmp_path: Path) -> None:
    preset = yaml.safe_load((ROOT / "conf" / "preset" / "tuned" / "CartPole-v1.yaml").read_text())
    network = NetworkConfig(**preset.pop("network", {}))
    config = TrainConfig(network=network, **preset | {"seed": 0, "target_return": 475.0, "logger": []})
    assert config.total_timesteps <= 100_000
    result = train(config, tmp_path / "run", show=False)
    assert result.best_return is not None
    assert result.best_return >= 475


class Judge(gym.Wrapper[Any, Any, Any, Any]):
    """Seeds an environment, counts its steps and episodes' returns, and ends the program where the budget is spent."""

    class Enough(Exception):  # noqa: N818  (it is no error)
        """The budget is spent."""

    def __init__(self, env: gym.Env[Any, Any], seed: int, goal: float, budget: int) -> None:
        super().__init__(env)
        self.seed: int | None = seed
        self.goal, self.budget, self.steps, self.episode_return = goal, budget, 0, 0.0
        self.returns: deque[float] = deque(maxlen=100)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        seed, self.seed = (self.seed if seed is None else seed), None
        self.episode_return = 0.0
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        result = super().step(action)
        self.steps += 1
        self.episode_return += float(result[1])
        if result[2] or result[3]:
            self.returns.append(self.episode_return)
        if self.steps >= self.budget and not self.solved:
            raise self.Enough
        return result

    @property
    def solved(self) -> bool:
        return len(self.returns) == 100 and sum(self.returns) / 100 >= self.goal


def judge(program: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, folder: Path) -> Judge:
    """Run a program that trains on CartPole-v1, up to its goal or its budget, with seed 0."""
    made: list[Judge] = []
    make = gym.make

    def make_judged(name: str, *args: Any, **kwargs: Any) -> Any:
        assert name == "CartPole-v1"
        made.append(Judge(make(name, *args, **kwargs), seed=0, goal=195.0, budget=40_000))
        return made[-1]

    monkeypatch.setattr(gym, "make", make_judged)
    monkeypatch.chdir(folder)
    torch.manual_seed(0)
    with suppress(Judge.Enough):
        program()
    (only,) = made
    return only


def readme_loop() -> str:
    """The README's block of Python with the basic loop."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    loop, *_ = [block for block in blocks if "agent.memory.is_full()" in block]
    return str(loop)


@pytest.mark.slow
def test_the_readmes_loop_solves_cartpole_with_the_default_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = readme_loop()
    (agent,) = (node for node in ast.walk(ast.parse(code)) if ast.unparse(node).startswith("PPOAgent("))
    assert isinstance(agent, ast.Call)
    assert len(agent.args) <= 2
    assert {keyword.arg for keyword in agent.keywords} <= {"state_dim", "action_dim"}
    verdict = judge(lambda: exec(compile(code, "README.md", "exec"), {"__name__": "__main__"}), monkeypatch, tmp_path)
    assert verdict.solved, f"{verdict.steps} steps, last returns {list(verdict.returns)[-10:]}"


@pytest.mark.slow
def test_the_quickstart_solves_cartpole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ROOT / "examples" / "quickstart.py"
    verdict = judge(lambda: runpy.run_path(str(path), run_name="__main__"), monkeypatch, tmp_path)
    assert verdict.solved, f"{verdict.steps} steps, last returns {list(verdict.returns)[-10:]}"
    assert "mean return of the last 100 episodes" in capsys.readouterr().out
