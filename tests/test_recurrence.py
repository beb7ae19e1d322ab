"""Networks with memory: the layers themselves, and what is remembered from the rollout to the update."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toys
from torch import Tensor
from watching import watch_steps

from ppo_cli.agent.learner import sequence_length
from ppo_cli.algorithm import minibatches, ppo
from ppo_cli.config import ContinuousConfig, EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.networks.actor_critic import ActorCritic
from ppo_cli.networks.distributions import make_head
from ppo_cli.networks.recurrent import KINDS, Recurrence
from ppo_cli.spec import Spec
from ppo_cli.training.plan import Planner
from ppo_cli.training.trainer import Trainer

assert toys.TOYS  # importing them registers them

INPUTS, WIDTH, SEQUENCES, STEPS = 3, 4, 5, 6


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer_of(kind: str, trunks: int = 1) -> tuple[Recurrence, list[Tensor]]:
    layer = KINDS[kind](INPUTS, WIDTH, trunks)
    return layer, [random(*shape, seed=seed) for seed, shape in enumerate(layer.shapes.values())]


def in_steps(
    layer: Recurrence, parameters: list[Tensor], features: Tensor, state: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor]:
    outputs = []
    for step in range(features.shape[2]):
        output, state = layer(parameters, features[:, :, step : step + 1], state, starts[:, step : step + 1])
        outputs.append(output)
    return torch.cat(outputs, 2), state


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trunks", [1, 2])
def test_a_sequence_at_once_is_its_steps_one_by_one(kind: str, trunks: int) -> None:
    layer, parameters = layer_of(kind, trunks)
    features, state = random(trunks, SEQUENCES, STEPS, INPUTS, seed=5), random(SEQUENCES, layer.state_size, seed=6)
    starts = torch.zeros(SEQUENCES, STEPS)
    starts[1, 0] = starts[2, 3] = starts[3, STEPS - 1] = starts[4, 2] = starts[4, 3] = 1.0
    outputs, after = layer(parameters, features, state, starts)
    assert outputs.shape == (trunks, SEQUENCES, STEPS, WIDTH)
    assert after.shape == state.shape
    expected, last = in_steps(layer, parameters, features, state, starts)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(after, last)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", [0, 3])
def test_where_an_episode_starts_nothing_is_remembered(kind: str, start: int) -> None:
    layer, parameters = layer_of(kind, 2)
    features, state = random(2, 2, STEPS, INPUTS, seed=5), random(2, layer.state_size, seed=6)
    starts = torch.zeros(2, STEPS)
    starts[0, start] = 1.0
    outputs, after = layer(parameters, features, state, starts)
    tail = features[:, :, start:]
    fresh, fresh_after = layer(parameters, tail, torch.zeros_like(state), torch.zeros(2, STEPS - start))
    torch.testing.assert_close(outputs[:, 0, start:], fresh[:, 0])
    torch.testing.assert_close(after[0], fresh_after[0])
    # the other sequence goes on, and so does this one up to there
    assert not torch.allclose(outputs[:, 1, start:], fresh[:, 1], atol=1e-3)
    going_on, _ = layer(parameters, features, state, torch.zeros(2, STEPS))
    torch.testing.assert_close(outputs[:, 0, :start], going_on[:, 0, :start])


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_flows_back_over_an_episodes_start(kind: str) -> None:
    layer, parameters = layer_of(kind)
    features = random(1, 1, STEPS, INPUTS, seed=5).requires_grad_()
    starts = torch.zeros(1, STEPS)
    starts[0, 3] = 1.0
    outputs, _ = layer(parameters, features, torch.zeros(1, layer.state_size), starts)
    (gradient,) = torch.autograd.grad(outputs[0, 0, -1].sum(), features)
    assert not gradient[0, 0, :3].any()
    assert gradient[0, 0, 3:].all()


def test_the_lstm_is_torchs() -> None:
    layer, (from_input, recurrent, bias) = layer_of("lstm")
    cell = torch.nn.LSTMCell(INPUTS, WIDTH)

    def gates(matrix: Tensor) -> Tensor:
        """Torch's order, input, forget, candidate, output, from forget, input, output, candidate."""
        forget, enter, leave, candidate = matrix.chunk(4, -1)
        return torch.cat((enter, forget, candidate, leave), -1)

    with torch.no_grad():
        cell.weight_ih.copy_(gates(from_input[0]).T)
        cell.weight_hh.copy_(gates(recurrent[0]).T)
        cell.bias_ih.copy_(gates(bias[0, 0]))
        cell.bias_hh.zero_()
        features, state = random(1, SEQUENCES, STEPS, INPUTS, seed=5), random(SEQUENCES, 2 * WIDTH, seed=6)
        outputs, after = layer([from_input, recurrent, bias], features, state, torch.zeros(SEQUENCES, STEPS))
        hidden, memory = state.chunk(2, 1)
        for step in range(STEPS):
            hidden, memory = cell(features[0, :, step], (hidden, memory))
            torch.testing.assert_close(outputs[0, :, step], hidden)
    torch.testing.assert_close(after, torch.cat((hidden, memory), 1))


