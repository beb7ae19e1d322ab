"""Who looks on while an agent learns."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ppo_cli.agent.learner import Learner
from ppo_cli.algorithm.adam import LearnerState
from ppo_cli.algorithm.minibatches import Minibatch
from ppo_cli.algorithm.ppo import Coefficients
from ppo_cli.algorithm.steps import EACH_STEP


def watch_steps(learner: Learner, tell: Callable[[Minibatch, Coefficients, Tensor], object]) -> None:
    """Tell of every gradient step from now on: its minibatch, its coefficients and its metrics."""
    steps = learner._update_steps

    def watched(state: LearnerState, batches: Minibatch, coefs: Coefficients) -> tuple[LearnerState, Tensor]:
        after, history = steps(state, batches, coefs)
        for place, metrics in enumerate(history):
            batch = Minibatch(*(column[place] for column in batches))
            sizes = (column[place] for column in coefs[:EACH_STEP])
            tell(batch, Coefficients(*sizes, *coefs[EACH_STEP:]), metrics)
        return after, history

    learner._update_steps = watched
