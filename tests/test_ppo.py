"""The mathematics, against numbers worked out by hand, brute force and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.func import vmap

from ppo_cli.algorithm import adam, minibatches, objectives, ppo
from ppo_cli.algorithm.adam import LearnerState
from ppo_cli.algorithm.diagnostics import explained_variance
from ppo_cli.algorithm.minibatches import Minibatch
from ppo_cli.algorithm.ppo import Coefficients, PolicyLoss
from ppo_cli.config import NetworkConfig
from ppo_cli.networks.actor_critic import ActorCritic
from ppo_cli.networks.categorical import CategoricalHead
from ppo_cli.spec import Spec

# generalised advantage estimation

REWARDS, VALUES, NEXT_VALUES = [1.0, 2.0, 3.0], [4.0, 2.0, 6.0], [2.0, 6.0, 8.0]


def gae(
    terminated: list[float], truncated: list[float], next_values: list[float], gamma: float = 0.5, lam: float = 0.5
) -> tuple[list[float], list[float]]:
    """One environment's advantages and returns."""
    columns = [torch.tensor(column)[:, None] for column in (REWARDS, VALUES, next_values, terminated, truncated)]
    advantages, returns = ppo.estimate_advantages(*columns, gamma, lam)
    return advantages[:, 0].tolist(), returns[:, 0].tolist()


def test_gae_of_an_unfinished_episode_bootstraps_from_the_next_observation() -> None:
    # δ = 1 + ½·2 − 4, 2 + ½·6 − 2, 3 + ½·8 − 6 = −2, 3, 1;  A₂ = 1, A₁ = 3 + ¼·1 = 3.25, A₀ = −2 + ¼·3.25 = −1.1875
    advantages, returns = gae([0, 0, 0], [0, 0, 0], NEXT_VALUES)
    assert advantages == [-1.1875, 3.25, 1.0]
    assert returns == [2.8125, 5.25, 7.0]


def test_gae_takes_nothing_from_beyond_a_termination() -> None:
    # δ₁ = 2 + 0 − 2 = 0 and nothing of A₂;  A₀ = −2 + ¼·0
    advantages, returns = gae([0, 1, 0], [0, 0, 0], NEXT_VALUES)
    assert advantages == [-2.0, 0.0, 1.0]
    assert returns == [2.0, 2.0, 7.0]


def test_gae_takes_the_final_observations_value_at_a_truncation_and_no_later_advantage() -> None:
    # V(final) = 10:  δ₁ = 2 + ½·10 − 2 = 5 and nothing of A₂;  A₀ = −2 + ¼·5 = −0.75
    advantages, returns = gae([0, 0, 0], [0, 1, 0], [2.0, 10.0, 8.0])
    assert advantages == [-0.75, 5.0, 1.0]
    assert returns == [3.25, 7.0, 7.0]


def test_gae_with_lambda_0_is_the_one_step_error() -> None:
    assert gae([0, 0, 0], [0, 0, 0], NEXT_VALUES, lam=0.0)[0] == [-2.0, 3.0, 1.0]


def test_gae_with_lambda_1_is_the_discounted_return_minus_the_value() -> None:
    # returns: 3 + ½·8 = 7;  2 + ½·7 = 5.5;  1 + ½·5.5 = 3.75
    advantages, returns = gae([0, 0, 0], [0, 0, 0], NEXT_VALUES, lam=1.0)
    assert returns == [3.75, 5.5, 7.0]
    assert advantages == [-0.25, 3.5, 1.0]


def brute_force_advantage(column: dict[str, list[float]], t: int, gamma: float, lam: float) -> float:
    """Average of all n-step advantages with weights (1 − λ)λⁿ⁻¹, the last of which takes what weight is left."""
    estimates, rewards = [], 0.0
    for n in range(len(column["rewards"]) - t):
        i = t + n
        rewards += gamma**n * column["rewards"][i]
        after = 0.0 if column["terminated"][i] else gamma ** (n + 1) * column["next_values"][i]
        estimates.append(rewards + after - column["values"][t])
        if column["terminated"][i] or column["truncated"][i]:
            break
    weights = [(1 - lam) * lam**n for n in range(len(estimates) - 1)]
    weights.append(1 - sum(weights))
    return sum(weight * estimate for weight, estimate in zip(weights, estimates, strict=True))


