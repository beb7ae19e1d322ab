"""Many gradient steps as one program: as many as there are minibatches, and the same as one by one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matrix
import pytest
import torch
from gymnasium.vector import AutoresetMode
from matrix import Case
from torch import Tensor
from torch.fx import GraphModule

from ppo_cli.algorithm import ppo, programs
from ppo_cli.algorithm.adam import LearnerState
from ppo_cli.algorithm.compiled import Compiled
from ppo_cli.algorithm.minibatches import Minibatch
from ppo_cli.algorithm.ppo import Coefficients
from ppo_cli.algorithm.steps import EACH_STEP
from ppo_cli.config import NetworkConfig

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler")


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program of another run's, or none of these would be made."""
    monkeypatch.setattr(programs, "folder", lambda: None)


CONSTANTS = len(Coefficients._fields) - EACH_STEP


def drift(state: LearnerState, batch: Minibatch, coef: Coefficients) -> tuple[LearnerState, Tensor]:
    """A step of which one can say by heart what many of them come to: x becomes 2x + the number in its minibatch."""
    parameters = state.parameters * 2.0 + batch.returns.sum() * coef.step_size
    metrics = torch.stack([*state.parameters[:1], *state.parameters.new_zeros(len(ppo.LOSS_METRICS) - 1)])
    return LearnerState(parameters, state.first_moment + 1.0, state.second_moment.clone()), metrics


def columns_of(returns: list[float]) -> tuple[Minibatch, Coefficients]:
    """Minibatches of one row each, whose step size is 1."""
    column, sizes = torch.tensor(returns).unsqueeze(-1), torch.ones(EACH_STEP, len(returns))
    others = (column.clone() for _ in range(4))
    batches = Minibatch(column.unsqueeze(-1).clone(), column.unsqueeze(-1).clone(), *others, column)
    return batches._replace(returns=column.clone()), Coefficients(*sizes, *torch.ones(CONSTANTS))


@pytest.mark.slow
@needs_compiler
def test_a_program_takes_as_many_steps_as_there_are_minibatches() -> None:
    steps = Compiled(drift, room=4)
    start = LearnerState(torch.tensor([1.0, 5.0]), torch.zeros(2), torch.full((2,), 7.0))
    for count in (3, 4, 1, 9):  # fewer than the program has room for, as many, more
        numbers = [float(place + 1) for place in range(count)]
        state, metrics = steps(start, *columns_of(numbers))
        expected, seen = [1.0, 5.0], []
        for number in numbers:
            seen.append(expected[0])
            expected = [2.0 * entry + number for entry in expected]
        assert state.parameters.tolist() == expected
        assert state.first_moment.tolist() == [count, count]
        assert state.second_moment.tolist() == [7.0, 7.0]
        assert metrics[:, 0].tolist() == seen
        assert metrics.shape == (count, len(ppo.LOSS_METRICS))
    assert steps.works
    assert start.parameters.tolist() == [1.0, 5.0]


@pytest.mark.slow
@needs_compiler
def test_a_step_may_hold_tensors_of_its_own() -> None:
    table = torch.tensor([3.0, 4.0])

    def step(state: LearnerState, batch: Minibatch, coef: Coefficients) -> tuple[LearnerState, Tensor]:
        after, metrics = drift(state, batch, coef)
        return after._replace(parameters=after.parameters + table + table), metrics

    start = LearnerState(torch.zeros(2), torch.zeros(2), torch.zeros(2))
    steps = Compiled(step, room=2)
    assert steps(start, *columns_of([1.0]))[0].parameters.tolist() == [7.0, 9.0]
    assert steps.works


