"""The edge to Gymnasium: spaces, seeds, and what follows an episode's end."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.config import EnvConfig, NetworkConfig, PPOConfig, TrainConfig
from ppo_cli.envs.families import _log_once
from ppo_cli.envs.inspect import inspect, read_spec
from ppo_cli.envs.make import make_env
from ppo_cli.envs.vector import VectorEnv
from ppo_cli.errors import ConfigError
from ppo_cli.seeding import stream_generator, stream_seed
from ppo_cli.spec import ObsPart, Spec
from ppo_cli.training.plan import Planner
from ppo_cli.training.trainer import Trainer


def vector(name: str, seeds: list[int], *, limit: int | None = None, **kwargs: Any) -> VectorEnv:
    config = EnvConfig(id=name, kwargs=kwargs, max_episode_steps=limit)
    return VectorEnv("sync", config, inspect(config, 0), seeds)


# spaces


def test_spaces_of_cartpole_are_read() -> None:
    assert read_spec(EnvConfig()) == Spec.simple(4, 2)


def test_pictures_are_scaled_to_1_and_vectors_of_bytes_are_not() -> None:
    spec = read_spec(EnvConfig(id="Pixels-v0"))
    assert spec.observations == (ObsPart("", "image", (4, 5, 3), scale=1 / 255),)
    assert (spec.obs_size, spec.obs_dtype) == (60, "uint8")
    agent = PPOAgent.from_spec(spec, PPOConfig(), seed=0)
    features = agent.policy.network.encoder([], agent.policy.prepare(torch.full((1, 60), 255, dtype=torch.uint8)))
    assert features.tolist() == [[[pytest.approx(1.0)] * 60]]
    assert read_spec(EnvConfig(id="Bytes-v0")).observations == (ObsPart("", "numbers", (3,), measured=True),)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Dial-v0", "actions of kind Box of int64; supported are Discrete, MultiDiscrete, MultiBinary, Box of floats"),
        ("Speaks-v0", "actions of kind Text; supported are Discrete"),
        ("Lists-v0", "observations of kind Sequence; supported are Box, Discrete"),
        ("Draws-v0", r"observations of kind Graph \(at plan\); supported are Box, Discrete"),
    ],
)
def test_unsupported_spaces_are_named_with_what_is_supported(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_spec(EnvConfig(id=name))
    assert caught.value.title == "Unsupported environment"
    (problem,) = caught.value.problems
    assert "env.wrappers" in problem.fix


def test_the_environments_own_names_of_its_actions_are_used() -> None:
    envs = vector("FromFive-v0", [1])
    assert read_spec(EnvConfig(id="FromFive-v0")) == Spec.simple(1, 3)
    envs.reset()
    assert [envs.step(np.array([[action]])).rewards.item() for action in (0, 1, 2)] == [5.0, 6.0, 7.0]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (EnvConfig(id="CartPol-v1"), "CartPol"),
        (EnvConfig(id="Nowhere-v3"), "Nowhere"),
        (EnvConfig(id="no_such_module:Env-v0"), "no_such_module"),
        (EnvConfig(id="Clock-v0", kwargs={"colour": "red"}), r"unexpected.*colour.*env.kwargs=\{colour:red\}"),
    ],
)
def test_an_environment_that_cannot_be_built_is_a_configuration_error(config: EnvConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_env(config)


# seeds


def test_environments_of_different_seeds_and_numbers_share_no_stream() -> None:
    seeds = [stream_seed(root, "env", index) for root, index in product(range(20), range(20))]
    assert len(set(seeds)) == 400
    assert all(0 <= seed < 2**31 for seed in seeds)
    first = [vector("Walk-v0", [stream_seed(root, "env", index)]).reset().item() for root, index in [(0, 1), (1, 0)]]
    assert first[0] != first[1]


def test_streams_of_different_names_differ_and_repeat() -> None:
    names = ("init", "action", "shuffle")
    draws = {name: torch.rand(3, generator=stream_generator(0, name)).tolist() for name in names}
    assert len({tuple(numbers) for numbers in draws.values()}) == 3
    assert torch.rand(3, generator=stream_generator(0, "init")).tolist() == draws["init"]
    assert torch.rand(3, generator=stream_generator(1, "init")).tolist() != draws["init"]


def test_each_environment_of_a_vector_has_its_own_seed() -> None:
    observations = vector("Walk-v0", [3, 4, 3]).reset().flatten().tolist()
    assert observations[0] == observations[2] != observations[1]


# an episode's end


def steps(envs: VectorEnv, count: int) -> list[Any]:
    return [envs.step(np.zeros((envs.num_envs, 1), np.int64)) for _ in range(count)]


def test_a_cut_episodes_true_last_observation_is_kept_and_the_next_ones_first_is_shown() -> None:
    envs = vector("Clock-v0", [1, 2], limit=3)
    assert envs.reset().tolist() == [[0.0], [0.0]]
    *before, last, after = steps(envs, 4)
    assert [step.observations.tolist() for step in before] == [[[1.0], [1.0]], [[2.0], [2.0]]]
    assert all(step.finals is None for step in (*before, after))
    assert last.observations.tolist() == [[0.0], [0.0]]
    assert last.truncated.tolist() == [True, True]
    assert last.terminated.tolist() == [False, False]
    assert last.finals.envs.tolist() == [0, 1]
    assert last.finals.observations.tolist() == [[3.0], [3.0]]
    assert after.observations.tolist() == [[1.0], [1.0]]


def test_a_terminated_episode_starts_the_next_and_keeps_no_observation() -> None:
    envs = vector("Clock-v0", [1], length=2)
    envs.reset()
    _, last, after = steps(envs, 3)
    assert last.terminated.tolist() == [True]
    assert last.finals is None
    assert (last.observations.item(), after.observations.item()) == (0.0, 1.0)


def test_an_end_that_is_termination_and_truncation_at_once_is_termination() -> None:
    envs = vector("Both-v0", [1])
    envs.reset()
    last = steps(envs, 3)[-1]
    assert last.terminated.tolist() == [True]
    assert last.truncated.tolist() == [False]
    assert last.finals is None


def test_observations_of_earlier_steps_do_not_change_later() -> None:
    envs = vector("Clock-v0", [1])
    envs.reset()
    assert [step.observations.item() for step in steps(envs, 3)] == [1.0, 2.0, 3.0]


def make_trainer(run_dir: Path, env: EnvConfig, **settings: Any) -> Trainer:
    common: dict[str, Any] = {"network": NetworkConfig(hidden_sizes=[16]), "num_envs": 2, "eval_every": None}
    common |= {"vector_backend": "sync", "compile": False}
    return Trainer(Planner().plan(TrainConfig(env=env, checkpoint_every=None, **common, **settings)), run_dir, [])


def test_the_final_observation_reaches_the_memory_at_its_own_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(
        tmp_path, EnvConfig(id="Clock-v0", max_episode_steps=3), buffer_size=16, batch_size=16, total_timesteps=16
    )
    memory = trainer.agent.memory

    def look() -> None:
        raise KeyboardInterrupt  # the rollout is collected, and nothing learnt from it yet

    monkeypatch.setattr(trainer.agent, "learn", look)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert memory["observations"][:, 0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert memory["truncated"][:, 1].tolist() == [0, 0, 1, 0, 0, 1, 0, 0]
    assert not memory["terminated"].any()
    finals = [(row, cut.envs.tolist(), cut.observations.tolist()) for row, cut in memory.finals]
    assert finals == [(2, [0, 1], [[3.0], [3.0]]), (5, [0, 1], [[3.0], [3.0]])]
    assert memory.next_observations is not None
    assert memory.next_observations.tolist() == [[2.0], [2.0]]
    trainer.close({})


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (EnvConfig(id="Toy-v0", max_episode_steps=3), {0: 5.0}),  # cut, but endless: 1/(1 − 0.8)
        (EnvConfig(id="Clock-v0", kwargs={"length": 3}), {0: 2.44, 1: 1.8, 2: 1.0}),  # 1 + 0.8 + 0.64, 1 + 0.8, 1
    ],
)
def test_a_cut_task_is_worth_what_endlessness_is_and_a_finished_one_what_was_left(
    tmp_path: Path, env: EnvConfig, expected: dict[int, float]
) -> None:
    trainer = make_trainer(tmp_path, env, gamma=0.8, lam=0.9, lr=0.01, buffer_size=64, total_timesteps=64 * 30)
    trainer.run()
    trainer.close({})
    assert {number: trainer.agent.get_action([number])[2] for number in expected} == pytest.approx(expected, abs=0.2)


class FakeMujoco:
    """MuJoCo's place for whoever wants to hear its warnings."""

    def __init__(self) -> None:
        self.handler: Any = None

    def get_mju_user_warning(self) -> Any:
        return self.handler

    def set_mju_user_warning(self, handler: Any) -> None:
        self.handler = handler


