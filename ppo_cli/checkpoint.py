"""The checkpoint file: plain data and tensors, written whole or not at all, read without executing anything."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ppo_cli.errors import CheckpointError, Problem

FORMAT_VERSION = 1
KIND = "ppo-cli checkpoint"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk, and rename it into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` for people and programs to read, whole or not at all."""
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def save_checkpoint(path: Path, agent: dict[str, Any], run: dict[str, Any] | None = None) -> None:
    """Write a checkpoint.

    Args:
        path: The file; its folder is made if need be.
        agent: :meth:`ppo_cli.agent.PPOAgent.state`.
        run: What a training run adds: its configuration, progress and evaluation; ``None`` for a library user's agent.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    payload = {"kind": KIND, "format_version": FORMAT_VERSION, "agent": agent, "run": run}

    def write(temporary: Path) -> None:
        # into an open file: given a path, torch writes its name into the archive, and equal runs would differ
        with temporary.open("wb") as file:
            torch.save(payload, file)

    write_atomically(path, write)


def find_checkpoint(path: str | os.PathLike[str], key: str = "checkpoint") -> Path:
    """The checkpoint file that ``path`` means: itself, or a run folder's best one, else its last.

    Args:
        path: A file or a run's folder.
        key: What it was typed after, for the messages.

    Raises:
        CheckpointError: if there is none.
    """
    if not os.fspath(path):
        raise CheckpointError(
            Problem("no checkpoint was named", f"{key}=outputs/CartPole-v1/<run>"), "No checkpoint given"
        )
    found = Path(path).expanduser()
    try:
        if found.is_file():
            return found
        if not found.is_dir():
            raise CheckpointError(Problem(f"{found} does not exist", f"{key}=<a run's folder or a .pt file>"))
    except OSError as error:
        raise CheckpointError(Problem(f"{found} cannot be read: {error}", "a path that can be read")) from error
    candidates = [folder / name for folder in (found / "checkpoints", found) for name in ("best.pt", "last.pt")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise CheckpointError(
        Problem(f"the folder {found} holds no checkpoints/best.pt or checkpoints/last.pt", f"{key}=<a run's folder>")
    )


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; ``agent`` and ``run`` are as they were given to :func:`save_checkpoint`.

    Raises:
        CheckpointError: if the file is damaged, no checkpoint, of another version, or holds anything but plain data.
    """
    if path.stat().st_size == 0:
        raise CheckpointError(Problem(f"{path} is empty", "another checkpoint of the same run"))
    if not zipfile.is_zipfile(path):
        raise CheckpointError(
            Problem(
                f"{path} is no checkpoint, or was cut off while it was copied", "a .pt file from a run's checkpoints/"
            )
        )
    try:
        with zipfile.ZipFile(path) as archive:  # torch reads a spoilt tensor without noticing
            spoilt = archive.testzip()
        if spoilt is not None:
            raise zipfile.BadZipFile(f"the checksum of {spoilt} is wrong")
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            Problem(
                f"{path} holds more than plain data and tensors; nothing in it was executed", "a file ppo-train wrote"
            )
        ) from error
    except Exception as error:  # a damaged archive fails in many ways, all of them the file's
        raise CheckpointError(Problem(f"{path} is damaged: {error}", "another checkpoint of the same run")) from error
    if not isinstance(payload, dict) or payload.get("kind") != KIND:
        raise CheckpointError(Problem(f"{path} is a PyTorch file, but no ppo-cli checkpoint", "a file ppo-train wrote"))
    version = payload.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            Problem(
                f"{path} has format version {version}, and this ppo-cli reads version {FORMAT_VERSION}",
                "pip install --upgrade ppo-cli",
            )
        )
    if not isinstance(payload.get("agent"), dict) or not isinstance(payload.get("run"), dict | None):
        raise CheckpointError(Problem(f"{path} lacks its agent", "another checkpoint of the same run"))
    return payload


def checked_tensor(source: Any, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """The tensor ``name`` of a loaded mapping.

    Raises:
        CheckpointError: if it is missing or has another shape or type.
    """
    tensor = source.get(name) if isinstance(source, dict) else None
    if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape or tensor.dtype != dtype:
        came = f"{tuple(tensor.shape)} {tensor.dtype}" if isinstance(tensor, Tensor) else "nothing"
        raise CheckpointError(
            Problem(f"the checkpoint's {name} should be {shape} {dtype}, but is {came}", "another checkpoint")
        )
    return tensor