def test_a_step_that_cannot_be_compiled_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    def step(state: LearnerState, batch: Minibatch, coef: Coefficients) -> tuple[LearnerState, Tensor]:
        if batch.returns.sum() > 0.5:  # a choice by numbers, which no graph has
            return drift(state, batch, coef)
        return state, state.parameters.new_zeros(len(ppo.LOSS_METRICS))

    steps = Compiled(step, room=2)
    state = LearnerState(torch.ones(2), torch.zeros(2), torch.zeros(2))
    with caplog.at_level("WARNING", logger="ppo_cli"):
        for _ in range(2):
            state, _ = steps(state, *columns_of([0.0, 1.0]))
    assert state.parameters.tolist() == [7.0, 7.0]
    (record,) = caplog.records
    assert record.message.startswith("the gradient step cannot be compiled and runs without: GuardOnDataDependent")


def test_a_program_that_cannot_be_run_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no workspace\nand a long story")

    monkeypatch.setattr("torch._inductor.compile", lambda *_, **__: broken)
    steps = Compiled(drift, room=2)
    state = LearnerState(torch.ones(2), torch.zeros(2), torch.zeros(2))
    assert steps(state, *columns_of([0.0, 1.0]))[0].parameters.tolist() == [5.0, 5.0]
    assert steps.works is False


def test_a_compiler_that_is_interrupted_is_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def interrupted_once(graph: GraphModule, arguments: Sequence[Tensor], options: dict[str, Any]) -> GraphModule:
        calls.append(options)
        if len(calls) == 1:
            raise RuntimeError("the compiler was killed")
        return graph

    monkeypatch.setattr("torch._inductor.compile", interrupted_once)
    steps = Compiled(drift, room=2)
    state = LearnerState(torch.ones(2), torch.zeros(2), torch.zeros(2))
    assert steps(state, *columns_of([0.0, 1.0, 1.0]))[0].parameters.tolist() == [11.0, 11.0]
    assert steps.works
    assert len(calls) == 2


# every kind of step can be traced

KINDS = [
    *(Case(action, "float32", "none", "none", "same_step") for action in matrix.ACTIONS),
    *(Case("tuple", observation, "none", "none", "next_step") for observation in matrix.AXES["observation"]),
    Case("multidiscrete", "dict", "lstm", "info", "next_step"),
    Case("gsde", "float32", "lstm", "none", "disabled"),
]
NETWORKS = [
    {"layer_norm": True, "activation": "gelu"},
    {"shared": False, "activation": "elu"},
    {"recurrent": "gru", "recurrent_size": 3, "sequence_length": 2},
    {"module": "toys:Mirror"},
    {"module": "toys:KeepsFeatures"},
]


def as_traced(graph: GraphModule, arguments: Sequence[Tensor], options: dict[str, Any]) -> GraphModule:
    """In the compiler's place: the graph that it would be given."""
    return graph


def both_ways(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str = "clip", **network: Any
) -> list[LearnerState]:
    """What two iterations come to, step by step and by the program as it was traced."""
    monkeypatch.setattr("torch._inductor.compile", as_traced)
    states = []
    for compiled in (False, True):
        config = matrix.config_of(case)
        config.compile, config.epochs, config.objective = compiled, 2, objective
        if network:
            config.network = NetworkConfig(**{"hidden_sizes": [8], **network})
        mode = matrix.MODES.get(case.backend, AutoresetMode.SAME_STEP)
        trainer = matrix.make_trainer(config, tmp_path / str(compiled), mode)
        trainer.run()
        trainer.collector.envs.close()
        states.append(trainer.agent.learner.state)
    steps = trainer.agent.learner._update_steps
    assert isinstance(steps, Compiled)
    assert steps.works
    return states


@pytest.mark.parametrize("case", KINDS, ids=str)
def test_a_step_of_every_kind_can_be_traced(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.testing.assert_close(*both_ways(case, tmp_path, monkeypatch), rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_so_can_a_step_of_every_network(
    network: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case("discrete", "float32", "none", "none", "same_step")
    torch.testing.assert_close(*both_ways(case, tmp_path, monkeypatch, **network), rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("objective", ["spo", "toys:kept_near"])
def test_so_can_a_step_by_every_objective(objective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("discrete", "float32", "none", "none", "same_step")
    torch.testing.assert_close(*both_ways(case, tmp_path, monkeypatch, objective), rtol=0.0, atol=1e-6)
