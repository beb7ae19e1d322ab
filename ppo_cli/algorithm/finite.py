"""What is looked at once a rollout: NaN and infinity, categories that are none, and masks without a choice."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ppo_cli.algorithm import ppo
from ppo_cli.algorithm.rollout import RolloutBuffer
from ppo_cli.errors import BadNumbersError, BrokenRowsError, Problem
from ppo_cli.spec import Spec

LARGEST = np.finfo(np.float32).max  # beyond it a number is infinite to a network
MEND_ENV = "an environment (or a wrapper in env.wrappers) that sends finite numbers, or on_nan=skip"
MEND_SPACES = "an environment that keeps to its spaces, and ends an episode in which nothing can be done"
MEND_UPDATE = "a smaller lr, max_grad_norm=0.5, normalize_obs=true or normalize_reward=true"


def check_rollout(memory: RolloutBuffer, steps: int, spec: Spec) -> None:
    """See that the first ``steps`` rows of a rollout hold finite observations and rewards, and mean something.

    Raises:
        BadNumbersError: names the first that is not finite, and its environment.
        BrokenRowsError: names the first category that is none, or the first mask that allows nothing.
    """
    found = []
    for column, name in (("observations", "observation"), ("rewards", "reward")):
        first = _first_bad(memory[column][:steps])
        if first is not None:
            found.append((*first, name))
    for row, final in memory.finals:
        first = _first_bad(final.observations[None])
        if first is not None:
            found.append((row, int(final.envs[first[1]]), *first[2:], "last observation"))
    if memory.next_observations is not None and steps == memory.size:
        first = _first_bad(np.asarray(memory.next_observations)[None])
        if first is not None:
            found.append((steps, *first[1:], "observation"))
    if found:
        row, env, entry, value, name = min(found, key=lambda one: one[0])
        where = f"{name}[{entry}]" if name != "reward" else name
        raise BadNumbersError(Problem(f"{where} of environment {env} is {value}", MEND_ENV), row)
    if any(part.kind in ("categories", "mask") for part, _ in spec.obs_columns()):
        _check_meaning(memory, steps, spec)


def _check_meaning(memory: RolloutBuffer, steps: int, spec: Spec) -> None:
    valid = memory["weights"][:steps] > 0  # what an episode ends with is acted on by nobody
    rows, following = memory["observations"][:steps][valid], memory.next_observations
    if following is not None and steps == memory.size:
        rows = np.concatenate((rows, np.asarray(following)))
    wrong = first_wrong(spec, rows)
    if wrong is not None:
        number, where, what = wrong
        places = np.argwhere(valid)
        row, env = places[number].tolist() if number < len(places) else (steps, number - len(places))
        raise BrokenRowsError(Problem(f"{where} of environment {env} {what}", MEND_SPACES), row)


def first_wrong(spec: Spec, rows: npt.NDArray[Any]) -> tuple[int, str, str] | None:
    """The first of rows (rows, row_size) to act on that means nothing: its number, the place, and what is wrong."""
    found = []
    for part, columns in spec.obs_columns():
        at = f" (at {part.name})" if part.name else ""
        if part.kind == "categories":
            block, counts = rows[:, columns], np.array(part.counts)
            outside = (block < 0) | (block >= counts)
            if outside.any():
                row, entry = np.argwhere(outside)[0].tolist()
                what = f"is {block[row, entry]:g}, and its {counts[entry]} categories are counted from 0"
                found.append((row, f"entry {entry} of the observation{at}", what))
        elif part.kind == "mask":
            block = rows[:, columns]
            allowed = block > 0
            other = block != allowed
            if other.any():
                row, entry = np.argwhere(other)[0].tolist()
                what = f"is {block[row, entry]:g}, and a mask has 1 where a choice is allowed and 0 elsewhere,"
                found.append((row, f"entry {entry} of the action mask", what))
            empty = without_choice(spec, allowed)
            if empty is not None:
                row, of_entry = empty
                found.append((row, "the action mask", f"allows nothing{of_entry}, in an episode that goes on,"))
    return min(found, default=None)


def without_choice(spec: Spec, allowed: npt.NDArray[np.bool_]) -> tuple[int, str] | None:
    """The first of masks (rows, num_options) that leaves nothing to choose, and for which of an action's entries."""
    choices = count_choices(spec, allowed)
    if choices.all():
        return None
    row, entry = np.argwhere(choices == 0)[0].tolist()
    return row, f" for entry {entry} of the action" if choices.shape[1] > 1 else ""


def count_choices(spec: Spec, allowed: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """How many choices masks (rows, num_options) leave for each of an action's entries, (rows, entries)."""
    counts = np.array([count for part in spec.actions for count in part.counts])
    choices: npt.NDArray[np.int64] = np.add.reduceat(allowed, np.cumsum(counts) - counts, 1, np.int64)
    return choices


def _first_bad(numbers: npt.NDArray[Any]) -> tuple[int, int, int, float] | None:
    """Row, environment, entry and value of the first that is not finite in (steps, envs, …)."""
    if numbers.dtype.kind != "f":
        return None
    good = np.abs(numbers) <= LARGEST if numbers.itemsize > LARGEST.itemsize else np.isfinite(numbers)
    if good.all():
        return None
    flat = numbers.reshape(*numbers.shape[:2], -1)
    row, env, entry = np.argwhere(~good.reshape(flat.shape))[0].tolist()
    return row, env, entry, float(flat[row, env, entry])


def check_update(history: Tensor, parameters: dict[str, Tensor], minibatches: int) -> None:
    """See that an update stayed finite.

    Args:
        history: Each gradient step's metrics, (steps, metrics).
        parameters: What came of them.
        minibatches: Gradient steps to an epoch.

    Raises:
        BadNumbersError: names the first loss, gradient or parameter that is not finite.
    """
    bad = ~torch.isfinite(history)
    if bad.any():
        step, metric = bad.nonzero()[0].tolist()
        name = {"grad_norm": "the gradient's norm"}.get(ppo.LOSS_METRICS[metric], ppo.LOSS_METRICS[metric])
        epoch, minibatch = divmod(step, minibatches)
        what = f"{name} is {history[step, metric].item()} in epoch {epoch + 1}, minibatch {minibatch + 1}"
        raise BadNumbersError(Problem(what, MEND_UPDATE))
    for name, tensor in parameters.items():
        if not torch.isfinite(tensor).all():
            raise BadNumbersError(Problem(f"parameter {name} is not finite after the update", MEND_UPDATE))
