"""What an archive of ``torch.save`` holds, looked through before torch reads it.

Nothing is built and nothing is called here, so a hostile file costs no more than its own size.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from collections.abc import Sequence
from typing import Any

DEEPEST = 50  # containers in one another: far more than a checkpoint has, far fewer than any recursion bears


def examined(content: bytes) -> io.BytesIO:
    """An archive of what was examined and of nothing else.

    Two readers of one damaged or hostile archive may find two different contents, so torch gets a fresh one.

    Raises:
        UnpicklingError: if the pickle is not what ``torch.save`` makes of plain data and tensors.
        BadZipFile: if an entry is packed, damaged, or there twice.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):  # torch.save never packs; bombs are packed
            raise zipfile.BadZipFile("it is compressed")
        if sum(part.file_size for part in parts) > len(content):
            raise zipfile.BadZipFile("its entries lie over one another")
        entries = {part.filename.partition("/")[2]: archive.read(part) for part in parts}
    if len(entries) < len(parts):
        raise zipfile.BadZipFile("an entry is there twice")
    storages = {name.removeprefix("data/"): entry for name, entry in entries.items() if name.startswith("data/")}
    _examine(entries["data.pkl"], {key: len(storage) for key, storage in storages.items()})
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w") as archive:
        for name in ("data.pkl", "byteorder", "version"):
            archive.writestr(f"archive/{name}", entries[name])
        for key, storage in storages.items():
            archive.writestr(f"archive/data/{key}", storage)
    copy.seek(0)
    return copy


class _Name(str):
    """Something of a module's that a pickle refers to."""


class _Made:
    """What a pickle builds; of a tuple, a tensor or a storage, what it is built of."""

    def __init__(self, kind: str, depth: int = 1, items: tuple[Any, ...] = ()) -> None:
        self.kind, self.depth, self.items = kind, depth, items


def _examine(data: bytes, sizes: dict[str, int]) -> None:
    """Go through a pickle without building anything.

    ``weights_only`` keeps a pickle from running code, but not from asking for a bytearray or a tensor of a terabyte,
    for a tensor with more elements than bytes, for lists in lists until the stack is full, or for a list that holds
    itself. What ``torch.save`` writes of plain data and dense tensors does none of that, and only that is let through.

    Args:
        data: The pickle.
        sizes: Bytes of each storage in the archive.

    Raises:
        UnpicklingError: names what else there is.
    """
    stack: list[Any] = []
    marks: list[list[Any]] = []
    memo: dict[Any, Any] = {}
    for code, argument, _ in pickletools.genops(data):
        name = code.name
        if name in _LEAVES:
            stack.append(_CONSTANTS.get(name, argument))
        elif name == "GLOBAL":
            stack.append(_Name(argument))
        elif name in _EMPTY:
            stack.append(_Made(_EMPTY[name]))
        elif name == "MARK":
            marks.append(stack)
            stack = []
        elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            items, stack = (stack, marks.pop()) if name == "TUPLE" else (stack[-int(name[5:]) :], stack)
            if name != "TUPLE":
                del stack[-int(name[5:]) :]
            stack.append(_Made("tuple", _depth(items), tuple(items)))
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS"):
            items = stack
            if name.endswith("S"):
                stack = marks.pop()
            else:
                count = 1 if name == "APPEND" else 2
                items, stack = stack[-count:], stack[:-count]
            _extend(stack[-1], items, name)
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            if isinstance(memo[argument], _Made):
                raise pickle.UnpicklingError("one thing in two places")
            stack.append(memo[argument])
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop(), sizes))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_built(function, arguments))
        elif name not in ("PROTO", "STOP"):
            raise pickle.UnpicklingError(f"an instruction {name}")


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LEAVES = {*_CONSTANTS, "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}
_EMPTY = {"EMPTY_DICT": "dict", "EMPTY_LIST": "list", "EMPTY_TUPLE": "tuple"}
_STORAGES = {
    **{f"torch {kind}Storage": 8 for kind in ("Double", "Long")},
    **{f"torch {kind}Storage": 4 for kind in ("Float", "Int")},
    **{f"torch {kind}Storage": 2 for kind in ("Half", "BFloat16", "Short")},
    **{f"torch {kind}Storage": 1 for kind in ("Byte", "Char", "Bool")},
}
"""Bytes of one element."""


def _depth(items: Sequence[Any]) -> int:
    depth = 1 + max((item.depth for item in items if isinstance(item, _Made)), default=0)
    if depth > DEEPEST:
        raise pickle.UnpicklingError(f"more than {DEEPEST} things in one another")
    return depth


def _extend(target: Any, items: Sequence[Any], name: str) -> None:
    wanted = "list" if name.startswith("APPEND") else "dict"
    if not isinstance(target, _Made) or target.kind != wanted:
        raise pickle.UnpicklingError(f"an instruction {name} for something else")
    if wanted == "dict" and any(isinstance(key, _Made | _Name) for key in items[::2]):
        raise pickle.UnpicklingError("a mapping whose keys are no names")  # to hash what is nested may take for ever
    if any(isinstance(item, _Name) for item in items):
        raise pickle.UnpicklingError(f"a reference to {next(item for item in items if isinstance(item, _Name))}")
    target.depth = max(target.depth, _depth(items))


def _storage(described: Any, sizes: dict[str, int]) -> _Made:
    """The storage that ``described`` refers to."""
    if isinstance(described, _Made) and described.kind == "tuple" and len(described.items) == 5:
        word, kind, key, place, count = described.items
        if word == "storage" and kind in _STORAGES and place == "cpu" and type(count) is int:
            if sizes.get(key) == count * _STORAGES[kind]:
                return _Made("storage", items=(count,))
            raise pickle.UnpicklingError("a tensor of another size than its bytes")
    raise pickle.UnpicklingError("a tensor of an unknown kind")


def _built(function: Any, arguments: Any) -> _Made:
    """What a function of the two that ``torch.save`` needs makes."""
    items = arguments.items if isinstance(arguments, _Made) and arguments.kind == "tuple" else ()
    if function == "collections OrderedDict" and isinstance(function, _Name) and not items:
        return _Made("hooks")
    if function != "torch._utils _rebuild_tensor_v2" or not isinstance(function, _Name) or len(items) != 6:
        called = function if isinstance(function, _Name) else "something"
        raise pickle.UnpicklingError(f"a call of {called}")
    storage, offset, size, strides, gradient, hooks = items
    kinds = [item.kind if isinstance(item, _Made) else "" for item in (storage, size, strides, hooks)]
    if (
        kinds != ["storage", "tuple", "tuple", "hooks"]
        or gradient is not False
        or len(size.items) != len(strides.items)
    ):
        raise pickle.UnpicklingError("a tensor of an unknown kind")
    if not all(type(number) is int and number >= 0 for number in (offset, *size.items, *strides.items)):
        raise pickle.UnpicklingError("a tensor of an unknown shape")
    dense = 1
    for length, stride in zip(reversed(size.items), reversed(strides.items), strict=True):
        if length > 1 and stride != dense:
            raise pickle.UnpicklingError("a tensor whose elements do not lie side by side")
        dense *= max(length, 1)
    if offset + dense > max(storage.items[0], 1):
        raise pickle.UnpicklingError("a tensor with more elements than bytes")
    return _Made("tensor")
