"""Where a rollout lies between collecting and learning."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
ObsRows = npt.NDArray[Any]
"""Observations (envs, row_size) as a policy reads them, or actions (envs, action_size)."""


USUAL = {"terminated": 0.0, "truncated": 0.0, "weights": 1.0}
"""What stands in a column where nobody says otherwise."""


class FinalObservations(NamedTuple):
    """The true last observations of the episodes that a vector step cut short."""

    envs: npt.NDArray[np.intp]  # (cut,) which environments
    observations: ObsRows  # (cut, row_size)


class RolloutBuffer:
    """Transitions of one or more environments in the order they happened, allocated once.

    Rows are vector steps. A full buffer keeps taking rows by doubling its room, because a loop that only updates after
    an episode may run past the end.

    Args:
        steps: Vector steps to have room for.
        num_envs: Environments per step.
        row: Size and type of one observation's row.
        action: Size and type of one action.
    """

    def __init__(
        self, steps: int, num_envs: int, row: tuple[int, npt.DTypeLike], action: tuple[int, npt.DTypeLike]
    ) -> None:
        self.steps = steps
        self.num_envs = num_envs
        self.size = 0
        self._columns: dict[str, npt.NDArray[Any]] = {
            "observations": np.empty((steps + 1, num_envs, row[0]), row[1]),  # one more, for what follows the last
            "actions": np.empty((steps, num_envs, action[0]), action[1]),
            "rewards": np.empty((steps, num_envs), np.float32),
            "terminated": np.zeros((steps, num_envs), np.float32),
            "truncated": np.zeros((steps, num_envs), np.float32),
            "weights": np.ones((steps, num_envs), np.float32),
            "log_probs": np.empty((steps, num_envs), np.float32),
            "values": np.empty((steps, num_envs), np.float32),
        }
        self.finals: list[tuple[int, FinalObservations]] = []
        self.next_observations: ObsRows | None = None

    def __len__(self) -> int:
        """Transitions held."""
        return self.size * self.num_envs

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """A column's filled part, (steps, envs, …)."""
        return self._columns[name][: self.size]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._columns)

    def is_full(self) -> bool:
        """Whether ``buffer_size`` transitions are held, or more."""
        return self.size >= self.steps

    def row(self, step: int) -> ObsRows:
        """Where the observations (envs, row_size) of a step lie, or are going to, up to the step after the last."""
        row: ObsRows = self._columns["observations"][step]
        return row

    def append(
        self,
        observations: npt.ArrayLike | None,
        actions: npt.ArrayLike,
        rewards: npt.ArrayLike,
        terminated: npt.ArrayLike | None = None,
        truncated: npt.ArrayLike | None = None,
        *,
        finals: FinalObservations | None = None,
        weights: npt.ArrayLike | None = None,
        log_probs: npt.ArrayLike | None = None,
        values: npt.ArrayLike | None = None,
    ) -> None:
        """Add one vector step.

        Args:
            observations: (envs, row_size) that were acted on; ``None`` where they are in :meth:`row` already.
            actions: (envs, action_size) that were taken.
            rewards: (envs,) that followed.
            terminated: (envs,) whether the task ended; ``None``: nowhere.
            truncated: (envs,) whether the episode was cut short; ``None``: nowhere.
            finals: The last observations of episodes that were cut short; every truncated one must be there.
            weights: (envs,) 0 for a row that is no real step; ``None``: all are.
            log_probs: (envs,) where known already; otherwise the learner computes them for all rows at once.
            values: (envs,) likewise.
        """
        if self.size == len(self._columns["rewards"]):
            self._grow()
        row = self.size
        columns = self._columns
        if observations is not None:
            columns["observations"][row] = observations
        columns["actions"][row] = actions
        columns["rewards"][row] = rewards
        if terminated is not None:
            columns["terminated"][row] = terminated
        if truncated is not None:
            columns["truncated"][row] = truncated
        if weights is not None:
            columns["weights"][row] = weights
        if log_probs is not None:
            columns["log_probs"][row] = log_probs
        if values is not None:
            columns["values"][row] = values
        if finals is not None:
            self.finals.append((row, finals))
        self.size += 1

    def clear(self, keep_last: bool = False) -> None:
        """Forget all rows, or all but the last."""
        if keep_last:
            for column in self._columns.values():
                column[0] = column[self.size - 1]
        kept = int(keep_last)
        for name, number in USUAL.items():
            self._columns[name][kept : self.size + 1] = number  # one more, for a row that was not finished
        self.size = kept
        self.finals.clear()
        self.next_observations = None

    def _grow(self) -> None:
        for name, column in self._columns.items():
            self._columns[name] = np.concatenate((column, np.full_like(column, USUAL.get(name, 0.0))))