@pytest.mark.parametrize(("gamma", "lam"), [(0.9, 0.8), (1.0, 0.5), (0.99, 1.0), (0.7, 0.0)])
def test_gae_is_the_weighted_average_of_n_step_advantages_in_each_environment_alone(gamma: float, lam: float) -> None:
    generator = torch.Generator().manual_seed(3)
    steps, envs = 12, 4
    names = ("rewards", "values", "next_values")
    columns = {name: torch.randn(steps, envs, generator=generator, dtype=torch.float64) for name in names}
    kind = torch.randint(5, (steps, envs), generator=generator)
    columns |= {"terminated": (kind == 0).double(), "truncated": (kind == 1).double()}
    # within an episode what follows is the next row; elsewhere it is a value of its own
    inside = (kind[:-1] != 1).nonzero(as_tuple=True)
    columns["next_values"][inside] = columns["values"][1:][inside]
    assert columns["terminated"].sum() > 3
    assert columns["truncated"].sum() > 3
    advantages, returns = ppo.estimate_advantages(*columns.values(), gamma, lam)
    for env in range(envs):
        lists = {name: column[:, env].tolist() for name, column in columns.items()}
        expected = [brute_force_advantage(lists, t, gamma, lam) for t in range(steps)]
        assert advantages[:, env].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    torch.testing.assert_close(returns - advantages, columns["values"])


# losses


def ones(count: int) -> Tensor:
    return torch.ones(count)


def even(count: int) -> Tensor:
    """The mean_weights of rows that all count alike."""
    return torch.full((count,), 1.0 / count)


LOW, HIGH = torch.tensor(0.8), torch.tensor(1.2)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.1, 2.0, -2.2, -2.2),  # inside: −ratio·A, whose derivative by ln(ratio) is itself
        (0.9, -2.0, 1.8, 1.8),
        (1.5, 2.0, -2.4, 0.0),  # min(3, 1.2·2): nothing more to gain
        (0.5, -2.0, 1.6, 0.0),  # min(−1, −0.8·2)
        (1.5, -2.0, 3.0, 3.0),  # min(−3, −2.4): a mistake is mended from however far
        (0.5, 2.0, -1.0, -1.0),  # min(1, 1.6)
    ],
)
def test_surrogate_is_clipped_only_where_the_policy_would_gain(
    ratio: float, advantage: float, loss: float, slope: float
) -> None:
    log_prob = torch.tensor([math.log(ratio)])
    policy = ppo.surrogate(log_prob, torch.zeros(1), torch.tensor([advantage]), LOW, HIGH, ones(1))
    assert (policy.loss.item(), policy.gradient.item()) == pytest.approx((loss, slope), rel=1e-5, abs=1e-7)


def test_approx_kl_and_clip_fraction_of_known_ratios() -> None:
    # ratios 1, 2, ½, 1.1: (ratio − 1) − ln ratio = 0, 1 − 0.693147, −0.5 + 0.693147, 0.1 − 0.0953102; sum 0.5046898
    log_probs = torch.tensor([1.0, 2.0, 0.5, 1.1]).log()
    policy = ppo.surrogate(log_probs, torch.zeros(4), ones(4), LOW, HIGH, even(4))
    assert policy.approx_kl.item() == pytest.approx(0.5046898 / 4, rel=1e-5)
    assert policy.clip_fraction.item() == 0.5


def test_value_loss_is_the_mean_square_without_a_half() -> None:
    # (3 − 1)² = 4, (0 − 1)² = 1; half of 2·(3 − 1) and of 2·(0 − 1)
    loss, slopes = ppo.value_loss(torch.tensor([3.0, 0.0]), torch.tensor([1.0, 1.0]), even(2))
    assert loss.item() == 2.5
    assert slopes.tolist() == [2.0, -1.0]


@pytest.mark.parametrize(
    ("value", "old", "target", "loss", "slope"),
    [
        (1.0, 3.0, 1.0, 2.25, 0.0),  # right, but 2 away from the old value: (2.5 − 1)² = 2.25 counts, and stands still
        (3.0, 1.0, 1.0, 4.0, 4.0),  # wrong, and clipping would hide it: (1.5 − 1)² = 0.25 does not count
        (1.25, 1.0, 2.0, 0.5625, -1.5),  # within the clip: (1.25 − 2)²
    ],
)
def test_clipped_value_loss_is_the_larger_of_both_errors(
    value: float, old: float, target: float, loss: float, slope: float
) -> None:
    tensors = (torch.tensor([number]) for number in (value, old, target))
    found, slopes = ppo.clipped_value_loss(*tensors, torch.tensor(0.5), ones(1))
    assert (found.item(), slopes.item()) == (loss, slope)


