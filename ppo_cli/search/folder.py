"""What a search is, in the folder of its sweep: ``search.json`` says what is searched, how, and what has come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ppo_cli.config import TrainConfig
from ppo_cli.errors import CheckpointError, ConfigError, Problem
from ppo_cli.places import shown
from ppo_cli.plain import from_plain, to_plain
from ppo_cli.runs.files import read_json, write_json
from ppo_cli.runs.names import SEARCH_FILE
from ppo_cli.search import space
from ppo_cli.search.space import Dimension
from ppo_cli.search_config import SearchConfig
from ppo_cli.sweep.extend import LEAVES

FORMAT = 1
FRESH = 1000
"""The first of the fresh seeds; those of trials begin at 0."""


@dataclass(frozen=True)
class Base:
    """What trials have in common that take the same files.

    Attributes:
        choices: The files that are searched over, by group: ``{"network": "lstm"}``.
        config: The settings, of which trials replace those that are searched.
        from_preset: Those, by dotted key, that nobody set but a preset.
    """

    choices: Mapping[str, Any]
    config: TrainConfig
    from_preset: frozenset[str]


@dataclass(frozen=True)
class SearchFolder:
    """A search that has a folder.

    Attributes:
        folder: The sweep's.
        search: How is searched.
        space: What.
        bases: What trials are made from, one for each combination of files.
        preset: What trial 0 has of the space where that is the environment's preset; ``None`` where there is none.
    """

    folder: Path
    search: SearchConfig
    space: tuple[Dimension, ...]
    bases: tuple[Base, ...]
    preset: Mapping[str, Any] | None

    def write(self, found: Mapping[str, Any]) -> None:
        """Put ``search.json`` into its folder, which exists.

        Args:
            found: What has come of it, by name.
        """
        search = self.search
        about = {"format": FORMAT, "metric": search.metric, "direction": search.direction, "seeds": search.seeds}
        about |= {"threshold": search.threshold, "asked": search.trials}
        about |= {"space": {one.key: one.to_plain() for one in self.space}, "preset": self.preset}
        bases = [
            {"choices": base.choices, "config": to_plain(base.config), "from_preset": sorted(base.from_preset)}
            for base in self.bases
        ]
        write_json(self.folder / SEARCH_FILE, {**about, **found, "search": asdict(search), "bases": bases})

    def base(self, settings: Mapping[str, Any]) -> Base:
        """What a trial with these settings is made from."""
        return next(
            base for base in self.bases if all(settings.get(key) == value for key, value in base.choices.items())
        )


def is_search(folder: Path) -> bool:
    """Whether a sweep is a search."""
    return (folder / SEARCH_FILE).is_file()


def read_search(folder: Path) -> SearchFolder:
    """The search in a sweep's folder.

    Raises:
        CheckpointError: if it cannot be read.
    """
    path = folder / SEARCH_FILE
    try:
        content = read_json(path)
        if content["format"] > FORMAT:
            what = f"{shown(path)} was written by a later version of ppo-cli"
            raise CheckpointError(Problem(what, "pip install -U ppo-cli"))
        bases = [
            Base(base["choices"], from_plain(TrainConfig, base["config"]), frozenset(base["from_preset"]))
            for base in content["bases"]
        ]
        dimensions = [space.from_plain(key, plain) for key, plain in content["space"].items()]
        return SearchFolder(
            folder, SearchConfig(**content["search"]), tuple(dimensions), tuple(bases), content["preset"]
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        what = f"{shown(path)} cannot be read: {' '.join(str(error).split()) or repr(error)}"
        raise CheckpointError(Problem(what, "a copy of it that is whole")) from error


def preset_values(dimensions: Sequence[Dimension], config: TrainConfig) -> dict[str, Any]:
    """What a configuration has of each setting of a space; arguments that it does not have are left out."""
    found = {one.key: space.value_of(config, one.key) for one in dimensions}
    return {key: value for key, value in found.items() if value is not None or key in LEAVES}
