"""Action heads: probabilities, entropies and samples."""

from __future__ import annotations

import math

import pytest
import torch

from ppo_cli.networks.categorical import CategoricalHead

WIDTH = 5  # of features, which none of this depends on
LOGITS = torch.tensor([1.0, 2.0, 4.0]).log()  # probabilities 1/7, 2/7, 4/7, and a constant less makes no difference


def test_probabilities_of_all_actions_sum_to_1() -> None:
    outputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)) * 10
    actions = torch.arange(4).expand(5, 4).unsqueeze(-1)
    log_probs, _ = CategoricalHead(4, WIDTH).log_prob_and_entropy(outputs.unsqueeze(1).expand(5, 4, 4), actions)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(5))


@pytest.mark.parametrize("shift", [0.0, -3.0, 500.0])
def test_log_probability_and_entropy_of_known_probabilities(shift: float) -> None:
    log_probs, entropies = CategoricalHead(3, WIDTH).log_prob_and_entropy(
        (LOGITS + shift).expand(3, 3), torch.tensor([[0], [1], [2]])
    )
    assert log_probs.tolist() == pytest.approx([math.log(1 / 7), math.log(2 / 7), math.log(4 / 7)], abs=1e-4)
    # ln 7 − (1·0 + 2·ln 2 + 4·ln 4)/7 = 1.945910 − 10·0.693147/7
    assert entropies.tolist() == pytest.approx([0.955700] * 3, abs=1e-4)


def test_entropy_lies_between_0_and_that_of_equal_chances() -> None:
    outputs = torch.tensor([[0.0, 0.0, 0.0, 0.0], [200.0, 0.0, 0.0, 0.0]])
    _, entropies = CategoricalHead(4, WIDTH).log_prob_and_entropy(outputs, torch.tensor([[0], [0]]))
    assert entropies.tolist() == pytest.approx([math.log(4), 0.0])


def test_samples_come_as_often_as_their_probabilities_say() -> None:
    head, draws = CategoricalHead(3, WIDTH), 70_000
    noise = head.noise(draws, 1, torch.Generator().manual_seed(2)).squeeze(1)
    actions = head.sample(LOGITS.expand(draws, 3), noise)
    assert actions.shape == (draws, 1)
    counts = torch.bincount(actions.squeeze(1), minlength=3).tolist()
    # five standard deviations of a count are at most 5·√(70000·¼) = 661
    assert counts == pytest.approx([10_000, 20_000, 40_000], abs=661)


def test_noise_comes_from_the_given_stream_alone() -> None:
    head, rng = CategoricalHead(3, WIDTH), torch.get_rng_state()
    first = head.noise(2, 5, torch.Generator().manual_seed(7))
    assert first.shape == (2, 5, 3)
    assert torch.equal(first, head.noise(2, 5, torch.Generator().manual_seed(7)))
    assert not torch.equal(first, head.noise(2, 5, torch.Generator().manual_seed(8)))
    assert torch.equal(rng, torch.get_rng_state())


def test_mode_is_the_most_probable_action() -> None:
    assert CategoricalHead(3, WIDTH).mode(torch.stack((LOGITS, -LOGITS))).tolist() == [[2], [0]]
