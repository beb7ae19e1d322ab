"""Environments side by side: either habit of starting the next episode, and who steps them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import toys
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from watching import watch_steps

from ppo_cli.algorithm.minibatches import Minibatch
from ppo_cli.algorithm.normalization import VALUE_RATE
from ppo_cli.config import EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.envs import backends
from ppo_cli.envs.backends import _kept_apart, choose_backend
from ppo_cli.envs.inspect import inspect
from ppo_cli.envs.vector import VectorEnv
from ppo_cli.errors import ConfigError
from ppo_cli.spec import ObsPart, Spec
from ppo_cli.training.plan import Planner
from ppo_cli.training.trainer import Trainer

assert toys.TOYS  # importing them registers them


def vector(backend: str, name: str, seeds: list[int], *, limit: int | None = None, **kwargs: Any) -> VectorEnv:
    config = EnvConfig(id=name, kwargs=kwargs, max_episode_steps=limit)
    return VectorEnv(backend, config, inspect(config, 0), seeds)


# both habits

Experience = tuple[list[float], int, float, bool, bool, list[float] | None]


def live(envs: VectorEnv, steps: int, act: Callable[[Any], Any]) -> list[list[Experience]]:
    """Each environment's transitions as a learner would see them; what followed, unless the task was over."""
    observations = envs.reset()
    lives: list[list[Experience]] = [[] for _ in range(envs.num_envs)]
    for _ in range(steps):
        actions = act(observations)
        step = envs.step(actions)
        following = step.observations.copy()
        if step.finals is not None:
            following[step.finals.envs] = step.finals.observations
        for env, life in enumerate(lives):
            if step.valid is not None and not step.valid[env]:
                continue
            over = bool(step.terminated[env])
            end = None if over else following[env].tolist()
            reward, cut = float(step.rewards[env]), bool(step.truncated[env])
            life.append((observations[env].tolist(), int(actions[env].item()), reward, over, cut, end))
        observations = step.observations
    envs.close()
    return lives


@pytest.mark.parametrize(
    ("name", "settings"),
    [("Walk", {}), ("Walk", {"limit": 7}), ("Clock", {"limit": 3}), ("Clock", {"length": 2}), ("Both", {})],
)
def test_each_environment_lives_the_same_life_under_either_habit(name: str, settings: dict[str, Any]) -> None:
    seeds = [5, 6, 7]  # as the vector toys count from the first

    def act(observations: Any) -> Any:
        return (np.sin(observations[:, :1] * 40) > 0).astype(np.int64)

    same_step = live(vector("sync", f"{name}-v0", seeds, **settings), 200, act)
    next_step = live(vector("native", f"{name}InStep-v0", seeds, **settings), 200, act)
    for ours, theirs in zip(same_step, next_step, strict=True):
        assert len(ours) == 200
        assert 100 <= len(theirs) < 200  # the others only fetched an episode's first observation
        assert theirs == ours[: len(theirs)]
        ends = sum(over or cut for *_, over, cut, _ in theirs)
        assert ends - 200 + len(theirs) in (0, 1)  # each end has one such step, though the last one's may be to come
    if name == "Walk":
        assert len({len(life) for life in next_step}) == 3  # environments do not end in step
    if name == "Both":
        assert not any(end[4] for life in next_step for end in life)  # terminated counts before truncated


def test_a_new_reset_forgets_which_episodes_had_ended() -> None:
    envs = vector("native", "ClockInStep-v0", [1, 2], limit=1)
    for _ in range(2):
        assert envs.reset().tolist() == [[0.0], [0.0]]
        assert envs.step(np.zeros((2, 1), np.int64)).valid is None


def test_another_habit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(num_envs: int, **_: Any) -> SyncVectorEnv:
        envs = SyncVectorEnv([toys.Clock] * num_envs)
        envs.metadata = {**envs.metadata, "autoreset_mode": "sometimes"}
        return envs

    monkeypatch.setattr(gym.registry["ClockInStep-v0"], "vector_entry_point", build)
    with pytest.raises(ConfigError, match=r"vector_backend=native.*sometimes.*vector_backend=sync"):
        vector("native", "ClockInStep-v0", [1, 2])


def test_cartpoles_own_vector_program_keeps_the_habit_that_is_counted_on() -> None:
    check_fillers(vector("native", "CartPole-v1", [3, 4, 5], limit=20))


