"""Gradient steps in turn, one call each; what a compiled program or a recorded step is measured by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ppo_cli.algorithm.adam import LearnerState
from ppo_cli.algorithm.minibatches import Minibatch
from ppo_cli.algorithm.ppo import Coefficients, UpdateStep, UpdateSteps

STATES, FIELDS = len(LearnerState._fields), len(Minibatch._fields)
EACH_STEP = 2
"""So many coefficients, the first, differ from step to step: Adam's."""


def run_steps(step: UpdateStep) -> UpdateSteps:
    """One call of ``step`` after another."""

    def update_steps(state: LearnerState, batches: Minibatch, coefs: Coefficients) -> tuple[LearnerState, Tensor]:
        history = []
        for entries in entries_in_turn(batches, coefs):
            state, metrics = step(state, *one_step((*entries, *coefs[EACH_STEP:])))
            history.append(metrics)
        return state, torch.stack(history)

    return update_steps


def entries_in_turn(batches: Minibatch, coefs: Coefficients) -> zip[tuple[Tensor, ...]]:
    """What differs from step to step, step by step: its minibatch and Adam's coefficients."""
    return zip(*(column.unbind(0) for column in (*batches, *coefs[:EACH_STEP])), strict=True)


def one_step(entries: Sequence[Tensor]) -> tuple[Minibatch, Coefficients]:
    """One step's minibatch and coefficients, of their tensors."""
    return Minibatch(*entries[:FIELDS]), Coefficients(*entries[FIELDS:])
