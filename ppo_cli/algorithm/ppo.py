"""The mathematics of PPO as pure functions of tensors.

Schulman et al. 2017, "Proximal Policy Optimization Algorithms" (arXiv:1707.06347), and Schulman et al. 2016,
"High-Dimensional Continuous Control Using Generalized Advantage Estimation" (arXiv:1506.02438).

Nothing here draws random numbers, reads a tensor back to Python, or keeps state: randomness comes in as tensors,
metrics go out as tensors. That is what lets one update step be tested by hand, compiled as one graph, or taken for many
runs at once: ``torch.func.vmap`` goes around :data:`Evaluate`, :func:`loss_derivatives` and :func:`descend`, and
autograd, between the last two, takes all runs together.

Every mean is weighted, because minibatches have one static shape and rows that only fill it weigh 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ppo_cli.algorithm.adam import LearnerState, adam
from ppo_cli.algorithm.minibatches import Minibatch

LOSS_METRICS = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction", "grad_norm")


class Coefficients(NamedTuple):
    """What schedules, sweeps and Adam change, as 0-dimensional tensors so that a new value compiles nothing anew."""

    step_size: Tensor  # of Adam, bias correction included; see adam_sizes
    eps: Tensor  # Adam's epsilon, likewise; these two differ from step to step, what follows from update to update
    clip_ratio: Tensor
    clip_low: Tensor  # 1 − clip_ratio
    clip_high: Tensor  # 1 + clip_ratio
    value_clip: Tensor
    value_coef: Tensor
    entropy_coef: Tensor
    max_grad_norm: Tensor


class Surrogate(NamedTuple):
    """The policy's loss and what is reported with it."""

    loss: Tensor  # ()
    gradient: Tensor  # (batch,) derivative of the loss by each row's term: by its log-probability, of the closed form
    approx_kl: Tensor  # () mean of (ratio − 1) − ln ratio, which estimates KL(old, new) and is never negative
    clip_fraction: Tensor  # () share of rows whose ratio left the clip range


Scores = tuple[Tensor, Tensor, Tensor]
"""(log_probs, entropies, values), each of shape (batch,)."""

Evaluate = Callable[[Tensor, Tensor, Tensor], Scores]
"""(flat parameters, observations, actions) → scores."""

PolicyLoss = Callable[[Tensor, Minibatch, Coefficients], tuple[Tensor, Surrogate]]
"""(log_probs, …) → terms (batch,), from which autograd goes back, and the loss with its derivative by them.

:mod:`ppo_cli.algorithm.objectives` has those that there are.
"""

UpdateStep = Callable[[LearnerState, Minibatch, Coefficients], tuple[LearnerState, Tensor]]
"""One gradient step; the tensor holds the :data:`LOSS_METRICS` in their order."""

UpdateSteps = Callable[[LearnerState, Minibatch, Coefficients], tuple[LearnerState, Tensor]]
"""Gradient steps in turn: minibatches, Adam's sizes and metrics have one more axis, the first, which counts them."""


def estimate_advantages(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (arXiv:1506.02438, section 3).

    Args:
        rewards: (steps, envs).
        values: (steps, envs), V(s_t).
        next_values: (steps, envs), V of the observation that really followed: of an episode's last observation where
            it was truncated, never of the next episode's first.
        terminated: (steps, envs), 1 where the task ended: what follows is worth 0.
        truncated: (steps, envs), 1 where the episode was cut: what follows is worth its value.
        gamma: Discount.
        lam: GAE's lambda; 0 is the one-step TD error, 1 the discounted return minus the value.

    Returns:
        Advantages and returns (advantage + value), each (steps, envs).
    """
    alive = 1.0 - terminated
    deltas = rewards + gamma * next_values * alive - values
    decay = (gamma * lam) * alive * (1.0 - truncated)
    advantages = torch.empty_like(deltas)
    following = torch.zeros_like(deltas[0])
    for delta, factor, out in zip(deltas.flip(0), decay.flip(0), reversed(advantages.unbind(0)), strict=True):
        following = torch.addcmul(delta, factor, following, out=out)
    return advantages, advantages + values


def mean(values: Tensor, mean_weights: Tensor) -> Tensor:
    """Mean over the rows that count, of (batch,) each."""
    return torch.dot(values, mean_weights)


def surrogate(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    clip_low: Tensor,
    clip_high: Tensor,
    mean_weights: Tensor,
) -> Surrogate:
    """The clipped surrogate objective, negated (arXiv:1707.06347, equation 7), with its derivative.

    The derivative of ratio·A by the log-probability is ratio·A itself; where the clipped product is the smaller one,
    the objective does not depend on the log-probability at all.

    Args:
        log_probs: (batch,) under the parameters being updated.
        old_log_probs: (batch,) under the policy that acted.
        advantages: (batch,).
        clip_low: 1 − ε.
        clip_high: 1 + ε.
        mean_weights: (batch,).
    """
    log_ratio = log_probs - old_log_probs
    ratio = log_ratio.exp()
    clipped = ratio.clamp(clip_low, clip_high)
    plain_gain, clipped_gain = ratio * advantages, clipped * advantages
    counted = plain_gain * mean_weights
    loss = -mean(torch.minimum(plain_gain, clipped_gain), mean_weights)
    gradient = counted * (plain_gain <= clipped_gain) * -1.0
    return Surrogate(loss, gradient, *ratio_metrics(log_ratio, ratio, clipped, mean_weights))


def ratio_metrics(log_ratio: Tensor, ratio: Tensor, clipped: Tensor, mean_weights: Tensor) -> tuple[Tensor, Tensor]:
    """``approx_kl`` and ``clip_fraction`` of a :class:`Surrogate`, from ratios (batch,) and the same ones clipped."""
    approx_kl = mean(ratio - 1.0 - log_ratio, mean_weights)
    return approx_kl, mean((ratio != clipped).to(ratio.dtype), mean_weights)


def value_loss(values: Tensor, returns: Tensor, mean_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of (V − R)², without a factor ½, and its derivative by each value, (batch,)."""
    weighted_error = (error := values - returns) * mean_weights
    return torch.dot(error, weighted_error), weighted_error * 2.0


def clipped_value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, value_clip: Tensor, mean_weights: Tensor
) -> tuple[Tensor, Tensor]:
    """As :func:`value_loss`, but moving further than ``value_clip`` from the old value gains nothing.

    The larger of the plain error and the error of the clipped prediction counts, as in the original code. Where the
    clipped one is larger, the value has left the clip range, and the loss does not depend on it.
    """
    error = values - returns
    # clamped so, a value within the range is itself to the last bit, and no rounding makes its clipped error the larger
    near_error = values.clamp(old_values - value_clip, old_values + value_clip) - returns
    plain, near = error.square(), near_error.square()
    return mean(torch.maximum(plain, near), mean_weights), error * mean_weights * (plain >= near) * 2.0


