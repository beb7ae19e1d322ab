"""The three habits of starting the next episode: the same transitions, advantages and updates under each."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from matrix import make_trainer

from ppo_cli.agent.actor import Actor
from ppo_cli.agent.policy import Acted
from ppo_cli.algorithm import ppo
from ppo_cli.algorithm.normalization import VALUE_RATE
from ppo_cli.config import EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.envs.inspect import inspect
from ppo_cli.envs.vector import VectorEnv
from ppo_cli.training import collector
from ppo_cli.training.trainer import Trainer

SAME, NEXT, DISABLED = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED
MODES = (SAME, NEXT, DISABLED)
every_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name.lower())

WALK = EnvConfig(id="toys:Walk-v0", max_episode_steps=7)  # ends of both kinds
ENVS = {
    "walk": WALK,
    "cut at once": EnvConfig(id="toys:Walk-v0", max_episode_steps=1),
    "both": EnvConfig(id="toys:Both-v0"),
    "one array": EnvConfig(id="toys:OneArray-v0", max_episode_steps=3),
    "stacked": EnvConfig(id="toys:Walk-v0", max_episode_steps=4, frame_stack=3),
    "tuple": EnvConfig(id="toys:Any-v0", kwargs={"observation": "tuple"}),
    "image": EnvConfig(id="toys:Any-v0", kwargs={"observation": "image"}),
    "mask in info": EnvConfig(id="toys:Any-v0", kwargs={"observation": "discrete", "mask": "info"}),
    "mask by method": EnvConfig(id="toys:Any-v0", kwargs={"observation": "float64", "mask": "method"}),
    "mask in dict": EnvConfig(id="toys:Any-v0", kwargs={"observation": "dict", "mask": "key"}),
}


class Life(NamedTuple):
    """One transition as a learner sees it."""

    observation: list[float]
    action: int
    reward: float
    terminated: bool
    truncated: bool
    following: list[float] | None  # what came next, of the same episode; of no account where the task was over


def choose(observations: Any, masks: slice | None = None) -> Any:
    """A fixed function of the observation that never does what is forbidden, (envs, 1).

    Args:
        observations: (envs, columns).
        masks: The columns of the masks; without them there are two actions.
    """
    wish = np.abs(np.sin(observations.astype(np.float64).sum(1) * 40.0)) * 0.999
    allowed = np.ones((len(observations), 2)) if masks is None else observations[:, masks]
    options = [np.flatnonzero(row) for row in allowed]
    return np.array([[row[int(part * len(row))]] for row, part in zip(options, wish, strict=True)], np.int64)


def live(config: EnvConfig, mode: AutoresetMode, steps: int, backend: str = "sync") -> list[list[Life]]:
    """Each environment's transitions in ``steps`` vector steps."""
    found = inspect(config, 0)
    spec = found.spec
    masks = next((columns for part, columns in spec.obs_columns() if part.kind == "mask"), None)
    envs = VectorEnv(backend, config, found, [5, 6, 7], mode)
    observations = envs.reset()
    lives: list[list[Life]] = [[] for _ in range(envs.num_envs)]
    for _ in range(steps):
        actions = choose(observations, masks)
        step = envs.step(actions)
        following = step.observations.copy()
        if step.finals is not None:
            following[step.finals.envs] = step.finals.observations
        for env, life in enumerate(lives):
            if step.valid is not None and not step.valid[env]:
                assert step.rewards[env] == 0
                assert not step.terminated[env]
                assert not step.truncated[env]
                continue
            over, cut = bool(step.terminated[env]), bool(step.truncated[env])
            end = None if over else following[env].tolist()
            life.append(Life(observations[env].tolist(), actions[env].item(), float(step.rewards[env]), over, cut, end))
        observations = step.observations
    envs.close()
    return lives


@pytest.mark.parametrize("name", ENVS)
def test_each_environment_lives_the_same_life_under_every_habit(name: str) -> None:
    same, next_, disabled = (live(ENVS[name], mode, 60) for mode in MODES)
    assert same == disabled
    for ours, theirs in zip(same, next_, strict=True):
        assert len(ours) == 60
        assert 30 <= len(theirs) < 60  # the others only fetched an episode's first observation
        assert theirs == ours[: len(theirs)]
        ends = sum(life.terminated or life.truncated for life in theirs)
        assert ends - 60 + len(theirs) in (0, 1)  # each end has one such step, though the last one's may be to come
        for life, after in pairwise(ours):
            if not life.terminated and not life.truncated:
                assert life.following == after.observation


