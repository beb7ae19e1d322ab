"""The memory: how it grows, fills, forgets."""

from __future__ import annotations

import numpy as np
import pytest

from ppo_cli.algorithm.rollout import FinalObservations, RolloutBuffer


def make(steps: int, num_envs: int) -> RolloutBuffer:
    """Room for rows of three numbers and single choices."""
    return RolloutBuffer(steps, num_envs, (3, np.float32), (1, np.int64))


def append(buffer: RolloutBuffer, number: float) -> None:
    """A row in which every column says which one it is."""
    buffer.append(
        np.full((buffer.num_envs, 3), number),
        int(number),
        number,
        terminated=number % 2,
        truncated=0,
        log_probs=-number,
        values=10 * number,
    )


def test_a_new_memory_is_empty_and_not_full() -> None:
    buffer = make(4, 2)
    assert len(buffer) == 0
    assert not buffer.is_full()
    assert buffer["rewards"].shape == (0, 2)


def test_length_counts_transitions_of_all_environments_and_fullness_vector_steps() -> None:
    buffer = make(2, 3)
    append(buffer, 1)
    assert len(buffer) == 3
    assert not buffer.is_full()
    append(buffer, 2)
    assert len(buffer) == 6
    assert buffer.is_full()


def test_a_full_memory_grows_and_keeps_every_row() -> None:
    buffer = make(3, 1)
    for number in range(14):
        append(buffer, number)
    assert len(buffer) == 14
    assert buffer.is_full()
    numbers = np.arange(14)
    assert (buffer["observations"] == numbers[:, None, None]).all()
    for name, column in {
        "actions": numbers,
        "rewards": numbers,
        "terminated": numbers % 2,
        "truncated": numbers * 0,
        "weights": numbers * 0 + 1,
        "log_probs": -numbers,
        "values": 10 * numbers,
    }.items():
        assert buffer[name].flatten().tolist() == column.tolist(), name


def test_clearing_forgets_everything() -> None:
    buffer = make(2, 1)
    for number in range(3):
        append(buffer, number)
    buffer.finals.append((0, FinalObservations(np.array([0]), np.zeros((1, 3), np.float32))))
    buffer.next_observations = np.zeros((1, 3), np.float32)
    buffer.clear()
    assert len(buffer) == 0
    assert not buffer.is_full()
    assert buffer.finals == []
    assert buffer.next_observations is None


def test_clearing_but_for_the_last_row_keeps_all_its_columns() -> None:
    buffer = make(2, 1)
    for number in range(1, 4):
        append(buffer, number)
    last = {name: buffer[name][-1].tolist() for name in buffer.columns}
    buffer.clear(keep_last=True)
    assert len(buffer) == 1
    assert not buffer.is_full()
    assert {name: buffer[name][0].tolist() for name in buffer.columns} == last
    append(buffer, 8)
    assert buffer["rewards"][:, 0].tolist() == [3, 8]


def test_what_was_appended_is_a_copy() -> None:
    buffer = make(2, 1)
    observations = np.ones((1, 3), np.float32)
    buffer.append(observations, 0, 0.0, False, False)
    observations[:] = 5
    assert (buffer["observations"] == 1).all()


def test_what_nobody_says_of_a_row_is_the_usual_whatever_stood_there_before() -> None:
    buffer = make(2, 1)
    for _ in range(5):  # it grows, too
        buffer.append(np.ones((1, 3)), 1, 1.0, terminated=1.0, truncated=1.0, weights=0.0)
    buffer.clear(keep_last=True)
    for _ in range(8):
        buffer.append(np.ones((1, 3)), 1, 1.0)
    assert buffer["terminated"].ravel().tolist() == buffer["truncated"].ravel().tolist() == [1.0] + [0.0] * 8
    assert buffer["weights"].ravel().tolist() == [0.0] + [1.0] * 8
    buffer.clear()
    buffer.append(np.ones((1, 3)), 1, 1.0)
    assert [buffer[name].item() for name in ("terminated", "truncated", "weights")] == [0.0, 0.0, 1.0]


def test_a_row_that_was_not_finished_leaves_nothing_behind() -> None:
    buffer = make(2, 1)
    with pytest.raises(ValueError, match="broadcast"):
        buffer.append(np.ones((1, 3)), 1, 1.0, terminated=1.0, truncated=1.0, weights=0.0, values=[1.0, 2.0])
    buffer.clear()
    buffer.append(np.ones((1, 3)), 1, 1.0)
    assert [buffer[name].item() for name in ("terminated", "truncated", "weights")] == [0.0, 0.0, 1.0]


def test_observations_may_be_put_where_they_belong_before_the_step_is_taken() -> None:
    buffer = make(2, 1)
    for step in range(3):  # the last is what follows
        buffer.row(step)[:] = step
        if step < 2:
            buffer.append(None, 0, 0.0)
    assert buffer["observations"][:, 0, 0].tolist() == [0.0, 1.0]
    assert buffer.row(2).tolist() == [[2.0] * 3]
    assert np.shares_memory(buffer.row(1), buffer["observations"])
