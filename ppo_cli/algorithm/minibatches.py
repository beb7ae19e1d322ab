"""From a rollout's rows to shuffled minibatches of one static shape."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ADVANTAGE_EPS = 1e-8


class Minibatch(NamedTuple):
    """Rows of a rollout, all of length ``batch_size``."""

    observations: Tensor  # (batch, *obs_shape), as the network reads them
    actions: Tensor  # (batch, action_size)
    log_probs: Tensor  # (batch,) under the policy that acted
    values: Tensor  # (batch,) predicted before the update
    advantages: Tensor  # (batch,) normalised over the minibatch
    returns: Tensor  # (batch,)
    mean_weights: Tensor  # (batch,) what each row counts for in a mean: they sum to 1, and are 0 where a row only fills


def as_mean_weights(weights: Tensor) -> Tensor:
    """What each row counts for in its minibatch's mean: weights (…, batch) divided by their sum, 0 where that is 0."""
    return weights / weights.sum(-1, keepdim=True).clamp(min=1.0)


def normalize_advantages(advantages: Tensor, weights: Tensor) -> Tensor:
    """Advantages with mean 0 and (unbiased) deviation 1 in each minibatch.

    Args:
        advantages: (…, batch).
        weights: (…, batch), 1 for a row that counts and 0 for one that fills.

    Returns:
        (…, batch); a minibatch in which fewer than two rows count stays as it is.
    """
    count = weights.sum(-1, keepdim=True)
    centred = (advantages - (advantages * as_mean_weights(weights)).sum(-1, keepdim=True)) * weights
    deviation = (centred.square().sum(-1, keepdim=True) / (count - 1.0).clamp(min=1.0)).sqrt()
    return torch.where(count > 1.0, centred / (deviation + ADVANTAGE_EPS), advantages)


def sequence_table(weights: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """A rollout's rows, cut into sequences of one environment each.

    Args:
        weights: (steps, envs), 0 for a row that is no real step.
        length: Steps to a sequence. With 1, a row that weighs 0 is left out; longer sequences need every row, for
            what a network remembers goes through it.

    Returns:
        Row numbers (row = step · envs + env) and weights, each (sequences, length). The last sequence of an
        environment is filled up with rows of weight 0.
    """
    steps, envs = weights.shape
    if length == 1:
        table = weights.flatten().nonzero()
        return table, torch.ones_like(table, dtype=weights.dtype)
    count = -(-steps // length)
    places = torch.arange(count * length)
    rows = places.clamp(max=steps - 1).view(count, 1, length) * envs + torch.arange(envs).view(1, envs, 1)
    table = rows.reshape(count * envs, length)
    filling = (places >= steps).view(count, 1, length).expand(count, envs, length).reshape(table.shape)
    return table, weights.flatten()[table] * ~filling


def minibatch_rows(permutations: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Deal shuffled rows out to the fewest minibatches of one static size, as evenly as they go.

    Args:
        permutations: (…, rows) the rows' numbers in shuffled order, for each epoch.
        batch_size: Rows a minibatch has room for.

    Returns:
        Row numbers and weights, each (…, minibatches, batch_size). In each epoch every row stands in exactly one place
        with weight 1; places left over repeat a row with weight 0, and no two minibatches differ by more than one row
        that counts.
    """
    rows = permutations.shape[-1]
    count = -(-rows // batch_size)
    left_over = count * batch_size - rows
    padded = torch.cat((permutations, permutations[..., :1].expand(*permutations.shape[:-1], left_over)), -1)
    weights = torch.ones_like(padded, dtype=torch.float32)
    weights[..., rows:] = 0.0
    return _by_turns(padded, batch_size), _by_turns(weights, batch_size)


def _by_turns(places: Tensor, batch_size: int) -> Tensor:
    """(…, minibatches · batch_size) → (…, minibatches, batch_size), one entry to each minibatch and then the next."""
    return places.view(*places.shape[:-1], batch_size, -1).transpose(-1, -2).contiguous()


def gather_minibatches(rollout: Minibatch, places: Tensor, weights: Tensor) -> Minibatch:
    """An epoch's minibatches, stacked.

    Args:
        rollout: All rows, (rows, …) each, advantages as they are; its ``mean_weights`` are not read.
        places: (minibatches, batch) row numbers, as :func:`minibatch_rows` deals them.
        weights: (minibatches, batch) likewise.

    Returns:
        Columns of shape (minibatches, batch, …), advantages normalised within each minibatch.
    """
    rows = places.flatten()

    def dealt(column: Tensor) -> Tensor:
        return column.index_select(0, rows).view(*places.shape, *column.shape[1:])

    return Minibatch(
        dealt(rollout.observations),
        dealt(rollout.actions),
        dealt(rollout.log_probs),
        dealt(rollout.values),
        normalize_advantages(dealt(rollout.advantages), weights),
        dealt(rollout.returns),
        as_mean_weights(weights),
    )
