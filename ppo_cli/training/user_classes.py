"""Classes of the user's that take part in a run: found by name, built with the user's arguments, their state kept."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ppo_cli.config import show
from ppo_cli.errors import ConfigError, Problem, RunError
from ppo_cli.loggers.metrics import COLUMNS, Metrics


def find_class(key: str, name: str, base: type[Any]) -> type[Any]:
    """The class that a setting names as ``module:Class``.

    Args:
        key: The setting.
        name: What it names.
        base: What the class must be derived from.

    Raises:
        ConfigError: if there is no such class.
    """
    module_name, colon, class_name = name.partition(":")
    fix = f"{key}=module:Class, a class derived from ppo_cli.{base.__name__}"
    if not (module_name and colon and class_name):
        raise ConfigError(Problem(f"{key}: {name} is not of the form module:Class", fix))
    try:
        kind = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # whatever a module of the user's raises, it is this setting that it refuses
        raise ConfigError(Problem(f"{key}: {name} cannot be imported: {type(error).__name__}: {error}", fix)) from error
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise ConfigError(Problem(f"{key}: {name} is not derived from ppo_cli.{base.__name__}", fix))
    check_metrics(name, kind.metrics)  # type: ignore[attr-defined]  # which both bases have
    return kind


def check_metrics(owner: str, names: Sequence[str]) -> None:
    """See that the metrics that somebody adds have names of their own.

    Raises:
        ConfigError: names those that have not.
    """
    wrong = [name for name in names if not isinstance(name, str) or "/" not in name or name in COLUMNS]
    if isinstance(names, str) or wrong:
        what = f"{owner}: metrics={names!r:.80} should be names of its own, such as ('curriculum/level',)"
        raise ConfigError(Problem(what, "names with a / that docs/metrics.md does not have"))


def arguments_of(kinds: Sequence[type[Any]], key: str, given: Mapping[str, Any], fixed: int) -> list[dict[str, Any]]:
    """What each of several classes is built with: those of the arguments given that its constructor takes.

    Args:
        kinds: The classes.
        key: The setting that holds the arguments.
        given: The arguments.
        fixed: How many the constructors take beside those.

    Raises:
        ConfigError: if a constructor lacks one, or none takes one.
    """
    shared, problems = [], []
    taken: set[str] = set()
    for kind in kinds:
        parameters = list(inspect.signature(kind).parameters.values())
        any_name = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        own = {name: value for name, value in given.items() if any_name or name in [p.name for p in parameters[fixed:]]}
        taken |= own.keys()
        try:
            inspect.signature(kind).bind(*[None] * fixed, **own)
        except TypeError as error:
            problems.append(
                Problem(f"{kind.__name__} cannot be built with {key}={show(own)}: {error}", f"{key}.<name>=…")
            )
        shared.append(own)
    names = ", ".join(kind.__name__ for kind in kinds) or "nobody, since none is named"
    problems += [
        Problem(f"{key}.{name} is an argument of none of {names}", f"the same without {key}.{name}=")
        for name in given
        if name not in taken
    ]
    if problems:
        raise ConfigError(problems)
    return shared


def added(owner: object, names: Sequence[str], metrics: Mapping[str, Any] | None) -> Metrics:
    """The metrics that somebody reports, a column for each of ``names``.

    Raises:
        RunError: if one is of another name, or no number.
    """
    row: Metrics = dict.fromkeys(names)
    for name, value in (metrics or {}).items():
        if name not in row:
            what = f"{type(owner).__name__} reports {name!r}, which is not among its metrics={tuple(names)!r}"
            raise RunError(
                Problem(what, f"metrics = ({name!r}, …) in the class, so that the column is there from the start")
            )
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            what = f"{type(owner).__name__} reports {name}={value!r:.60}, which is no number of Python's"
            raise RunError(Problem(what, f"float({name})"))
        row[name] = value
    return row


def kept(owner: object, state: Any, place: str = "state_dict()") -> Any:
    """A copy of somebody's state as a checkpoint can hold it: plain data and tensors on the CPU.

    Raises:
        RunError: names what cannot be kept.
    """
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True).contiguous()
    if isinstance(state, dict):
        return {
            kept(owner, key, f"a key of {place}"): kept(owner, item, f"{place}[{key!r}]") for key, item in state.items()
        }
    if isinstance(state, list | tuple):
        items = [kept(owner, item, f"{place}[{number}]") for number, item in enumerate(state)]
        return items if isinstance(state, list) else tuple(items)
    if state is None or type(state) in (bool, int, float, str):
        return state
    what = f"{type(owner).__name__}: {place} is of type {type(state).__name__}, which no checkpoint can hold"
    raise RunError(Problem(what, "numbers, texts, lists, mappings and torch tensors (torch.from_numpy of an array)"))


def names_of(owners: Sequence[object]) -> list[str]:
    """What each is called in checkpoints: its class, and a number from the second of one class on."""
    names: list[str] = []
    for owner in owners:
        name = f"{type(owner).__module__}:{type(owner).__qualname__}"
        count = sum(other.partition("#")[0] == name for other in names)
        names.append(f"{name}#{count + 1}" if count else name)
    return names