@every_mode
@pytest.mark.parametrize("name", ["one array", "mask in info", "mask by method"])
def test_processes_live_no_other_life(name: str, mode: AutoresetMode) -> None:
    assert live(ENVS[name], mode, 30, "async") == live(ENVS[name], mode, 30)


def test_the_last_observation_is_that_of_its_own_episode_where_an_environment_has_one_array() -> None:
    for mode in MODES:
        life = live(ENVS["one array"], mode, 8)[0]
        assert [step.following for step in life[:6]] == [[1, 1], [2, 1], [3, 1], [1, 2], [2, 2], [3, 2]]


@every_mode
def test_where_some_environments_show_no_mask_those_may_do_everything(mode: AutoresetMode) -> None:
    env = EnvConfig(id="toys:MaskedStart-v0")
    spec = (found := inspect(env, 0)).spec
    envs = VectorEnv("sync", env, found, [5, 6, 7], mode)
    masks = slice(spec.obs_size - 3, None)
    observations = envs.reset()
    assert not observations[:, masks].all()
    several = 0
    for _ in range(40):
        step = envs.step(choose(observations, masks))
        observations = step.observations
        starts = np.zeros(3, bool) if step.starts is None else step.starts
        several += 0 < starts.sum() < 3
        assert observations[~starts, masks].all()
    assert several > 5
    envs.close()


def masks_at_ends(kwargs: dict[str, Any], backend: str, mode: AutoresetMode, **settings: Any) -> list[list[float]]:
    """The masks beside or in the last observations of some episodes of a clock, after how many steps each."""
    env = EnvConfig(id="toys:Masked-v0", kwargs=kwargs, **settings)
    found = inspect(env, 0)
    masks = next(columns for part, columns in found.spec.obs_columns() if part.kind == "mask")
    clock = next(columns for part, columns in found.spec.obs_columns() if part.kind == "numbers")
    envs = VectorEnv(backend, env, found, [5, 6], mode, all_finals=True)
    envs.reset()
    ends = []
    for _ in range(9):
        step = envs.step(np.zeros((2, 1), np.int64))
        lasts = step.observations if step.finals is None else step.finals.observations
        for row in [] if step.ended is None else lasts:
            ends.append([*row[clock].tolist(), *row[masks].tolist()])
    envs.close()
    return ends


@every_mode
@pytest.mark.parametrize("backend", ["sync", "async"])
@pytest.mark.parametrize("source", ["info", "method", "observation"])
def test_a_last_observation_has_its_own_mask(backend: str, mode: AutoresetMode, source: str) -> None:
    cut = masks_at_ends({"source": source}, backend, mode, max_episode_steps=2)
    assert len(cut) == (6 if mode == NEXT else 8)
    assert all(row == [2, 0, 0, 1, 0, 0] for row in cut)
    nothing = masks_at_ends({"source": source, "options_at_end": 0}, backend, mode)
    assert len(nothing) == (4 if mode == NEXT else 6)
    # what stands beside an observation allows all where nothing is allowed; what is part of it is left as it is
    assert all(row == ([3, 0, 0, 0, 0, 0] if source == "observation" else [3, 1, 1, 1, 1, 1]) for row in nothing)
    if source == "info":
        unsaid = masks_at_ends({"source": source, "every": 2}, backend, mode)
        assert all(row == [3, 1, 1, 1, 1, 1] for row in unsaid)


@every_mode
def test_an_observation_that_an_error_made_the_last_one_has_its_own_mask(mode: AutoresetMode) -> None:
    kwargs = {"source": "info", "breaks_after": 2}
    ends = masks_at_ends(kwargs, "sync", mode, restart_crashed=True)
    assert len(ends) >= 4
    assert all(row == [2, 0, 0, 1, 0, 0] for row in ends)


# in training