def test_a_value_within_the_clip_learns_from_its_error_whatever_rounding_does() -> None:
    generator = torch.Generator().manual_seed(2)
    values, old, targets = torch.randn(3, 10_000, generator=generator).unbind()
    clipped = ppo.clipped_value_loss(values, old, targets, torch.tensor(10.0), even(10_000))
    plain = ppo.value_loss(values, targets, even(10_000))
    torch.testing.assert_close(clipped, plain, rtol=1e-5, atol=0.0)


Losses = Callable[[Tensor], tuple[Tensor, Tensor]]


def derivative_cases() -> dict[str, Losses]:
    """Each loss as a function of what it is differentiated by, with filler rows among the others."""
    generator = torch.Generator().manual_seed(4)
    old, advantages, returns = torch.randn(3, 200, generator=generator, dtype=torch.float64).unbind()
    mean_weights = (torch.arange(200) % 5 > 0).double() / 160
    low, high, value_clip = torch.tensor([0.7, 1.2, 0.3], dtype=torch.float64).unbind()
    return {
        "surrogate": lambda at: ppo.surrogate(at, old, advantages, low, high, mean_weights)[:2],
        "value_loss": lambda at: ppo.value_loss(at, returns, mean_weights),
        "clipped_value_loss": lambda at: ppo.clipped_value_loss(at, old, returns, value_clip, mean_weights),
    }


@pytest.mark.parametrize("name", derivative_cases())
def test_each_losss_derivative_agrees_with_finite_differences(name: str) -> None:
    loss = derivative_cases()[name]
    generator = torch.Generator().manual_seed(4)
    old = torch.randn(3, 200, generator=generator, dtype=torch.float64)[0]
    at = old + 0.5 * torch.randn(200, generator=generator, dtype=torch.float64)
    nudges = torch.eye(200, dtype=torch.float64) * 1e-6
    numeric = [float(loss(at + nudge)[0] - loss(at - nudge)[0]) / 2e-6 for nudge in nudges]
    found = loss(at)[1].tolist()
    assert found == pytest.approx(numeric, rel=1e-6, abs=1e-8)
    assert all(slope == 0.0 for slope in found[::5])  # fillers
    assert sum(slope != 0.0 for slope in found) > 80


def by_hand(name: str, at: Tensor, old: Tensor, target: Tensor, mean_weights: Tensor) -> Tensor:
    """The losses as the papers print them, for the machine to differentiate."""
    match name:
        case "surrogate":
            ratio = (at - old).exp()
            return -(torch.min(ratio * target, ratio.clip(0.8, 1.2) * target) * mean_weights).sum()
        case "value_loss":
            return ((at - target) ** 2 * mean_weights).sum()
    near = torch.max(torch.min(at, old + 0.3), old - 0.3)
    return (torch.max((at - target) ** 2, (near - target) ** 2) * mean_weights).sum()


@pytest.mark.parametrize("name", derivative_cases())
def test_each_losss_derivative_agrees_with_autograd_in_float32(name: str) -> None:
    generator = torch.Generator().manual_seed(6)
    old, target = torch.randn(2, 500, generator=generator).unbind()
    at = (old + 0.3 * torch.randn(500, generator=generator)).requires_grad_()
    mean_weights = minibatches.as_mean_weights((torch.rand(500, generator=generator) < 0.9).float())
    expected = by_hand(name, at, old, target, mean_weights)
    (slopes,) = torch.autograd.grad(expected, at)
    found = {
        "surrogate": lambda: ppo.surrogate(at.detach(), old, target, LOW, HIGH, mean_weights)[:2],
        "value_loss": lambda: ppo.value_loss(at.detach(), target, mean_weights),
        "clipped_value_loss": lambda: ppo.clipped_value_loss(at.detach(), old, target, torch.tensor(0.3), mean_weights),
    }[name]()
    torch.testing.assert_close(found, (expected.detach(), slopes), rtol=1e-5, atol=1e-8)


def test_the_mean_of_no_rows_is_0() -> None:
    assert ppo.mean(torch.tensor([5.0, 7.0]), minibatches.as_mean_weights(torch.zeros(2))).item() == 0.0