def loss_derivatives(
    scores: Scores, batch: Minibatch, coef: Coefficients, policy_loss: PolicyLoss, clip_value: bool
) -> tuple[Scores, Scores, tuple[Tensor, ...]]:
    """How the loss changes with each row, found without autograd; only what the policy's terms are made of is recorded.

    The loss is policy loss + value_coef · value loss − entropy_coef · mean entropy.

    Args:
        scores: Of the minibatch's rows.
        batch: The rows.
        coef: The weights of the losses, and what they read.
        policy_loss: The policy's.
        clip_value: Use :func:`clipped_value_loss` with ``Coefficients.value_clip``.

    Returns:
        The policy's terms, entropies and values; the loss's derivatives by them; and all of the
        :data:`LOSS_METRICS` but ``grad_norm``.
    """
    log_probs, entropies, values = scores
    with torch.no_grad():
        mean_weights = batch.mean_weights
        terms, policy = policy_loss(log_probs, batch, coef)
        if clip_value:
            value, by_value = clipped_value_loss(values, batch.values, batch.returns, coef.value_clip, mean_weights)
        else:
            value, by_value = value_loss(values, batch.returns, mean_weights)
        derivatives = (policy.gradient, mean_weights * -coef.entropy_coef, by_value * coef.value_coef)
        metrics = (policy.loss, value, mean(entropies, mean_weights), policy.approx_kl, policy.clip_fraction)
    return (terms, entropies, values), derivatives, metrics


def descend(
    state: LearnerState, gradient: Tensor, coef: Coefficients, clip_gradient: bool
) -> tuple[LearnerState, Tensor]:
    """A step of Adam against the loss's gradient, (parameters,).

    Args:
        state: Before the step.
        gradient: Of the loss, by the parameters.
        coef: Adam's sizes, and the largest norm.
        clip_gradient: Scale the gradient down to ``Coefficients.max_grad_norm`` where its global norm is larger.

    Returns:
        The state after it, and the gradient's norm before it was scaled.
    """
    norm = torch.linalg.vector_norm(gradient)
    if clip_gradient:
        gradient = gradient * (coef.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
    return adam(state, gradient, coef.step_size, coef.eps), norm


def make_update_step(
    evaluate: Evaluate, policy_loss: PolicyLoss, *, clip_value: bool, clip_gradient: bool
) -> UpdateStep:
    """The gradient step for one network; what is switched off here costs nothing in the loop.

    Autograd goes back through the network once, from the loss's derivatives by the scores, which are short formulas.

    Args:
        evaluate: Scores actions under given parameters.
        policy_loss: As in :func:`loss_derivatives`.
        clip_value: Likewise.
        clip_gradient: As in :func:`descend`.
    """

    def update_step(state: LearnerState, batch: Minibatch, coef: Coefficients) -> tuple[LearnerState, Tensor]:
        with torch.enable_grad():
            parameters = state.parameters.detach().requires_grad_()
            scores = evaluate(parameters, batch.observations, batch.actions)
            terms, derivatives, metrics = loss_derivatives(scores, batch, coef, policy_loss, clip_value)
            # a function with the loss's gradient; derivatives handed to autograd instead would make it import sympy
            slope = torch.cat(terms) @ torch.cat(derivatives)
        (gradient,) = torch.autograd.grad(slope, parameters)
        with torch.no_grad():
            after, norm = descend(state, gradient, coef, clip_gradient)
            return after, torch.stack((*metrics, norm))

    return update_step


def annealed(initial: float, done: int, total: int) -> float:
    """``initial`` with nothing done, falling in a straight line to 0 with all of ``total`` done."""
    return initial * max(0.0, 1.0 - done / total)
