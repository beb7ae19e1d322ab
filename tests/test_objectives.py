"""What the policy maximises: numbers worked out by hand, the machine against the closed form, and functions refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from test_ppo import coefficients, even, gradient_of, make_case
from torch import Tensor

from ppo_cli import TrainConfig
from ppo_cli.algorithm import minibatches, objectives, ppo
from ppo_cli.algorithm.minibatches import Minibatch
from ppo_cli.algorithm.ppo import PolicyLoss, Surrogate
from ppo_cli.errors import ConfigError
from ppo_cli.training.preflight import preflight

SPO = objectives.differentiated(objectives.spo)


def rows(log_probs: Tensor, advantages: Tensor, mean_weights: Tensor) -> Minibatch:
    """A minibatch of which only what an objective reads means something."""
    empty = torch.empty(0)
    return Minibatch(empty, empty, log_probs, empty, advantages, empty, mean_weights)


def judged(
    policy_loss: PolicyLoss, log_probs: Tensor, batch: Minibatch, dtype: torch.dtype = torch.float32
) -> Surrogate:
    """The loss and what is reported with it, with the derivative by each row's log-probability."""
    at = log_probs.clone().requires_grad_()
    with torch.no_grad():
        terms, policy = policy_loss(at, batch, coefficients(dtype))
    (slopes,) = torch.autograd.grad(terms, at, policy.gradient)
    return policy._replace(gradient=slopes)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        # |A|/2ε = 5 and |A|/ε = 10; the slope by ln(ratio) is −ratio·(A − 10·(ratio − 1))
        (1.0, 2.0, -2.0, -2.0),
        (1.2, 2.0, -2.2, 0.0),  # 2.4 − 5·0.04: the best there is
        (1.5, 2.0, -1.75, 4.5),  # 3 − 5·0.25: too far, and led back
        (0.5, 2.0, 0.25, -3.5),  # 1 − 5·0.25
        (0.8, -2.0, 1.8, 0.0),  # −1.6 − 5·0.04: the best there is
        (0.5, -2.0, 2.25, -1.5),  # −1 − 5·0.25: too far, and led back
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_spo_is_best_where_the_ratio_is_epsilon_away(ratio: float, advantage: float, loss: float, slope: float) -> None:
    batch = rows(torch.zeros(1), torch.tensor([advantage]), torch.ones(1))
    policy = judged(SPO, torch.tensor([math.log(ratio)]), batch)
    assert (policy.loss.item(), policy.gradient.item()) == pytest.approx((loss, slope), rel=1e-5, abs=1e-5)


def test_spos_derivative_agrees_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(4)
    old, advantages, moved = torch.randn(3, 50, generator=generator, dtype=torch.float64).unbind()
    batch = rows(old, advantages, minibatches.as_mean_weights((torch.arange(50) % 5 > 0).double()))
    at, nudges = old + 0.5 * moved, torch.eye(50, dtype=torch.float64) * 1e-6

    def loss(log_probs: Tensor) -> float:
        return judged(SPO, log_probs, batch, torch.float64).loss.item()

    numeric = [(loss(at + nudge) - loss(at - nudge)) / 2e-6 for nudge in nudges]
    found = judged(SPO, at, batch, torch.float64).gradient.tolist()
    assert found == pytest.approx(numeric, rel=1e-6, abs=1e-8)
    assert all(slope == 0.0 for slope in found[::5])  # fillers


def written_out(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip_ratio: Tensor) -> Tensor:
    """The clipped surrogate as the paper prints it, for the machine to differentiate."""
    ratio = torch.exp(log_probs - old_log_probs)
    return torch.min(ratio * advantages, torch.clamp(ratio, 1 - clip_ratio, 1 + clip_ratio) * advantages)


def test_the_machine_and_the_closed_form_give_the_same_loss_and_gradient() -> None:
    generator = torch.Generator().manual_seed(6)
    old, advantages, moved = torch.randn(3, 500, generator=generator).unbind()
    moved[:50] = 0.0  # as in the first gradient step of all, where every ratio is 1
    mean_weights = minibatches.as_mean_weights((torch.rand(500, generator=generator) < 0.9).float())
    closed, machine = (
        judged(policy_loss, old + 0.3 * moved, rows(old, advantages, mean_weights))
        for policy_loss in (objectives.clip, objectives.differentiated(written_out))
    )
    assert 0.2 < closed.clip_fraction < 0.8
    torch.testing.assert_close(machine, closed, rtol=1e-6, atol=1e-9)