def test_envpools_environments_keep_the_habit_that_is_counted_on() -> None:
    pytest.importorskip("envpool", reason="EnvPool is not installed")
    check_fillers(vector("envpool", "CartPole-v1", [3, 4, 5], limit=20))


def check_fillers(envs: VectorEnv) -> None:
    """A step that is no transition has no reward and no end; episodes last up to 20 steps."""
    envs.reset()
    length, longest, fillers = np.zeros(3, int), 0, 0
    for number in range(150):
        step = envs.step(np.full((3, 1), number % 2))
        real = np.ones(3, bool) if step.valid is None else step.valid
        assert not step.rewards[~real].any()
        assert not (step.terminated | step.truncated)[~real].any()
        assert step.rewards[real].tolist() == [1.0] * real.sum()
        assert real.tolist() == (length >= 0).tolist()
        length += 1
        longest = max(longest, *length)
        assert (length[step.truncated] == 20).all()
        length[step.terminated | step.truncated] = -1
        fillers += (~real).sum()
    assert longest == 20
    assert fillers > 10
    envs.close()


def test_processes_step_as_a_loop_does() -> None:
    def rollout(backend: str) -> list[list[Experience]]:
        return live(vector(backend, "toys:Walk-v0", [5, 9], limit=4), 12, lambda _: np.array([[0], [1]]))

    assert rollout("async") == rollout("sync")


@pytest.mark.parametrize(
    ("processors", "allowed", "num_envs", "apart"),
    [(4, 4, 8, True), (4, 4, 4, True), (4, 4, 3, False), (4, 2, 8, False), (1, 1, 1, True)],
)
def test_envpools_threads_are_kept_apart_only_where_they_fill_the_machine(
    monkeypatch: pytest.MonkeyPatch, processors: int, allowed: int, num_envs: int, apart: bool
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(allowed)), raising=False)
    expected = {"num_threads": processors, "thread_affinity_offset": 0} if apart else {}
    assert _kept_apart(num_envs) == expected


# steps that are no transitions, on their way through a run


def trainer_in_step(run_dir: Path, env: EnvConfig, **settings: Any) -> Trainer:
    common: dict[str, Any] = {"network": NetworkConfig(hidden_sizes=[8]), "num_envs": 2, "buffer_size": 16}
    common |= {"batch_size": 4, "epochs": 2, "total_timesteps": 16, "eval_every": None, "checkpoint_every": None}
    common |= {"vector_backend": "native", "compile": False}
    return Trainer(Planner().plan(TrainConfig(env=env, **common | settings)), run_dir, [])


def watch(trainer: Trainer) -> list[Minibatch]:
    """The minibatches that are learnt from."""
    seen: list[Minibatch] = []
    watch_steps(trainer.agent.learner, lambda batch, *_: seen.append(batch))
    return seen


CLOCK = EnvConfig(id="ClockInStep-v0", max_episode_steps=3)


