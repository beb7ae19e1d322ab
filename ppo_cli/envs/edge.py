"""An environment as everything here meets it, however it is written: the same in training and in evaluation.

Whatever an environment gives passes this wrapper, in every backend that builds Python environments. Observations leave
it in the types of their spaces or not at all, actions come in one type, and of ``info`` only what is read here goes on.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from ppo_cli.devices import TorchSettings
from ppo_cli.envs.spaces import MASK_KEY, flat_mask
from ppo_cli.errors import Problem, RunError

SUCCESS_KEY = "is_success"
MEND = "an environment that keeps to its spaces, or a wrapper that mends it (env.wrappers=[module:Class])"
OLD_API = "Gymnasium's API: reset() returns observation and info, step() five values (see gymnasium.farama.org)"


class Misfit(RunError):  # noqa: N818 - it is told as an error, and is one of the environment's
    """An environment gave what its spaces, or Gymnasium, do not allow."""

    title = "Broken environment"


class Edge(gym.Wrapper[Any, Any, Any, Any]):
    """The last wrapper but the one that restarts.

    Args:
        env: An environment with the user's wrappers.
        settings: What it may change about torch, for itself alone.
        name: What it is called in messages.
        index: Its number among those that step side by side.
        spaces: Spaces of observations and actions to show in the place of its own, which must be of the same form:
            bounds may differ from one instance to the next.
        mask: Where masks come from, as a spec has it; ``None`` where that is not known yet.
        options: Choices that a mask has entries for.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        settings: TorchSettings,
        name: str,
        index: int,
        spaces: tuple[gym.Space[Any], gym.Space[Any]] | None = None,
        mask: str | None = None,
        options: int = 0,
    ) -> None:
        super().__init__(env)
        self._name, self._place, self._settings = name, f"environment {index}", settings
        self._mask, self._options = mask, options
        if spaces is not None:
            own_spaces = (env.observation_space, env.action_space)
            for what, own, shown in zip(("observations", "actions"), own_spaces, spaces, strict=True):
                if form(own) != form(shown):
                    raise self._misfit(f"has a space of {what} {own}, and the first one built had {shown}")
            self.observation_space, self.action_space = spaces
        self._discrete = isinstance(self.action_space, gym.spaces.Discrete)
        self._steps = 0

    def _misfit(self, what: str, fix: str = MEND) -> Misfit:
        return Misfit(Problem(f"{self._name}: {self._place} {what}", fix))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the environment does; its spaces draw from the same seed."""
        if seed is not None:  # many an environment samples from its spaces
            for env in (self.env, self.env.unwrapped):
                for space in (env.observation_space, env.action_space):
                    if isinstance(space, gym.Space):
                        space.seed(seed)
        try:
            with self._settings:
                answer = self.env.reset(seed=seed, options=options)
        except (ValueError, SystemExit) as error:
            raise self._translated(error) from error
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise self._misfit(f"returns {_kind(answer)} from reset(), and observation and info are due", OLD_API)
        observation, info = answer
        return self._fitted(observation, "reset"), self._read(info, "reset")

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As the environment does."""
        try:
            with self._settings:
                answer = self.env.step(np.int64(action) if self._discrete else action)
        except (ValueError, SystemExit) as error:
            raise self._translated(error) from error
        self._steps += 1
        if not isinstance(answer, tuple) or len(answer) != 5:
            raise self._misfit(f"returns {_kind(answer)} from step(), and five values are due", OLD_API)
        observation, reward, terminated, truncated, info = answer
        observation = self._fitted(observation, "step")
        ended = terminated if type(terminated) is bool else _truth(terminated)
        cut = truncated if type(truncated) is bool else _truth(truncated)
        if ended is None or cut is None:
            raise self._misfit(f"says of step {self._steps} terminated={terminated!r:.60}, truncated={truncated!r:.60}")
        if ended or cut:  # the reset that may come before it is read may write into the same array
            observation = deepcopy(observation)
        return observation, self._number(reward), ended, cut, self._read(info, "step")

    def _number(self, reward: Any) -> float:
        if isinstance(reward, float):
            return reward
        try:
            array = np.asarray(reward)  # many a reward is an array of one
            if array.dtype.kind in "US":
                raise TypeError("a text")
            return float(array.item())
        except (TypeError, ValueError) as error:
            what = f"{self._name}: the reward of step {self._steps} is {reward!r:.80}, which is no number"
            raise Misfit(Problem(what, MEND)) from error

    def _fitted(self, observation: Any, method: str) -> Any:
        space = self.observation_space
        if type(observation) is np.ndarray and observation.dtype == space.dtype and observation.shape == space.shape:
            return observation
        wrong, fitted = fit(space, observation)
        if wrong:
            when = "reset" if method == "reset" else f"step {self._steps}"
            what = f"{self._name}: the observation after {when} {wrong}"
            if form(self.env.observation_space) != form(space):
                what += f"; it was {space} when it was built, and must be set in __init__ for good"
            raise Misfit(Problem(what, MEND))
        return fitted

    def _read(self, info: Any, method: str) -> dict[str, Any]:
        """What of an info is read here: the mask, whole or all ones, and whether the task was solved."""
        if not isinstance(info, dict):
            raise self._misfit(f"returns info={info!r:.40} from {method}(), and a mapping is due", OLD_API)
        kept: dict[str, Any] = {}
        if SUCCESS_KEY in info:
            success = _numbers(info[SUCCESS_KEY])
            if success is not None:
                kept[SUCCESS_KEY] = bool(success.any())
        if self._mask is None:
            if info.get(MASK_KEY) is not None:
                self._check_mask(info[MASK_KEY])
                kept[MASK_KEY] = info[MASK_KEY]
        elif self._mask in ("info", "method"):
            mask = self.env.get_wrapper_attr("action_masks")() if self._mask == "method" else info.get(MASK_KEY)
            kept[MASK_KEY] = self._whole(mask)
        elif self._mask == "" and info.get(MASK_KEY) is not None:
            what = f"gives an action_mask in the info of step {self._steps}, and gave none at first"
            raise self._misfit(what, "an environment whose reset() gives its mask too")
        return kept

    def _whole(self, mask: Any) -> Any:
        """A mask as a flat array; one that was not given allows everything."""
        if mask is None:
            return np.ones(self._options, np.int8)
        self._check_mask(mask)
        flat = flat_mask(mask).astype(np.int8)
        if flat.shape != (self._options,):
            what = f"gives a mask of {len(flat)} entries for {self._options} choices"
            raise self._misfit(what, "a mask with one entry for every choice")
        return flat

    def _check_mask(self, mask: Any) -> None:
        """See that its entries say yes or no; some write what is added to logits, where 0 is a yes."""
        for part in mask if isinstance(mask, list | tuple) else [mask]:
            entries = _numbers(part)
            if entries is None or (entries.dtype != np.bool_ and not ((entries == 0) | (entries == 1)).all()):
                raise self._misfit(
                    f"gives the mask {mask!r:.60}", "a mask of 1 where a choice is allowed, and 0 elsewhere"
                )

    def _translated(self, error: ValueError | SystemExit) -> Exception:
        """An error of which the person would not know what it was."""
        if isinstance(error, SystemExit):  # it would end the command without a word
            return RuntimeError(f"it called sys.exit({error.code!r})")
        # a wrapper of Gymnasium's cannot unpack what an environment of the old API returns
        if "values to unpack" not in str(error):
            return error
        return self._misfit(f"returns what Gymnasium cannot unpack ({error}), as environments of gym 0.25 do", OLD_API)


