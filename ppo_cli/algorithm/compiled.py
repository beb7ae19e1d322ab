"""Gradient steps in turn, all by one compiled program.

The program is a loop around the step's graph, with the gradient and Adam in it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from ppo_cli.algorithm import ppo, programs
from ppo_cli.algorithm.adam import LearnerState
from ppo_cli.algorithm.cuda_graph import Replayed, record_cuda
from ppo_cli.algorithm.minibatches import Minibatch
from ppo_cli.algorithm.ppo import Coefficients, UpdateStep, UpdateSteps
from ppo_cli.algorithm.programs import Program
from ppo_cli.algorithm.recording import Recording, record
from ppo_cli.algorithm.steps import EACH_STEP, STATES, one_step, run_steps

log = logging.getLogger("ppo_cli")


class Compiled:
    """Gradient steps in turn, an epoch's by one call: to call a program costs as much as a small network's whole step.

    The program is made at the first call. A step that cannot be compiled runs as it is.

    Args:
        step: The step; the shapes of its arguments never change.
        room: Minibatches that the program takes at most; more are taken in several calls.

    Attributes:
        works: Whether the step could be compiled; ``None`` before the first call.
    """

    def __init__(self, step: UpdateStep, room: int) -> None:
        self._step, self._room = step, room
        self._steps: UpdateSteps | None = None
        self.works: bool | None = None

    def __call__(self, state: LearnerState, batches: Minibatch, coefs: Coefficients) -> tuple[LearnerState, Tensor]:
        """As :func:`run_steps` does."""
        if self._steps is None:
            self._steps = self._prepare(state, batches, coefs)
        return self._steps(state, batches, coefs)

    def _prepare(self, state: LearnerState, batches: Minibatch, coefs: Coefficients) -> UpdateSteps:
        room = self._room
        filled = [_filled_up(column[:room], room) for column in (*batches, *coefs[:EACH_STEP])]
        filled += _repeated(coefs[EACH_STEP:], room)
        seen = _look_at(self._step, state, filled)
        program = None if seen is None else _kept(seen, state, filled)
        if program is not None:
            self.works = True
            return _in_parts(program, self._room)
        log.info("compiling the gradient step; with nothing in the cache that takes up to half a minute")
        failure: Exception | None = None
        for _ in range(2):  # a Ctrl-C reaches the C++ compiler, too, and ends it
            try:
                program = _compile(self._step, state, filled, seen)
            except Exception as error:  # of whatever a network of the user's is made
                failure = error
            else:
                self.works = True
                return _in_parts(program, self._room)
        self.works = False
        why = f"{type(failure).__name__}: {str(failure).strip()}".partition("\n")[0][:200]
        log.warning("the gradient step cannot be compiled and runs without: %s", why)
        return run_steps(self._step)


def _in_parts(program: Program, room: int) -> UpdateSteps:
    """The steps by as many calls of a program as its room makes necessary."""

    def update_steps(state: LearnerState, batches: Minibatch, coefs: Coefficients) -> tuple[LearnerState, Tensor]:
        fixed, history = _repeated(coefs[EACH_STEP:], room), []
        columns = (torch.split(column, room) for column in (*batches, *coefs[:EACH_STEP]))
        for part in zip(*columns, strict=True):
            count = len(part[0])
            *after, metrics = program(torch.tensor(count), *state, *(_filled_up(each, room) for each in part), *fixed)
            state = LearnerState(*after)
            history.append(metrics[:count])
        return state, torch.cat(history)

    return update_steps


def _filled_up(column: Tensor, room: int) -> Tensor:
    """A column (count, …) with ``room`` entries, of which those after ``count`` mean nothing."""
    if len(column) == room:
        return column.contiguous()  # as the program was made for
    return torch.cat((column, column.new_zeros(room - len(column), *column.shape[1:])))


def _repeated(numbers: Sequence[Tensor], room: int) -> Sequence[Tensor]:
    """A column for each number: a program takes columns alone."""
    return torch.stack(list(numbers)).unsqueeze(1).repeat(1, room).unbind()


def _look_at(step: UpdateStep, state: LearnerState, filled: Sequence[Tensor]) -> Recording | None:
    """What a step does with the first minibatch; ``None`` where that tells too little of it, or it fails."""

    def first(*tensors: Tensor) -> tuple[Tensor, ...]:
        after, metrics = step(LearnerState(*tensors[:STATES]), *one_step(tensors[STATES:]))
        return *after, metrics

    arguments = [*(part.detach().clone() for part in state), *(column[0].clone() for column in filled)]
    try:
        return record(first, arguments, (*state, *filled))
    except Exception as error:  # which the compiler is not kept from trying
        log.debug("the gradient step's program is not looked up: %s", error)
        return None


def _kept(seen: Recording, state: LearnerState, filled: Sequence[Tensor]) -> Program | None:
    """The step's program from the disk, if there is one and it does what the step does."""
    program = programs.load(seen.key, seen.held)
    if program is None:
        return None
    try:
        *after, metrics = program(torch.tensor(1), *state, *filled)
        found = [*after[1:], metrics[0]]  # parameters follow from the moments, and where these are near 0, by chance
        if all(map(_alike, found, seen.outcome[1:])):
            return program
        log.warning("a program from the cache does not do what the gradient step does, and is made anew")
    except Exception as error:
        log.debug("a program from the cache cannot be run", exc_info=error)
    return None


