"""Running statistics of observations, rewards and value targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ppo_cli.algorithm.moments import RunningMoments
from ppo_cli.algorithm.normalization import (
    VALUE_RATE,
    Normalizers,
    ObservationNormalizer,
    ObservationPart,
    RewardScaler,
    ValueNormalizer,
    make_normalizers,
)
from ppo_cli.config import PPOConfig
from ppo_cli.devices import with_float64
from ppo_cli.spec import Spec
from ppo_cli.training.auto import choose_compile

CPU, SPEC = torch.device("cpu"), Spec.simple(3, 2)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def standardizer(size: int, dtype: torch.dtype = torch.float32) -> ObservationNormalizer:
    return ObservationNormalizer(torch.ones(size, dtype=torch.bool), dtype, CPU)


def count(normalizer: ObservationPart, rows: Tensor) -> None:
    normalizer.update(rows, torch.ones(len(rows), dtype=torch.bool))


def test_moments_merged_in_parts_are_those_of_everything_at_once() -> None:
    rows = random(100, 3).double() * torch.tensor([1.0, 50.0, 1e-3]) + torch.tensor([0.0, -7.0, 1e4])
    moments = RunningMoments((3,), CPU)
    for part in rows.split([1, 9, 50, 0, 40]):
        moments.update(part)
    assert moments.count.item() == 100
    np.testing.assert_allclose(moments.mean, np.mean(rows.numpy(), axis=0), rtol=1e-10)
    np.testing.assert_allclose(moments.var, np.var(rows.numpy(), axis=0), rtol=1e-6)


def test_observations_are_standardized_by_what_was_counted() -> None:
    # 2, 4, 6, 8: mean 5, variance (9 + 1 + 1 + 9)/4 = 5
    normalizer = standardizer(1)
    count(normalizer, torch.tensor([[2.0], [4.0]]))
    count(normalizer, torch.tensor([[6.0], [8.0]]))
    assert normalizer(torch.tensor([[5.0], [7.0]])).flatten().tolist() == pytest.approx([0.0, 2 / 5**0.5])


def test_observations_are_clipped_at_10() -> None:
    normalizer = standardizer(1)
    assert normalizer(torch.tensor([[-11.0], [9.0], [1e9]])).flatten().tolist() == pytest.approx([-10.0, 9.0, 10.0])


def test_reading_observations_counts_nothing() -> None:
    normalizer = standardizer(2)
    count(normalizer, random(5, 2))
    before = {name: tensor.clone() for name, tensor in normalizer.state_dict().items()}
    first = normalizer(random(5, 2, seed=1))
    assert torch.equal(normalizer(random(5, 2, seed=1)), first)
    assert all(torch.equal(tensor, before[name]) for name, tensor in normalizer.state_dict().items())


def test_rewards_are_divided_by_the_deviation_of_the_discounted_return_and_keep_their_sign() -> None:
    # γ = ½, two environments. First: returns 1, ½ + 1 = 1.5, then its episode ends, 2 anew. Second: −2, −1 + 0, −½ + 4
    # 1, 1.5, 2, −2, −1, 3.5: sum 5, mean 5/6; squares 1 + 2.25 + 4 + 4 + 1 + 12.25 = 24.5; variance 24.5/6 − 25/36
    scaler = RewardScaler(2, 0.5, CPU)
    rewards = torch.tensor([[1.0, -2.0], [1.0, 0.0], [2.0, 4.0]])
    done = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    deviation = (24.5 / 6 - 25 / 36) ** 0.5
    scaled = scaler(rewards, done, torch.ones(3, 2))
    torch.testing.assert_close(scaled, rewards / deviation)
    # sums go on over the rollout's border: 1 + 1 = 2 and 1.75 + 1 = 2.75
    scaler(torch.ones(1, 2), torch.zeros(1, 2), torch.ones(1, 2))
    everything = [1, 1.5, 2, -2, -1, 3.5, 2, 2.75]
    assert scaler.moments.mean.item() == pytest.approx(np.mean(everything))
    assert scaler.moments.var.item() == pytest.approx(np.var(everything))


def test_rewards_of_filler_rows_count_nowhere() -> None:
    with_filler, without = RewardScaler(1, 0.9, CPU), RewardScaler(1, 0.9, CPU)
    column = torch.tensor([[1.0], [99.0], [2.0], [5.0]])
    done = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    real = torch.tensor([0, 2, 3])
    scaled = with_filler(column, done, torch.tensor([[1.0], [0.0], [1.0], [1.0]]))
    expected = without(column[real], done[real], torch.ones(3, 1))
    torch.testing.assert_close(scaled[real], expected)
    assert all(torch.equal(tensor, without.state_dict()[name]) for name, tensor in with_filler.state_dict().items())


def test_scaled_rewards_are_clipped_at_10() -> None:
    scaler = RewardScaler(1, 0.0, CPU)
    rewards = torch.zeros(401, 1)
    rewards[200], rewards[300] = 1.0, -1e-3
    scaled = scaler(rewards, torch.zeros(401, 1), torch.ones(401, 1)).flatten()
    assert scaled[200].item() == 10.0  # 1/0.05 = 20 without the clip
    assert scaled[300].item() == pytest.approx(-0.02, rel=0.01)


def test_a_change_of_value_units_leaves_every_prediction_as_it_was() -> None:
    normalizer = ValueNormalizer(CPU)
    features, weight, bias = random(20, 8), random(8, 1, seed=1), random(1, seed=2)

    def predictions() -> Tensor:
        return normalizer.denormalize((features @ weight + bias).squeeze(1))

    for seed, (scale, shift) in enumerate([(3.0, 100.0), (50.0, -20.0), (0.5, 7.0)]):
        before = predictions()
        weights_before = weight.clone()
        normalizer.update(random(64, seed=seed + 3) * scale + shift, weight, bias)
        torch.testing.assert_close(predictions(), before, rtol=1e-4, atol=1e-3)
        assert not torch.equal(weight, weights_before)


def test_value_targets_have_mean_0_and_deviation_1_by_a_moving_average() -> None:
    # after n returns the next k weigh 1 − (1 − β)^k of all that is remembered, whose weight is 1 − (1 − β)^(n + k)
    normalizer = ValueNormalizer(CPU)
    first, second = random(64) * 5 + 30, random(32, seed=1) * 2 - 4
    for part in (first, second):
        normalizer.update(part, random(4, 1), random(1))
    kept = (1.0 - VALUE_RATE) ** 32
    weights = np.repeat([kept * (1.0 - (1.0 - VALUE_RATE) ** 64) / 64, (1.0 - kept) / 32], [64, 32])
    units = normalizer.normalize(torch.cat((first, second))).numpy()
    assert np.average(units, weights=weights) == pytest.approx(0.0, abs=1e-5)
    assert np.average(units**2, weights=weights) == pytest.approx(1.0, rel=1e-5)
    torch.testing.assert_close(normalizer.denormalize(torch.from_numpy(units)), torch.cat((first, second)))


def test_value_targets_follow_returns_that_grow() -> None:
    normalizer, weight, bias = ValueNormalizer(CPU), random(4, 1), random(1)
    for rollout in range(100):
        normalizer.update(random(2048, seed=rollout), weight, bias)
    for rollout in range(50):
        normalizer.update(random(2048, seed=rollout) * 50 + 500, weight, bias)
    units = normalizer.normalize(random(2048, seed=7) * 50 + 500)
    assert units.mean().item() == pytest.approx(0.0, abs=0.1)
    assert units.std().item() == pytest.approx(1.0, abs=0.1)


def test_what_never_forgot_weighs_no_more_than_a_moving_average() -> None:
    old, new = RunningMoments((), CPU), ValueNormalizer(CPU)
    old.update(random(100_000))
    saved = old.state_dict()
    saved = {"count": saved["count"], "mean": old.mean, "var": saved["var"]}  # as it was kept then
    new.load_state_dict(saved)
    assert (new.moments.count.item(), new.moments.mean.item()) == (pytest.approx(1 / VALUE_RATE), old.mean.item())


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e14])
def test_a_small_signal_on_a_large_offset_is_standardized(offset: float) -> None:
    signal = torch.randint(-10, 11, (1000, 1), generator=torch.Generator().manual_seed(0)).double()
    normalizer = standardizer(1, torch.float64)
    for part in (signal + offset).split(100):
        count(normalizer, part)
    expected = (signal - signal.mean()) / signal.std(correction=0)
    torch.testing.assert_close(normalizer(signal + offset), expected, rtol=1e-5, atol=1e-2 if offset < -1e13 else 1e-5)


def test_64_bit_numbers_stay_off_a_device_that_has_none() -> None:
    mps = torch.device("mps")
    parts = (standardizer(2), RewardScaler(2, 0.5, mps), RunningMoments((), mps))
    assert with_float64(mps) == CPU
    assert all(tensor.device == CPU for part in parts for tensor in part.state_dict().values())
    assert not choose_compile("auto", mps, updates=10**6)[0]


def used(seed: int = 0) -> Normalizers:
    config = PPOConfig(normalize_obs=True, normalize_reward=True, normalize_value=True)
    parts = make_normalizers(config, SPEC, SPEC.obs_size, np.float32, 2, CPU)
    if seed:
        count(parts.observation, random(10, 3, seed=seed))
        parts.reward(random(10, 2, seed=seed), torch.zeros(10, 2), torch.ones(10, 2))
        parts.value.update(random(10, seed=seed) * 9, random(4, 1), random(1))
    return parts


def test_state_brings_every_normalizer_back() -> None:
    old, new = used(seed=4), used()
    for ours, theirs in zip(new, old, strict=True):
        ours.load_state_dict({name: tensor.clone() for name, tensor in theirs.state_dict().items()})
    observations, rewards = random(6, 3, seed=9), random(6, 2, seed=9)
    assert torch.equal(new.observation(observations), old.observation(observations))
    assert torch.equal(new.value.normalize(rewards), old.value.normalize(rewards))
    args = (rewards, torch.zeros(6, 2), torch.ones(6, 2))
    assert torch.equal(new.reward(*args), old.reward(*args))


def test_normalizers_that_are_off_change_and_keep_nothing() -> None:
    parts = make_normalizers(PPOConfig(normalize_value=False), SPEC, SPEC.obs_size, np.float32, 2, CPU)
    numbers, weight, bias = random(5, 3), random(3, 1), random(1)
    count(parts.observation, numbers)
    parts.value.update(numbers[:, 0], weight, bias)
    assert torch.equal(parts.observation(numbers), numbers)
    assert torch.equal(parts.reward(numbers, numbers, numbers), numbers)
    assert torch.equal(parts.value.denormalize(parts.value.normalize(numbers)), numbers)
    assert torch.equal(weight, random(3, 1))
    assert [part.state_dict() for part in parts] == [{}, {}, {}]
