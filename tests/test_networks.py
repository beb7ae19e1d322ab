"""The actor-critic: shapes, first weights, trunks and activations."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from ppo_cli.config import ACTIVATIONS, NetworkConfig
from ppo_cli.networks.actor_critic import ACTIVATION_FUNCTIONS, ActorCritic
from ppo_cli.networks.categorical import CategoricalHead
from ppo_cli.spec import Spec


def build(obs_size: int, num_actions: int, config: NetworkConfig) -> ActorCritic:
    return ActorCritic(Spec.simple(obs_size, num_actions), partial(CategoricalHead, num_actions), config)


def make(
    hidden_sizes: tuple[int, ...] = (64, 64), *, shared: bool = True, activation: str = "tanh"
) -> tuple[ActorCritic, Tensor]:
    config = NetworkConfig(hidden_sizes=list(hidden_sizes), shared=shared, activation=activation)
    network = build(6, 3, config)
    return network, network.init(torch.Generator().manual_seed(0))


def random(network: ActorCritic) -> Tensor:
    return torch.randn(network.num_parameters, generator=torch.Generator().manual_seed(1)) * 0.5


OBSERVATIONS = torch.randn(7, 6, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("hidden_sizes", [(64, 64), (5,), (32, 9, 17)])
@pytest.mark.parametrize("shared", [True, False])
def test_any_widths_give_outputs_values_and_the_right_number_of_parameters(
    hidden_sizes: tuple[int, ...], shared: bool
) -> None:
    network, parameters = make(hidden_sizes, shared=shared)
    outputs, values, states = network.forward(network.unflatten(parameters), OBSERVATIONS)
    assert outputs.shape == (7, 3)
    assert values.shape == (7,)
    assert states is None
    widths = (6, *hidden_sizes)
    trunk = sum((width_in + 1) * width_out for width_in, width_out in zip(widths, hidden_sizes, strict=False))
    heads = (widths[-1] + 1) * 4
    assert len(parameters) == network.num_parameters == trunk * (1 if shared else 2) + heads


def test_the_default_network_for_cartpole_has_the_known_size() -> None:
    # shared trunk 4·64 + 64 + 64·64 + 64 = 4480, policy head 64·2 + 2 = 130, value head 65
    assert build(4, 2, NetworkConfig()).num_parameters == 4675


@pytest.mark.parametrize(("obs_size", "work"), [(4, 64 * 64), (100_000, 6_400_000)])
def test_the_largest_layer_says_what_work_there_is(obs_size: int, work: int) -> None:
    assert build(obs_size, 2, NetworkConfig()).work == work


@pytest.mark.parametrize("shared", [True, False])
def test_first_weights_are_orthogonal_with_their_gains_and_biases_are_0(shared: bool) -> None:
    network, parameters = make((16, 8), shared=shared)
    for name, part in network.named(parameters).items():
        if name.endswith("bias"):
            assert not part.any()
            continue
        gain = 0.01 if name == "policy.weight" else 1.0 if name == "value.weight" else math.sqrt(2)
        for matrix in part if part.dim() == 3 else (part,):
            # the smaller side's vectors are orthogonal, each of length gain
            narrow = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
            expected = torch.eye(len(narrow)) * gain**2
            torch.testing.assert_close(narrow @ narrow.T, expected, rtol=1e-5, atol=1e-6)


def test_separate_trunks_start_from_different_weights() -> None:
    network, parameters = make(shared=False)
    weight = network.named(parameters)["body.0.weight"]
    assert weight.shape == (2, 6, 64)
    assert not torch.allclose(weight[0], weight[1])


def test_first_weights_repeat_with_their_stream_and_draw_from_no_other() -> None:
    rng = torch.get_rng_state()
    assert torch.equal(make()[1], make()[1])
    assert torch.equal(torch.get_rng_state(), rng)


@pytest.mark.parametrize("shared", [True, False])
def test_the_policy_alone_gives_the_outputs_of_the_whole_network(shared: bool) -> None:
    network, _ = make((9, 5), shared=shared)
    views = network.unflatten(random(network))
    alone = network.policy(network.acting(views), OBSERVATIONS)
    torch.testing.assert_close(alone, network.forward(views, OBSERVATIONS).outputs)


@pytest.mark.parametrize("shared", [True, False])
def test_a_loss_of_the_value_reaches_the_policys_trunk_only_where_it_is_shared(shared: bool) -> None:
    network, _ = make((9, 5), shared=shared)
    parameters = random(network).requires_grad_()
    outputs, values, _ = network.forward(network.unflatten(parameters), OBSERVATIONS)
    (of_values,) = torch.autograd.grad(values.sum(), parameters, retain_graph=True)
    (of_outputs,) = torch.autograd.grad(outputs.square().sum(), parameters)
    by_values, by_outputs = network.named(of_values), network.named(of_outputs)
    assert not by_values["policy.weight"].any()
    assert not by_outputs["value.weight"].any()
    for layer in (0, 1):
        name = f"body.{layer}.weight"
        assert by_outputs[name][0].any()
        assert by_values[name][-1].any()
        if not shared:
            assert not by_values[name][0].any()
            assert not by_outputs[name][1].any()


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("tanh", [-0.761594, 0.761594]),
        ("relu", [0.0, 1.0]),
        ("elu", [-0.632121, 1.0]),  # 1/e − 1
        ("gelu", [-0.158655, 0.841345]),  # x·Φ(x), Φ(1) = 0.841345
        ("silu", [-0.268941, 0.731059]),  # x/(1 + e⁻ˣ)
    ],
)
def test_the_activation_follows_the_hidden_layer_and_not_the_heads(activation: str, expected: list[float]) -> None:
    config = NetworkConfig(hidden_sizes=[2], activation=activation)
    network = build(2, 2, config)
    identity = {"body.0.weight": torch.eye(2), "policy.weight": torch.eye(2) * -3, "value.weight": torch.ones(2, 1)}
    zeros = network.named(torch.zeros(network.num_parameters))
    views = [identity.get(name, zero).reshape(zero.shape) for name, zero in zeros.items()]
    outputs, values, _ = network.forward(views, torch.tensor([[-1.0, 1.0]]))
    assert outputs[0].tolist() == pytest.approx([-3 * number for number in expected], abs=1e-5)
    assert values.item() == pytest.approx(sum(expected), abs=1e-5)


def test_every_activation_of_the_configuration_exists() -> None:
    assert tuple(ACTIVATION_FUNCTIONS) == ACTIVATIONS