def config(env: EnvConfig, **settings: Any) -> TrainConfig:
    common: dict[str, Any] = {"num_envs": 3, "buffer_size": 96, "batch_size": 16, "epochs": 2, "total_timesteps": 96}
    common |= {"network": NetworkConfig(hidden_sizes=[8]), "eval_every": None, "checkpoint_every": None, "logger": []}
    return TrainConfig(env=env, vector_backend="sync", threads=1, compile=False, **common | settings)


def start(trainer: Trainer) -> Trainer:
    trainer.collector.rows = trainer.agent.policy.compose(trainer.collector.envs.reset(), None, None)
    return trainer


EVERYTHING: dict[str, Any] = {"normalize_obs": True, "normalize_reward": True, "value_clip": 0.5}
LSTM = NetworkConfig(hidden_sizes=[8], recurrent="lstm", recurrent_size=4)


@pytest.mark.parametrize("settings", [{}, EVERYTHING, {"network": LSTM}], ids=["plain", "everything", "memory"])
def test_the_end_of_a_step_and_a_reset_of_ones_own_give_the_same_updates_bit_for_bit(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    states, rows = [], []
    for mode in (SAME, DISABLED):
        trainer = start(make_trainer(config(WALK, total_timesteps=288, **settings), tmp_path, mode))
        before = trainer.agent.policy.parameters.clone()
        metrics = [trainer.iterate() for _ in range(3)]
        rows.append([{name: row[name] for name in row if not name.startswith("time/")} for row in metrics])
        assert not torch.equal(before, trainer.agent.policy.parameters)
        states.append(trainer.agent.state_dict())
        trainer.collector.envs.close()
    assert rows[0] == rows[1]
    for name in ("parameters", "first_moment", "second_moment"):
        assert all(torch.equal(tensor, states[1][name][key]) for key, tensor in states[0][name].items())
    for part, numbers in states[0]["normalizers"].items():
        assert all(torch.equal(tensor, states[1]["normalizers"][part][key]) for key, tensor in numbers.items())


class Rollout(NamedTuple):
    """What the first update of a run was made of, (steps, envs) each."""

    observations: Any
    advantages: Any
    returns: Any
    weights: Any
    ended: Any


def first_rollout(
    folder: Path, mode: AutoresetMode, monkeypatch: pytest.MonkeyPatch, env: EnvConfig = WALK, **settings: Any
) -> tuple[Rollout, Trainer]:
    """Of a policy whose actions are a fixed function of the observation; the values are a real network's."""
    trainer = start(make_trainer(config(env, **settings), folder, mode))
    estimate, memory = ppo.estimate_advantages, trainer.agent.memory
    kept: list[Rollout] = []

    class Fixed(Actor):
        def act(self, rows: Any, step: int) -> Acted:
            actions = choose(rows[:, : trainer.agent.policy.spec.obs_size])
            return super().act(rows, step)._replace(actions=actions, env_actions=actions)

    def watched(*inputs: Any) -> Any:
        advantages, returns = estimate(*inputs)
        ended = memory["terminated"] + memory["truncated"]
        columns = (memory["observations"], advantages.numpy(), returns.numpy(), memory["weights"], ended)
        kept.append(Rollout(*(np.array(column) for column in columns)))
        return advantages, returns

    with monkeypatch.context() as patch:
        patch.setattr(collector, "make_actor", lambda policy, *sizes: Fixed(policy, policy.noise(*sizes)))
        patch.setattr(ppo, "estimate_advantages", watched)
        trainer.iterate()
    trainer.collector.envs.close()
    return kept[0], trainer


def real_columns(rollout: Rollout, env: int, whole: bool) -> tuple[Any, Any, Any]:
    """Observations, advantages and returns of one environment's real rows; of complete episodes alone if ``whole``."""
    rows = np.flatnonzero(rollout.weights[:, env] > 0)
    if whole:
        rows = rows[rows <= np.flatnonzero(rollout.ended[:, env])[-1]]
    return rollout.observations[rows, env], rollout.advantages[rows, env], rollout.returns[rows, env]


NETWORKS = {"no memory": NetworkConfig(hidden_sizes=[8]), "memory": LSTM}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_transition_has_the_same_advantage_under_every_habit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: NetworkConfig
) -> None:
    same, next_, disabled = (first_rollout(tmp_path, mode, monkeypatch, network=network)[0] for mode in MODES)
    for ours, theirs in zip(same, disabled, strict=True):
        assert np.array_equal(ours, theirs)
    for env in range(3):
        theirs = real_columns(next_, env, whole=True)
        assert len(theirs[0]) >= 10
        for our_column, their_column in zip(real_columns(same, env, whole=True), theirs, strict=True):
            assert their_column == pytest.approx(our_column[: len(their_column)], abs=1e-5)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("transitions", [20, 21, 22, 23, 24])  # cut within an episode or at its end
