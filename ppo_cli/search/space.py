"""What is searched: for each setting its values, and what fits what."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ppo_cli.config import TrainConfig
from ppo_cli.plain import to_plain

if TYPE_CHECKING:
    import numpy as np
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Dimension:
    """The values of one setting.

    Attributes:
        key: The setting, dotted.
        choices: Its values, where they are some; empty for a range.
        low: The least value of a range.
        high: The greatest.
        step: The distance of two values; ``None`` where any between will do.
        log: Whether its logarithm is drawn evenly.
        whole: Whether values are whole numbers.
    """

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    whole: bool = False

    def distribution(self) -> BaseDistribution:
        """The same as Optuna has it; of choices, their places, since some are lists."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(range(len(self.choices)))
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), self.log, int(self.step or 1))
        return FloatDistribution(self.low, self.high, self.log, self.step)

    def value(self, drawn: Any) -> Any:
        """The setting's value for what Optuna has drawn."""
        return self.choices[drawn] if self.choices else drawn

    def drawn(self, value: Any) -> Any:
        """What Optuna would have drawn for a value; ``None`` where the value is not among those of the space."""
        if self.choices:
            return next((place for place, one in enumerate(self.choices) if _same(one, value)), None)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return None
        if self.whole or self.step is not None:
            away = (value - self.low) / (self.step or 1)
            if abs(away - round(away)) > 1e-9:
                return None
        return int(value) if self.whole else float(value)

    def nearest(self, value: Any) -> Iterator[Any]:
        """All of its values, those nearest to one first."""
        if self.choices:
            numbers = all(isinstance(one, int | float) for one in self.choices) and isinstance(value, int | float)
            yield from sorted(self.choices, key=lambda one: abs(one - value)) if numbers else [value]
            return
        yield value
        for away in range(1, MOST_TRIED if self.whole else 1):
            beside = [value + sign * away * int(self.step or 1) for sign in (-1, 1)]
            inside = [one for one in beside if self.low <= one <= self.high]
            if not inside:
                return
            yield from inside

    def random(self, draws: np.random.Generator) -> Any:
        """Any of the values, with no regard to logarithms."""
        if self.choices:
            return self.choices[int(draws.integers(len(self.choices)))]
        if self.whole:
            count = int((self.high - self.low) // (self.step or 1)) + 1
            return int(self.low + int(draws.integers(count)) * (self.step or 1))
        return float(draws.uniform(self.low, self.high))

    def ends(self) -> tuple[Any, ...]:
        """The values to check before anything is run: all choices, or both ends."""
        if self.choices:
            return self.choices
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def to_plain(self) -> dict[str, Any]:
        """As ``search.json`` has it."""
        if self.choices:
            return {"choices": list(self.choices)}
        return {"low": self.low, "high": self.high, "log": self.log, "int": self.whole, "step": self.step}


def from_plain(key: str, plain: Mapping[str, Any]) -> Dimension:
    """A dimension out of ``search.json``."""
    if "choices" in plain:
        return Dimension(key, tuple(plain["choices"]))
    return Dimension(key, (), plain["low"], plain["high"], plain["step"], plain["log"], plain["int"])


def _same(first: Any, second: Any) -> bool:
    return json.dumps(first, sort_keys=True, default=repr) == json.dumps(second, sort_keys=True, default=repr)


def value_of(config: TrainConfig, key: str) -> Any:
    """The value of a setting, by dotted key; ``None`` where it has none."""
    place: Any = to_plain(config)
    for part in key.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    return place


COMPARED = ("total_timesteps", "eval_every")
"""Settings that say where curves have values, which are the same for all trials."""
RULES = (("num_envs", "buffer_size"), ("batch_size", "buffer_size"), ("network.sequence_length", "batch_size"))
"""Settings that have to divide others."""
MOST_TRIED = 100_000
"""Values of a range that are tried before none is found to fit."""


def fitted(dimensions: Sequence[Dimension], drawn: Mapping[str, Any], config: TrainConfig) -> dict[str, Any]:
    """Values that go together: no trial dies of ``batch_size`` not dividing ``buffer_size``.

    ``buffer_size`` moves to the nearest value of the space with which all that has to divide it has some value that
    does, and what divides moves to its nearest such value. What is not searched stays as it is.

    Args:
        dimensions: The space.
        drawn: A value for each of its settings.
        config: What the others are set to.
    """
    by_key = {one.key: one for one in dimensions}
    if not any(key in by_key for rule in RULES for key in rule):
        return dict(drawn)
    fixed = {key: value_of(config, key) for rule in RULES for key in rule if key not in by_key}
    recurrent = drawn.get("network.recurrent", config.network.recurrent) is not None
    size = by_key.get("buffer_size")
    for total in [fixed["buffer_size"]] if size is None else size.nearest(drawn["buffer_size"]):
        found = {**drawn, **({} if size is None else {"buffer_size": total})}
        for key, whole in RULES if recurrent else RULES[:2]:
            dimension, goal = by_key.get(key), found.get(whole, fixed.get(whole))
            own = [fixed.get(key)] if dimension is None else dimension.nearest(found[key])
            value = next((one for one in own if _divides(one, goal)), ...)
            if value is ...:
                break
            if dimension is not None:
                found[key] = value
        else:
            return found
    return dict(drawn)  # which is told where it is checked


def _divides(part: Any, whole: Any) -> bool:
    return not isinstance(part, int) or not isinstance(whole, int) or (part > 0 and whole % part == 0)
