"""Gymnasium's spaces and the package's rows: what a space holds, and the way from one to the other and back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces

from ppo_cli.algorithm.rollout import ObsRows
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.spec import LEAST_IMAGE, ActionPart, ObsPart, Spec

MASK_KEY = "action_mask"
MOST_CATEGORIES = 10_000  # a one-hot vector longer than this would make a network of nothing but its first layer


def describe(name: str, observations: spaces.Space[Any], actions: spaces.Space[Any], mask: str = "") -> Spec:
    """The spec of these spaces.

    Args:
        name: The environment, for messages.
        observations: Of one environment.
        actions: Of one environment.
        mask: Where masks come from if not out of the observation: ``info`` or ``method``.

    Raises:
        ConfigError: names every part that no network or head is for.
    """
    problems: list[Problem] = []
    in_observation = isinstance(observations, spaces.Dict) and MASK_KEY in observations.spaces
    obs_parts = [
        obs_part
        for path, space in leaves(observations)
        if (obs_part := _obs_part(name, path, space, in_observation, problems)) is not None
    ]
    action_parts = [
        part for path, space in leaves(actions) if (part := _action_part(name, path, space, problems)) is not None
    ]
    if problems:
        raise ConfigError(problems, "Unsupported environment")
    options = sum(sum(part.counts) for part in action_parts)
    if mask and not in_observation:
        obs_parts.append(ObsPart(MASK_KEY, "mask", (options,)))
    try:
        return Spec(tuple(obs_parts), tuple(action_parts), "observation" if in_observation else mask)
    except ValueError as error:
        what = f"{name}: {error}"
        raise ConfigError(
            Problem(what, "an environment whose spaces are not empty and whose mask has an entry for every choice")
        ) from error


def leaves(space: spaces.Space[Any], path: str = "") -> Iterator[tuple[str, spaces.Space[Any]]]:
    """The simple spaces that a space is made of, with their places, in the order of their columns."""
    if isinstance(space, spaces.Dict):
        inner = list(space.spaces.items())
    elif isinstance(space, spaces.Tuple):
        inner = [(str(index), one) for index, one in enumerate(space.spaces)]
    else:
        yield path, space
        return
    for key, one in inner:
        yield from leaves(one, f"{path}/{key}" if path else key)


def _obs_part(
    name: str, path: str, space: spaces.Space[Any], with_mask: bool, problems: list[Problem]
) -> ObsPart | None:
    if 0 in (getattr(space, "shape", None) or ()):  # some set no space at all
        what = f"{name} has an observation of shape {space.shape}{_at(path)}, which holds nothing"
        problems.append(Problem(what, "an environment whose spaces are not empty"))
        return None
    if with_mask and path == MASK_KEY and isinstance(space, spaces.Box | spaces.MultiBinary | spaces.MultiDiscrete):
        return ObsPart(path, "mask", (math.prod(space.shape),))
    if isinstance(space, spaces.Box):
        shape = tuple(int(side) for side in space.shape) or (1,)
        bytes_ = space.dtype == np.uint8
        scale = 1.0 / max(1, int(np.max(space.high))) if bytes_ else 1.0
        image = ObsPart(path, "image", shape, scale=scale)
        if (bytes_ and len(shape) in (2, 3, 4)) or (len(shape) in (3, 4) and image.least_side >= LEAST_IMAGE):
            return image
        measured = bool(np.issubdtype(space.dtype, np.number))
        return ObsPart(path, "numbers", shape, measured, wide=measured and not np.can_cast(space.dtype, np.float32))
    if isinstance(space, spaces.MultiBinary):
        return ObsPart(path, "numbers", tuple(int(side) for side in space.shape))
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        counts = _counts(space)
        if sum(counts) <= MOST_CATEGORIES:
            return ObsPart(path, "categories", tuple(space.shape or ()) or (1,), counts=counts)
        what = f"{name} has {sum(counts):,} categories{_at(path)}, too many to read one-hot"
        problems.append(Problem(what, "a wrapper that makes numbers of them (env.wrappers=[module:Class])"))
        return None
    if type(space).__module__.partition(".")[0] == "gym":
        problems.append(_of_old_gym(name, path, space))
        return None
    what = f"{name} has observations of kind {type(space).__name__}{_at(path)}"
    fits = "Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these"
    problems.append(Problem(f"{what}; supported are {fits}", "a wrapper that makes such (env.wrappers=[module:Class])"))
    return None


def _action_part(name: str, path: str, space: spaces.Space[Any], problems: list[Problem]) -> ActionPart | None:
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        counts = _counts(space)
        return ActionPart(path, "categorical", len(counts), counts)
    if isinstance(space, spaces.MultiBinary):
        size = math.prod(int(side) for side in space.shape)
        return ActionPart(path, "categorical", size, (2,) * size)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        low, high = (tuple(float(x) for x in bound.flatten()) for bound in (space.low, space.high))
        return ActionPart(path, "continuous", len(low), (), low, high)
    if type(space).__module__.partition(".")[0] == "gym":
        problems.append(_of_old_gym(name, path, space))
        return None
    kind = f"Box of {space.dtype}" if isinstance(space, spaces.Box) else type(space).__name__
    fits = "Discrete, MultiDiscrete, MultiBinary, Box of floats, and Dict and Tuple of these"
    what = f"{name} has actions of kind {kind}{_at(path)}; supported are {fits}"
    problems.append(Problem(what, "a wrapper that takes such (env.wrappers=[module:Class])"))
    return None


def _of_old_gym(name: str, path: str, space: Any) -> Problem:
    what = f"{name} has a {type(space).__name__} of the old package gym{_at(path)}, and Gymnasium's own is needed"
    return Problem(what, "import gymnasium as gym, in the place of import gym, where the environment is written")


def _at(path: str) -> str:
    return f" (at {path})" if path else ""


def _counts(space: spaces.Discrete | spaces.MultiDiscrete) -> tuple[int, ...]:
    return (int(space.n),) if isinstance(space, spaces.Discrete) else tuple(int(n) for n in space.nvec.flatten())


class Codec:
    """The way between an environment's observations and actions and the rows that a spec describes.

    Args:
        spec: The rows.
        observations: The space of one environment's observations.
        actions: The space of one environment's actions.
    """

    def __init__(self, spec: Spec, observations: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
        self._spec = spec
        self._dtype = np.dtype(spec.obs_dtype)
        self._starts = [_start(space) for _, space in leaves(observations)]
        nested = isinstance(observations, spaces.Dict | spaces.Tuple)
        self._plain = not nested and not np.any(self._starts[0]) and not spec.mask
        self._observations, self._actions = observations, actions
        self._choice = isinstance(actions, spaces.Discrete) and not actions.start

    def pack(self, observations: Any, infos: dict[str, Any], masks: Any = None, out: ObsRows | None = None) -> ObsRows:
        """Rows (envs, obs_size) of a batch of observations.

        Args:
            observations: As a vector environment returns them: every array's first axis is the environments.
            infos: What came with them; read for masks alone.
            masks: The masks, where an ``action_masks()`` method gave them: one per environment.
            out: Where they are put, if not into an array of their own.
        """
        if self._plain:  # a copy, for environments write their next observations into the same array
            if out is None:
                return np.array(observations, self._dtype).reshape(len(observations), -1)
            out[:] = np.asarray(observations).reshape(out.shape)
            return out
        parts = list(values(self._observations, observations))
        num_envs = len(parts[0])
        rows = np.empty((num_envs, self._spec.obs_size), self._dtype) if out is None else out
        start = 0
        for part, first in zip(parts, self._starts, strict=True):
            flat = np.asarray(part).reshape(num_envs, -1)
            rows[:, start : start + flat.shape[1]] = flat - first if np.any(first) else flat
            start += flat.shape[1]
        if self._spec.mask in ("info", "method"):
            rows[:, start:] = self._masks(num_envs, infos.get(MASK_KEY) if masks is None else masks)
        return rows

    def _masks(self, num_envs: int, masks: Any) -> ObsRows:
        flat = np.ones((num_envs, self._spec.num_options), np.bool_)
        for env, mask in enumerate(() if masks is None else masks):
            if mask is not None:  # an environment that gave none with this step
                flat[env] = flat_mask(mask)
        return flat

    def pack_one(self, observation: Any, info: dict[str, Any], mask: Any = None) -> ObsRows:
        """The row (1, obs_size) of one environment's observation."""
        batch = _batch_of_one(self._observations, observation)
        one = info.get(MASK_KEY) if mask is None else mask
        return self.pack(batch, {}, None if one is None else [one])

    def unpack(self, actions: ObsRows) -> Any:
        """A vector environment's actions for rows (envs, action_size); continuous ones clipped to their bounds."""
        if self._choice:
            return actions[:, 0].astype(np.int64, copy=False)
        action, width = _build(self._actions, actions, 0)
        assert width == actions.shape[1]
        return action

    def unpack_one(self, action: ObsRows) -> Any:
        """One environment's action for a row (action_size,)."""
        return _only(self._actions, self.unpack(action[None]))