def test_the_gru_is_torchs() -> None:
    layer, (from_input, recurrent, bias) = layer_of("gru")
    cell = torch.nn.GRUCell(INPUTS, WIDTH)

    def gates(matrix: Tensor) -> Tensor:
        """Torch's order, reset, update, candidate, from update, reset, candidate."""
        update, reset, candidate = matrix.chunk(3, -1)
        return torch.cat((reset, update, candidate), -1)

    with torch.no_grad():
        cell.weight_ih.copy_(gates(from_input[0]).T)
        cell.weight_hh.copy_(gates(recurrent[0]).T)
        cell.bias_ih.copy_(gates(bias[0, 0]))
        cell.bias_hh.zero_()
        features, hidden = random(1, SEQUENCES, STEPS, INPUTS, seed=5), random(SEQUENCES, WIDTH, seed=6)
        outputs, _ = layer([from_input, recurrent, bias], features, hidden, torch.zeros(SEQUENCES, STEPS))
        for step in range(STEPS):
            hidden = cell(features[0, :, step], hidden)
            torch.testing.assert_close(outputs[0, :, step], hidden)


# in the network


def network_of(kind: str, *, shared: bool) -> tuple[ActorCritic, list[Tensor]]:
    spec = Spec.simple(INPUTS, 3)
    config = NetworkConfig(hidden_sizes=[7], recurrent=kind, recurrent_size=WIDTH, shared=shared)
    network = ActorCritic(spec, lambda width: make_head(spec, ContinuousConfig(), width), config)
    return network, network.unflatten(random(network.num_parameters) * 0.7)