def test_what_mujoco_says_is_logged_once_and_old_words_are_nobodys_concern(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _log_once.cache_clear()
    mujoco = FakeMujoco()
    monkeypatch.setitem(sys.modules, "mujoco", mujoco)
    make_env(EnvConfig(id="Walk-v0")).close()
    with caplog.at_level("WARNING", logger="ppo_cli"):
        for when in (0.1, 0.2):
            mujoco.handler(f"Nan in QVEL at DOF 0. The simulation is unstable. Time = {when}.")
            mujoco.handler("compiler attribute 'settotalmass' is deprecated")
    assert caplog.messages == ["MuJoCo: Nan in QVEL at DOF 0. The simulation is unstable."]


def test_whoever_listens_to_mujoco_already_goes_on_doing_so(monkeypatch: pytest.MonkeyPatch) -> None:
    mujoco = FakeMujoco()
    mujoco.handler = print
    monkeypatch.setitem(sys.modules, "mujoco", mujoco)
    make_env(EnvConfig(id="Walk-v0")).close()
    assert mujoco.handler is print


@pytest.mark.skipif(importlib.util.find_spec("mujoco") is None, reason="MuJoCo is not installed")
def test_mujoco_prints_nothing_and_writes_no_file(tmp_path: Path) -> None:
    imports = "from ppo_cli import EnvConfig; from ppo_cli.envs.make import make_env"
    code = f"{imports}; make_env(EnvConfig(id='HalfCheetah-v5'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert not list(tmp_path.iterdir())


assert toys.TOYS  # importing them registers them