class Kept(gym.Wrapper[Any, Any, Any, Any]):
    """Observations as copies, for who keeps them while the environment may write into the same array again.

    A mask in an observation moves into ``info``: it says what is allowed now, and is nothing to be kept.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        space = env.observation_space
        self._masked = isinstance(space, gym.spaces.Dict) and MASK_KEY in space.spaces
        if isinstance(space, gym.spaces.Dict) and self._masked:
            self.observation_space = gym.spaces.Dict({key: one for key, one in space.items() if key != MASK_KEY})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the environment does."""
        return self._apart(*self.env.reset(seed=seed, options=options))

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        """As the environment does."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        observation, info = self._apart(observation, info)
        return observation, reward, terminated, truncated, info

    def _apart(self, observation: Any, info: Any) -> tuple[Any, Any]:
        if not self._masked:
            return deepcopy(observation), info
        rest = {key: deepcopy(part) for key, part in observation.items() if key != MASK_KEY}
        return rest, {**info, MASK_KEY: observation[MASK_KEY]}


def fit(space: gym.Space[Any], value: Any, place: str = "") -> tuple[str, Any]:
    """A value in the types of its space.

    Returns:
        What is wrong with it, if anything is, and the value.
    """
    at = f"(at {place}) " if place else ""
    if isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
        inner_spaces: Any = space.spaces
        mapping = isinstance(space, gym.spaces.Dict)
        parts = inner_spaces.items() if mapping else enumerate(inner_spaces)
        fitted: dict[Any, Any] = {}
        for key, inner in parts:
            try:
                one = value[key]
            except (LookupError, TypeError) as error:
                kind = f"is {type(value).__name__} and lacks a part of its space"
                return f"{at}{kind} ({type(error).__name__}: {error})", value
            wrong, fitted[key] = fit(inner, one, f"{place}/{key}" if place else str(key))
            if wrong:
                return wrong, value
        return "", fitted if mapping else tuple(fitted.values())
    try:
        array = np.asarray(value)
    except ValueError as error:  # lists of different lengths
        return f"{at}is {_kind(value)}, of which no array can be made ({error})", value
    if array.shape != (space.shape or ()):
        return f"{at}has shape {array.shape}, and its space {space.shape}", value
    if array.dtype.kind not in "fiub":
        return f"{at}is of type {array.dtype}, which is no number", value
    dtype = np.dtype(space.dtype)
    if isinstance(space, gym.spaces.MultiBinary) and not np.isin(array, (0, 1)).all():
        return f"{at}holds {array.flat[int(np.argmin(np.isin(array, (0, 1))))]}, and a MultiBinary holds 0 and 1", value
    if array.dtype == dtype:
        return "", value if isinstance(space, gym.spaces.Discrete) else array
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
    lost = cast != array if dtype.kind in "iub" else np.isfinite(array) & ~np.isfinite(cast)
    if np.any(lost):
        first = np.ravel(array)[np.argmax(np.ravel(lost))]
        return f"{at}holds {first} ({array.dtype}), which does not fit the type of its space, {dtype}", value
    return "", cast[()] if isinstance(space, gym.spaces.Discrete) else cast


def form(space: gym.Space[Any]) -> Any:
    """All of a space but its bounds: what two instances of one environment must have in common."""
    if isinstance(space, gym.spaces.Dict):
        return {key: form(inner) for key, inner in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return [form(inner) for inner in space.spaces]
    if isinstance(space, gym.spaces.Box):
        return ("Box", space.shape, str(space.dtype))
    return str(space)


def _truth(value: Any) -> bool | None:
    """A truth value, be it Python's or NumPy's, a number, or an array of one; ``None`` where it is none."""
    if isinstance(value, np.bool_):
        return bool(value)
    numbers = _numbers(value)
    return bool(numbers.item()) if numbers is not None and numbers.size == 1 else None


def _numbers(value: Any) -> npt.NDArray[Any] | None:
    """An array of numbers; ``None`` where none can be made of it."""
    try:
        array = np.asarray(value)
    except Exception:  # lists of different lengths, tensors with a gradient, whatever somebody wrote
        return None
    return array if array.dtype.kind in "biuf" else None


def _kind(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} values"
    return f"a {type(value).__name__}"
