"""From the words of a sweep to its axes, and the settings of the sweep itself to their dataclass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Transformer

from ppo_cli.config import TrainConfig, type_hints
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.hydra_ext import schema
from ppo_cli.hydra_ext.resumption import plain_value
from ppo_cli.sweep.grid import Choice, combinations, same, swept, zipped
from ppo_cli.sweep.grid import words as typed_words
from ppo_cli.sweep.jobs import Axis
from ppo_cli.sweep_config import OPTIONS, SweepConfig, wrong_options


class Grid(NamedTuple):
    """The words of a sweep, sorted.

    Attributes:
        words: Each word that all jobs share, and ``None`` with the key where one is swept.
        axes: What is swept.
    """

    words: list[tuple[str, str | None]]
    axes: list[Axis]

    def jobs(self) -> Iterator[tuple[tuple[Choice, ...], list[str]]]:
        """What each job has of the axes, and all of its words in the order in which they were typed."""
        for choices in combinations(self.axes):
            texts = {key: text for one in choices for key, text in zip(one.keys, one.texts, strict=True)}
            yield choices, [word if key is None else f"{word}={texts[key]}" for word, key in self.words]


def grid(parser: OverridesParser, words: Sequence[str], together: Sequence[str]) -> Grid:
    """Sort the words of a sweep; of several with one key, the last counts.

    Args:
        parser: Reads them; it knows the groups that ``glob()`` looks into.
        words: The words.
        together: The keys whose values go together.

    Raises:
        ConfigError: if a word cannot be swept over, or nothing comes of the whole.
    """
    by_key = {override.get_key_element().lstrip("+"): override for override in parser.parse_overrides(list(words))}
    problems = [problem for key, one in by_key.items() if (problem := _wrong_sweep(key, one)) is not None]
    if problems:
        raise ConfigError(problems)
    found: list[tuple[str, str | None]] = []
    axes = []
    for key, one in by_key.items():
        if one.is_sweep_override():
            axes.append(axis_of(key, one))
            found.append((one.get_key_element(), key))
        else:
            found.append((str(one.input_line), None))
    empty = [str(by_key[axis.keys[0]].input_line) for axis in axes if not axis.values]
    if empty:
        what = f"the sweep has no jobs: {', '.join(empty)} stands for nothing"
        raise ConfigError(Problem(what, "ppo-train -m seed=0,1,2"))
    axes = zipped(axes, together)
    repeated = [problem for axis in axes if (problem := _repeated(axis)) is not None]
    if repeated:
        raise ConfigError(repeated)
    return Grid(found, axes)


def axis_of(key: str, override: Override) -> Axis:
    """The values that an override stands for."""
    elements = list(override.sweep_iterator())
    texts = tuple((Transformer.str(element),) for element in elements)
    values = tuple((schema.fitted(TrainConfig, key, plain_value(element)),) for element in elements)
    return Axis((key,), texts, values)


def _repeated(axis: Axis) -> Problem | None:
    """What is wrong with values that stand more than once: the same job twice would count as two."""
    once: dict[str, Choice] = {}
    twice: dict[str, str] = {}
    for (choice,) in combinations([axis]):
        own = same(swept([choice]))
        if once.setdefault(own, choice) is not choice:
            twice[own] = " with ".join(typed_words([once[own]]))
    if not twice:
        return None
    columns = zip(*(choice.texts for choice in once.values()), strict=True)
    fix = " ".join(f"{key}={','.join(texts)}" for key, texts in zip(axis.keys, columns, strict=True))
    named = " and ".join(twice.values())
    return Problem(f"{named} stands more than once, and a job that is run again tells nothing new", fix)


def _wrong_sweep(key: str, override: Override) -> Problem | None:
    if not override.is_sweep_override():
        return None
    if override.is_interval_sweep():
        what = f"{override.input_line}: an interval has no values to try, and a sweep tries each of some"
        return Problem(what, f"'{key}=choice(…,…)', or search=optuna, which draws from intervals")
    if key in OPTIONS:
        return Problem(f"{override.input_line}: {key} is about the whole sweep", f"{key}=<one value>")
    if override.is_delete():
        return Problem(f"{override.input_line} removes, and cannot be swept", f"{key}=…")
    return None


def options_of(typed: Sequence[str], in_files: Mapping[str, Any]) -> tuple[SweepConfig, dict[str, Any], list[Problem]]:
    """The settings of the sweep itself.

    Args:
        typed: The words of the command line that set them.
        in_files: Those that stand in files, by name.

    Returns:
        The settings, those that somebody set, and what is wrong with them.
    """
    found, problems = dict(in_files), []
    parser = OverridesParser.create()
    for override in parser.parse_overrides([word.lstrip("+") for word in typed]):
        key = override.key_or_group
        if override.is_sweep_override():
            given = ",".join(map(str, override.sweep_string_iterator())) if override.is_discrete_sweep() else "…"
            fix = f"zip=[{given}]" if key == "zip" else f"{key}=<one value>"
            problems.append(Problem(f"{override.input_line}: {key} is about the whole sweep", fix))
        else:
            found[key] = plain_value(override.value())
    hints = type_hints(SweepConfig)
    fitted = {key: schema.fit(value, hints[key]) for key, value in found.items()}
    options = SweepConfig(**fitted)
    return options, fitted, problems + wrong_options(options)
