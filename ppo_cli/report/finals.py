"""Which runs of a search are compared: those on fresh seeds, for by their scores no trial was chosen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ppo_cli.report.believed import to_go_on
from ppo_cli.report.reading import LeftOut
from ppo_cli.report.records import UnusableError
from ppo_cli.report.search_file import read_search
from ppo_cli.report.searches import Search
from ppo_cli.runs.names import SEARCH_FILE

TRIAL = "trial"
"""The state of what is left out because a search has chosen by its score."""


class Parted(NamedTuple):
    """Folders of runs, told apart.

    Attributes:
        runs: Those that can be compared.
        trials: The trial that a run is a final of, by its folder.
        searches: The searches that runs are of.
        left: What is left out.
    """

    runs: list[Path]
    trials: dict[Path, int]
    searches: list[Search]
    left: list[LeftOut]


def part(folders: Sequence[Path]) -> Parted:
    """Tell finals of searches from their trials, and both from all other runs."""
    found = Parted([], {}, [], [])
    by_sweep: dict[Path, list[Path]] = {}
    for folder in folders:
        by_sweep.setdefault(Path(os.path.realpath(folder)).parent, []).append(folder)
    for sweep, own in by_sweep.items():
        named = own[0].parent if os.path.realpath(own[0].parent) == str(sweep) else sweep
        try:
            search = read_search(named)
        except UnusableError as error:
            if error.state == "foreign":
                found.runs.extend(own)
                found.left.append(LeftOut(named / SEARCH_FILE, "foreign", f"{error}; the runs beside it are compared"))
            else:
                reason = f"{error}; its runs are left out, for nothing tells finals from trials"
                found.left.append(LeftOut(named, error.state, reason, count=len(own)))
            continue
        if search is None:
            found.runs.extend(own)
            continue
        found.searches.append(search)
        trials = {name: final.trial for final in search.finals for name in final.folders}
        real = {folder: Path(os.path.realpath(folder)).name for folder in own}
        finals = [folder for folder in own if real[folder] in trials]
        found.runs.extend(finals)
        found.trials.update({folder: trials[real[folder]] for folder in finals})
        if len(finals) < len(own):
            found.left.append(LeftOut(named, TRIAL, _why(search, len(own) - len(finals)), count=len(own) - len(finals)))
    order = {folder: place for place, folder in enumerate(folders)}
    found.runs.sort(key=order.__getitem__)
    return found


def _why(search: Search, count: int) -> str:
    runs = f"{count} runs of its trials are" if count > 1 else "one run of its trials is"
    chosen = f"{runs} left out: the search chose by their scores, which are therefore too good"
    if any(final.folders for final in search.finals):
        return f"{chosen}; its finals, on fresh seeds, are compared"
    return f"{chosen}; it has no finals on fresh seeds yet: {to_go_on(search)}"
