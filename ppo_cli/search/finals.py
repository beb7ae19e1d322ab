"""The end of a search: what it believed, what held on fresh seeds, and the winner as a preset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ppo_cli.config import show
from ppo_cli.errors import ConfigError
from ppo_cli.loggers.text import number
from ppo_cli.places import shown
from ppo_cli.report.build import build
from ppo_cli.report.files import check_output, write
from ppo_cli.report.model import Report
from ppo_cli.report.options import ReportConfig
from ppo_cli.search.folder import FRESH, PRESET_FILE, REPORT_FOLDER, SearchFolder
from ppo_cli.search.preset import write_preset
from ppo_cli.search.study import Study
from ppo_cli.search.trial import Trial
from ppo_cli.search.trials import Trials


@dataclass(frozen=True)
class Finalist:
    """A trial that ran again on fresh seeds.

    Attributes:
        trial: The trial.
        scores: What each of those runs is worth, by its seed; ``None`` for one that is not finished.
    """

    trial: Trial
    scores: dict[int, float | None]

    @property
    def held(self) -> float | None:
        """Their mean; ``None`` where there is none."""
        known = [one for one in self.scores.values() if one is not None]
        return fmean(known) if known else None

    @property
    def whole(self) -> bool:
        """Whether all of those runs are finished."""
        return bool(self.scores) and None not in self.scores.values()


def finalists(trials: Trials, folder: SearchFolder) -> list[Finalist]:
    """Those that ran on fresh seeds, the best first; those that are not whole come last."""
    seeds = range(FRESH, FRESH + folder.search.fresh_seeds)
    found = [Finalist(one, {seed: one.fresh_scores.get(seed) for seed in seeds}) for one in trials.finalists]
    sign = 1 if folder.search.direction == "minimize" else -1
    return sorted(found, key=lambda one: (not one.whole, sign * (one.held or 0.0), one.trial.number))


def as_plain(found: Sequence[Finalist]) -> list[dict[str, Any]]:
    """As ``search.json`` has them."""
    return [
        {
            "trial": one.trial.number,
            "believed": one.trial.value,
            "held": one.held,
            "seeds": list(one.scores),
            "scores": list(one.scores.values()),
            "folders": [run.job.folder.name for run in one.trial.fresh if run.job.config.seed in one.scores],
        }
        for one in found
    ]


def conclude(folder: SearchFolder, trials: Trials, study: Study, command: str) -> tuple[list[Finalist], Report | None]:
    """Rank the finalists, write the winner's preset and the report, once all fresh runs are over.

    Returns:
        The finalists, and the report; ``None`` where nothing could be compared.
    """
    found = finalists(trials, folder)
    winner = next((one for one in found if one.whole), None)
    if winner is not None:
        job = winner.trial.fresh[0].job
        write_preset(folder.folder / PRESET_FILE, job.config, _notes(folder, winner, command))
    known: dict[str, Any] = {"importance": study.importance(), "finals": as_plain(found)}
    known |= {"best": None if winner is None else winner.trial.number}
    trials.keep(known | {"preset_file": None if winner is None else PRESET_FILE})
    return found, _report(folder)


def _notes(folder: SearchFolder, winner: Finalist, command: str) -> list[str]:
    seeds, search = list(winner.scores), folder.search
    return [
        f"Trial {winner.trial.number} of a search: {command}",
        f"The search believed {number(winner.trial.value, 2)} (metric={search.metric}, {search.seeds} seeds); "
        f"on fresh seeds it holds {number(winner.held, 2)}: "
        + ", ".join(f"{seed}: {number(worth, 2)}" for seed, worth in winner.scores.items()),
        f"The same again, bit for bit: ppo-train preset={shown(folder.folder / PRESET_FILE)} seed={seeds[0]}",
    ]


def _report(folder: SearchFolder) -> Report | None:
    search, place = folder.search, str(shown(folder.folder))
    kind = "area" if search.metric == "area" else "final"
    output = str(folder.folder / REPORT_FOLDER)
    told = ReportConfig(score=kind, threshold=search.threshold, output=output)
    words = ["ppo-report", place, *(["score=area"] if kind == "area" else [])]
    words += [] if search.threshold is None else [f"threshold={show(search.threshold)}"]
    try:
        report = build([place], told, " ".join(words))
        check_output(output)
        for _ in write(report, output):
            pass
    except (ConfigError, OSError):
        return None  # one finalist alone has nobody to be compared with, and a full disk has no room for a report
    return report
