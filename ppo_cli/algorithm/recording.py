"""What a compiled gradient step is made of: its operations, seen as it is taken once, and what else a compiler goes by.

Two steps of which the same is seen give the same program. To look takes milliseconds, where tracing takes a second.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

SOURCES = ("compiled.py", "programs.py", "recording.py")
"""What makes programs of steps, and calls them."""
_PLAIN = (type(None), bool, int, float, str, torch.dtype, torch.device, torch.layout, torch.memory_format)
_VARIABLES = ("TORCH", "ATEN_", "OMP_", "CXX", "CPATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH")
"""How the names of variables begin that a compilation may depend on."""
_CACHE_DIR = "TORCHINDUCTOR_CACHE_DIR"


class Recording(NamedTuple):
    """What was seen of a step.

    Attributes:
        key: The same for steps and circumstances that give the same program.
        held: The tensors that the step holds itself, in the order in which it used them.
        outcome: What it came to.
    """

    key: str
    held: list[Tensor]
    outcome: list[Tensor]


class UnseenError(Exception):
    """A step does something that a list of operations does not tell."""


def record(
    function: Callable[..., Sequence[Tensor]], arguments: Sequence[Tensor], shapes: Sequence[Tensor]
) -> Recording:
    """Call a function once, and see what it does.

    Args:
        function: A pure one.
        arguments: What it is given.
        shapes: What the program will be given: of these only shapes and types count.

    Raises:
        UnseenError: if what it does is not determined by its operations, before that has had an effect.
    """
    seen = _Operations(arguments)
    with seen:
        outcome = list(function(*arguments))
    lines = [*surroundings(), *map(_shape, shapes), *seen.lines, f"gives {[seen.name(tensor) for tensor in outcome]}"]
    return Recording(hashlib.sha256("\n".join(lines).encode()).hexdigest(), seen.held, outcome)


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every operation, with what it is given: which results of others, tensors of the step's own, numbers.

    Args:
        arguments: The tensors that are named by their place.
    """

    def __init__(self, arguments: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lines: list[str] = []
        self.held: list[Tensor] = []
        self._names: dict[int, str] = {id(tensor): f"argument {n}" for n, tensor in enumerate(arguments)}
        self._alive: list[Tensor] = list(arguments)  # or another tensor might get its number
        self._held_at: set[int] = set()

    def name(self, tensor: Tensor) -> str:
        """What a tensor is: an argument, a result, or one that the step holds."""
        if id(tensor) not in self._names:
            self._remember(tensor, f"held {len(self.held)} {_shape(tensor)}")
            self.held.append(tensor)
            self._held_at.add(_place(tensor))
        return self._names[id(tensor)]

    def _remember(self, tensor: Tensor, name: str) -> None:
        self._names[id(tensor)] = name
        self._alive.append(tensor)

    def _told(self, value: Any) -> str:
        if isinstance(value, Tensor):
            if type(value) not in (Tensor, torch.nn.Parameter):
                raise UnseenError(f"a {type(value).__name__} may do anything")
            return self.name(value)
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(self._told, value))}]"
        if type(value) in _PLAIN:
            return repr(value)
        raise UnseenError(f"a {type(value).__name__} is given to an operation")

    def see(self, operation: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Write an operation down, and do it."""
        if not isinstance(operation, torch._ops.OpOverload):
            raise UnseenError(f"{operation} has operations of its own")
        told = [self._told(value) for value in args] + [f"{key}={self._told(kwargs[key])}" for key in sorted(kwargs)]
        if torch.Tag.nondeterministic_seeded in operation.tags:
            raise UnseenError("numbers are drawn")
        if operation._schema.is_mutable and any(_place(tensor) in self._held_at for tensor in _flat(args, kwargs)):
            raise UnseenError("a tensor that the step holds is changed")
        before = len(self.lines)
        self.lines.append(f"{operation}({', '.join(told)})")
        result = operation(*args, **kwargs)
        results = list(_flat(result))
        if not results and result is not None:
            raise UnseenError(f"{operation} gives what is no tensor")
        for number, tensor in enumerate(results):
            if id(tensor) not in self._names:
                self._remember(tensor, f"result {before}.{number}")
        return result


def _see(self: _Operations, operation: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
    return self.see(operation, args, kwargs or {})


# set here, and not in the class, whose creation would wrap it in a call that imports the compiler
_Operations.__torch_dispatch__ = _see  # type: ignore[method-assign,assignment]


def _flat(*values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _flat(*value)
        elif isinstance(value, dict):
            yield from _flat(*value.values())


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _shape(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)} {tensor.stride()} {tensor.device}"


def surroundings() -> list[str]:
    """What a program depends on beside its step: PyTorch, its settings, the compiler, the processor, and our own code.

    Raises:
        UnseenError: if some of it cannot be known.
    """
    return [
        *fixed(),
        *(f"{name}={value}" for name, value in sorted(os.environ.items()) if _counts(name)),
        f"{torch.get_num_threads()} threads, {torch.get_default_dtype()}, {torch.get_float32_matmul_precision()}",
        f"deterministic {torch.are_deterministic_algorithms_enabled()}, oneDNN {torch.backends.mkldnn.enabled}",
        *_changed_settings(),
    ]


def _counts(name: str) -> bool:
    return name.startswith(_VARIABLES) and name != _CACHE_DIR


@functools.cache
def fixed() -> tuple[str, ...]:
    """What does not change while a process lives.

    Raises:
        UnseenError: if own code cannot be read.
    """
    here = Path(__file__).parent
    try:
        sources = [hashlib.sha256((here / name).read_bytes()).hexdigest() for name in SOURCES]
    except OSError as error:  # as in an archive
        raise UnseenError(f"own code cannot be read: {error}") from error
    return (
        f"torch {torch.__version__} {torch.version.git_version} {torch.backends.cpu.get_cpu_capability()}",
        f"Python {sys.version} {sys.implementation.cache_tag}",
        *_processor(),
        _compiler(),
        *sources,
    )


def _processor() -> list[str]:
    """The kind of processor, with the sets of instructions that it knows."""
    found = [platform.system(), platform.machine(), platform.processor()]
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        with cpuinfo.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if not line.strip():
                    break  # the first of them is as the others are
                if line.startswith(("model name", "flags", "Features", "CPU ")):
                    found.append(line.strip())
    return found


def _compiler() -> str:
    """The C++ compiler, told by its file."""
    path = shutil.which(os.environ.get("CXX", "g++"))
    if path is None:
        return "no compiler"
    real = Path(path).resolve()
    about = real.stat()
    return f"{real} {about.st_size} {about.st_mtime_ns}"


def _changed_settings() -> list[str]:
    """Settings of the compiler's that somebody has changed in this process; nobody has, where it was not imported."""
    config = sys.modules.get("torch._inductor.config")
    if config is None:
        return []
    try:
        known, usual = config.get_config_copy(), {name: entry.default for name, entry in config._config.items()}
        changed = {name: value for name, value in known.items() if value != usual[name]}
    except (AttributeError, KeyError) as error:  # another PyTorch's
        raise UnseenError(f"the compiler's settings cannot be read: {error}") from error
    return [f"{name}={value!r}" for name, value in sorted(changed.items())]
