"""The end of a search: what it believed, what held on fresh seeds, and the winner as a preset."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ppo_cli.config import show
from ppo_cli.errors import ConfigError
from ppo_cli.loggers.text import counted, number
from ppo_cli.places import shown
from ppo_cli.report.build import build
from ppo_cli.report.files import check_output, write
from ppo_cli.report.model import Report
from ppo_cli.report.options import ReportConfig
from ppo_cli.runs.names import PRESET_FILE, REPORT_FOLDER
from ppo_cli.search.folder import SearchFolder
from ppo_cli.search.preset import write_preset
from ppo_cli.search.study import Study
from ppo_cli.search.trial import Finalist
from ppo_cli.search.trials import Trials


def conclude(folder: SearchFolder, trials: Trials, study: Study, command: str) -> tuple[list[Finalist], Report | None]:
    """Rank the finalists, write the winner's preset and the report, once all fresh runs are over.

    Returns:
        The finalists, and the report; ``None`` where nothing could be compared.
    """
    found = trials.ranked
    winner = next((one for one in found if one.can_win), None)
    if winner is not None:
        job = winner.trial.fresh[0].job
        write_preset(folder.folder / PRESET_FILE, job.config, _notes(folder, winner, command))
    known: dict[str, Any] = {"importance": study.importance()}
    if winner is not None:
        known |= {"best": winner.trial.number, "preset_file": PRESET_FILE}
    trials.keep(known)
    return found, _report(folder)


def _notes(folder: SearchFolder, winner: Finalist, command: str) -> list[str]:
    seeds, search = list(winner.scores), folder.search
    return [
        f"Trial {winner.trial.number} of a search: {command}",
        f"The search believed {number(winner.trial.value, 2)} "
        f"(metric={search.metric}, {counted(search.seeds, 'seed')}); "
        f"on fresh seeds it holds {number(winner.held, 2)}: "
        + ", ".join(f"{seed}: {number(worth, 2)}" for seed, worth in winner.scores.items()),
        f"The same again, bit for bit: ppo-train preset={shown(folder.folder / PRESET_FILE)} seed={seeds[0]}",
    ]


def _report(folder: SearchFolder) -> Report | None:
    kinds = ("area", "final") if folder.search.metric == "area" else ("final",)  # one evaluation a run has no area
    return next((found for kind in kinds if (found := _written(folder, kind)) is not None), None)


def _written(folder: SearchFolder, kind: str) -> Report | None:
    search, place = folder.search, str(shown(folder.folder))
    output = str(folder.folder / REPORT_FOLDER)
    told = ReportConfig(score=kind, threshold=search.threshold, output=output)
    words = ["ppo-report", place, *(["score=area"] if kind == "area" else [])]
    words += [] if search.threshold is None else [f"threshold={show(search.threshold)}"]
    try:
        report = build([place], told, " ".join(words))
    except ConfigError:
        return None  # nothing came to its end
    with suppress(ConfigError, OSError):  # somebody's own files are there, or there is no room
        check_output(output)
        for _ in write(report, output):
            pass
    return report
