"""The files of a report: ``report.json`` with everything, ``report.csv`` with a row a run, and what shows them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ppo_cli.errors import ConfigError, Problem
from ppo_cli.report.figures import write_pictures
from ppo_cli.report.markdown import as_markdown
from ppo_cli.report.model import FORMAT, Curve, Report, Seed
from ppo_cli.report.page.render import as_html
from ppo_cli.runs.files import write_atomically

NAME, FORMAT_KEY = "report", "ppo_report_format"
DIGITS = 6
"""Digits of a curve's numbers."""
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
    png, svg = folder / f"{NAME}.png", folder / f"{NAME}.svg"
    if report.sections:
        write_pictures(report, png, svg)
        yield png, "picture"
        yield svg, "the same"
    else:  # those of an earlier report would be taken for this one's
        png.unlink(missing_ok=True)
        svg.unlink(missing_ok=True)
    _put(folder / f"{NAME}.md", as_markdown(report, f"{NAME}.png" if report.sections else None))
    yield folder / f"{NAME}.md", "Markdown"
    _put(folder / f"{NAME}.html", as_html(report))
    yield folder / f"{NAME}.html", "page"


def _put(path: Path, text: str) -> None:
    write_atomically(path, lambda draft: draft.write_text(text, encoding="utf-8", errors="replace"))


def as_json(report: Report) -> str:
    """All of a report."""
    return json.dumps({FORMAT_KEY: FORMAT, **to_plain(report)}, ensure_ascii=False, allow_nan=False) + "\n"


def to_plain(value: Any, digits: int | None = None) -> Any:
    """A part of a report as JSON has it: tuples as lists, paths as texts; numbers of curves cut to a few digits."""
    if dataclasses.is_dataclass(value):
        short = DIGITS if isinstance(value, Curve) else digits
        cut = ("steps", "values", "seconds") if isinstance(value, Seed) else ()
        return {
            item.name: to_plain(getattr(value, item.name), DIGITS if item.name in cut else short)
            for item in dataclasses.fields(value)
        }
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: to_plain(one, digits) for name, one in value._asdict().items()}
    if isinstance(value, dict):
        return {key: to_plain(one, digits) for key, one in value.items()}
    if isinstance(value, tuple | list):
        if {*map(type, value)} == {float}:  # curves, which are most of a report
            found = value if digits is None else [*map(float, [f"{one:.{digits}g}" for one in value])]
            return [one if math.isfinite(one) else None for one in found]
        return [to_plain(one, digits) for one in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if digits is None else float(f"{value:.{digits}g}")
    return str(value) if isinstance(value, Path) else value


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
