"""What an agent must know of its environment's spaces, as plain data that a checkpoint can keep.

Whatever the environment's spaces are, inside the package one observation is a row of ``obs_size`` numbers and one
action a row of ``action_size``. A spec says what lies where in those rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

LEAST_IMAGE = 36
"""Pixels a side from which numbers with three or four axes are pictures, and pictures are read by convolutions."""
OBS_KINDS = ("numbers", "image", "categories", "mask")
Shapes = dict[str, tuple[int, ...]]
"""Parameters' shapes by name."""
ACTION_KINDS = ("categorical", "continuous")
MASK_SOURCES = ("", "observation", "info", "method")


@dataclass(frozen=True)
class ObsPart:
    """One piece of the observation's row.

    Attributes:
        name: Where it stands in a Dict or Tuple, such as ``camera`` or ``arm/0``; empty where it is all there is.
        kind: ``numbers``; ``image`` (8-bit, or float of an image's size); ``categories`` (whole numbers counted from
            0, which the network reads one-hot); ``mask`` (1 where a choice is allowed).
        shape: Its shape in the environment.
        measured: Whether its numbers are measurements, which normalisers apply to.
        wide: Whether they have more digits than 32-bit floats, and are kept with 64 bits until they are standardised.
        scale: Factor that the network multiplies it with: 1/255 for 8-bit images.
        counts: Of categories, the number of values of each entry.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    measured: bool = False
    wide: bool = False
    scale: float = 1.0
    counts: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Columns it takes."""
        return math.prod(self.shape)

    @property
    def channels_last(self) -> bool:
        """Whether an image's colours, or the pictures stacked, are its last axis: the shorter end of its shape."""
        return len(self.shape) > 2 and self.shape[-1] < self.shape[-3]

    @property
    def least_side(self) -> int:
        """Pixels along an image's shorter side."""
        height_and_width = self.shape[-3:-1] if self.channels_last else self.shape[-2:]
        return min(height_and_width)


@dataclass(frozen=True)
class ActionPart:
    """One piece of the action's row.

    Attributes:
        name: As of :class:`ObsPart`.
        kind: ``categorical`` (each entry one of ``counts`` choices, counted from 0) or ``continuous``.
        size: Columns it takes.
        counts: Of a categorical part, the choices of each entry.
        low: Of a continuous part, the least value of each entry; may be -inf.
        high: The greatest, likewise.
    """

    name: str
    kind: str
    size: int
    counts: tuple[int, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @property
    def bounded(self) -> bool:
        """Whether every entry of a continuous part has a least and a greatest value."""
        return all(math.isfinite(bound) for bound in (*self.low, *self.high))


@dataclass(frozen=True)
class Spec:
    """The rows of observations and actions.

    Attributes:
        observations: The observation's parts in the order of their columns.
        actions: The action's parts, likewise.
        mask: Where action masks come from: ``observation`` (a part of a Dict), ``info``, ``method``
            (``action_masks()``), or empty where there are none.
    """

    observations: tuple[ObsPart, ...]
    actions: tuple[ActionPart, ...]
    mask: str = ""

    def __post_init__(self) -> None:
        if not all(_is_obs_part(part) for part in self.observations) or not self.observations:
            raise ValueError(f"observations of no agent: {self.observations}")
        if not all(_is_action_part(part) for part in self.actions) or not self.actions:
            raise ValueError(f"actions of no agent: {self.actions}")
        masks = [part.size for part in self.observations if part.kind == "mask"]
        if self.mask not in MASK_SOURCES or masks != ([self.num_options] if self.mask else []):
            raise ValueError(f"a mask of {masks} entries ({self.mask!r}) for {self.num_options} choices")

    @classmethod
    def simple(cls, obs_size: int, num_actions: int) -> Spec:
        """A vector of ``obs_size`` numbers and a choice among ``num_actions``."""
        actions = ActionPart("", "categorical", 1, (num_actions,))
        return cls((ObsPart("", "numbers", (obs_size,), measured=True),), (actions,))

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Spec:
        """The spec that ``dataclasses.asdict`` made plain.

        Raises:
            TypeError, ValueError, KeyError: if it is none.
        """
        observations = tuple(
            ObsPart(**{**part, "shape": tuple(part["shape"]), "counts": tuple(part["counts"])})
            for part in plain["observations"]
        )
        actions = tuple(
            ActionPart(**{**part, **{name: tuple(part[name]) for name in ("counts", "low", "high")}})
            for part in plain["actions"]
        )
        return cls(observations, actions, plain["mask"])

    def same_spaces(self, other: Spec) -> bool:
        """Whether the rows hold the same, with however many digits, and whatever of it is standardised."""
        return self._without_digits() == other._without_digits()

    def _without_digits(self) -> Spec:
        parts = [replace(part, measured=False, wide=False) for part in self.observations]
        return replace(self, observations=tuple(parts))

    def measured_as(self, other: Spec) -> Spec:
        """This one, in which the same parts count as measurements as in another of the same spaces."""
        pairs = zip(self.observations, other.observations, strict=True)
        return replace(self, observations=tuple(replace(mine, measured=theirs.measured) for mine, theirs in pairs))

    @property
    def obs_size(self) -> int:
        """Columns of an observation."""
        return sum(part.size for part in self.observations)

    @property
    def obs_dtype(self) -> str:
        """``uint8`` where all is 8-bit images and masks, ``float64`` where something is wide, else ``float32``."""
        if all((part.kind == "image" and part.scale != 1.0) or part.kind == "mask" for part in self.observations):
            return "uint8"
        return "float64" if any(part.wide for part in self.observations) else "float32"

    @property
    def network_dtype(self) -> str:
        """What a network reads: ``uint8`` where rows are, else ``float32``."""
        return "uint8" if self.obs_dtype == "uint8" else "float32"

    @property
    def action_size(self) -> int:
        """Columns of an action."""
        return sum(part.size for part in self.actions)

    @property
    def action_dtype(self) -> str:
        """``int64`` where every part is categorical, else ``float32``."""
        return "int64" if all(part.kind == "categorical" for part in self.actions) else "float32"

    @property
    def num_options(self) -> int:
        """Choices of all categorical entries together: the length of a mask."""
        return sum(sum(part.counts) for part in self.actions)

    def obs_columns(self) -> Iterator[tuple[ObsPart, slice]]:
        """Each part of the observation with its columns."""
        start = 0
        for part in self.observations:
            yield part, slice(start, start + part.size)
            start += part.size


def _is_count(number: Any) -> bool:
    return type(number) is int and number >= 1


def _is_obs_part(part: ObsPart) -> bool:
    fits = type(part.name) is str and type(part.measured) is type(part.wide) is bool and type(part.scale) is float
    fits = fits and math.isfinite(part.scale) and part.kind in OBS_KINDS
    fits = fits and all(map(_is_count, (*part.shape, *part.counts)))
    fits = fits and (part.kind != "image" or 2 <= len(part.shape) <= 4)
    return fits and (part.kind == "categories") == bool(part.counts) and len(part.counts) in (0, part.size)


def _is_action_part(part: ActionPart) -> bool:
    categorical = part.kind == "categorical"
    bounds = (0 if categorical else part.size,) * 2
    fits = (
        type(part.name) is str
        and part.kind in ACTION_KINDS
        and _is_count(part.size)
        and all(map(_is_count, part.counts))
    )
    fits = fits and len(part.counts) == (part.size if categorical else 0)
    return fits and (len(part.low), len(part.high)) == bounds and all(type(x) is float for x in (*part.low, *part.high))
