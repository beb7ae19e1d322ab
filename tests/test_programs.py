"""Compiled programs on disk: taken up by the next run, and made anew wherever anything about them is wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_compilation import columns_of, drift
from torch import Tensor

from ppo_cli.algorithm import programs, recording
from ppo_cli.algorithm.adam import LearnerState
from ppo_cli.algorithm.compiled import Compiled
from ppo_cli.algorithm.minibatches import Minibatch
from ppo_cli.algorithm.ppo import Coefficients
from ppo_cli.algorithm.recording import UnseenError, record

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler")
slow = pytest.mark.slow
Step = Callable[[LearnerState, Minibatch, Coefficients], tuple[LearnerState, Tensor]]

TABLE = torch.tensor([3.0, 4.0])


def shift(state: LearnerState, batch: Minibatch, coef: Coefficients) -> tuple[LearnerState, Tensor]:
    """As :func:`drift`, with a tensor of its own."""
    after, metrics = drift(state, batch, coef)
    return after._replace(parameters=after.parameters + TABLE), metrics


def other(state: LearnerState, batch: Minibatch, coef: Coefficients) -> tuple[LearnerState, Tensor]:
    """Takes and gives the same shapes, and does something else."""
    after, metrics = shift(state, batch, coef)
    return after._replace(first_moment=after.first_moment + 1.0), metrics


def taken(step: Step) -> list[list[float]]:
    """What two steps come to."""
    start = LearnerState(torch.tensor([1.0, 5.0]), torch.zeros(2), torch.full((2,), 7.0))
    steps = Compiled(step, room=2)
    state, metrics = steps(start, *columns_of([1.0, 2.0]))
    assert steps.works
    return [part.tolist() for part in (*state, metrics)]


EXPECTED = [[17.0, 36.0], [2.0, 2.0], [7.0, 7.0], [[1.0, *[0.0] * 5], [6.0, *[0.0] * 5]]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs of ``shift`` and of ``other``."""
    kept = tmp_path_factory.mktemp("programs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "folder", lambda: kept)
        assert taken(shift) == EXPECTED
        assert taken(other)[1] == [4.0, 4.0]
    return kept


@pytest.fixture
def kept(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, in which programs are looked for."""
    monkeypatch.setattr(programs, "folder", lambda: tmp_path / "kept")
    return Path(shutil.copytree(made, tmp_path / "kept"))


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A list that grows with every call of the compiler, in whose place the graph itself is run."""
    calls: list[Any] = []

    def as_traced(graph: Any, arguments: Any, options: Any) -> Any:
        calls.append(options)
        return graph

    monkeypatch.setattr("torch._inductor.compile", as_traced)
    return calls


@slow
@needs_compiler
def test_the_next_run_takes_up_the_program(kept: Path, compilations: list[Any]) -> None:
    assert len(list(kept.glob("*.so"))) == len(list(kept.glob("*.json"))) == 2
    for _ in range(2):
        assert taken(shift) == EXPECTED
    assert not compilations


@slow
@needs_compiler
def test_a_new_process_does_so_without_the_compiler(made: Path) -> None:
    own = made.parent / "cache"
    shutil.copytree(made, own / programs.FOLDER)
    text = (
        "import sys, torch; torch.set_num_threads(1); import test_programs as t; assert t.taken(t.shift) == t.EXPECTED;"
        "print('torch._inductor' in sys.modules, 'torch._dynamo' in sys.modules)"
    )
    where = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TORCHINDUCTOR_CACHE_DIR": str(own)}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=where, check=False)
    assert done.stdout == "False False\n", done.stderr


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@slow
@needs_compiler
@pytest.mark.parametrize("suffix", [".so", ".json"])
@pytest.mark.parametrize("harm", [cut, flipped, emptied, Path.unlink])
def test_a_damaged_one_is_made_anew(
    harm: Callable[[Path], None], suffix: str, kept: Path, compilations: list[Any]
) -> None:
    for path in kept.glob(f"*{suffix}"):
        harm(path)
    assert taken(shift) == EXPECTED
    assert len(compilations) == 1


@slow
@needs_compiler
@pytest.mark.parametrize("constants", [[], [1], [0, 0], ["0"], None])
def test_so_is_one_whose_arguments_are_told_wrongly(constants: Any, kept: Path, compilations: list[Any]) -> None:
    for path in kept.glob("*.json"):
        about = json.loads(path.read_text())
        path.write_text(json.dumps(about | {"constants": constants}))
    assert taken(shift) == EXPECTED
    assert len(compilations) == 1


@slow
@needs_compiler
def test_a_program_is_believed_only_where_it_does_what_the_step_does(
    kept: Path, compilations: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    libraries = sorted(kept.glob("*.so"))
    sums = [json.loads(path.with_suffix(".json").read_text())["sha256"] for path in libraries]
    for path, content, digest in zip(
        libraries, [each.read_bytes() for each in libraries][::-1], sums[::-1], strict=True
    ):
        path.write_bytes(content)
        about = path.with_suffix(".json")
        about.write_text(json.dumps(json.loads(about.read_text()) | {"sha256": digest}))
    with caplog.at_level("WARNING", logger="ppo_cli"):
        assert taken(shift) == EXPECTED
    assert [record.message for record in caplog.records] == [
        "a program from the cache does not do what the gradient step does, and is made anew"
    ]
    assert len(compilations) == 1


@slow
@needs_compiler
def test_one_that_was_renamed_is_made_anew(kept: Path, compilations: list[Any]) -> None:
    for suffix in (".json", ".so"):
        one, two = sorted(kept.glob(f"*{suffix}"))
        one.rename(kept / "between")
        two.rename(one)
        (kept / "between").rename(two)
    assert taken(shift) == EXPECTED
    assert len(compilations) == 1


@slow
@needs_compiler
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners here")
def test_what_belongs_to_somebody_else_is_not_run(
    kept: Path, compilations: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(kept).st_uid + 1)  # noqa: PTH116
    assert taken(shift) == EXPECTED
    assert len(compilations) == 1


@slow
@needs_compiler
def test_where_nothing_can_be_written_the_program_runs_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(programs, "folder", lambda: tmp_path / "file" / "below")
    assert taken(shift) == EXPECTED


def test_programs_lie_in_pytorchs_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    assert programs.folder() == tmp_path / "ppo_cli"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    assert programs.folder() == Path(default_cache_dir()) / "ppo_cli"


@pytest.mark.parametrize("variable", ["TORCHINDUCTOR_FORCE_DISABLE_CACHES=1", "TORCHINDUCTOR_FX_GRAPH_CACHE=0"])
def test_who_wants_no_cache_gets_none(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(*variable.split("="))
    assert programs.folder() is None
    assert programs.load("key", []) is None


# what a program is found by

ONE, TWO = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])


def key_of(function: Callable[..., list[Tensor]], *arguments: Tensor) -> str:
    given = arguments or (ONE.clone(), TWO.clone())
    return record(function, given, given).key


def test_a_key_tells_all_that_a_step_does() -> None:
    held = torch.tensor([5.0, 6.0])
    steps: list[Callable[[Tensor, Tensor], list[Tensor]]] = [
        lambda a, b: [a - b],
        lambda a, b: [b - a],
        lambda a, b: [a - b, a],
        lambda a, b: [torch.sub(a, b, alpha=2)],
        lambda a, b: [a - b - 1.0],
        lambda a, b: [a - b - 1.5],
        lambda a, b: [(a - b) - (a - b)],
        lambda a, b: [(d := a - b) - d],
        lambda a, b: [a - b - held],
        lambda a, b: [a - b - held[:1]],
        lambda a, b: [a - b - held.double()],
    ]
    keys = [key_of(step) for step in steps]
    assert len(set(keys)) == len(keys)
    assert keys == [key_of(step) for step in steps]
    assert key_of(steps[0], torch.zeros(3), torch.zeros(3)) != keys[0]
    assert key_of(steps[0], torch.zeros(2), torch.zeros(2)) == keys[0]  # numbers are no part of a program


def test_numbers_that_a_step_holds_are_given_to_its_program() -> None:
    def holding(number: float) -> Callable[[Tensor, Tensor], list[Tensor]]:
        held = torch.tensor([number])
        return lambda a, b: [a * held + b]

    assert key_of(holding(1.0)) == key_of(holding(2.0))
    seen = record(holding(2.0), [ONE.clone(), TWO.clone()], [])
    assert [held.tolist() for held in seen.held] == [[2.0]]
    assert [part.tolist() for part in seen.outcome] == [[5.0, 8.0]]


@pytest.mark.parametrize(
    "step",
    [
        lambda a, b: [a * b.sum().item()],
        lambda a, b: [a if torch.equal(a, b) else b],
        lambda a, b: [torch.nn.functional.dropout(a) + b],
        lambda a, b: [TABLE.add_(a), b],
        lambda a, b: [TABLE.view(2, 1).mul_(2.0), a, b],
    ],
)
def test_what_operations_do_not_tell_gives_no_key(step: Callable[..., list[Tensor]]) -> None:
    before, state = TABLE.clone(), torch.get_rng_state()
    with pytest.raises(UnseenError):
        key_of(step)
    assert torch.equal(TABLE, before)  # it was stopped before it had an effect
    assert torch.equal(torch.get_rng_state(), state)


CIRCUMSTANCES: dict[str, Callable[[pytest.MonkeyPatch], object]] = {
    "PyTorch": lambda patch: patch.setattr(torch, "__version__", "2.0"),
    "processor": lambda patch: patch.setattr(recording, "_processor", lambda: ["another"]),
    "compiler": lambda patch: patch.setattr(recording, "_compiler", lambda: "another"),
    "own code": lambda patch: patch.setattr(recording, "SOURCES", ("compiled.py",)),
    "variable": lambda patch: patch.setenv("TORCHINDUCTOR_CPP_WRAPPER", "1"),
    "threads": lambda patch: patch.setattr(torch, "get_num_threads", lambda: 2),
    "determinism": lambda patch: patch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True),
}


def add(a: Tensor, b: Tensor) -> list[Tensor]:
    return [a + b]


def test_changed_settings_of_the_compiler_are_another_key() -> None:
    from torch._inductor import config as settings

    before = key_of(add)
    with settings.patch({"max_autotune": not settings.max_autotune}):
        assert key_of(add) != before
    assert key_of(add) == before


@pytest.mark.parametrize("which", CIRCUMSTANCES)
def test_other_circumstances_are_another_key(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of(add)
    recording.fixed.cache_clear()
    CIRCUMSTANCES[which](monkeypatch)
    try:
        assert key_of(add) != before
    finally:
        recording.fixed.cache_clear()