def _alike(found: Tensor, expected: Tensor) -> bool:
    """Whether two tensors are the same but for rounding."""
    size = expected.abs().nan_to_num().max().item() if expected.numel() else 0.0
    return found.shape == expected.shape and torch.allclose(found, expected, 1e-3, 1e-3 * size, equal_nan=True)


def _compile(step: UpdateStep, state: LearnerState, filled: Sequence[Tensor], seen: Recording | None) -> Program:
    """The program that takes ``step`` for the first entries of columns as in ``filled``; other runs find it on disk."""
    from torch._inductor import compile as compile_graph

    before = programs.libraries()
    graph, arguments, constants, options = _loop(step, state, filled)
    with torch.no_grad():
        called = compile_graph(graph, arguments, options=options)

    def program(*tensors: Tensor) -> Sequence[Tensor]:
        found: Sequence[Tensor] = called(*tensors, *constants)
        return found

    once = (torch.tensor(1), *state, *filled)
    expected = program(*once)  # some graphs can be compiled, but not run
    made = {name: path for name, path in programs.libraries().items() if name not in before}
    places = (
        [] if seen is None else [n for constant in constants for n, held in enumerate(seen.held) if held is constant]
    )
    # what is kept must be all that there is: one library, which takes what the step holds and nothing else
    if seen is not None and len(made) == 1 and len(places) == len(constants) == len(seen.held):
        ((name, library),) = made.items()
        with suppress(Exception):  # a library of which somebody else makes use in another way
            if all(map(torch.equal, programs.from_library(name, constants)(*once), expected)):
                programs.keep(seen.key, library, places)
    return program


def _loop(
    step: UpdateStep, state: LearnerState, filled: Sequence[Tensor]
) -> tuple[GraphModule, list[Any], list[Tensor], dict[str, Any]]:
    """The graph of a loop around a step, arguments like those it takes, the last of these, and how to compile it."""
    from torch._higher_order_ops.while_loop import while_loop_op

    # what is traced may not be given one tensor twice, nor two views of one
    done, count = torch.tensor(0), torch.tensor(0)
    start, columns = [torch.empty_like(part) for part in state], [torch.empty_like(column) for column in filled]
    room, kinds = len(columns[0]), len(ppo.LOSS_METRICS)

    def one_more(done: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        now, history, columns = others[:STATES], others[STATES], others[STATES + 2 :]
        place = done.view(1)
        here = [column.index_select(0, place).squeeze(0) for column in columns]
        after, metrics = step(LearnerState(*now), *one_step(here))
        return done + 1, *after, history.index_copy(0, place, metrics.unsqueeze(0))

    history = torch.zeros(room, kinds)
    body = _trace(one_more, done, *start, history, count, *columns)  # by itself: a loop lets no gradient be taken
    constants = _lift_constants(body)

    def is_left(done: Tensor, *others: Tensor) -> Tensor:
        return done < others[STATES + 1]

    def steps(count: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        carried: Any = (torch.zeros((), dtype=count.dtype), *tensors[:STATES], torch.zeros(room, kinds))
        return tuple(while_loop_op(is_left, body, carried, (count, *tensors[STATES:]))[1:])

    options = {
        "cpp_wrapper": True,
        "cpp.use_decompose_tanh": True,  # 2 · sigmoid(2x) − 1 takes a quarter of the time
        # a loop is kept in the cache on disk only where somebody answers for its key, so all that it does is in there
        "unsafe_marked_cacheable_functions": {"torch.ops.higher_order.while_loop": _digest(body)},
    }
    arguments: list[Any] = [count, *start, *columns, *constants]
    return _trace(steps, *arguments), arguments, constants, options


def _trace(function: Callable[..., Any], *arguments: Tensor) -> GraphModule:
    from torch.fx.experimental.proxy_tensor import make_fx

    return make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*arguments)


def _lift_constants(graph: GraphModule) -> list[Tensor]:
    """Turn the tensors that a graph holds, which a loop's body may not, into its last arguments; returns them."""
    found: dict[int, tuple[Tensor, Node]] = {}
    first = next(node for node in graph.graph.nodes if node.op == "call_function")
    for node in graph.graph.find_nodes(op="get_attr"):
        tensor = getattr(graph, node.target)
        if not isinstance(tensor, Tensor):
            raise TypeError(f"there is a {type(tensor).__name__} in the step, which no loop may hold")
        if id(tensor) not in found:
            with graph.graph.inserting_before(first):
                found[id(tensor)] = tensor, graph.graph.placeholder(f"constant_{len(found)}")
        node.replace_all_uses_with(found[id(tensor)][1])
        graph.graph.erase_node(node)
    graph.recompile()
    return [tensor for tensor, _ in found.values()]


def _digest(graph: GraphModule) -> str:
    return hashlib.sha256(graph.code.encode()).hexdigest()


CPU = torch.device("cpu")


def accelerated(step: UpdateStep, compiled: bool, full: int, device: torch.device = CPU) -> UpdateSteps:
    """Gradient steps in turn, by the fastest program that was chosen for them.

    Args:
        step: The step; the shapes of its arguments never change.
        compiled: Whether to make a program of it: on a CPU one compiled graph, on a GPU one that is replayed.
        full: Minibatches of a full rollout.
        device: Where it runs.
    """
    if not compiled:
        return run_steps(step)
    if device.type == "cuda":
        return Replayed(step, partial(record_cuda, device))
    return Compiled(step, full)