def test_rows_that_count_share_their_minibatch_evenly() -> None:
    weights = torch.tensor([[1.0, 1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0, 0.0]])
    assert minibatches.as_mean_weights(weights).tolist() == [[0.25, 0.25, 0.0, 0.25, 0.25], [0.0, 1.0, 0.0, 0.0, 0.0]]
    assert ppo.mean(torch.tensor([1.0, 2.0, 99.0, 4.0, 5.0]), minibatches.as_mean_weights(weights)[0]).item() == 3.0


def test_normalized_advantages_of_known_numbers() -> None:
    # 1, 3, 5: mean 3, unbiased variance (4 + 0 + 4)/2 = 4
    normalized = minibatches.normalize_advantages(torch.tensor([1.0, 3.0, 5.0]), ones(3))
    assert normalized.tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=1e-6)


def test_advantages_are_left_alone_where_a_single_row_counts() -> None:
    normalized = minibatches.normalize_advantages(torch.tensor([7.0, 100.0]), torch.tensor([1.0, 0.0]))
    assert normalized[0].item() == 7.0
    assert minibatches.normalize_advantages(torch.tensor([7.0]), ones(1)).tolist() == [7.0]


def test_advantages_are_normalized_in_each_minibatch_over_the_rows_that_count() -> None:
    # 1, 3, 5 as above; 10, 20: mean 15, unbiased variance 25 + 25
    normalized = minibatches.normalize_advantages(
        torch.tensor([[1.0, 3.0, 5.0], [10.0, 999.0, 20.0]]), torch.tensor([[1.0, 1, 1], [1, 0, 1]])
    )
    assert normalized[0].tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=1e-6)
    assert normalized[1].tolist() == pytest.approx([-(0.5**0.5), 0.0, 0.5**0.5], abs=1e-6)


def test_explained_variance_of_known_numbers() -> None:
    # R = 0, 2, 4 (variance 8/3), V = 0, 2, 1: R − V = 0, 0, 3 with mean 1 and variance (1 + 1 + 4)/3 = 2; 1 − 2/(8/3)
    returns, values = torch.tensor([0.0, 2.0, 4.0]), torch.tensor([0.0, 2.0, 1.0])
    assert explained_variance(values, returns, ones(3)).item() == pytest.approx(0.25)
    assert explained_variance(returns, returns, ones(3)).item() == 1.0
    assert explained_variance(torch.full((3,), 9.0), returns, ones(3)).item() == pytest.approx(0.0)


@pytest.mark.parametrize("constant", [0.0, 3.0, 0.1, -12345.678])
def test_explained_variance_is_0_where_all_returns_are_equal(constant: float) -> None:
    values = torch.linspace(-1, 1, 1001)
    # as in an update: the returns are advantages + values, and carry the rounding of both
    returns = (torch.full((1001,), constant) - values) + values
    assert explained_variance(values, returns, ones(1001)).item() == 0.0
    assert explained_variance(values, torch.full((1001,), constant), ones(1001)).item() == 0.0


# the update step

OBS, ACTIONS, ROWS = 3, 4, 6