def test_the_forget_gate_starts_open_and_every_gate_orthogonal() -> None:
    network, _ = network_of("lstm", shared=False)
    named = network.named(network.init(torch.Generator().manual_seed(0)))
    bias = named["recurrent.bias"]
    assert bias[..., :WIDTH].unique().tolist() == [1.0]
    assert not bias[..., WIDTH:].any()
    for block in named["recurrent.recurrent"].unflatten(-1, (4, WIDTH)).permute(0, 2, 1, 3).flatten(0, 1):
        torch.testing.assert_close(block @ block.T, torch.eye(WIDTH), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_each_trunk_keeps_a_state_of_its_own(kind: str) -> None:
    network, parameters = network_of(kind, shared=False)
    half = network.state_size // 2
    observations, states = random(4, INPUTS, seed=2), random(4, network.state_size, seed=3)

    def forward(states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs, values, after = network.forward(parameters, torch.cat((observations, torch.zeros(4, 1), states), 1))
        assert after is not None
        return outputs, values, after

    outputs, values, after = forward(states)
    for own, changed in [(slice(0, half), "policy"), (slice(half, None), "value")]:
        other = states.clone()
        other[:, own] += 1.0
        other_outputs, other_values, other_after = forward(other)
        assert torch.equal(other_outputs, outputs) == (changed == "value")
        assert torch.equal(other_values, values) == (changed == "policy")
        moved = (other_after != after).any(0)
        assert moved[own].any()
        assert moved.sum() == moved[own].sum()


def test_a_shared_trunk_has_one_state_for_both_heads() -> None:
    network, parameters = network_of("lstm", shared=True)
    assert network.state_size == 2 * WIDTH
    rows = random(2, INPUTS + 1 + network.state_size, seed=2)
    rows[:, INPUTS] = 0.0
    before = network.forward(parameters, rows)
    rows[:, INPUTS + 1 :] += 1.0
    after = network.forward(parameters, rows)
    assert (before.outputs != after.outputs).all()
    assert (before.values != after.values).all()


# sequences of a rollout


def test_sequences_are_cut_from_one_environment_each_and_filled_up() -> None:
    weights = torch.ones(5, 2)
    table, mean_weights = minibatches.sequence_table(weights, 2)
    # row = step · 2 + env; steps 0 1 | 2 3 | 4 and a filler
    assert table.tolist() == [[0, 2], [1, 3], [4, 6], [5, 7], [8, 8], [9, 9]]
    assert mean_weights.tolist() == [[1, 1], [1, 1], [1, 1], [1, 1], [1, 0], [1, 0]]


def test_a_step_that_fetches_an_observation_stays_in_its_sequence_and_weighs_0() -> None:
    weights = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    table, mean_weights = minibatches.sequence_table(weights, 4)
    assert table.tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert mean_weights.tolist() == [[1, 0, 1, 1], [1, 1, 1, 0]]
    # a filler that repeats a row weighs 0 as well
    table, mean_weights = minibatches.sequence_table(weights, 3)
    assert table.tolist() == [[0, 2, 4], [1, 3, 5], [6, 6, 6], [7, 7, 7]]
    assert mean_weights.tolist() == [[1, 0, 1], [1, 1, 1], [1, 0, 0], [0, 0, 0]]


def test_sequences_of_one_step_leave_out_what_weighs_0() -> None:
    table, mean_weights = minibatches.sequence_table(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), 1)
    assert table.tolist() == [[0], [3], [4], [5]]
    assert mean_weights.tolist() == [[1.0]] * 4


def test_a_rollout_shorter_than_a_sequence_is_one_sequence() -> None:
    table, mean_weights = minibatches.sequence_table(torch.ones(2, 1), 5)
    assert table.tolist() == [[0, 1, 1, 1, 1]]
    assert mean_weights.tolist() == [[1, 1, 0, 0, 0]]


@pytest.mark.parametrize("length", [1, 2, 5, 8, 40])
def test_every_real_step_counts_exactly_once(length: int) -> None:
    weights = (random(23, 3) > -0.5).float()
    table, mean_weights = minibatches.sequence_table(weights, length)
    counted = torch.zeros(23 * 3).index_add_(0, table.flatten(), mean_weights.flatten())
    assert torch.equal(counted, weights.flatten())
    if length > 1:
        assert ((table % 3) == table[:, :1] % 3).all()


@pytest.mark.parametrize(
    ("wanted", "batch_size", "steps", "length"),
    [(None, 64, 256, 32), (None, 50, 256, 25), (None, 37, 256, 1), (4, 64, 256, 4), (None, 64, 8, 8), (None, 64, 9, 8)],
)
def test_the_longest_sequence_that_fills_minibatches_is_taken(
    wanted: int | None, batch_size: int, steps: int, length: int
) -> None:
    config = TrainConfig(batch_size=batch_size)
    config.network.sequence_length = wanted
    assert sequence_length(config, steps) == length


# from the rollout to the update


def trainer_of(kind: str, backend: str, folder: Path, *, shared: bool, **settings: int | float | bool) -> Trainer:
    config = TrainConfig(
        env=EnvConfig(id="WalkInStep-v0" if backend == "native" else "Walk-v0", max_episode_steps=9),
        network=NetworkConfig(hidden_sizes=[8], recurrent=kind, recurrent_size=6, shared=shared),
        vector_backend=backend,
        num_envs=3,
        buffer_size=3 * 30,
        batch_size=30,
        epochs=2,
        lr=0.01,
        compile=False,
        eval_every=None,
        **settings,  # type: ignore[arg-type]
    )
    plan = Planner().plan(config)  # after which sequences and minibatches become ones that do not come out even
    odd = replace(plan.config, batch_size=24, network=replace(config.network, sequence_length=8))
    trainer = Trainer(replace(plan, config=odd), folder, [])
    learner = trainer.agent.learner
    learner.set_state(learner.state._replace(parameters=random(len(learner.state.parameters)) * 0.6))
    trainer.collector.rows = trainer.agent.policy.compose(trainer.collector.envs.reset(), None, None)
    return trainer


CASES = [
    ("lstm", "sync", True),
    ("lstm", "sync", False),
    ("lstm", "native", False),
    ("gru", "sync", False),
    ("gru", "native", True),
]


@pytest.mark.parametrize(("kind", "backend", "shared"), CASES)
def test_sequences_repeat_what_the_rollout_made_step_by_step(
    kind: str, backend: str, shared: bool, tmp_path: Path
) -> None:
    trainer = trainer_of(kind, backend, tmp_path, shared=shared, normalize_obs=True)
    policy, memory = trainer.agent.policy, trainer.agent.memory
    for _ in range(2):  # the second rollout begins in the middle of episodes, with other parameters
        trainer.collector.collect()
        trainer.agent.learner.fill_in(memory)
        column = {name: torch.from_numpy(memory[name]).flatten(0, 1) for name in memory.columns}
        table, weights = minibatches.sequence_table(torch.from_numpy(memory["weights"]), 8)
        starts = column["observations"][table][:, :, 1]
        assert starts[:, 1:].sum() > 3  # episodes start inside sequences
        assert bool((weights[:-3] == 0).any()) == (backend == "native")
        places = table.flatten()
        rows, actions = policy.prepare(column["observations"][places]), column["actions"][places]
        log_probs, _, values = policy.score(8, policy.parameters, rows, actions)
        real = weights.flatten() > 0
        torch.testing.assert_close(log_probs[real], column["log_probs"][places][real], rtol=1e-4, atol=1e-5)
        expected = policy.normalizers.value.normalize(column["values"][places][real])
        torch.testing.assert_close(values[real], expected, rtol=1e-4, atol=1e-5)
        trainer.agent.learn()
    trainer.close({})


@pytest.mark.parametrize(("kind", "backend", "shared"), CASES)
def test_the_first_minibatch_finds_the_policy_unchanged(kind: str, backend: str, shared: bool, tmp_path: Path) -> None:
    trainer = trainer_of(kind, backend, tmp_path, shared=shared)
    history: list[dict[str, float]] = []
    watch_steps(
        trainer.agent.learner,
        lambda _, __, metrics: history.append(dict(zip(ppo.LOSS_METRICS, metrics.tolist(), strict=True))),
    )
    for _ in range(2):
        history.clear()
        trainer.iterate()
        assert history[0]["approx_kl"] == pytest.approx(0.0, abs=1e-7)
        assert history[0]["clip_fraction"] == 0.0
        # ratios are 1, so the loss is minus the mean of normalised advantages
        assert history[0]["policy_loss"] == pytest.approx(0.0, abs=1e-5)
        assert history[-1]["approx_kl"] > 1e-5
    trainer.close({})
