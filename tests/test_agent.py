"""The public agent: its signature, its memory's rules, learning, saving and loading."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from watching import watch_steps

from ppo_cli import PPOAgent
from ppo_cli.agent import learner
from ppo_cli.agent.learner import UpdateResult
from ppo_cli.algorithm.minibatches import Minibatch
from ppo_cli.algorithm.rollout import FinalObservations
from ppo_cli.config import NetworkConfig, PPOConfig
from ppo_cli.errors import CheckpointError, ConfigError
from ppo_cli.runs.checkpoint import load_checkpoint, save_checkpoint
from ppo_cli.spec import Spec

# the public door


def test_the_constructor_has_the_promised_arguments_and_defaults() -> None:
    parameters = list(inspect.signature(PPOAgent).parameters.values())
    promised = {"state_dim": inspect.Parameter.empty, "action_dim": inspect.Parameter.empty}
    promised |= {"lr": 3e-4, "gamma": 0.99, "lam": 0.95, "clip_ratio": 0.2, "value_coef": 0.5, "entropy_coef": 0.01}
    promised |= {"max_grad_norm": 0.5, "hidden_dim": 64, "buffer_size": 2048, "batch_size": 64, "epochs": 10}
    promised |= {"device": "cpu"}
    positional = [part for part in parameters if part.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert {part.name: part.default for part in positional} == promised
    assert [part.name for part in positional] == list(promised)
    assert all(part.kind is inspect.Parameter.KEYWORD_ONLY for part in parameters[len(promised) :])


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("get_action", "state, deterministic=False"),
        ("store_experience", "state, action, reward, value, log_prob, done, *, truncated=False, next_state=None"),
        ("update", "next_state=None"),
        ("save", "filepath"),
        ("load", "filepath"),
    ],
)
def test_the_methods_have_the_promised_arguments(method: str, names: str) -> None:
    parts = inspect.signature(getattr(PPOAgent, method)).parameters.values()
    plain = inspect.Signature([part.replace(annotation=inspect.Parameter.empty) for part in parts])
    assert str(plain) == f"(self, {names})"


def test_the_network_is_two_tanh_layers_in_one_trunk() -> None:
    assert PPOAgent(4, 2, hidden_dim=32).config.network == NetworkConfig(
        hidden_sizes=[32, 32], activation="tanh", shared=True
    )
    assert PPOAgent(4, 2).config == PPOConfig()


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": -1.0},
        {"gamma": 1.5},
        {"lam": float("nan")},
        {"hidden_dim": 0},
        {"epochs": 0},
        {"batch_size": 0},
        {"state_dim": 0},
        {"action_dim": 2.5},
        {"seed": -1},
        {"device": "banana"},
    ],
)
def test_a_value_out_of_range_is_refused_by_name(wrong: dict[str, Any]) -> None:
    name = next(iter(wrong)).replace("hidden_dim", "hidden_sizes")
    with pytest.raises(ConfigError, match=name):
        PPOAgent(**({"state_dim": 4, "action_dim": 2} | wrong))


def test_numbers_of_numpy_are_taken_and_kept_as_plain_ones(tmp_path: Path) -> None:
    # an environment's action_space.n is a numpy number, which a checkpoint must not hold
    agent = PPOAgent(np.int64(4), np.int64(2), lr=np.float64(1e-3), gamma=np.float32(0.5), hidden_dim=np.int32(8))
    agent.save(tmp_path / "a.pt")
    other = PPOAgent(4, 2)
    other.load(tmp_path / "a.pt")
    assert other.config == agent.config
    assert (other.config.lr, other.config.gamma) == (1e-3, 0.5)


# acting

STATE = np.array([0.1, -0.2, 0.3, 0.4])


def test_an_action_comes_with_its_log_probability_and_the_value_as_plain_numbers() -> None:
    agent = PPOAgent(4, 3, seed=0)
    action, log_prob, value = agent.get_action(STATE)
    assert (type(action), type(log_prob), type(value)) == (int, float, float)
    outputs, values, _ = agent.policy.forward(torch.tensor(STATE, dtype=torch.float32)[None])
    assert log_prob == pytest.approx(outputs.softmax(1)[0, action].log().item(), abs=1e-6)
    assert value == values.item()
    assert {agent.get_action(STATE)[0] for _ in range(100)} == {0, 1, 2}
    assert {agent.get_action(STATE, deterministic=True)[0] for _ in range(20)} == {int(outputs.argmax())}


@pytest.mark.parametrize("state", [np.zeros(3), np.zeros((2, 4)), 1.0])
def test_a_state_of_another_size_is_refused(state: Any) -> None:
    with pytest.raises(ConfigError, match="state_dim=4"):
        PPOAgent(4, 2, seed=0).get_action(state)


# learning


def small(**changes: Any) -> PPOAgent:
    settings = {"state_dim": 1, "action_dim": 2, "gamma": 0.5, "lam": 0.5, "hidden_dim": 8, "buffer_size": 4}
    # a minibatch of a single row has nothing to normalise its advantage by, so that one sees what it was
    settings |= {"batch_size": 1, "epochs": 1, "seed": 0} | changes
    return PPOAgent(**settings)


def store(agent: PPOAgent, number: float, reward: float, value: float, done: bool = False, **more: Any) -> None:
    """A transition whose state is its number."""
    agent.store_experience([number], 0, reward, value, -0.7, done, **more)


def watch(agent: PPOAgent) -> list[Minibatch]:
    """The minibatches that the agent is going to learn from."""
    seen: list[Minibatch] = []
    watch_steps(agent.learner, lambda batch, *_: seen.append(batch))
    return seen


def learnt(batches: list[Minibatch]) -> dict[float, float]:
    """The advantages by the number of their state, each of which must have been learnt from once."""
    pairs = [
        (observation, advantage)
        for batch in batches
        for observation, advantage, share in zip(
            batch.observations[:, 0].tolist(), batch.advantages.tolist(), batch.mean_weights.tolist(), strict=True
        )
        if share
    ]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def value_of(agent: PPOAgent, number: float) -> float:
    return agent.get_action([number])[2]


def test_done_without_further_word_is_a_termination() -> None:
    agent = small()
    seen = watch(agent)
    store(agent, 1, reward=1.0, value=4.0)
    store(agent, 2, reward=2.0, value=2.0, done=True)
    # δ₂ = 2 + 0 − 2 = 0;  δ₁ = 1 + ½·2 − 4 = −2
    result = agent.update()
    assert learnt(seen) == {1: -2.0, 2: 0.0}
    assert isinstance(result, UpdateResult)
    assert len(agent.memory) == 0


def test_a_truncated_step_counts_the_value_of_the_state_it_led_to() -> None:
    agent = small()
    seen = watch(agent)
    final = value_of(agent, 7.0)
    store(agent, 1, reward=2.0, value=3.0, done=True, truncated=True, next_state=[7.0])
    store(agent, 2, reward=1.0, value=9.0, done=True)
    agent.update()
    assert learnt(seen) == pytest.approx({1: 2.0 + 0.5 * final - 3.0, 2: -8.0}, abs=1e-6)
    assert abs(final) > 0.01


@pytest.mark.parametrize("done", [True, False])
def test_truncated_needs_no_done_but_the_next_state(done: bool) -> None:
    agent = small()
    seen = watch(agent)
    with pytest.raises(ConfigError, match="next_state"):
        store(agent, 1, 2.0, 3.0, done=done, truncated=True)
    assert len(agent.memory) == 0
    store(agent, 1, 2.0, 3.0, done=done, truncated=True, next_state=[7.0])
    store(agent, 2, 1.0, 9.0, done=True)
    agent.update()
    assert learnt(seen)[1] != pytest.approx(2.0 + 0.5 * 9.0 - 3.0)  # not the next episode's first value


def test_a_last_row_in_mid_episode_waits_for_its_successor() -> None:
    agent = small()
    seen = watch(agent)
    store(agent, 1, reward=1.0, value=4.0)
    store(agent, 2, reward=2.0, value=2.0)
    agent.update()
    assert learnt(seen) == {1: 1.0 + 0.5 * 2.0 - 4.0}
    assert len(agent.memory) == 1
    seen.clear()
    store(agent, 3, reward=3.0, value=6.0, done=True)
    agent.update()
    # δ₃ = 3 − 6 = −3;  δ₂ = 2 + ½·6 − 2 = 3, and ¼·(−3)
    assert learnt(seen) == {2: 2.25, 3: -3.0}
    assert len(agent.memory) == 0


def test_a_single_waiting_row_is_no_update() -> None:
    agent = small()
    before = agent.policy.parameters.clone()
    assert agent.update() is None
    store(agent, 1, 1.0, 4.0)
    assert agent.update() is None
    assert len(agent.memory) == 1
    assert torch.equal(agent.policy.parameters, before)


@pytest.mark.parametrize("through", ["update", "store_experience"])
def test_with_its_next_state_the_last_row_need_not_wait(through: str) -> None:
    agent = small()
    seen = watch(agent)
    following = value_of(agent, 7.0)
    if through == "update":
        store(agent, 1, 2.0, 3.0)
        agent.update([7.0])
    else:
        store(agent, 1, 2.0, 3.0, next_state=[7.0])
        agent.update()
    assert learnt(seen) == pytest.approx({1: 2.0 + 0.5 * following - 3.0}, abs=1e-6)
    assert len(agent.memory) == 0


def test_a_next_state_speaks_for_its_own_row_only() -> None:
    agent = small()
    seen = watch(agent)
    store(agent, 1, 1.0, 4.0, next_state=[2.0])
    store(agent, 2, 2.0, 2.0)
    agent.update()
    assert list(learnt(seen)) == [1]
    assert len(agent.memory) == 1


def test_the_memory_grows_past_full_until_the_update_takes_all_rows() -> None:
    agent = small()
    seen = watch(agent)
    for number in range(11):
        assert agent.memory.is_full() == (number >= 4)
        assert len(agent.memory) == number
        store(agent, number, 1.0, 0.0, done=number == 10)
    agent.update()
    assert sorted(learnt(seen)) == list(range(11))
    assert not agent.memory.is_full()


def test_every_epoch_takes_every_row_once_in_a_new_order() -> None:
    agent = small(epochs=3, batch_size=4)
    seen = watch(agent)
    for number in range(10):
        store(agent, number, 1.0, 0.0, done=number == 9)
    assert agent.update() is not None
    assert [len(batch.mean_weights) for batch in seen] == [4] * 9
    orders = []
    for epoch in range(3):
        batches = seen[3 * epoch : 3 * epoch + 3]
        assert sorted(learnt(batches)) == list(range(10))
        orders.append(tuple(learnt(batches)))
    assert len(set(orders)) == 3


def fill(agent: PPOAgent, rows: int = 64) -> None:
    """A memory that has something to teach: action 0 is right."""
    for number in range(rows):
        state = [float(number % 5)]
        action, log_prob, value = agent.get_action(state)
        agent.store_experience(state, action, float(action == 0), value, log_prob, number % 8 == 7)


def test_target_kl_ends_the_update_after_the_first_epoch_whose_mean_passes_it() -> None:
    def run(target_kl: float | None) -> tuple[UpdateResult, np.ndarray[Any, Any]]:
        network = NetworkConfig(hidden_sizes=[8])
        config = PPOConfig(network=network, lr=0.01, batch_size=16, epochs=6, target_kl=target_kl)
        agent = PPOAgent.from_spec(Spec.simple(1, 2), config, seed=0)
        kls: list[float] = []
        watch_steps(agent.learner, lambda _, __, metrics: kls.append(metrics[3].item()))
        fill(agent)
        result = agent.update()
        assert result is not None
        return result, np.reshape(kls, (-1, 4))  # (epochs, minibatches)

    def epochs_until(numbers: np.ndarray[Any, Any], target: float) -> int:
        return int((numbers > target).argmax()) + 1

    free, kls = run(None)
    assert free.epochs == 6
    assert run(1e9)[0] == free
    # targets at which the mean, the last and the largest of an epoch's minibatches would not stop at the same epoch
    rivals = (kls[:, -1], kls.max(1), np.cumsum(kls.mean(1)) / np.arange(1, 7))
    targets = [0.999 * mean for mean in kls.mean(1)]
    for rival in rivals:
        telling = [target for target in targets if epochs_until(rival, target) != epochs_until(kls.mean(1), target)]
        limited, stopped_kls = run(telling[0])
        assert limited.epochs == epochs_until(kls.mean(1), telling[0])
        assert stopped_kls.tolist() == kls[: limited.epochs].tolist()


def test_the_update_reports_the_fit_of_the_values_before_it() -> None:
    agent = small(lam=1.0)
    for number, (reward, value) in enumerate([(0.0, 0.0), (2.0, 2.0), (4.0, 1.0)]):
        store(agent, number, reward, value, done=True)
    result = agent.update()
    assert result is not None
    assert result.explained_variance == pytest.approx(0.25)  # as worked out in test_ppo.py


def test_learning_makes_the_better_action_more_probable() -> None:
    agent = small(lr=0.01, epochs=10, batch_size=16)
    for _ in range(5):
        fill(agent)
        agent.update()
    assert [agent.get_action([float(number)], deterministic=True)[0] for number in range(5)] == [0] * 5
    assert np.exp(agent.get_action([2.0], deterministic=True)[1]) > 0.8


def test_changing_the_value_units_in_an_update_changes_no_prediction_by_itself() -> None:
    agent = small(lr=1e-12)
    before = [value_of(agent, number) for number in (0.0, 1.0, 2.0)]
    for number in range(8):
        store(agent, number, 100.0 * number, 0.0, done=True)
    agent.update()
    moments = agent.policy.normalizers.value.state_dict()
    assert (moments["origin"] + moments["offset"]).item() == pytest.approx(350.0)
    assert [value_of(agent, number) for number in (0.0, 1.0, 2.0)] == pytest.approx(before, abs=1e-3)


def standardizing() -> PPOAgent:
    config = PPOConfig(normalize_obs=True, buffer_size=6, epochs=3)
    return PPOAgent.from_spec(Spec.simple(1, 2), config, seed=0, num_envs=2)


def roll_out(agent: PPOAgent, shift: float = 0.0) -> None:
    for row in np.array([[1.0, 2.0], [3.0, 99.0], [5.0, 7.0]], np.float32):
        before = agent.policy.forward(torch.ones(1, 1))
        real = (row != 99.0).astype(np.float32)
        agent.memory.append(row[:, None] + shift, [[0], [0]], [0.0, 1.0], [False] * 2, [False] * 2, weights=real)
        assert torch.equal(agent.policy.forward(torch.ones(1, 1))[0], before[0])
    agent.memory.next_observations = np.full((2, 1), 1000.0, np.float32)


def test_observation_statistics_are_frozen_in_a_rollout_and_count_each_real_row_once() -> None:
    agent = standardizing()
    first = np.array([1.0, 2.0, 3.0, 5.0, 7.0])
    for times in (1, 2):
        roll_out(agent, 10.0 * (times - 1))
        seen = watch(agent)
        agent.learn()
        rows = seen[0].observations[seen[0].mean_weights > 0, 0]
        # the first rollout is learnt from with its own statistics, the second with those that it was acted on with
        assert sorted(rows.tolist()) == pytest.approx((first + 10 * (times - 1) - first.mean()) / first.std())
        moments = agent.policy.normalizers.observation.state_dict()
        assert moments["count"].item() == 5 * times
        every = np.concatenate([first, first + 10.0][:times])
        assert (moments["origin"] + moments["offset"]).item() == pytest.approx(every.mean())


def test_what_the_first_rollout_was_acted_on_with_stays_its_probability() -> None:
    agent = standardizing()
    roll_out(agent, 300.0)
    agent.learner.fill_in(agent.memory)
    probable, valued = agent.memory["log_probs"].copy(), agent.memory["values"].copy()
    agent.learner.learn(agent.memory, agent.memory.size)
    np.testing.assert_array_equal(agent.memory["log_probs"], probable)
    told_apart = [len(np.unique(values[agent.memory["weights"] > 0])) for values in (valued, agent.memory["values"])]
    assert told_apart[0] < told_apart[1] == 5  # 300 and more are all far out of range until they are counted


def test_values_and_log_probabilities_filled_in_later_are_those_of_the_acting_policy() -> None:
    agent = PPOAgent.from_spec(Spec.simple(1, 2), PPOConfig(buffer_size=6), seed=0, num_envs=2)
    for step in range(3):
        agent.memory.append([[step], [step + 10.0]], [[step % 2], [1]], [0.0, 1.0], [False] * 2, [False] * 2)
    agent.learner.fill_in(agent.memory)
    outputs, values, _ = agent.policy.forward(torch.tensor([[2.0], [12.0]]))
    assert agent.memory["values"][2].tolist() == pytest.approx(values.tolist())
    expected = [outputs.log_softmax(1)[env, action].item() for env, action in enumerate((0, 1))]
    assert agent.memory["log_probs"][2].tolist() == pytest.approx(expected)


def test_rows_that_go_a_few_at_a_time_are_learnt_from_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    def learnt_with(at_once: int) -> tuple[list[int], Tensor]:
        monkeypatch.setattr(learner, "AT_ONCE", at_once)
        config = PPOConfig(buffer_size=22, batch_size=4, epochs=2)
        agent = PPOAgent.from_spec(Spec.simple(3, 2), config, seed=0, num_envs=2)
        rng = np.random.default_rng(0)
        for _ in range(11):
            rows, ends = rng.normal(size=(2, 3)).astype(np.float32), rng.random(2) < 0.2
            agent.memory.append(rows, rng.integers(0, 2, (2, 1)), rng.normal(size=2), ends, [False] * 2)
        agent.memory.next_observations = rows
        sizes, forward = [], agent.policy.forward

        def counted(rows: Tensor) -> Any:
            sizes.append(len(rows))
            return forward(rows)

        monkeypatch.setattr(agent.policy, "forward", counted)
        agent.learn()
        return sizes, agent.policy.parameters

    (few, parts), (many, whole) = learnt_with(at_once=8 * 3 * 4), learnt_with(at_once=2**20)
    assert few == [8, 8, 6, 2]
    assert many == [22, 2]
    assert torch.allclose(parts, whole, atol=1e-6)


def test_each_environment_bootstraps_from_its_own_observations() -> None:
    config = PPOConfig(buffer_size=4, batch_size=1, gamma=0.5, lam=0.0, epochs=1, normalize_value=False)
    agent = PPOAgent.from_spec(Spec.simple(1, 2), config, seed=0, num_envs=2)
    value = {number: value_of(agent, number) for number in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0)}
    cut = FinalObservations(np.array([1]), np.array([[9.0]], np.float32))
    agent.memory.append([[1.0], [2.0]], [[0], [0]], [1.0, 1.0], [False] * 2, [False, True], finals=cut)
    agent.memory.append([[3.0], [4.0]], [[0], [0]], [1.0, 1.0], [False] * 2, [False] * 2)
    agent.memory.next_observations = np.array([[5.0], [6.0]], np.float32)
    seen = watch(agent)
    agent.learn()
    follows = {1.0: 3.0, 2.0: 9.0, 3.0: 5.0, 4.0: 6.0}
    expected = {number: 1.0 + 0.5 * value[after] - value[number] for number, after in follows.items()}
    assert learnt(seen) == pytest.approx(expected, abs=1e-6)


# seeds


def life(agent: PPOAgent, updates: int = 2) -> list[float]:
    """Everything an agent does, as numbers."""
    numbers: list[float] = []
    for _ in range(updates):
        fill(agent, 32)
        numbers += agent.memory["actions"].flatten().tolist()
        result = agent.update()
        assert result is not None
        numbers += result
    return [*numbers, *agent.get_action([1.0])]


def test_without_a_seed_torchs_seed_repeats_a_run() -> None:
    def run(seed: int) -> list[float]:
        torch.manual_seed(seed)
        return life(small(seed=None))

    assert run(3) == run(3)
    assert run(3) != run(4)
    torch.manual_seed(3)
    assert life(small(seed=None)) != life(small(seed=None))


def test_a_seed_repeats_a_run_whatever_torchs_generator_does() -> None:
    rng = torch.get_rng_state()
    first = life(small(seed=5))
    assert torch.equal(torch.get_rng_state(), rng)
    torch.manual_seed(1)
    assert life(small(seed=5)) == first
    assert life(small(seed=6)) != first


# keeping


def test_saving_and_loading_goes_on_exactly_as_if_nothing_had_been(tmp_path: Path) -> None:
    config = PPOConfig(
        network=NetworkConfig(hidden_sizes=[8]), epochs=2, batch_size=8, normalize_obs=True, normalize_reward=True
    )
    agent = PPOAgent.from_spec(Spec.simple(1, 2), config, seed=0)
    life(agent)
    agent.save(tmp_path / "a.pt")
    other = PPOAgent(1, 2, lr=0.1, hidden_dim=16, seed=9)
    other.load(str(tmp_path / "a.pt"))
    assert other.config == config
    assert life(other) == life(agent)
    for ours, theirs in zip(other.learner.state, agent.learner.state, strict=True):
        assert torch.equal(ours, theirs)
    assert other.learner.updates == agent.learner.updates == 4 * 2 * 4  # updates, epochs, minibatches


def test_loading_reads_a_run_of_several_environments(tmp_path: Path) -> None:
    config = PPOConfig(normalize_reward=True, buffer_size=8)
    config.network = NetworkConfig(hidden_sizes=[5, 6], activation="relu", shared=False)
    run = PPOAgent.from_spec(Spec.simple(1, 2), config, seed=0, num_envs=4)
    save_checkpoint(tmp_path / "last.pt", run.state_dict(), {"config": {}, "progress": {}, "evaluation": None})
    agent = PPOAgent(1, 2, seed=1)
    agent.load(tmp_path / "last.pt")
    assert agent.config.network.hidden_sizes == [5, 6]
    assert agent.get_action([0.3], deterministic=True)[1:] == run.get_action([0.3], deterministic=True)[1:]
    life(agent)


def test_the_memory_is_empty_after_loading(tmp_path: Path) -> None:
    agent = small()
    agent.save(tmp_path / "a.pt")
    store(agent, 1, 1.0, 1.0)
    agent.load(tmp_path / "a.pt")
    assert len(agent.memory) == 0


@pytest.mark.parametrize(("state_dim", "action_dim"), [(2, 2), (1, 3)])
def test_an_agent_of_other_spaces_is_refused_and_nothing_changes(
    tmp_path: Path, state_dim: int, action_dim: int
) -> None:
    PPOAgent(state_dim, action_dim, seed=0).save(tmp_path / "a.pt")
    agent = small()
    before = agent.get_action([1.0], deterministic=True)
    with pytest.raises(CheckpointError, match=f"state_dim={state_dim}, action_dim={action_dim}"):
        agent.load(tmp_path / "a.pt")
    assert agent.get_action([1.0], deterministic=True) == before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        small().load(tmp_path / "nowhere.pt")


def damage(state: dict[str, Any], kind: str) -> None:
    """Spoil a saved agent."""
    match kind:
        case "config":
            del state["config"]["gamma"]
        case "unknown setting":
            state["config"]["gama"] = 1
        case "setting out of range":
            state["config"]["lr"] = -1.0
        case "spec":
            del state["spec"]
        case "parameter missing":
            del state["parameters"]["policy.bias"]
        case "parameter too many":
            state["parameters"]["body.7.bias"] = torch.zeros(1)
        case "parameter's shape":
            state["first_moment"]["policy.bias"] = torch.zeros(3)
        case "parameter's type":
            state["second_moment"]["policy.bias"] = torch.zeros(2).double()
        case "updates":
            del state["updates"]
        case "number of updates":
            state["updates"] = -1
        case "updates are no number":
            state["updates"] = torch.tensor(3)
        case "normalizers":
            del state["normalizers"]
        case "normalizer's number":
            del state["normalizers"]["value"]["offset"]
        case "reward's sums":
            del state["normalizers"]["reward"]["discounted"]
        case "reward's sums are no tensor":
            state["normalizers"]["reward"]["discounted"] = 0.0
        case "stream":
            del state["streams"]["shuffle"]
        case "stream's content":
            state["streams"]["action"] = torch.zeros_like(state["streams"]["action"])


@pytest.mark.parametrize(
    "kind",
    [
        "config",
        "unknown setting",
        "setting out of range",
        "spec",
        "parameter missing",
        "parameter too many",
        "parameter's shape",
        "parameter's type",
        "updates",
        "number of updates",
        "updates are no number",
        "normalizers",
        "normalizer's number",
        "reward's sums",
        "reward's sums are no tensor",
        "stream",
        "stream's content",
    ],
)
def test_loading_is_strict_and_changes_nothing_when_it_fails(tmp_path: Path, kind: str) -> None:
    config = PPOConfig(network=NetworkConfig(hidden_sizes=[8]), normalize_reward=True)
    agent = PPOAgent.from_spec(Spec.simple(1, 2), config, seed=0)
    save_checkpoint(tmp_path / "whole.pt", agent.state_dict())
    agent.load(tmp_path / "whole.pt")
    state = load_checkpoint(tmp_path / "whole.pt")["agent"]
    damage(state, kind)
    save_checkpoint(tmp_path / "damaged.pt", state)
    before = agent.policy
    with pytest.raises(CheckpointError):
        agent.load(tmp_path / "damaged.pt")
    assert agent.policy is before


def test_weights_of_a_run_start_another_with_fresh_moments() -> None:
    old, new = small(), small(seed=1, lr=0.1)
    life(old)
    new.load_weights(old.state_dict())
    assert torch.equal(new.policy.parameters, old.policy.parameters)
    assert new.get_action([1.0], deterministic=True) == old.get_action([1.0], deterministic=True)
    assert not new.learner.state.first_moment.any()
    assert new.learner.updates == 0
    assert old.learner.updates > 0
    assert new.config.lr == 0.1


def test_weights_of_another_network_are_refused_with_each_difference() -> None:
    old, new = PPOAgent(1, 2, hidden_dim=8), PPOAgent(3, 2, hidden_dim=16)
    with pytest.raises(CheckpointError, match=r"(?s)hidden_sizes=\[8,8\].*numbers \(1,\).*numbers \(3,\)"):
        new.load_weights(old.state_dict())
