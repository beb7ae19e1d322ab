"""Compiled programs kept on disk, so that the next run takes up one without the compiler, nor the seconds it takes.

A program is found again by all that it was made of: the operations of the gradient step, as they were seen when it was
taken once, and everything else that the compiler goes by. What is found is believed only if it is whole, and if it
does what the step itself has just done; for all else there is the compiler, whose own cache lies beside it.
"""

from __future__ import annotations

import getpass
import hashlib
import importlib.util
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Program = Callable[..., Sequence[Tensor]]
"""(count, …state, …columns) → the state after as many steps, and their metrics."""

ENTRY = "inductor_entry_cpp"
"""The function of a library that PyTorch's C++ wrapper makes."""
FOLDER = "ppo_cli"
_MODULE = re.compile(rf"\w+\.{ENTRY}")
_FORBIDDEN = {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1", "TORCHINDUCTOR_FX_GRAPH_CACHE": "0"}


def folder() -> Path | None:
    """Where programs are kept: inside of PyTorch's own cache; ``None`` where somebody wants nothing from a cache."""
    if any(os.environ.get(name) == value for name, value in _FORBIDDEN.items()):
        return None
    told = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    if told is not None:
        return Path(told).absolute() / FOLDER
    try:
        user = getpass.getuser()
    except (KeyError, ModuleNotFoundError, OSError):  # as in a container whose user has no name
        user = f"uid_{os.getuid()}" if hasattr(os, "getuid") else "unknown_user"
    user = re.sub(r'[\\/:*?"<>|]', "_", user)
    return Path(tempfile.gettempdir()) / f"torchinductor_{user}" / FOLDER


def load(key: str, held: Sequence[Tensor]) -> Program | None:
    """The program that was kept under a key.

    Args:
        key: Of all that it was made of.
        held: The tensors that the step holds, which are the program's last arguments, in the order that it wants.

    Returns:
        ``None`` where there is none, or what is there is damaged, somebody else's, or cannot be loaded.
    """
    place = folder()
    if place is None:
        return None
    try:
        about = json.loads((place / f"{key}.json").read_text(encoding="utf-8"))
        library = place / f"{key}.so"
        order = about["constants"]
        # a library reads as many arguments as it was made for, whether they are there or not
        fits = about["key"] == key and sorted(order) == list(range(len(held)))
        if not fits or not _is_ours(library) or _digest(library) != about["sha256"]:
            return None
        return _program(_entry(key, library), [held[place] for place in order])
    except Exception:  # whatever is wrong with it, the compiler makes another
        return None


def keep(key: str, library: Path, constants: Sequence[int]) -> None:
    """Keep a program, if there is room for it.

    Args:
        key: Of all that it was made of.
        library: The file that the compiler has made of it.
        constants: Which of the tensors that the step holds each of its last arguments is.
    """
    place = folder()
    if place is None:
        return
    with suppress(OSError):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(place / f"{key}.so", library.read_bytes())
        about = {"key": key, "sha256": _digest(place / f"{key}.so"), "constants": list(constants)}
        _replace(place / f"{key}.json", json.dumps(about).encode())


def libraries() -> dict[str, Path]:
    """The programs that the compiler has loaded into this process, by the names of their modules."""
    return {
        name: Path(str(module.__file__))
        for name, module in list(sys.modules.items())
        if _MODULE.fullmatch(name) and getattr(module, "__file__", None)
    }


def from_library(name: str, constants: Sequence[Tensor]) -> Program:
    """The program of a module that the compiler has loaded, called as one from the disk would be."""
    return _program(getattr(sys.modules[name], ENTRY), constants)


def _entry(key: str, library: Path) -> Callable[[Any], Any]:
    # where a library finds what it needs of PyTorch's; the compiler says it in this way, too
    address: Any = torch._C._dynamo.guards._torchinductor_pyobject_tensor_data_ptr  # type: ignore[attr-defined]
    os.environ["_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR"] = str(address)
    spec = importlib.util.spec_from_file_location(f"kept_{key}.{ENTRY}", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entry: Callable[[Any], Any] = getattr(module, ENTRY)
    return entry


def _program(entry: Callable[[Any], Any], constants: Sequence[Tensor]) -> Program:
    def program(*tensors: Tensor) -> Sequence[Tensor]:
        with torch.no_grad():
            handles = torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors([*tensors, *constants])
            found: Sequence[Tensor] = torch._C._aoti.alloc_tensors_by_stealing_from_void_ptrs(entry(handles))
            return found

    return program


def _is_ours(path: Path) -> bool:
    """Whether a file, which is going to be run, is this user's own."""
    return not hasattr(os, "geteuid") or path.stat().st_uid == os.geteuid()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
