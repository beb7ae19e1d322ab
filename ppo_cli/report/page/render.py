"""From a report to ``report.html``."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from ppo_cli.report.believed import WHAT_IMPORTANCE_IS
from ppo_cli.report.model import BETTER, Report, Section
from ppo_cli.report.page import tables
from ppo_cli.report.page.charts import MOST_DIAGNOSED, MOST_DRAWN, Chart, Charts
from ppo_cli.report.page.dots import Dots, by_group, by_setting
from ppo_cli.report.page.searching import search_view
from ppo_cli.report.page.tables import Cell, Chance, Grid
from ppo_cli.report.verdict import height, share

ASSETS = Path(__file__).parent / "assets"
COLOURS = 7
"""Groups that have a colour of their own; the rest is grey."""
MOST_LEFT = 500


@dataclass(frozen=True)
class View:
    """A section with all that the page shows of it."""

    section: Section
    about: str
    won: bool
    curves: Chart
    profile: Chart | None
    diagnostics: tuple[Chart, ...]
    groups: Grid
    runs: Grid
    pairs: Grid
    settings: Grid
    matrix: tuple[tuple[Chance, ...], ...]
    dots: Dots
    panels: tuple[Dots, ...]


def as_html(report: Report) -> str:
    """The whole page: one file, which runs no script but its own and asks no network for anything."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    charts = Charts(report)
    views = [_view(place, section, report, charts) for place, section in enumerate(report.sections)]
    data = {
        "sections": [[group.name for group in view.section.groups[:MOST_DRAWN]] for view in views],
        "charts": {
            chart.key: chart.data
            for view in views
            for chart in (view.curves, view.profile, *view.diagnostics)
            if chart is not None
        },
        "arrays": charts.arrays.kept,
    }
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    scripts = [_asset("uPlot.iife.min.js"), _asset("page.js")]
    return environment.get_template("page.html.jinja").render(
        report=report,
        views=views,
        searches=[search_view(search, report.level) for search in report.searches],
        importance=WHAT_IMPORTANCE_IS,
        data=data,
        level=share(report.level),
        left=_left_out(report),
        commands=_commands(report),
        limits={"drawn": MOST_DRAWN, "diagnosed": MOST_DIAGNOSED, "matrix": tables.MOST_MATRIX, "colours": COLOURS},
        policy=_policy(scripts),
        scripts=[Markup(script) for script in scripts],
        styles=[Markup(_asset(name)) for name in ("uPlot.min.css", "page.css")],
        licence=Markup(_asset("uPlot-LICENSE.txt")),
    )


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _policy(scripts: list[str]) -> str:
    """What the browser is told to allow: these scripts by their hash, styles and pictures of the page itself."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    own = " ".join(f"'sha256-{one}'" for one in hashes)
    rest = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; script-src {own}; {rest}"


def _view(place: int, section: Section, report: Report, charts: Charts) -> View:
    best = [pair for pair in section.pairs if pair.first == 0]
    several = any(len(group.seeds) > 1 for group in section.groups)
    return View(
        section=section,
        about=_about(section, report),
        won=bool(best) and all(pair.verdict == BETTER for pair in best),
        curves=charts.curves(place, section),
        profile=charts.profile(place, section) if several and section.profile_at[0] < section.profile_at[-1] else None,
        diagnostics=tuple(charts.diagnostics(place, section)),
        groups=tables.groups(section, report),
        runs=tables.runs(section),
        pairs=tables.pairs(section, report),
        settings=tables.settings(section),
        matrix=tables.matrix(section) if len(section.groups) > 1 else (),
        dots=by_group(section, report.level),
        panels=tuple(by_setting(section)),
    )


def _about(section: Section, report: Report) -> str:
    """What scores are."""
    if report.score == "area":
        score = f"{section.metric}, {height(section)}"
    elif report.last:
        score = f"mean of {section.metric} over the last {share(report.last)} of a run"
    else:
        score = f"last value of {section.metric}"
    budget = "" if section.budget is None else f" Budget: {section.budget:,} steps."
    return f"Score: {score}.{budget}"


def _left_out(report: Report) -> Grid:
    rows = tuple(
        (Cell(str(one.folder), str(one.folder)), Cell(one.state, one.state), Cell(one.reason, one.reason))
        for one in report.left_out[:MOST_LEFT]
    )
    return Grid(tables.columns(("folder", "state", "why")), rows, max(0, len(report.left_out) - MOST_LEFT))


def _commands(report: Report) -> Grid:
    rows = tuple(tuple(Cell(text, text) for text in one) for one in report.commands)
    return Grid(tables.columns(("environment", "runs", "command")), rows)