def make_case(dtype: torch.dtype = torch.float64, *, shared: bool = True) -> tuple[Any, LearnerState, Minibatch]:
    """A small network's scoring function, its state, and a minibatch that reaches both sides of every clip."""
    config = NetworkConfig(hidden_sizes=[5, 4], shared=shared)
    network = ActorCritic(Spec.simple(OBS, ACTIONS), partial(CategoricalHead, ACTIONS), config)

    def score(parameters: Tensor, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs, values, _ = network.forward(network.unflatten(parameters), observations)
        return (*network.head.log_prob_and_entropy(outputs, actions), values)

    generator = torch.Generator().manual_seed(5)
    parameters = torch.randn(network.num_parameters, generator=generator).to(dtype) * 0.5
    observations = torch.randn(ROWS, OBS, generator=generator).to(dtype)
    actions = torch.tensor([0, 1, 2, 3, 0, 1]).unsqueeze(-1)
    log_probs, _, values = score(parameters, observations, actions)
    batch = Minibatch(
        observations,
        actions,
        log_probs + torch.tensor([0.3, -0.3, 0.05, -0.4, 0.4, 0.0], dtype=dtype),
        values + torch.tensor([0.5, -0.5, 0.01, 0.3, -0.02, 0.0], dtype=dtype),
        torch.randn(ROWS, generator=generator).to(dtype),
        torch.randn(ROWS, generator=generator).to(dtype),
        torch.full((ROWS,), 1 / ROWS, dtype=dtype),
    )
    zeros = torch.zeros_like(parameters)
    return score, LearnerState(parameters, zeros, zeros), batch


def coefficients(dtype: torch.dtype = torch.float64, **changes: float) -> Coefficients:
    values = {"step_size": 0.01, "eps": 1e-5, "clip_ratio": 0.2, "clip_low": 0.8, "clip_high": 1.2, "value_clip": 0.1}
    values |= {"value_coef": 0.7, "entropy_coef": 0.3, "max_grad_norm": 0.05} | changes
    return Coefficients(**{name: torch.tensor(value, dtype=dtype) for name, value in values.items()})


def gradient_of(state: LearnerState) -> Tensor:
    """What the first step of Adam was given: its first moment is a tenth of that."""
    return state.first_moment / 0.1


@pytest.mark.parametrize("clip_value", [False, True])
@pytest.mark.parametrize("shared", [True, False])
def test_the_gradient_of_the_whole_step_agrees_with_finite_differences(clip_value: bool, shared: bool) -> None:
    score, state, batch = make_case(shared=shared)
    coef = coefficients()
    step = ppo.make_update_step(score, objectives.clip, clip_value=clip_value, clip_gradient=False)

    def total(parameters: Tensor) -> float:
        metrics = dict(zip(ppo.LOSS_METRICS, step(state._replace(parameters=parameters), batch, coef)[1], strict=True))
        return float(metrics["policy_loss"] + 0.7 * metrics["value_loss"] - 0.3 * metrics["entropy"])

    after, metrics = step(state, batch, coef)
    numeric = []
    for index in range(len(state.parameters)):
        change = torch.zeros_like(state.parameters)
        change[index] = 1e-6
        numeric.append((total(state.parameters + change) - total(state.parameters - change)) / 2e-6)
    assert gradient_of(after).tolist() == pytest.approx(numeric, rel=1e-5, abs=1e-8)
    norm = math.sqrt(sum(number**2 for number in numeric))
    assert metrics[ppo.LOSS_METRICS.index("grad_norm")].item() == pytest.approx(norm, rel=1e-6)


def test_the_gradient_is_scaled_down_to_the_largest_norm_and_reported_unscaled() -> None:
    score, state, batch = make_case()
    plain, metrics = ppo.make_update_step(score, objectives.clip, clip_value=False, clip_gradient=False)(
        state, batch, coefficients()
    )
    step = ppo.make_update_step(score, objectives.clip, clip_value=False, clip_gradient=True)
    clipped, clipped_metrics = step(state, batch, coefficients(max_grad_norm=0.05))
    norm = torch.linalg.vector_norm(gradient_of(plain)).item()
    assert norm > 0.5
    torch.testing.assert_close(gradient_of(clipped), gradient_of(plain) * (0.05 / norm), rtol=1e-4, atol=0.0)
    torch.testing.assert_close(metrics, clipped_metrics)
    below, _ = step(state, batch, coefficients(max_grad_norm=100.0))
    torch.testing.assert_close(gradient_of(below), gradient_of(plain))


@pytest.mark.parametrize("clip_value", [False, True])
def test_rows_of_weight_0_count_for_nothing_whatever_they_hold(clip_value: bool) -> None:
    score, state, batch = make_case()
    step = ppo.make_update_step(score, objectives.clip, clip_value=clip_value, clip_gradient=True)
    keep = 4
    quarters = torch.full((keep,), 0.25, dtype=torch.float64)
    short = Minibatch(*(column[:keep] for column in batch))._replace(mean_weights=quarters)
    garbage = torch.tensor([9.0, -7.0], dtype=torch.float64)
    filled = Minibatch(
        torch.cat((batch.observations[:keep], garbage[:, None].expand(2, OBS) * 50)),
        batch.actions,
        *(torch.cat((column[:keep], garbage * scale)) for scale, column in enumerate(batch[2:6], 1)),
        torch.cat((quarters, torch.zeros(2, dtype=torch.float64))),
    )
    expected, expected_metrics = step(state, short, coefficients())
    result, metrics = step(state, filled, coefficients())
    torch.testing.assert_close(result.parameters, expected.parameters, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(metrics, expected_metrics, rtol=1e-12, atol=1e-12)


def test_adam_takes_the_steps_of_torchs_adam() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(7, 10, generator=generator, dtype=torch.float64) * torch.logspace(-6, 2, 10).double()
    start = torch.randn(10, generator=generator, dtype=torch.float64)
    zeros = torch.zeros_like(start)
    state = LearnerState(start, zeros, zeros)
    theirs = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=1.0, eps=1e-5)
    for number, gradient in enumerate(gradients):
        lr = 0.1 / (1 + number)
        optimizer.param_groups[0]["lr"] = lr
        theirs.grad = gradient
        before = (state.parameters, theirs.detach().clone())
        optimizer.step()
        state = adam.adam(state, gradient, *adam.adam_sizes(lr, number, 1)[:, 0])
        moved = state.parameters - before[0]
        # the sizes are float32, all else is float64
        torch.testing.assert_close(moved, theirs.detach() - before[1], rtol=1e-6, atol=1e-12)


def test_adams_sizes_of_an_epoch_are_those_of_its_steps_one_by_one() -> None:
    sizes = adam.adam_sizes(0.1, 0, 6)
    assert sizes.shape == (2, 6)
    for step in range(6):
        assert torch.equal(adam.adam_sizes(0.1, step, 1)[:, 0], sizes[:, step])
    # first step: 0.1·√0.001/0.1 and 1e-5·√0.001; after very many: the step size and epsilon themselves
    assert sizes[:, 0].tolist() == pytest.approx([0.001**0.5, 1e-5 * 0.001**0.5], rel=1e-6)
    assert adam.adam_sizes(0.1, 10**7, 1)[:, 0].tolist() == pytest.approx([0.1, 1e-5], rel=1e-6)


def test_the_update_step_changes_none_of_its_inputs_and_draws_nothing() -> None:
    score, state, batch = make_case()
    coef = coefficients()
    before = [tensor.clone() for tensor in (*state, *batch, *coef)]
    rng = torch.get_rng_state()
    step = ppo.make_update_step(score, objectives.clip, clip_value=True, clip_gradient=True)
    first, second = step(state, batch, coef), step(state, batch, coef)
    assert all(torch.equal(*pair) for pair in zip((*state, *batch, *coef), before, strict=True))
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(*pair) for pair in zip((*first[0], first[1]), (*second[0], second[1]), strict=True))
    assert not torch.equal(first[0].parameters, state.parameters)


