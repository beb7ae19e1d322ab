"""Every action head against brute force: probabilities that sum to 1, entropies by sampling, known distributions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.distributions import Beta, Normal, TanhTransform

from ppo_cli.config import ContinuousConfig, NetworkConfig
from ppo_cli.devices import Constant
from ppo_cli.errors import ConfigError
from ppo_cli.networks.actor_critic import ActorCritic
from ppo_cli.networks.categorical import CategoricalHead, MultiCategoricalHead
from ppo_cli.networks.distributions import make_head
from ppo_cli.networks.heads import Head
from ppo_cli.spec import ActionPart, ObsPart, Spec

WIDTH, DRAWS = 5, 100_000
NUMBERS = ObsPart("", "numbers", (3,), measured=True)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def discrete(*counts: int) -> ActionPart:
    return ActionPart("", "categorical", len(counts), counts)


def box(*bounds: tuple[float, float]) -> ActionPart:
    low, high = zip(*bounds, strict=True)
    return ActionPart("", "continuous", len(bounds), (), low, high)


ONE, TWO = box((-2.0, 3.0)), box((-2.0, 3.0), (0.5, 0.75))
CONTINUOUS = {
    "gaussian": ContinuousConfig(),
    "state_dependent": ContinuousConfig(state_dependent_std=True),
    "squashed": ContinuousConfig(distribution="squashed"),
    "squashed_state_dependent": ContinuousConfig(distribution="squashed", state_dependent_std=True),
    "beta": ContinuousConfig(distribution="beta"),
    "gsde": ContinuousConfig(distribution="gsde", resample_every=1),
}
MIXED = (box((-1.0, 1.0)), discrete(3), box((0.0, 2.0), (-1.0, 0.0)), discrete(2, 4))


def head_of(config: ContinuousConfig, *parts: ActionPart) -> Head:
    return make_head(Spec((NUMBERS,), parts), config, WIDTH)


def weights_of(head: Head, scale: float = 0.5) -> list[Tensor]:
    generator = stream(1)
    return [torch.randn(shape, generator=generator) * scale for shape in head.shapes.values()]


def outputs_of(head: Head, rows: int = 1) -> Tensor:
    """Outputs for the same few features again and again, of arbitrary weights."""
    features = torch.randn(1, WIDTH, generator=stream(2))
    return head.project(head.precompute(weights_of(head)), features).expand(rows, -1)


def draws_of(head: Head, outputs: Tensor, draws: int = DRAWS) -> Tensor:
    return head.sample(outputs.expand(draws, -1), head.noise(1, draws, stream(3))[0])


def grid(name: str, cells: int) -> tuple[Tensor, Tensor]:
    """Stored actions along one axis, and the widths of the cells around them in the space that a density is of."""
    low, high = (0.0, 1.0) if name == "beta" else (-25.0, 25.0)
    half = (high - low) / cells / 2
    places = low + half * (2 * torch.arange(cells, dtype=torch.float64) + 1)
    if name.startswith("squashed"):  # tanh(p + h) − tanh(p − h), which the tangents themselves are too coarse for
        return places.float(), math.sinh(2 * half) / ((places + half).cosh() * (places - half).cosh())
    return places.float(), torch.full_like(places, 2 * half)


def density(head: Head, outputs: Tensor, places: Tensor) -> Tensor:
    return head.log_prob_and_entropy(outputs.expand(len(places), -1), places)[0].double().exp()


# probabilities sum to 1


@pytest.mark.parametrize("counts", [(1,), (4,), (2, 5, 1, 3), (3, 3)])
def test_probabilities_of_all_choices_sum_to_1(counts: tuple[int, ...]) -> None:
    head = head_of(ContinuousConfig(), discrete(*counts))
    everything = torch.tensor(list(itertools.product(*map(range, counts))))
    log_probs, entropies = head.log_prob_and_entropy(outputs_of(head, len(everything)), everything)
    assert log_probs.exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    # and the entropy is −Σ p ln p over them
    assert entropies[0].item() == pytest.approx(-(log_probs.exp() * log_probs).sum().item(), abs=1e-5)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_density_integrates_to_1_over_one_entry(name: str) -> None:
    head = head_of(CONTINUOUS[name], ONE)
    places, widths = grid(name, 20_000)
    total = density(head, outputs_of(head), places[:, None]) @ widths
    assert total.item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_density_integrates_to_1_over_two_entries(name: str) -> None:
    head = head_of(CONTINUOUS[name], TWO)
    places, widths = grid(name, 500)
    total = density(head, outputs_of(head), torch.cartesian_prod(places, places)) @ widths.outer(widths).flatten()
    assert total.item() == pytest.approx(1.0, abs=1e-2)


def test_a_mixed_density_integrates_and_sums_to_1() -> None:
    head = head_of(ContinuousConfig(), box((-1.0, 1.0)), discrete(2, 3), discrete(2))
    places, widths = grid("gaussian", 4000)
    total = 0.0
    for choices in itertools.product(range(2), range(3), range(2)):
        rows = torch.cat((places[:, None], torch.tensor(choices).float().expand(len(places), -1)), 1)
        total += (density(head, outputs_of(head), rows) @ widths).item()
    assert total == pytest.approx(1.0, abs=1e-3)


# entropies and samples

EVERY: dict[str, Callable[[], Head]] = {
    "categorical": lambda: head_of(ContinuousConfig(), discrete(5)),
    "multi_categorical": lambda: head_of(ContinuousConfig(), discrete(2, 5, 1, 3)),
    **{name: partial(head_of, config, TWO) for name, config in CONTINUOUS.items()},
    **{f"joint_{name}": partial(head_of, config, *MIXED) for name, config in CONTINUOUS.items()},
}


@pytest.mark.parametrize("name", EVERY)
def test_the_entropy_is_the_mean_surprise_of_the_samples(name: str) -> None:
    head = EVERY[name]()
    outputs = outputs_of(head, DRAWS)
    log_probs, entropies = head.log_prob_and_entropy(outputs, draws_of(head, outputs))
    error = log_probs.std().item() / math.sqrt(DRAWS)
    assert entropies[0].item() == pytest.approx(-log_probs.mean().item(), abs=5 * error + 1e-4)


@pytest.mark.parametrize("log_std", [-10.0, -3.0, 0.0, 1.0, 2.0])
def test_the_squashed_entropy_holds_for_narrow_and_wide_distributions(log_std: float) -> None:
    head = head_of(ContinuousConfig(distribution="squashed"), ONE)
    standard = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
    weights = torch.softmax(-0.5 * standard.square(), 0)
    for mean in (0.0, 0.7, 1.5, -6.0):
        outputs = torch.tensor([[mean, log_std]], dtype=torch.float64)
        places = (mean + math.exp(log_std) * standard)[:, None]
        log_probs, entropies = head.log_prob_and_entropy(outputs.expand(len(places), -1), places)
        surprise = -(log_probs @ weights).item()
        assert entropies[0].item() == pytest.approx(surprise, abs=0.01)
        single = head.log_prob_and_entropy(outputs.float(), torch.zeros(1, 1))[1]
        assert single.item() == pytest.approx(surprise, abs=0.01)


def assert_same_moments(samples: Tensor, mean: Tensor, deviation: Tensor) -> None:
    error = deviation / math.sqrt(len(samples))
    assert ((samples.mean(0) - mean).abs() <= 5 * error).all()
    torch.testing.assert_close(samples.std(0), deviation, rtol=0.02, atol=1e-6)


@pytest.mark.parametrize("counts", [(5,), (2, 5, 1, 3)])
def test_choices_come_as_often_as_their_probabilities_say(counts: tuple[int, ...]) -> None:
    head = head_of(ContinuousConfig(), discrete(*counts))
    outputs = outputs_of(head)
    samples, modes = draws_of(head, outputs), head.mode(outputs)[0]
    assert samples.dtype == modes.dtype == torch.int64
    for entry, logits in enumerate(outputs[0].split(counts)):
        expected = logits.softmax(0)
        frequency = samples[:, entry].bincount(minlength=len(logits)) / DRAWS
        assert len(frequency) == len(logits)
        assert ((frequency - expected).abs() <= 5 * (expected * (1 - expected) / DRAWS).sqrt() + 1e-6).all()
        assert modes[entry] == expected.argmax()


@pytest.mark.parametrize("name", ["gaussian", "state_dependent", "squashed", "squashed_state_dependent"])
def test_normal_samples_and_scores_are_those_of_torch(name: str) -> None:
    head = head_of(CONTINUOUS[name], TWO)
    outputs = outputs_of(head)
    mean, log_std = outputs[0].chunk(2)
    samples = draws_of(head, outputs)
    assert_same_moments(samples, mean, log_std.exp())
    assert torch.corrcoef(samples.T)[0, 1].abs() < 0.02
    expected = Normal(mean, log_std.exp()).log_prob(samples).sum(-1)
    if name.startswith("squashed"):
        expected = expected - TanhTransform().log_abs_det_jacobian(samples, samples.tanh()).sum(-1)
    scored = head.log_prob_and_entropy(outputs.expand(DRAWS, -1), samples)[0]
    torch.testing.assert_close(scored, expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(head.mode(outputs)[0], mean)


def test_far_out_squashed_actions_are_scored_without_loss() -> None:
    head = head_of(ContinuousConfig(distribution="squashed"), ONE)
    # 1 − tanh²u = 4e^(−2|u|) for large |u|; the density of u itself is standard normal
    log_probs, _ = head.log_prob_and_entropy(torch.zeros(2, 2), torch.tensor([[40.0], [-40.0]]))
    expected = -0.5 * (1600 + math.log(2 * math.pi)) - (math.log(4.0) - 80.0)
    assert log_probs.tolist() == pytest.approx([expected, expected])


def test_beta_samples_scores_and_entropies_are_those_of_torch() -> None:
    head = head_of(ContinuousConfig(distribution="beta"), box((0.0, 1.0), (0.0, 1.0), (0.0, 1.0)))
    for alpha, beta in [((1.0, 1.5, 9.0), (1.0, 4.0, 2.0)), ((1.001, 60.0, 3.0), (5.0, 70.0, 3.0))]:
        outputs = torch.tensor([[*alpha, *beta]])
        true = Beta(torch.tensor(alpha), torch.tensor(beta))
        samples = draws_of(head, outputs)
        assert_same_moments(samples, true.mean, true.stddev)
        third = (samples - true.mean).pow(3).mean(0)
        reference = (true.sample(torch.Size((DRAWS,))) - true.mean).pow(3).mean(0)
        torch.testing.assert_close(third / true.stddev**3, reference / true.stddev**3, rtol=0, atol=0.05)
        log_probs, entropies = head.log_prob_and_entropy(outputs.expand(DRAWS, -1), samples)
        torch.testing.assert_close(log_probs, true.log_prob(samples).sum(-1), rtol=1e-3, atol=1e-3)
        assert entropies[0].item() == pytest.approx(true.entropy().sum().item(), abs=1e-3)


def test_the_beta_mode_is_where_its_density_is_greatest() -> None:
    head = head_of(ContinuousConfig(distribution="beta"), ONE)
    places, widths = grid("beta", 10_000)
    for alpha, beta in [(2.0, 5.0), (9.0, 1.5), (1.5, 1.5)]:
        outputs = torch.tensor([[alpha, beta]])
        peak = places[density(head, outputs, places[:, None]).argmax()].item()
        assert head.mode(outputs).item() == pytest.approx(peak, abs=2 * widths[0].item() + 1e-3)
    assert head.mode(torch.ones(1, 2)).item() == pytest.approx(0.5)  # flat: no hump


def test_beta_samples_stay_inside_even_where_the_weights_went_far() -> None:
    head = head_of(ContinuousConfig(distribution="beta"), TWO)
    parameters = [torch.full(shape, 200.0) for shape in head.shapes.values()]
    parameters[1][0] = -1e6
    outputs = head.project(head.precompute(parameters), torch.ones(1, WIDTH))
    samples = draws_of(head, outputs, 1000)
    assert ((samples > 0) & (samples < 1)).all()
    log_probs, entropies = head.log_prob_and_entropy(outputs.expand(1000, -1), samples)
    assert torch.isfinite(log_probs).all()
    assert torch.isfinite(entropies).all()
    assert torch.isfinite(head.mode(outputs)).all()


def test_gsde_noise_is_a_linear_function_of_the_features() -> None:
    head = head_of(CONTINUOUS["gsde"], TWO)
    parameters = weights_of(head)
    features = torch.randn(3, WIDTH, generator=stream(4))
    outputs = head.project(head.precompute(parameters), features)
    noise = head.noise(1, 1, stream(5))[0].expand(3, -1)
    exploration = noise[0].view(WIDTH, 2) * parameters[2].exp()
    expected = features @ parameters[0] + parameters[1] + features @ exploration
    torch.testing.assert_close(head.sample(outputs, noise), expected)
    torch.testing.assert_close(head.mode(outputs), features @ parameters[0] + parameters[1])


def test_gsde_samples_have_the_deviation_that_they_are_scored_with() -> None:
    head = head_of(CONTINUOUS["gsde"], TWO)
    parameters = weights_of(head)
    features = torch.randn(1, WIDTH, generator=stream(4))
    outputs = head.project(head.precompute(parameters), features)
    deviation = (features.square() @ parameters[2].exp().square()).sqrt()[0]
    mean = (features @ parameters[0] + parameters[1])[0]
    samples = draws_of(head, outputs)
    assert_same_moments(samples, mean, deviation)
    scored = head.log_prob_and_entropy(outputs.expand(DRAWS, -1), samples)[0]
    torch.testing.assert_close(scored, Normal(mean, deviation).log_prob(samples).sum(-1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("every", "changes"), [(1, [1, 2, 3, 4, 5, 6]), (4, [4]), (None, []), (7, [])])
def test_gsde_keeps_its_noise_for_as_long_as_it_is_told(every: int | None, changes: list[int]) -> None:
    head = head_of(ContinuousConfig(distribution="gsde", resample_every=every), TWO)
    noise = head.noise(7, 2, stream())
    assert noise.shape == (7, 2, head.num_noise)
    assert [step for step in range(1, 7) if not torch.equal(noise[step], noise[step - 1])] == changes
    assert not torch.equal(noise[:, 0], noise[:, 1])


def test_gsde_does_not_shape_the_features_by_its_deviation() -> None:
    head = head_of(CONTINUOUS["gsde"], TWO)
    features = torch.randn(2, WIDTH, generator=stream(4)).requires_grad_()
    parameters = [part.requires_grad_() for part in weights_of(head)]
    outputs = head.project(head.precompute(parameters), features)
    _, entropies = head.log_prob_and_entropy(outputs, outputs[:, :2].detach() + 1.0)
    by_features, by_log_std = torch.autograd.grad(
        entropies.sum(), (features, parameters[2]), allow_unused=True, materialize_grads=True
    )
    assert not by_features.any()
    assert by_log_std.all()


def test_the_joint_head_is_its_parts_side_by_side() -> None:
    joint = head_of(ContinuousConfig(), *MIXED)
    singles = [head_of(ContinuousConfig(), part) for part in MIXED]
    parameters = weights_of(joint)
    features = torch.randn(4, WIDTH, generator=stream(4))
    outputs = joint.project(joint.precompute(parameters), features)
    actions = joint.sample(outputs, joint.noise(1, 4, stream(5))[0])
    assert actions.shape == (4, 6)
    modes = joint.mode(outputs)
    log_probs, entropies, column, place = torch.zeros(4), torch.zeros(4), 0, 0
    for part, single in zip(MIXED, singles, strict=True):
        own = single.project(single.precompute(parameters[place : place + len(single.shapes)]), features)
        chosen = actions[:, column : column + part.size]
        scores = single.log_prob_and_entropy(own, chosen.long() if part.counts else chosen)
        log_probs, entropies = log_probs + scores[0], entropies + scores[1]
        assert torch.equal(modes[:, column : column + part.size], single.mode(own).float())
        column, place = column + part.size, place + len(single.shapes)
    joined = joint.log_prob_and_entropy(outputs, actions)
    torch.testing.assert_close(joined[0], log_probs)
    torch.testing.assert_close(joined[1], entropies)
    # logits lead, in the order of the parts that have them
    logits = [
        singles[1].project(singles[1].precompute(parameters[3:5]), features),
        singles[3].project(singles[3].precompute(parameters[-2:]), features),
    ]
    torch.testing.assert_close(outputs[:, : joint.num_options], torch.cat(logits, 1))
    assert joint.num_options == 9


@pytest.mark.parametrize("name", EVERY)
def test_noise_has_the_size_that_the_head_says_and_repeats_with_its_stream(name: str) -> None:
    head = EVERY[name]()
    noise = head.noise(3, 2, stream(9))
    assert noise.shape == (3, 2, head.num_noise)
    assert torch.equal(noise, head.noise(3, 2, stream(9)))
    assert outputs_of(head).shape == (1, head.num_outputs)


# the environment's units


@pytest.mark.parametrize("name", ["squashed", "beta"])
def test_bounded_actions_are_stretched_to_their_bounds(name: str) -> None:
    head = head_of(CONTINUOUS[name], TWO)
    least, middle, most = {"squashed": (-50.0, 0.0, 50.0), "beta": (0.0, 0.5, 1.0)}[name]
    emitted = head.to_env(torch.tensor([[least, most], [middle, middle], [most, least]]))
    torch.testing.assert_close(emitted, torch.tensor([[-2.0, 0.75], [0.5, 0.625], [3.0, 0.5]]))


@pytest.mark.parametrize("name", ["gaussian", "state_dependent", "gsde"])
def test_other_continuous_actions_are_in_the_environments_units(name: str) -> None:
    head = head_of(CONTINUOUS[name], TWO)
    actions = torch.tensor([[-9.0, 9.0]])
    assert torch.equal(head.to_env(actions), actions)


@pytest.mark.parametrize("name", ["squashed", "beta"])
def test_joint_actions_are_stretched_part_by_part(name: str) -> None:
    head = head_of(CONTINUOUS[name], *MIXED)
    most = {"squashed": 50.0, "beta": 1.0}[name]
    emitted = head.to_env(torch.tensor([[most, 2.0, most, most, 1.0, 3.0]]))
    torch.testing.assert_close(emitted, torch.tensor([[1.0, 2.0, 2.0, 0.0, 1.0, 3.0]]))


@pytest.mark.parametrize("name", ["squashed", "beta"])
@pytest.mark.parametrize("bounds", [(-math.inf, math.inf), (0.0, math.inf), (-math.inf, 0.0)])
def test_a_distribution_that_needs_bounds_says_so(name: str, bounds: tuple[float, float]) -> None:
    with pytest.raises(ConfigError) as raised:
        head_of(CONTINUOUS[name], discrete(2), box((0.0, 1.0), bounds))
    assert f"continuous.distribution={name} needs bounds" in str(raised.value)
    assert "continuous.distribution=gaussian" in str(raised.value)


@pytest.mark.parametrize("name", ["gaussian", "state_dependent", "gsde"])
def test_other_distributions_take_actions_without_bounds(name: str) -> None:
    head = head_of(CONTINUOUS[name], box((0.0, math.inf), (-math.inf, math.inf)))
    assert torch.isfinite(draws_of(head, outputs_of(head), 100)).all()


# deviations


@pytest.mark.parametrize("name", ["gaussian", "state_dependent", "squashed", "squashed_state_dependent"])
def test_deviations_start_where_they_are_told_and_keep_to_their_bounds(name: str) -> None:
    settings = CONTINUOUS[name]
    config = ContinuousConfig(settings.distribution, settings.state_dependent_std, -0.5, min_log_std=-2, max_log_std=1)
    head = head_of(config, TWO)
    fresh = [torch.zeros(shape) for shape in head.shapes.values()]
    features = torch.randn(3, WIDTH, generator=stream(4))
    assert head.project(head.precompute(fresh), features)[:, 2:].unique().tolist() == [-0.5]
    for push, bound in [(-1e4, -2.0), (1e4, 1.0)]:
        pushed = [torch.full(shape, push) for shape in head.shapes.values()]
        assert head.project(head.precompute(pushed), torch.ones(3, WIDTH))[:, 2:].unique().tolist() == [bound]


def test_gsde_deviations_keep_to_their_bounds_weight_by_weight() -> None:
    head = head_of(ContinuousConfig("gsde", initial_log_std=-0.5, min_log_std=-2, max_log_std=1), ONE)
    features = torch.full((1, WIDTH), 2.0)
    for push, scale in [(-1e4, -2.0), (0.0, -0.5), (1e4, 1.0)]:
        parameters = [torch.zeros(shape) for shape in head.shapes.values()]
        parameters[2] += push
        # five features of 2, each with a weight of deviation e^scale: √(5 · 4) · e^scale
        assert head.project(head.precompute(parameters), features)[0, 1].item() == pytest.approx(
            0.5 * math.log(20.0) + scale, abs=1e-4
        )


# gradients


@pytest.mark.parametrize("name", EVERY)
def test_gradients_of_score_agree_with_finite_differences(name: str) -> None:
    head = EVERY[name]()
    outputs = outputs_of(head, 3)
    actions = draws_of(head, outputs, 3).double()
    if head.num_options == head.num_outputs:
        actions = actions.long()
    parameters = [part.double().requires_grad_() for part in weights_of(head)]
    features = torch.randn(3, WIDTH, generator=stream(2)).double()

    def scores(*weights: Tensor) -> tuple[Tensor, Tensor]:
        return head.log_prob_and_entropy(head.project(head.precompute(weights), features), actions)

    assert torch.autograd.gradcheck(scores, parameters, eps=1e-6, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", EVERY)
def test_gradients_are_finite_however_far_the_weights_went(name: str) -> None:
    head = EVERY[name]()
    for scale in (0.0, 1.0, 30.0):
        parameters = [part.requires_grad_() for part in weights_of(head, scale)]
        outputs = head.project(parameters, torch.randn(64, WIDTH, generator=stream(2)))
        actions = head.sample(outputs.detach(), head.noise(1, 64, stream(3))[0])
        log_probs, entropies = head.log_prob_and_entropy(outputs, actions)
        gradients = torch.autograd.grad(log_probs.sum() + entropies.sum(), parameters)
        assert all(torch.isfinite(gradient).all() for gradient in gradients)


# masks


def masked_network(*parts: ActionPart) -> tuple[ActorCritic, list[Tensor], int]:
    options = sum(sum(part.counts) for part in parts)
    spec = Spec((NUMBERS, ObsPart("action_mask", "mask", (options,))), parts, "info")
    network = ActorCritic(spec, partial(make_head, spec, ContinuousConfig()), NetworkConfig(hidden_sizes=[8]))
    flat = torch.randn(network.num_parameters, generator=stream(7)) * 0.5
    return network, network.unflatten(flat), options


MASKED: dict[str, tuple[tuple[ActionPart, ...], list[int]]] = {
    "categorical": ((discrete(5),), [0, 1, 0, 1, 1]),
    "ragged": ((discrete(2, 5, 1, 3),), [0, 1, 1, 0, 0, 0, 1, 1, 0, 1, 1]),
    "one_left": ((discrete(2, 3),), [0, 1, 0, 0, 1]),
    "joint": (MIXED, [1, 0, 1, 0, 1, 1, 0, 0, 1]),
}


def chosen_options(parts: tuple[ActionPart, ...], actions: Tensor) -> Tensor:
    """Places of the choices among all options, (rows, categorical entries)."""
    places, column, start = [], 0, 0
    for part in parts:
        for count in part.counts:
            assert ((actions[:, column] >= 0) & (actions[:, column] < count)).all()
            places.append(actions[:, column].long() + start)
            column, start = column + 1, start + count
        column += 0 if part.counts else part.size
    return torch.stack(places, 1)


def allowed_only(parts: tuple[ActionPart, ...], mask: list[int], logits: Tensor) -> tuple[float, float]:
    """Sum of the largest log-probabilities and of the entropies over what is allowed, by hand."""
    best, entropy = 0.0, 0.0
    counts = [count for part in parts for count in part.counts]
    for own, allowed in zip(logits.split(counts), torch.tensor(mask).split(counts), strict=True):
        log_probs = own[allowed > 0].log_softmax(0)
        best += log_probs.max().item()
        entropy -= (log_probs.exp() * log_probs).sum().item()
    return best, entropy


@pytest.mark.parametrize("name", MASKED)
def test_masked_choices_never_come_and_count_for_nothing(name: str) -> None:
    parts, mask = MASKED[name]
    network, parameters, options = masked_network(*parts)
    observation = torch.randn(1, 3, generator=stream(8))
    row = torch.cat((observation, torch.tensor([mask]).float()), 1)
    outputs = network.forward(parameters, row).outputs
    torch.testing.assert_close(network.policy(network.acting(parameters), row), outputs)
    samples = network.head.sample(outputs.expand(DRAWS, -1), network.head.noise(1, DRAWS, stream(9))[0])
    drawn = torch.zeros(options, dtype=torch.bool)
    drawn[chosen_options(parts, samples).flatten()] = True
    assert drawn.tolist() == [bool(allowed) for allowed in mask]
    mode = network.head.mode(outputs)
    assert torch.tensor(mask)[chosen_options(parts, mode)].all()

    open_row = torch.cat((observation, torch.ones(1, options)), 1)
    logits = network.forward(parameters, open_row).outputs
    # what is continuous is as it was
    assert torch.equal(outputs[:, options:], logits[:, options:])
    categorical = MultiCategoricalHead([count for part in parts for count in part.counts], 8)
    own_mode = categorical.mode(outputs[:, :options])
    log_prob, entropy = categorical.log_prob_and_entropy(outputs[:, :options], own_mode)
    expected = allowed_only(parts, mask, logits[0, :options])
    assert (log_prob.item(), entropy.item()) == pytest.approx(expected, abs=1e-5)
    head_entropy = (
        network.head.log_prob_and_entropy(outputs, mode)[1].item()
        - network.head.log_prob_and_entropy(logits, mode)[1].item()
    )
    open_entropy = categorical.log_prob_and_entropy(logits[:, :options], own_mode)[1].item()
    assert head_entropy == pytest.approx(expected[1] - open_entropy, abs=1e-4)


def test_a_masked_choice_has_probability_exactly_0() -> None:
    cases: list[tuple[Head, list[int], list[int]]] = [
        (CategoricalHead(4, 8), [1, 0, 1, 1], [1]),
        (MultiCategoricalHead((2, 2), 8), [1, 0, 1, 1], [1, 0]),
    ]
    for head, mask, forbidden in cases:
        logits = torch.where(torch.tensor([mask]) > 0, torch.randn(1, 4, generator=stream()), -1e8)
        log_prob, _ = head.log_prob_and_entropy(logits, torch.tensor([forbidden]))
        assert log_prob.exp().item() == 0.0
        assert torch.isfinite(log_prob).all()


@pytest.mark.parametrize("name", MASKED)
def test_no_gradient_reaches_a_masked_logit(name: str) -> None:
    parts, mask = MASKED[name]
    network, parameters, options = masked_network(*parts)
    rows = torch.cat((torch.randn(6, 3, generator=stream(8)), torch.tensor([mask]).float().expand(6, -1)), 1)
    outputs = network.forward(parameters, rows).outputs
    actions = network.head.sample(outputs, network.head.noise(1, 6, stream(9))[0])
    watched = [part.clone().requires_grad_() for part in parameters]
    log_probs, entropies = network.head.log_prob_and_entropy(network.forward(watched, rows).outputs, actions)
    gradients = torch.autograd.grad((log_probs + 0.3 * entropies).sum(), watched, allow_unused=True)
    assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)
    named = dict(zip(network.shapes, gradients, strict=True))
    biases = [
        gradient
        for index, part in enumerate(parts)
        if part.counts and (gradient := named[f"policy.{index}.bias" if len(parts) > 1 else "policy.bias"]) is not None
    ]
    by_option = torch.cat(biases)
    assert by_option.shape == (options,)
    # an only choice left has probability 1, and nothing to learn either
    counts = [count for part in parts for count in part.counts]
    free = torch.cat([(own > 0) & (own.sum() > 1) for own in torch.tensor(mask).split(counts)])
    assert not by_option[~free].any()
    assert by_option[free].all()


@pytest.mark.parametrize("name", MASKED)
def test_a_row_in_which_nothing_is_allowed_breaks_nothing(name: str) -> None:
    parts, mask = MASKED[name]
    network, parameters, options = masked_network(*parts)
    rows = torch.cat((torch.randn(2, 3, generator=stream(8)), torch.tensor([[0.0] * options, mask])), 1)
    watched = [part.clone().requires_grad_() for part in parameters]
    outputs = network.forward(watched, rows).outputs
    many = outputs.detach()[:1].expand(DRAWS, -1)
    samples = network.head.sample(many, network.head.noise(1, DRAWS, stream(9))[0])
    chosen_options(parts, samples)  # asserts that each is one of its entry's own
    actions = torch.cat((samples[:1], network.head.mode(outputs.detach())[1:]))
    log_probs, entropies = network.head.log_prob_and_entropy(outputs, actions)
    assert torch.isfinite(log_probs).all()
    assert torch.isfinite(entropies).all()
    gradients = torch.autograd.grad((log_probs + entropies).sum(), watched, allow_unused=True)
    assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)
    categorical = MultiCategoricalHead([count for part in parts for count in part.counts], 8)
    _, entropy = categorical.log_prob_and_entropy(outputs[:1, :options], categorical.mode(outputs[:1, :options]))
    expected = sum(math.log(count) for part in parts for count in part.counts)
    assert entropy.item() == pytest.approx(expected, abs=1e-4)


def test_a_mask_is_no_feature_and_does_not_move_the_value() -> None:
    network, parameters, options = masked_network(discrete(5))
    observation = torch.randn(1, 3, generator=stream(8))
    rows = torch.cat((observation.expand(2, -1), torch.tensor([[1.0] * options, [0, 1, 0, 0, 0]])), 1)
    values = network.forward(parameters, rows).values
    assert values[0] == values[1]


def test_a_constant_first_asked_for_while_acting_serves_gradients_too() -> None:
    constant, meta = Constant(torch.ones(3)), torch.device("meta")
    with torch.inference_mode():
        constant.on(meta)
    assert not constant.on(meta).is_inference()
    assert constant.on(meta) is constant.on(meta)
