"""``hydra/launcher=…`` and ``hydra.launcher.…``: from Hydra's plain values to the dataclass of a launcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ppo_cli.config import TrainConfig, type_hints
from ppo_cli.errors import Problem
from ppo_cli.hydra_ext import schema
from ppo_cli.hydra_ext.compose import parsed
from ppo_cli.hydra_ext.keys import no_such_launcher
from ppo_cli.hydra_ext.resumption import plain_value
from ppo_cli.launchers import LAUNCHERS, Launcher, name_of
from ppo_cli.validation import wrong_values

GROUP, PREFIX = "hydra/launcher", "hydra.launcher."


def launcher_of(name: str, given: Mapping[str, Any]) -> tuple[Launcher, list[Problem]]:
    """The launcher of that name, told what is given, and what is wrong with that."""
    kind = LAUNCHERS.get(name)
    if kind is None:
        return Launcher(), [no_such_launcher(name)]
    hints = type_hints(kind)
    problems = [
        Problem(
            f"{PREFIX}{key} is not a setting of {GROUP}={name}", ", ".join(hints) or f"the same without {PREFIX}{key}="
        )
        for key in given
        if key not in hints
    ]
    launcher = kind(**{key: schema.fit(value, hints[key]) for key, value in given.items() if key in hints})
    wrong = [Problem(f"{PREFIX}{problem.what}", f"{PREFIX}{problem.fix}") for problem in wrong_values(launcher)]
    return launcher, problems + wrong


def is_about_launcher(word: str) -> bool:
    """Whether a word of the command line says what is to start the jobs."""
    key = word.lstrip("+").partition("=")[0]
    return key == GROUP or key.startswith(PREFIX)


def other_launcher(before: Launcher, words: Sequence[str]) -> tuple[Launcher, list[Problem]]:
    """The launcher of a sweep that goes on: as it was, but for what the line says."""
    overrides, problems = parsed(words, TrainConfig)
    name, given = name_of(before), asdict(before)
    for word, override in overrides.items():
        key = override.key_or_group
        if override.is_sweep_override() or override.is_delete():
            problems.append(Problem(f"{word}: {key} is about the whole sweep", f"{key}=<one value>"))
        elif key == GROUP and override.value() != name:
            name, given = str(override.value()), {}
    for override in overrides.values():
        if override.key_or_group.startswith(PREFIX) and not override.is_sweep_override() and not override.is_delete():
            given[override.key_or_group.removeprefix(PREFIX)] = plain_value(override.value())
    launcher, wrong = launcher_of(name, given)
    return launcher, problems + wrong