def step_of_many(
    score: Any, policy_loss: PolicyLoss, state: LearnerState, batch: Minibatch, coef: Coefficients
) -> tuple[LearnerState, Tensor]:
    """The step of as many runs as the first axis of everything counts, as the module's first lines say."""
    losses = partial(ppo.loss_derivatives, policy_loss=policy_loss, clip_value=True)
    parameters = state.parameters.detach().requires_grad_()
    scores = vmap(score)(parameters, batch.observations, batch.actions)
    terms, derivatives, metrics = vmap(losses)(scores, batch, coef)
    (gradient,) = torch.autograd.grad(terms, parameters, derivatives)
    after, norm = vmap(partial(ppo.descend, clip_gradient=True))(state, gradient, coef)
    return after, torch.stack((*metrics, norm), 1)


@pytest.mark.parametrize(
    "policy_loss", [objectives.clip, objectives.differentiated(objectives.spo)], ids=["clip", "spo"]
)
@pytest.mark.parametrize("shared", [True, False])
def test_the_step_is_taken_for_many_runs_at_once_each_with_its_own_coefficients(
    policy_loss: PolicyLoss, shared: bool
) -> None:
    score, state, batch = make_case(shared=shared)
    members, settings = range(4), [(0.01, 0.2), (0.03, 0.2), (0.01, 0.05), (0.002, 0.5)]
    coefs = [
        coefficients(step_size=lr, clip_ratio=ratio, clip_low=1 - ratio, clip_high=1 + ratio) for lr, ratio in settings
    ]
    batches = [batch._replace(advantages=batch.advantages.roll(member)) for member in members]
    alone = [state._replace(parameters=state.parameters * (1 + 0.1 * member)) for member in members]
    many = LearnerState(*map(torch.stack, zip(*alone, strict=True)))
    coef, each_batch = Coefficients(*map(torch.stack, zip(*coefs, strict=True))), zip(*batches, strict=True)
    rows = Minibatch(*map(torch.stack, each_batch))
    step = ppo.make_update_step(score, policy_loss, clip_value=True, clip_gradient=True)
    for _ in range(3):
        many, metrics = step_of_many(score, policy_loss, many, rows, coef)
        for member in members:
            alone[member], expected = step(alone[member], batches[member], coefs[member])
            found = LearnerState(*(part[member] for part in many))
            torch.testing.assert_close((*found, metrics[member]), (*alone[member], expected), rtol=1e-12, atol=1e-14)