def test_so_do_whole_steps() -> None:
    score, state, batch = make_case()
    closed, machine = (
        ppo.make_update_step(score, policy_loss, clip_value=True, clip_gradient=False)(state, batch, coefficients())
        for policy_loss in (objectives.clip, objectives.differentiated(written_out))
    )
    assert gradient_of(closed[0]).abs().max() > 0.01
    torch.testing.assert_close(gradient_of(machine[0]), gradient_of(closed[0]), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(machine[1], closed[1], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("policy_loss", [objectives.clip, SPO], ids=["clip", "spo"])
def test_what_is_reported_with_it_is_the_same_for_every_objective(policy_loss: PolicyLoss) -> None:
    # ratios 1, 2, ½, 1.1: (ratio − 1) − ln ratio = 0, 1 − 0.693147, −0.5 + 0.693147, 0.1 − 0.0953102; sum 0.5046898
    batch = rows(torch.zeros(4), torch.ones(4), even(4))
    policy = judged(policy_loss, torch.tensor([1.0, 2.0, 0.5, 1.1]).log(), batch)
    assert policy.approx_kl.item() == pytest.approx(0.5046898 / 4, rel=1e-5)
    assert policy.clip_fraction.item() == 0.5


# functions of the user's

FUNCTIONS = """
import torch

number = 3.0

def reinforce(log_probs, old_log_probs, advantages, clip_ratio):
    return log_probs * advantages

def average(log_probs, old_log_probs, advantages, clip_ratio):
    return (log_probs * advantages).mean()

def nothing(log_probs, old_log_probs, advantages, clip_ratio):
    pass

def double(log_probs, old_log_probs, advantages, clip_ratio):
    return log_probs.double() * advantages

def log_of_the_move(log_probs, old_log_probs, advantages, clip_ratio):
    return (log_probs - old_log_probs).abs().log() * advantages

def root_of_the_move(log_probs, old_log_probs, advantages, clip_ratio):
    return ((log_probs - old_log_probs) ** 2).sqrt() * advantages

def constant(log_probs, old_log_probs, advantages, clip_ratio):
    return log_probs.detach() * advantages

def three(log_probs, old_log_probs, advantages):
    return log_probs * advantages
"""


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "users_functions.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "users_functions"


def test_a_function_of_the_users_is_what_the_policy_maximises(functions: str) -> None:
    policy_loss = objectives.make_policy_loss(f"{functions}:reinforce", named=True)
    batch = rows(torch.zeros(2), torch.tensor([3.0, -1.0]), even(2))
    policy = judged(policy_loss, torch.tensor([-1.0, -2.0]), batch)
    assert policy.loss.item() == 0.5  # −(−1·3 + −2·−1) / 2
    assert policy.gradient.tolist() == [-1.5, 0.5]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nowhere:worth", "ModuleNotFoundError: No module named 'nowhere'"),
        (":worth", "ValueError: Empty module name"),
        ("users_functions:", "AttributeError: module 'users_functions' has no attribute ''"),
        ("users_functions:worth", "AttributeError: module 'users_functions' has no attribute 'worth'"),
        ("users_functions:number", "TypeError: 'float' object is not callable"),
        ("users_functions:three", r"TypeError: three\(\) takes 3 positional arguments but 4 were given"),
        ("users_functions:average", r"of 11 rows it makes \(\) torch.float32, and not \(11,\) torch.float32"),
        ("users_functions:nothing", r"of 11 rows it makes NoneType, and not \(11,\)"),
        ("users_functions:double", r"of 11 rows it makes \(11,\) torch.float64, and not \(11,\) torch.float32"),
        ("users_functions:log_of_the_move", "what it makes is -inf for a ratio of 1.0 and an advantage of 1.0"),
        ("users_functions:root_of_the_move", "its derivative by log_probs is nan for a ratio of 1.0"),
        ("users_functions:constant", "its derivative by log_probs is 0 whatever they are"),
    ],
)
def test_what_is_no_objective_is_refused_before_the_run(functions: str, tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(ConfigError, match=rf"^objective={name} cannot be used: .*{why}") as caught:
        preflight(TrainConfig(objective=name, output_dir=str(tmp_path)))
    (problem,) = caught.value.problems
    assert problem.fix.startswith("objective=module:function, called as function(log_probs, old_log_probs,")


def test_a_name_that_is_none_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="objective=clipp is none of clip, spo; try objective=clip"):
        preflight(TrainConfig(objective="clipp", output_dir=str(tmp_path)))
