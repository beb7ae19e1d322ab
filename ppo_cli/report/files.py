"""The files of a report: ``report.json`` with everything, ``report.csv`` with a row a run, and what shows them."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ppo_cli.errors import ConfigError, Problem
from ppo_cli.report.figures import write_pictures
from ppo_cli.report.markdown import as_markdown
from ppo_cli.report.model import FORMAT, Report, to_plain
from ppo_cli.report.page.render import as_html
from ppo_cli.runs.files import write_atomically

NAME, FORMAT_KEY = "report", "ppo_report_format"
SUFFIXES = (".html", ".md", ".csv", ".json", ".png", ".svg")


def check_output(output: str) -> Path:
    """The folder to write into, which may hold an earlier report, but nobody's own files of the same names.

    Raises:
        ConfigError: if it cannot be written into, or holds such files.
    """
    folder = Path(output).expanduser()
    fix = "output=<another folder>, or output=null to write no files"
    if not output:
        raise ConfigError(
            Problem("output= is empty; a shell leaves it so where a variable is not set", "output=report")
        )
    nearest = next((one for one in (folder, *folder.absolute().parents) if one.exists()), folder)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(Problem(f"output={output} cannot be written into", fix))
    others = [f"{NAME}{suffix}" for suffix in SUFFIXES if (folder / f"{NAME}{suffix}").exists()]
    if others and not _is_ours(folder / f"{NAME}.json"):
        raise ConfigError(Problem(f"{folder} holds {', '.join(others)} of somebody else's", fix))
    return folder


def _is_ours(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return f'"{FORMAT_KEY}"' in file.read(200)
    except (OSError, ValueError):
        return False


def write(report: Report, output: str) -> Iterator[tuple[Path, str]]:
    """Write the files, each whole or not at all; yields each with what it is."""
    folder = Path(output).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    _put(folder / f"{NAME}.json", as_json(report))  # first: by it the folder is known as ours
    yield folder / f"{NAME}.json", "everything"
    _put(folder / f"{NAME}.csv", as_csv(report))
    yield folder / f"{NAME}.csv", "a row a run"
    write_pictures(report, folder / f"{NAME}.png", folder / f"{NAME}.svg")
    yield folder / f"{NAME}.png", "picture"
    yield folder / f"{NAME}.svg", "the same"
    _put(folder / f"{NAME}.md", as_markdown(report, f"{NAME}.png"))
    yield folder / f"{NAME}.md", "Markdown"
    _put(folder / f"{NAME}.html", as_html(report))
    yield folder / f"{NAME}.html", "page"


def _put(path: Path, text: str) -> None:
    write_atomically(path, lambda draft: draft.write_text(text, encoding="utf-8", errors="replace"))


def as_json(report: Report) -> str:
    """All of a report."""
    return json.dumps({FORMAT_KEY: FORMAT, **to_plain(report)}, ensure_ascii=False, allow_nan=False) + "\n"


COLUMNS = (
    "env", "group", "seed", "score", "final", "area", "last", "step", "wall_time", "steps_to_threshold",
    "seconds_to_threshold", "folder",
)  # fmt: skip


def as_csv(report: Report) -> str:
    """A row a run, with the settings that differ."""
    settings = list(dict.fromkeys(key for section in report.sections for key in section.differing))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*COLUMNS[:2], *settings, *COLUMNS[2:]])
    for section in report.sections:
        for group in section.groups:
            own = [group.settings.get(key, "") for key in settings]
            for seed in group.seeds:
                facts: list[Any] = [getattr(seed, name) for name in COLUMNS[2:]]
                writer.writerow([section.env, group.name, *own, *("" if fact is None else fact for fact in facts)])
    return file.getvalue()