def test_a_filler_row_weighs_nothing_in_the_memory(tmp_path: Path) -> None:
    trainer = trainer_in_step(tmp_path, CLOCK)
    trainer.collector.rows = trainer.collector.envs.reset()
    trainer.collector.collect()
    memory = trainer.agent.memory
    assert memory["observations"][:, 0, 0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert memory["weights"][:, 1].tolist() == [1, 1, 1, 0, 1, 1, 1, 0]
    assert memory["truncated"][:, 0].tolist() == [0, 0, 1, 0, 0, 0, 1, 0]
    assert not memory["terminated"].any()
    assert memory["rewards"][:, 0].tolist() == [1, 1, 1, 0, 1, 1, 1, 0]
    assert memory.finals == []  # the next row has what followed
    trainer.close({})


def test_a_filler_row_is_never_learnt_from_nor_counted(tmp_path: Path) -> None:
    switches = dict.fromkeys(("normalize_obs", "normalize_reward", "normalize_value"), True)
    trainer = trainer_in_step(tmp_path, CLOCK, **switches, gamma=0.5, total_timesteps=32)
    seen = watch(trainer)
    trainer.collector.rows = trainer.collector.envs.reset()
    first = trainer.iterate()
    # 8 steps of 2 environments, of which the fourth and the eighth of each are none
    assert (first["step"], trainer.progress.step, first["rollout/episodes"]) == (12, 12, 4)
    assert (first["rollout/episode_return_mean"], first["rollout/episode_length_mean"]) == (3.0, 3.0)
    assert len(seen) == 2 * 3  # 12 rows in minibatches of 4, in each of 2 epochs
    rows = [batch.observations[batch.mean_weights > 0, 0] for batch in seen]
    standard = [(number - 1.0) / (2 / 3) ** 0.5 for number in (0, 1, 2)]
    assert sorted(torch.cat(rows).tolist()) == pytest.approx(sorted(standard * 4 * 2), abs=1e-6)
    parts = trainer.agent.policy.normalizers
    observation, reward, value = (part.state_dict() for part in (parts.observation, parts.reward, parts.value))
    forgetting = sum((1 - VALUE_RATE) ** age for age in range(12))
    assert [state["count"].item() for state in (observation, reward, value)] == [12, 12, pytest.approx(forgetting)]
    assert (observation["origin"] + observation["offset"]).item() == pytest.approx(1.0)
    discounted = (1 + 1.5 + 1.75) / 3  # by ½, anew in each episode
    assert (reward["origin"] + reward["offset"]).item() == pytest.approx(discounted)
    second = trainer.iterate()
    assert (second["step"], second["rollout/episodes"]) == (24, 8)
    assert trainer.agent.policy.normalizers.reward.moments.mean.item() == pytest.approx(discounted)
    trainer.close({})


@pytest.mark.parametrize("rows", [3, 4, 8])  # the third row is an episode's last: a rollout may end with it
def test_a_cut_episode_is_worth_the_value_of_its_true_last_observation(tmp_path: Path, rows: int) -> None:
    settings: dict[str, Any] = {"gamma": 0.5, "lam": 0.0, "normalize_value": False, "epochs": 1, "lr": 0.1}
    # minibatches of one row leave its advantage as it is
    trainer = trainer_in_step(
        tmp_path, CLOCK, num_envs=1, buffer_size=rows, batch_size=1, total_timesteps=rows * 5, **settings
    )
    seen = watch(trainer)
    trainer.collector.rows = trainer.collector.envs.reset()
    for _ in range(5):
        values = {number: trainer.agent.get_action([number])[2] for number in range(4)}
        assert abs(values[3] - values[0]) > 1e-3
        trainer.iterate()
        learnt = {(batch.observations.item(), round(batch.advantages.item(), 4)) for batch in seen}
        expected = {number: 1 + 0.5 * values[number + 1] - values[number] for number in range(3)}
        assert {number for number, _ in learnt} <= set(expected)
        for number, advantage in learnt:
            assert advantage == pytest.approx(expected[number], abs=2e-4)
        seen.clear()
    assert trainer.progress.step < 5 * rows
    trainer.close({})


def test_a_finished_episode_is_worth_nothing_more(tmp_path: Path) -> None:
    env = EnvConfig(id="ClockInStep-v0", kwargs={"length": 3})
    trainer = trainer_in_step(
        tmp_path, env, gamma=0.8, lam=0.9, lr=0.01, buffer_size=64, batch_size=64, epochs=10, total_timesteps=64 * 30
    )
    trainer.run()
    trainer.close({})
    expected = {0: 2.44, 1: 1.8, 2: 1.0}  # 1 + 0.8 + 0.64, 1 + 0.8, 1
    assert {number: trainer.agent.get_action([number])[2] for number in expected} == pytest.approx(expected, abs=0.2)


def test_a_rollout_of_nothing_but_fillers_teaches_nothing(tmp_path: Path) -> None:
    env = EnvConfig(id="ClockInStep-v0", max_episode_steps=1)
    trainer = trainer_in_step(tmp_path, env, buffer_size=2, batch_size=2, total_timesteps=8, target_kl=1.0)
    trainer.collector.rows = trainer.collector.envs.reset()
    rows = [trainer.iterate() for _ in range(2)]
    assert [row["train/epochs"] for row in rows] == [2, 0]
    assert [row["step"] for row in rows] == [2, 2]
    before = trainer.agent.policy.parameters.clone()
    trainer.iterate()
    assert not torch.equal(trainer.agent.policy.parameters, before)
    trainer.close({})


# where observations are put

WHERE = [("sync", "toys:Walk-v0", None), ("async", "toys:Walk-v0", None), ("native", "WalkInStep-v0", None)]
WHERE += [("native", "CartPole-v1", None), ("envpool", "CartPole-v1", None)]
WHERE += [(backend, "toys:OneArray-v0", mode) for backend in ("sync", "async") for mode in AutoresetMode]


@pytest.mark.parametrize(("backend", "name", "mode"), WHERE)
def test_observations_are_put_where_they_are_wanted_and_stay_there(
    backend: str, name: str, mode: AutoresetMode | None
) -> None:
    if backend == "envpool":
        pytest.importorskip("envpool")
    config = EnvConfig(id=name, max_episode_steps=7 if name == "toys:OneArray-v0" else None)
    which = (backend, config, inspect(config, 0), [1, 2])
    first, second = (VectorEnv(*which) if mode is None else VectorEnv(*which, mode) for _ in range(2))
    assert np.array_equal(first.reset(), second.reset())
    rollout = np.full((41, 2, first._spec.obs_size + 1), -7, first._spec.obs_dtype)  # a column more, as memory has
    own = []
    for step in range(40):
        actions = np.full((2, 1), step // 3 % 2)
        ours, theirs = first.step(actions), second.step(actions, rollout[step, :, :-1])
        assert np.shares_memory(theirs.observations, rollout)
        assert not np.shares_memory(ours.observations, rollout)
        own.append(ours.observations)
        assert (ours.finals is None) == (theirs.finals is None)
        if ours.finals is not None and theirs.finals is not None:
            assert np.array_equal(ours.finals.observations, theirs.finals.observations)
            assert not np.shares_memory(theirs.finals.observations, rollout)
    assert len(np.unique(own)) > 5
    assert np.array_equal(own, rollout[:40, :, :-1])
    assert (rollout[:, :, -1] == -7).all()
    assert (rollout[40] == -7).all()
    first.close()
    second.close()


def test_a_vector_program_trusts_our_actions_and_nobody_elses() -> None:
    envs = vector("native", "CartPole-v1", [1])
    other = gym.make_vec("CartPole-v1", 1, vectorization_mode="vector_entry_point")
    assert np.array([5]) in envs._envs.action_space
    assert np.array([5]) not in other.action_space
    envs.close()
    other.close()


class Sealed(SyncVectorEnv):
    """Its space of actions cannot be set again."""

    def __init__(self, num_envs: int) -> None:
        super().__init__([toys.Clock] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "action_space" and name in vars(self):
            raise AttributeError("it cannot be set")
        super().__setattr__(name, value)


def test_a_vector_program_whose_space_cannot_be_set_goes_on_looking() -> None:
    gym.register("Sealed-v0", entry_point=toys.Clock, vector_entry_point=Sealed)
    envs = vector("native", "Sealed-v0", [1])
    envs.reset()
    assert envs.step(np.zeros((1, 1), np.int64)).observations.tolist() == [[1]]
    assert np.array([5]) not in envs._envs.action_space
    envs.close()


# who steps them


def without_envpool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppo_cli.envs.backends.importlib.util.find_spec", lambda _: None)


def with_envpool(monkeypatch: pytest.MonkeyPatch, *known: str) -> None:
    monkeypatch.setattr("ppo_cli.envs.backends.importlib.util.find_spec", lambda _: object())
    module = SimpleNamespace(list_all_envs=lambda: list(known), make_gymnasium=make_pool)
    monkeypatch.setitem(sys.modules, "envpool", module)


def make_pool(name: str, num_envs: int, seed: list[int], **kwargs: Any) -> Any:
    """What stands in for EnvPool's."""
    return gym.make_vec(name, num_envs=num_envs, vectorization_mode="sync", **kwargs)


def choose(wanted: str, config: EnvConfig) -> tuple[str, str]:
    return choose_backend(wanted, config, inspect(config, 0))


ACROBOT = EnvConfig(id="Acrobot-v1")


def test_auto_takes_the_environments_own_vector_program_before_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    without_envpool(monkeypatch)
    assert choose("auto", EnvConfig())[0] == "native"
    monkeypatch.setattr("ppo_cli.envs.backends.importlib.util.find_spec", lambda _: 1 / 0)  # nobody looks for EnvPool
    assert choose("auto", EnvConfig(kwargs={"sutton_barto_reward": True}))[0] == "native"
    assert choose("auto", EnvConfig(id="toys:ClockInStep-v0"))[0] == "native"


def test_auto_takes_envpool_where_it_is_and_knows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with_envpool(monkeypatch, "Acrobot-v1", "CartPole-v1")
    assert choose("auto", ACROBOT) == ("envpool", "Acrobot-v1 has it, and it is the fastest")
    assert choose("auto", EnvConfig())[0] == "native"


def test_auto_ends_at_the_loop_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    without_envpool(monkeypatch)
    backend, reason = choose("auto", ACROBOT)
    assert backend == "sync"
    assert reason == ("Acrobot-v1 has no vector program of its own; EnvPool is not installed (pip install envpool)")
    with_envpool(monkeypatch, "Pong-v5")
    assert choose("auto", ACROBOT) == (
        "sync",
        "Acrobot-v1 has no vector program of its own; EnvPool does not know Acrobot-v1",
    )


def test_arguments_of_the_environment_keep_it_from_envpool(monkeypatch: pytest.MonkeyPatch) -> None:
    with_envpool(monkeypatch, "Acrobot-v1")
    config = EnvConfig(id="Acrobot-v1", kwargs={"render_mode": "rgb_array"})
    assert choose("auto", config)[0] == "sync"
    with pytest.raises(ConfigError, match=r"vector_backend=envpool.*env\.kwargs"):
        choose("envpool", config)
    limited = EnvConfig(id="Acrobot-v1", max_episode_steps=9)
    assert choose("auto", limited)[0] == "envpool"


@pytest.mark.parametrize("wanted", ["sync", "async"])
def test_what_serves_every_environment_is_taken_as_asked(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setattr("ppo_cli.envs.backends.importlib.util.find_spec", lambda _: 1 / 0)  # nobody looks for EnvPool
    assert choose(wanted, EnvConfig()) == choose(wanted, ACROBOT) == (wanted, "as asked")


def test_a_backend_that_does_not_fit_is_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("native", EnvConfig()) == ("native", "as asked")
    with pytest.raises(ConfigError, match=r"vector_backend=native: Acrobot-v1 has no vector program.*=auto"):
        choose("native", ACROBOT)
    with_envpool(monkeypatch, "Acrobot-v1")
    assert choose("envpool", ACROBOT) == ("envpool", "as asked")
    with pytest.raises(ConfigError, match="vector_backend=envpool: EnvPool does not know MountainCar-v0"):
        choose("envpool", EnvConfig(id="MountainCar-v0"))
    without_envpool(monkeypatch)
    with pytest.raises(ConfigError, match="vector_backend=envpool: EnvPool is not installed"):
        choose("envpool", ACROBOT)


class Quiet(SyncVectorEnv):
    """A vector program that leaves out what it should send: masks, or the word on how it starts episodes."""

    def __init__(self, env: str, mode: Any) -> None:
        super().__init__([lambda: gym.make(env)])
        self.metadata = {**self.metadata, "autoreset_mode": mode}
        self.call = None

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        return super().reset(**kwargs)[0], {}


@pytest.mark.parametrize(
    ("mask", "mode", "reason"),
    [
        ("info", AutoresetMode.NEXT_STEP, "gives no action masks there"),
        ("method", AutoresetMode.NEXT_STEP, "has no action_masks() there"),
        ("", None, "has the autoreset mode None there"),
    ],
)
def test_auto_passes_over_a_vector_program_that_would_lead_astray(
    monkeypatch: pytest.MonkeyPatch, mask: str, mode: Any, reason: str
) -> None:
    without_envpool(monkeypatch)
    monkeypatch.setitem(backends._BUILDERS, "native", lambda *_: (Quiet("CartPole-v1", mode), 0))
    found = inspect(EnvConfig(), 0)
    if mask:
        parts = (*found.spec.observations, ObsPart("action_mask", "mask", (2,)))
        found = replace(found, spec=Spec(parts, found.spec.actions, mask))
    backend, why = choose_backend("auto", EnvConfig(), found)
    assert backend == "sync"
    assert reason in why


def test_an_id_without_its_version_has_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    without_envpool(monkeypatch)
    assert choose("auto", EnvConfig(id="CartPole"))[0] == "sync"
