"""What the policy is made better by: PPO's clipped surrogate in closed form, and others, differentiated by machine.

An objective is ordinary tensor code that says what each row is worth.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch
from torch import Tensor

from ppo_cli.algorithm import ppo
from ppo_cli.algorithm.minibatches import Minibatch
from ppo_cli.algorithm.ppo import Coefficients, PolicyLoss, Surrogate
from ppo_cli.errors import ConfigError, Problem

Objective = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(log_probs, old_log_probs, advantages, clip_ratio) → what each row is worth, to be made larger.

All are of shape (batch,), but for ``clip_ratio``, which is one number.
"""


def make_policy_loss(name: str, named: bool) -> PolicyLoss:
    """The policy's loss with ``objective=name``.

    Args:
        name: As the setting has it.
        named: Whether the user named it. A module that only a file names is not imported; without it one can act, and
            whoever learns is told.

    Raises:
        ConfigError: if it is the user's own and does not fit.
    """
    if name == "clip":
        return clip
    if name == "spo":
        return differentiated(spo)
    return differentiated(own_objective(name)) if named else _not_imported(name)


def clip(log_probs: Tensor, batch: Minibatch, coef: Coefficients) -> tuple[Tensor, Surrogate]:
    """As :func:`ppo_cli.algorithm.ppo.surrogate`, whose derivative is by the log-probabilities themselves."""
    low, high = coef.clip_low, coef.clip_high
    return log_probs, ppo.surrogate(log_probs, batch.log_probs, batch.advantages, low, high, batch.mean_weights)


def spo(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip_ratio: Tensor) -> Tensor:
    """Simple Policy Optimization (Xie et al. 2025, arXiv:2401.16025): ratio·A − |A| / 2ε · (ratio − 1)².

    A row is worth most where its ratio is 1 + ε, or 1 − ε if its advantage is negative. One that has gone further is
    led back, where the clipped surrogate lets it be.

    Args:
        log_probs: (batch,) under the parameters being updated.
        old_log_probs: (batch,) under the policy that acted.
        advantages: (batch,).
        clip_ratio: ε.

    Returns:
        (batch,).
    """
    ratio = (log_probs - old_log_probs).exp()
    return ratio * advantages - advantages.abs() / (2.0 * clip_ratio) * (ratio - 1.0).square()


def differentiated(objective: Objective) -> PolicyLoss:
    """The loss that an objective makes: the mean of what the rows are worth, negated.

    Autograd goes back through the objective on its way through the network.
    """

    def policy_loss(log_probs: Tensor, batch: Minibatch, coef: Coefficients) -> tuple[Tensor, Surrogate]:
        with torch.enable_grad():
            worth = objective(log_probs, batch.log_probs, batch.advantages, coef.clip_ratio)
        log_ratio = log_probs - batch.log_probs
        ratio = log_ratio.exp()
        clipped, mean_weights = ratio.clamp(coef.clip_low, coef.clip_high), batch.mean_weights
        metrics = ppo.ratio_metrics(log_ratio, ratio, clipped, mean_weights)
        return worth, Surrogate(-ppo.mean(worth, mean_weights), -mean_weights, *metrics)

    return policy_loss


def own_objective(name: str) -> Objective:
    """A function of the user's, ``module:function``, as an :data:`Objective`.

    Raises:
        ConfigError: if there is none, or it is no objective.
    """
    module_name, _, function_name = name.partition(":")
    try:
        objective: Objective = getattr(importlib.import_module(module_name), function_name)
        _try_out(objective)
    except Exception as error:  # whatever a module of the user's raises, it is this setting that it refuses
        what = f"objective={name} cannot be used: {type(error).__name__}: {error}"
        fix = "objective=module:function, called as function(log_probs, old_log_probs, advantages, clip_ratio)"
        raise ConfigError(Problem(what, fix)) from error
    return objective


TRIAL_RATIOS = (1.0, 1.0, 1.0, 1.1, 0.9, 1.1, 0.9, 3.0, 0.2, 3.0, 0.2)
TRIAL_ADVANTAGES = (1.0, -1.0, 0.0, 1.0, 1.0, -1.0, -1.0, 2.0, 2.0, -2.0, -2.0)
"""Rows that every run has: a first gradient step's, whose ratios are 1, and later ones on both sides of the clip."""


def _try_out(objective: Objective) -> None:
    """See that an objective of the user's gives each row a number, and the policy something to learn from.

    Raises:
        ValueError: says what is wrong with it.
    """
    ratios, advantages = torch.tensor(TRIAL_RATIOS), torch.tensor(TRIAL_ADVANTAGES)
    old, rows = torch.full_like(ratios, -1.5), len(ratios)
    log_probs = (old + ratios.log()).requires_grad_()
    worth = objective(log_probs, old, advantages, torch.tensor(0.2))
    if not isinstance(worth, Tensor) or worth.shape != log_probs.shape or worth.dtype != log_probs.dtype:
        made = f"{tuple(worth.shape)} {worth.dtype}" if isinstance(worth, Tensor) else type(worth).__name__
        raise ValueError(f"of {rows} rows it makes {made}, and not ({rows},) {log_probs.dtype}")
    slopes = torch.autograd.grad(worth.sum(), log_probs)[0] if worth.requires_grad else torch.zeros(rows)
    for numbers, which in ((worth, "what it makes"), (slopes, "its derivative by log_probs")):
        if not numbers.isfinite().all():
            row = int((~numbers.isfinite()).nonzero()[0])
            given = f"a ratio of {TRIAL_RATIOS[row]} and an advantage of {TRIAL_ADVANTAGES[row]}"
            raise ValueError(f"{which} is {numbers[row].item()} for {given}")
    if not slopes.any():
        raise ValueError("its derivative by log_probs is 0 whatever they are, so nothing would be learnt")


def _not_imported(name: str) -> PolicyLoss:
    def refuse(*_: object) -> tuple[Tensor, Surrogate]:
        what = f"objective={name} lives in a module that only the checkpoint names, so it was not imported"
        raise ConfigError(Problem(what, "PPOAgent.load() in an agent with the same objective"))

    return refuse
