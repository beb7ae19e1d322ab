"""The checkpoint file: plain data and tensors, written whole or not at all, read without executing anything."""

from __future__ import annotations

import io
import math
import os
import pickletools
import re
import reprlib
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ppo_cli.errors import CheckpointError, Problem, shortened
from ppo_cli.runs.files import read_file, write_atomically
from ppo_cli.runs.formats import FORMAT_VERSION, current
from ppo_cli.runs.names import BEST_FILE, CHECKPOINTS_FOLDER, JOB_FILE, LAST_FILE, SCHEDULED_FILES, SWEEP_FILE
from ppo_cli.runs.summary import read_summary

KIND = "ppo-cli checkpoint"

DEEPEST = 50  # containers in one another: far more than a checkpoint has, far fewer than any recursion bears
MOST_TUPLES = 50_000  # four to a tensor; as many in one another are hashed within half of the usual stack
_NAMES = re.compile(r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|torch \w+Storage")
"""What ``torch.save`` refers to where it writes a dense tensor."""


def save_checkpoint(path: Path, agent: dict[str, Any], run: dict[str, Any] | None = None) -> None:
    """Write a checkpoint.

    Args:
        path: The file; its folder is made if need be.
        agent: :meth:`ppo_cli.agent.agent.PPOAgent.state`.
        run: What a training run adds: its configuration, progress and evaluation; ``None`` for a library user's agent.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    payload = {"kind": KIND, "format_version": FORMAT_VERSION, "agent": agent, "run": run}

    # Into memory first: given a path, torch writes its name into the archive, and equal runs would differ; and of a
    # full disk it makes an error that does not say so.
    content = io.BytesIO()
    torch.save(payload, content)
    write_atomically(path, lambda temporary: temporary.write_bytes(content.getbuffer()))


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
    try:
        found = Path(path).expanduser()
    except RuntimeError as error:  # a home that nobody has
        raise CheckpointError(Problem(f"{key}={os.fspath(path)}: {error}", f"{key}=<a path>")) from error
    try:
        if found.is_file():
            return found
        if not found.is_dir():
            raise CheckpointError(Problem(f"{found} does not exist", f"{key}=<a run's folder or a .pt file>"))
    except OSError as error:
        raise CheckpointError(Problem(f"{found} cannot be read: {error}", "a path that can be read")) from error
    if (candidate := _best_or_last(found)) is not None:
        return candidate
    if (found / SWEEP_FILE).is_file():
        jobs = sorted(path.parent for path in found.glob(f"*/{JOB_FILE}") if _best_or_last(path.parent) is not None)
        one = max(jobs, key=_best_return, default="<the folder of a job that has saved one>")
        raise CheckpointError(Problem(f"{found} is the folder of a sweep, of many runs", f"{key}={one}"))
    others = sorted(found.glob(f"{CHECKPOINTS_FOLDER}/{SCHEDULED_FILES}"), key=lambda path: path.stat().st_mtime)
    fix = f"{key}={others[-1]}" if others else f"{key}=<the folder of a run that has saved one>"
    raise CheckpointError(Problem(f"the folder {found} holds no checkpoints/best.pt or checkpoints/last.pt", fix))


def _best_or_last(folder: Path) -> Path | None:
    """The checkpoint that the folder of a run stands for; ``None`` if it has neither."""
    candidates = (place / name for place in (folder / CHECKPOINTS_FOLDER, folder) for name in (BEST_FILE, LAST_FILE))
    return next(filter(Path.is_file, candidates), None)


def _best_return(folder: Path) -> float:
    """The best evaluation that a run's record tells of."""
    value = (read_summary(folder) or {}).get("best_return")
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else -math.inf


def _read(content: bytes) -> Any:
    """What ``torch.save`` made of plain data and dense tensors.

    Raises:
        Exception: of many kinds, if it is anything else.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(part.file_size for part in archive.infolist()) > len(content):
            raise ValueError("it is packed")  # as torch.save never does, and bombs are
        if (damaged := archive.testzip()) is not None:  # torch looks at no checksums
            raise ValueError(f"the checksum of {damaged} is wrong")
        (pickled,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        _check_pickle(archive.read(pickled))
    payload = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    _check_size(payload, len(content))
    return payload


def _check_pickle(data: bytes) -> None:
    """See that ``torch.load`` comes back from a pickle.

    ``weights_only`` keeps it from running code, but not from hashing keys: tuples that each hold the one before twice
    take for ever, and tuples in tuples the whole stack. And of other names torch's message says how to let them in.

    Raises:
        ValueError: names what a checkpoint does not have.
    """
    before, tuples = "", 0
    memo: dict[Any, str] = {}
    for code, argument, _ in pickletools.genops(data):
        tuples += code.name.startswith("TUPLE")
        if code.name == "GLOBAL" and not _NAMES.fullmatch(str(argument)):
            raise ValueError(f"a reference to {argument}")
        if code.name.endswith("PUT"):
            memo[argument] = before
        if code.name.endswith("GET") and memo[argument] not in ("BINUNICODE", "GLOBAL"):
            raise ValueError("one thing in two places")
        before = code.name
    if tuples > MOST_TUPLES:
        raise ValueError(f"more than {MOST_TUPLES} tuples")


def _check_size(value: Any, room: int, depth: int = 0) -> None:
    """See that no tensor in a value has more elements than the file has bytes, and that others may walk through it.

    Raises:
        ValueError: names what is too large or too deep.
    """
    if depth > DEEPEST:
        raise ValueError(f"more than {DEEPEST} things in one another")
    if isinstance(value, Tensor) and not (value.is_contiguous() and value.untyped_storage().nbytes() <= room):
        raise ValueError(f"a tensor of shape {tuple(value.shape)} in {value.untyped_storage().nbytes()} bytes")
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            _check_size(item, room, depth + 1)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; ``agent`` and ``run`` are as they were given to :func:`save_checkpoint`, or would be today.

    Raises:
        CheckpointError: if the file is damaged, no checkpoint, of another version, or holds anything but plain data.
    """
    try:
        content = read_file(path)
    except OSError as error:
        raise CheckpointError(Problem(f"{path} cannot be read: {error.strerror}", "a file that can be read")) from error
    if not content:
        raise CheckpointError(Problem(f"{path} is empty", "another checkpoint of the same run"))
    try:
        payload = _read(content)
    except Exception as error:  # a damaged archive fails in many ways, all of them the file's
        what = (
            f"{path} is no checkpoint, was cut off or damaged, or holds more than plain data and tensors "
            f"({_brief(error)}); nothing in it was executed"
        )
        raise CheckpointError(Problem(what, "another checkpoint of the same run")) from error
    if not isinstance(payload, dict) or payload.get("kind") != KIND:
        raise CheckpointError(Problem(f"{path} is a PyTorch file, but no ppo-cli checkpoint", "a file ppo-train wrote"))
    version = payload.get("format_version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        newer = type(version) is int and version > FORMAT_VERSION
        raise CheckpointError(
            Problem(
                f"{path} has format version {_brief(version)}, and this ppo-cli reads versions up to {FORMAT_VERSION}",
                "pip install --upgrade ppo-cli" if newer else "another checkpoint of the same run",
            )
        )
    if not isinstance(payload.get("agent"), dict) or not isinstance(payload.get("run"), dict | None):
        raise CheckpointError(Problem(f"{path} lacks its agent", "another checkpoint of the same run"))
    checked_section(payload, path.name, ("kind", "format_version", "agent", "run"))
    return current(payload)


def _brief(value: Any) -> str:
    """A stranger's value, short enough for a message."""
    return shortened(str(value) if isinstance(value, Exception) else reprlib.repr(value))


def checked_section(source: Any, name: str, keys: Collection[str]) -> dict[str, Any]:
    """The mapping ``name`` of a checkpoint, which has these keys and no others.

    Raises:
        CheckpointError: names what is missing and what is too much.
    """
    if not isinstance(source, dict):
        what = f"the checkpoint's {name} should be a mapping, but is {_brief(source)}"
        raise CheckpointError(Problem(what, "another checkpoint"))
    missing = ", ".join(key for key in keys if key not in source)
    unknown = ", ".join(_brief(key) for key in [key for key in source if key not in keys][:10])
    if missing or unknown:
        parts = [f"lacks {missing}"] * bool(missing) + [f"has {unknown}, which nothing here knows"] * bool(unknown)
        raise CheckpointError(Problem(f"the checkpoint's {name} {' and '.join(parts)}", "another checkpoint"))
    section: dict[str, Any] = source
    return section


def checked_tensor(
    source: Any,
    name: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    *,
    section: str = "",
    least: float | None = None,
) -> Tensor:
    """The tensor ``name`` of a loaded mapping, all of it finite.

    Args:
        source: The mapping.
        name: The tensor's key.
        shape: Its shape.
        dtype: Its type.
        section: What the mapping is called, for messages.
        least: What no element may be below.

    Raises:
        CheckpointError: if it is missing, has another shape or type, or a value that no agent can have.
    """
    tensor: Any = source.get(name) if isinstance(source, dict) else None
    title = f"{section}: {name}" if section else name
    if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape or tensor.dtype != dtype:
        came = f"{tuple(tensor.shape)} {tensor.dtype}" if isinstance(tensor, Tensor) else "nothing"
        raise CheckpointError(
            Problem(f"the checkpoint's {title} should be {shape} {dtype}, but is {came}", "another checkpoint")
        )
    if not torch.isfinite(tensor).all():
        what = f"the checkpoint's {title} holds NaN or infinity: what wrote it had diverged"
        raise CheckpointError(Problem(what, "an earlier checkpoint of the same run"))
    if least is not None and (tensor < least).any():
        raise CheckpointError(Problem(f"the checkpoint's {title} holds numbers below {least:g}", "another checkpoint"))
    return tensor