def run_without_numbers(wrap: Callable[[Any], Any]) -> tuple[LearnerState, Tensor]:
    """An update step on tensors that have shapes but no content."""
    score, state, batch = make_case()
    step = ppo.make_update_step(wrap(score), objectives.clip, clip_value=True, clip_gradient=True)
    with FakeTensorMode() as mode:
        inputs = [kind(*map(mode.from_tensor, part)) for kind, part in
                  ((LearnerState, state), (Minibatch, batch), (Coefficients, coefficients()))]  # fmt: skip
        result: tuple[LearnerState, Tensor] = step(*inputs)
        return result


def test_the_update_step_reads_no_number_back() -> None:
    state, metrics = run_without_numbers(lambda score: score)
    assert metrics.shape == (len(ppo.LOSS_METRICS),)
    assert not state.parameters.requires_grad
    assert not metrics.requires_grad

    def curious(score: Any) -> Any:
        return lambda *args: [part * part.sum().item() for part in score(*args)]

    with pytest.raises(DataDependentOutputException):
        run_without_numbers(curious)


# schedules and minibatches


def test_annealing_is_a_straight_line_to_0() -> None:
    assert [ppo.annealed(0.4, step, 100) for step in (0, 25, 50, 100)] == pytest.approx([0.4, 0.3, 0.2, 0.0])
    assert ppo.annealed(0.4, 150, 100) == 0.0


@pytest.mark.parametrize(("rows", "batch_size"), [(8, 4), (9, 4), (65, 64), (3, 64), (1, 1), (10, 3), (127, 64)])
def test_minibatches_hold_each_row_once_evenly_and_have_one_shape(rows: int, batch_size: int) -> None:
    permutation = torch.randperm(rows, generator=torch.Generator().manual_seed(1)) + 100
    places, weights = minibatches.minibatch_rows(permutation, batch_size)
    assert places.shape == weights.shape == (math.ceil(rows / batch_size), batch_size)
    assert sorted(places[weights > 0].tolist()) == sorted(permutation.tolist())
    assert set(weights.unique().tolist()) <= {0.0, 1.0}
    assert set(places.flatten().tolist()) <= set(permutation.tolist())
    counts = weights.sum(1)
    assert counts.max() - counts.min() <= 1
    together = minibatches.minibatch_rows(torch.stack((permutation.flip(0), permutation)), batch_size)
    assert all(torch.equal(part[1], alone) for part, alone in zip(together, (places, weights), strict=True))


def test_dealt_minibatches_hold_every_row_once_with_even_shares_and_normalized_advantages() -> None:
    generator = torch.Generator().manual_seed(7)
    rows = torch.arange(11.0)
    columns = (rows.int(), rows * 10, rows * 100, torch.randn(11, generator=generator), rows * 1000)
    rollout = Minibatch(torch.stack((rows, -rows), 1), *columns, torch.full((11,), torch.nan))
    counted = torch.randperm(11, generator=generator)[:10]  # one row is no real step
    places, weights = minibatches.minibatch_rows(counted, 4)
    dealt = minibatches.gather_minibatches(rollout, places, weights)
    assert [tuple(column.shape) for column in dealt] == [(3, 4, 2), *[(3, 4)] * 6]
    seen = []
    for batch in (Minibatch(*columns) for columns in zip(*dealt, strict=True)):
        real = batch.mean_weights > 0
        numbers = batch.observations[real, 0]
        seen += numbers.int().tolist()
        assert torch.equal(batch.observations[real, 1], -numbers)
        assert torch.equal(batch.actions[real], numbers.int())
        assert torch.equal(batch.log_probs[real], numbers * 10)
        assert torch.equal(batch.values[real], numbers * 100)
        assert torch.equal(batch.returns[real], numbers * 1000)
        assert batch.mean_weights[real].tolist() == pytest.approx([1 / len(numbers)] * len(numbers))
        mine = rollout.advantages[numbers.int()]
        torch.testing.assert_close(batch.advantages[real], (mine - mine.mean()) / mine.std())
    assert sorted(seen) == sorted(counted.tolist())
    assert (dealt.mean_weights > 0).sum().item() == 10