def flat_mask(mask: Any) -> ObsRows:
    """A mask's entries in the order of the choices, be it one array or one per entry of the action."""
    parts = mask if isinstance(mask, list | tuple) else [mask]
    allowed: ObsRows = np.concatenate([np.ravel(np.asarray(part)) for part in parts]) != 0
    return allowed


def _start(space: spaces.Space[Any]) -> Any:
    if isinstance(space, spaces.Discrete):
        return int(space.start)
    return np.ravel(space.start) if isinstance(space, spaces.MultiDiscrete) else 0


def values(space: spaces.Space[Any], value: Any) -> Iterator[Any]:
    """The parts of an observation, or of a batch of them, in the order of :func:`leaves`."""
    if isinstance(space, spaces.Dict):
        for key, one in space.spaces.items():
            yield from values(one, value[key])
    elif isinstance(space, spaces.Tuple):
        for index, one in enumerate(space.spaces):
            yield from values(one, value[index])
    else:
        yield value


def _batch_of_one(space: spaces.Space[Any], value: Any) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _batch_of_one(one, value[key]) for key, one in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_batch_of_one(one, value[index]) for index, one in enumerate(space.spaces))
    return np.asarray(value)[None]


def _build(space: spaces.Space[Any], rows: ObsRows, start: int) -> tuple[Any, int]:
    """The batch of actions that ``rows`` holds from column ``start`` on, and the column after it."""
    if isinstance(space, spaces.Dict):
        named = {}
        for key, one in space.spaces.items():
            named[key], start = _build(one, rows, start)
        return named, start
    if isinstance(space, spaces.Tuple):
        items = []
        for one in space.spaces:
            item, start = _build(one, rows, start)
            items.append(item)
        return tuple(items), start
    if isinstance(space, spaces.Discrete):
        chosen = rows[:, start].astype(np.int64, copy=False)
        return (chosen + int(space.start) if space.start else chosen), start + 1
    assert space.shape is not None
    shape, size = space.shape, math.prod(space.shape)
    part = rows[:, start : start + size].reshape(len(rows), *shape)
    if isinstance(space, spaces.Box):
        # np.clip takes five times as long for a few numbers
        inside = np.minimum(np.maximum(part, space.low), space.high)
        return inside.astype(space.dtype, copy=False), start + size
    if isinstance(space, spaces.MultiDiscrete):
        return part.astype(space.dtype) + space.start, start + size
    return part.astype(np.int8), start + size


def _only(space: spaces.Space[Any], batch: Any) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _only(one, batch[key]) for key, one in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_only(one, batch[index]) for index, one in enumerate(space.spaces))
    return batch[0] if isinstance(space, spaces.Discrete) else batch[0, ...]  # an array even without axes
