"""What an agent may meet, as a table: kinds of action, of observation, of memory, of mask, and of stepping program.

``tests/test_matrix.py`` goes through a small part that has every pair of kinds, ``benchmarks/matrix.py`` through all.
"""

from __future__ import annotations

import importlib.util
import math
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import toys
from gymnasium.vector import AutoresetMode

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.config import ContinuousConfig, EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.envs.vector import VectorEnv
from ppo_cli.loggers.metrics import Metrics
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.seeding import stream_seed
from ppo_cli.training.evaluate import evaluate
from ppo_cli.training.plan import Planner
from ppo_cli.training.play import play
from ppo_cli.training.trainer import Trainer


class Case(NamedTuple):
    """One of each."""

    action: str
    observation: str
    memory: str
    mask: str
    backend: str

    def __str__(self) -> str:
        return "-".join(self)


ACTIONS = {  # the toy's action, and what its continuous part is drawn from
    "discrete": ("discrete", "gaussian"),
    "multidiscrete": ("multidiscrete", "gaussian"),
    "multibinary": ("multibinary", "gaussian"),
    "gaussian": ("box", "gaussian"),
    "squashed": ("box", "squashed"),
    "beta": ("box", "beta"),
    "gsde": ("box", "gsde"),
    "dict": ("dict", "gaussian"),
    "tuple": ("tuple", "beta"),
}
MODES = {
    "same_step": AutoresetMode.SAME_STEP,
    "next_step": AutoresetMode.NEXT_STEP,
    "disabled": AutoresetMode.DISABLED,
}
AXES = {
    "action": tuple(ACTIONS),
    "observation": tuple(toys.OBSERVATION_SPACES),
    "memory": ("none", "lstm"),
    "mask": ("none", "info", "key", "method"),
    "backend": (*MODES, "async", "native", "envpool"),
}
ENVPOOL = {"discrete": "CartPole-v1"} | dict.fromkeys(("gaussian", "squashed", "beta", "gsde"), "Pendulum-v1")


def cases(envpool: bool | None = None) -> list[Case]:
    """Every combination that there is.

    Args:
        envpool: With EnvPool; by default where it is installed.
    """
    envpool = importlib.util.find_spec("envpool") is not None if envpool is None else envpool
    return [case for case in map(Case._make, product(*AXES.values())) if _exists(case, envpool)]


def _exists(case: Case, envpool: bool) -> bool:
    if case.mask != "none" and ACTIONS[case.action][0] == "box":
        return False  # nothing to choose among
    if case.backend == "envpool":
        return envpool and case.action in ENVPOOL and (case.observation, case.mask) == ("float32", "none")
    return True


def pairs(case: Case) -> set[tuple[Any, ...]]:
    """Every two kinds that a case has together."""
    return set(combinations(enumerate(case), 2))


def cover(table: list[Case]) -> list[Case]:
    """Few cases that have every pair of kinds that any case has: always the one next that has most new pairs."""
    remaining = {case: pairs(case) for case in table}
    chosen = []
    while remaining:
        best = max(remaining, key=lambda case: len(remaining[case]))  # of equals the first
        seen = remaining[best]
        chosen.append(best)
        remaining = {case: rest for case, own in remaining.items() if (rest := own - seen)}
    return chosen


class Records:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.rows: list[Metrics] = []

    def start(self, run: Any) -> None: ...

    def log(self, row: Metrics) -> None:
        self.rows.append(row)

    def close(self, summary: dict[str, Any]) -> None: ...


def config_of(case: Case) -> TrainConfig:
    """A run of two tiny iterations."""
    action, distribution = ACTIONS[case.action]
    env = EnvConfig(
        id="toys:AnyInStep-v0" if case.backend == "native" else "toys:Any-v0",
        kwargs={"action": action, "observation": case.observation, "mask": case.mask},
    )
    if case.backend == "envpool":
        env = EnvConfig(id=ENVPOOL[case.action], max_episode_steps=12)
    recurrent = None if case.memory == "none" else case.memory
    return TrainConfig(
        env=env,
        network=NetworkConfig(hidden_sizes=[8], recurrent=recurrent, recurrent_size=4, sequence_length=4),
        continuous=ContinuousConfig(distribution=distribution),
        vector_backend="sync" if case.backend in MODES else case.backend,
        num_envs=2,
        buffer_size=32,
        batch_size=16,
        epochs=1,
        total_timesteps=40,  # so that two iterations of 32 do, though some steps may only fetch an observation
        normalize_obs=True,
        normalize_reward=True,
        eval_every=None,
        checkpoint_every=None,
        logger=[],
        threads=1,
        compile=False,
    )


def make_trainer(config: TrainConfig, folder: Path, mode: AutoresetMode, *loggers: Any) -> Trainer:
    """A trainer whose environments start their next episode by the given habit."""
    plan = Planner().plan(config)
    trainer = Trainer(plan, folder, list(loggers))
    if config.vector_backend in ("sync", "async") and mode != AutoresetMode.SAME_STEP:
        trainer.collector.envs.close()
        seeds = [stream_seed(config.seed, "env", index) for index in range(config.num_envs)]
        trainer.collector.envs = VectorEnv(config.vector_backend, config.env, plan.inspection, seeds, mode)
        trainer.total_timesteps = config.total_timesteps
    return trainer


def check(case: Case, folder: Path) -> None:
    """Train, save, load and evaluate; the environment itself refuses actions that do not fit or are forbidden.

    Raises:
        AssertionError: if anything is not as it must be.
    """
    config, records = config_of(case), Records()
    trainer = make_trainer(config, folder, MODES.get(case.backend, AutoresetMode.SAME_STEP), records)
    agent = trainer.agent
    try:
        before = agent.policy.parameters.clone()
        trainer.run()
        assert len(records.rows) == 2
        for row in records.rows:
            numbers = {name: row[name] for name in row if name.startswith("train/")}
            assert all(number is not None and math.isfinite(number) for number in numbers.values()), numbers
        after = agent.policy.parameters
        assert torch.isfinite(after).all()
        assert not torch.equal(before, after)
        assert trainer.progress.episodes > 0
        _check_loaded(case, trainer, folder / "checkpoints" / "last.pt")
    finally:
        trainer.collector.envs.close()


def _check_loaded(case: Case, trainer: Trainer, path: Path) -> None:
    """The policy that was saved acts as the one that was trained, to the last bit."""
    policy, rows = trainer.agent.policy, trainer.collector.rows
    loaded = PPOAgent.from_state_dict(load_checkpoint(path)["agent"]).policy
    assert torch.equal(policy.parameters, loaded.parameters)
    noises = [one.noise(1, len(rows))[0] for one in (policy, loaded)]
    for noise in (None, noises[0]):
        ours, theirs = policy.act(rows, noise), loaded.act(rows, noises[1] if noise is not None else None)
        assert np.array_equal(ours.actions, theirs.actions)
        assert np.array_equal(ours.env_actions, theirs.env_actions)
        assert (ours.states is None) == (theirs.states is None) == (case.memory == "none")
        assert ours.states is None or np.array_equal(ours.states, theirs.states)
    env = trainer.config.env
    settings: dict[str, Any] = {"episodes": 2, "num_envs": 2, "seed": 5}
    found = evaluate(path, env=env.id if ":" in env.id else None, **settings)
    played = play(policy, env, deterministic=True, **settings)
    assert (found.episode_returns, found.episode_lengths) == (played.returns, played.lengths)
    assert len(played.returns) == 2
    assert play(policy, env, deterministic=False, **settings) == play(loaded, env, deterministic=False, **settings)