def test_rollouts_cut_at_the_same_place_have_the_same_advantages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transitions: int, network: NetworkConfig
) -> None:
    # episodes of at most 4 steps, so a rollout has many ends of both kinds
    env = EnvConfig(id="toys:Walk-v0", max_episode_steps=4)
    settings = {"num_envs": 1, "batch_size": 1, "epochs": 1, "network": network, "env": env}
    same, _ = first_rollout(tmp_path, SAME, monkeypatch, buffer_size=transitions, **settings)
    ends = int(same.ended[:-1].sum())  # each but one in the very last row has a filler within the rollout
    next_, trainer = first_rollout(tmp_path, NEXT, monkeypatch, buffer_size=transitions + ends, **settings)
    assert trainer.progress.step == int(next_.weights.sum()) == transitions
    assert ends >= 4
    theirs = real_columns(next_, 0, whole=False)
    for our_column, their_column in zip(real_columns(same, 0, whole=False), theirs, strict=True):
        assert their_column == pytest.approx(our_column, abs=1e-5)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_steps_that_only_fetch_an_observation_count_nowhere(tmp_path: Path, network: NetworkConfig) -> None:
    # clocks that show 0, 1, 2 before they are cut at 3; a filler is what acts on 3
    env = EnvConfig(id="toys:Clock-v0", max_episode_steps=3)
    settings = {**EVERYTHING, "gamma": 0.5, "lam": 0.9, "num_envs": 2, "buffer_size": 32, "network": network}
    trainer = start(make_trainer(config(env, **settings), tmp_path, NEXT))
    collected = []
    learn = trainer.agent.learn

    def watched() -> Any:
        memory = trainer.agent.memory
        collected.append((memory["observations"][..., 0].copy(), memory["weights"].copy(), memory["rewards"].copy()))
        return learn()

    trainer.agent.learn = watched  # type: ignore[method-assign]
    row = trainer.iterate()
    observations, weights, rewards = collected[0]
    assert observations[:, 0].tolist() == [0, 1, 2, 3] * 4
    assert np.array_equal(weights, observations != 3)
    assert np.array_equal(rewards, observations != 3)
    assert (row["step"], trainer.progress.step, row["rollout/episodes"]) == (24, 24, 8)
    assert (row["rollout/episode_return_mean"], row["rollout/episode_length_mean"]) == (3.0, 3.0)
    parts = trainer.agent.policy.normalizers
    observation, reward, value = (part.state_dict() for part in (parts.observation, parts.reward, parts.value))
    forgetting = sum((1 - VALUE_RATE) ** age for age in range(24))
    counts = [state["count"].item() for state in (observation, reward, value)]
    assert counts == [24, 24, pytest.approx(forgetting)]
    assert (observation["origin"] + observation["offset"]).tolist() == pytest.approx([1.0])
    discounted = (1 + 1.5 + 1.75) / 3  # by ½, anew in each episode
    assert (reward["origin"] + reward["offset"]).item() == pytest.approx(discounted)
    trainer.collector.envs.close()


@every_mode
def test_a_task_that_is_only_ever_cut_is_worth_what_endlessness_is(tmp_path: Path, mode: AutoresetMode) -> None:
    env = EnvConfig(id="toys:Toy-v0", max_episode_steps=5)
    settings = {"gamma": 0.9, "lam": 0.9, "lr": 0.01, "buffer_size": 60, "total_timesteps": 60 * 60}
    trainer = make_trainer(config(env, num_envs=2, batch_size=30, epochs=6, **settings), tmp_path, mode)
    trainer.run()
    trainer.collector.envs.close()
    value = trainer.agent.get_action([0.0])[2]
    assert value == pytest.approx(10.0, abs=0.5)  # 1/(1 − 0.9), and not 1 + 0.9 + … + 0.9⁴ = 4.1
