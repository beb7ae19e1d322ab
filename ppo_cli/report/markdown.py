"""``report.md``: the verdict and its tables, for a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ppo_cli.places import shown
from ppo_cli.report import believed
from ppo_cli.report.model import Group, Report, Section
from ppo_cli.report.searches import Search
from ppo_cli.report.table import TITLES, threshold_cells
from ppo_cli.report.verdict import between, height, number, p_value, share

MOST_MATRIX = 12
"""Groups up to which the matrix of improvements is readable."""
MOST_LEFT = 50


def as_markdown(report: Report, picture: str | None = None) -> str:
    """The whole page.

    Args:
        report: The report.
        picture: A picture beside it, to be shown; ``None`` for none.
    """
    lines = ["# Report", ""]
    if picture is not None:
        names = ", ".join(section.env for section in report.sections)
        lines += [f"![Curves and scores by group: {_escaped(names)}]({picture})", ""]
    for section in report.sections:
        lines += _section(section, report)
    for search in report.searches:
        lines += _search(search, report)
    if report.left_out:
        lines += ["## Left out", "", *_table(("folder", "state", "why"), _left_out(report)), ""]
    lines += ["## Made by", "", "```", report.command.replace("```", ""), "```", ""]
    commands = [(_code(section_env), _code(group), _code(command)) for section_env, group, command in report.commands]
    lines += [*_table(("environment", "runs", "command"), commands), ""]
    versions = ", ".join(f"{package} {' and '.join(found)}" for package, found in report.versions.items())
    commits = f" At commit {', '.join(report.commits)}." if report.commits else ""
    lines += [
        _escaped(f"Runs were made with {versions}.{commits} Report of ppo-cli {report.made_with}, {report.made}.")
    ]
    return "\n".join(lines) + "\n"


def _section(section: Section, report: Report) -> Iterator[str]:
    yield from (f"## {_escaped(section.env)}", "")
    first, *rest = section.sentences
    yield from (f"**{_escaped(first)}**", "")
    yield from (f"- {_escaped(line)}" for line in rest)
    yield ""
    yield from _table(*_groups(section, report))
    yield ""
    what = TITLES[report.score]
    budget = "" if section.budget is None else f" Budget: {section.budget:,} steps."
    area = "" if section.area_from is None else f" Area: {height(section)}."
    yield _escaped(
        f"Scores: {what} of {section.metric}, intervals of {share(report.level)} by bootstrap over seeds.{area}{budget}"
    )
    yield ""
    yield from _pairs(section, report)
    for line in section.notes:
        yield f"- {_escaped(line)}"
    if section.notes:
        yield ""


def _groups(section: Section, report: Report) -> tuple[Sequence[str], Iterable[Sequence[str]]]:
    head = ["runs", "seeds", "mean", f"{share(report.level)} interval", "IQM", "std", "worst seed", "area"]
    head += [f"steps to {number(section.threshold)}", "time"] if section.threshold is not None else []
    head += ["not counted"] if any(group.lost for group in section.groups) else []
    return head, (_row(group, section, "not counted" in head) for group in section.groups)


def _row(group: Group, section: Section, losses: bool) -> list[str]:
    interval = "–" if group.mean_interval is None else between(group.mean_interval)
    cells = [_code(group.name), str(len(group.seeds)), number(group.mean), interval, number(group.iqm)]
    cells += [number(group.std), f"{number(group.worst.score)} (seed {group.worst.seed})", number(group.area)]
    cells += threshold_cells(group) if section.threshold is not None else ()
    return [*cells, ", ".join(f"{count} {state}" for state, count in group.lost.items())] if losses else cells


def _pairs(section: Section, report: Report) -> Iterator[str]:
    if not section.pairs:
        return
    head = ("first", "second", "verdict", "difference", f"{share(report.level)} interval", "p", "p of Welch's test")
    rows = [
        (
            _code(section.groups[pair.first].name), _code(section.groups[pair.second].name), pair.verdict,
            number(pair.difference), "–" if pair.interval is None else between(pair.interval),
            p_value(pair.p_adjusted), p_value(pair.p_welch),
        )
        for pair in section.pairs
    ]  # fmt: skip
    yield from ("<details><summary>All comparisons</summary>", "")
    yield from _table(head, rows)
    yield ""
    if len(section.groups) <= MOST_MATRIX:
        yield from ("How often a seed of the row beats one of the column:", "")
        yield from _table(*_matrix(section))
        yield ""
    yield from ("</details>", "")


def _matrix(section: Section) -> tuple[Sequence[str], list[Sequence[str]]]:
    groups = section.groups
    rows: list[Sequence[str]] = []
    for row, group in enumerate(groups):
        cells = [_improvement(section, row, column) for column in range(len(groups))]
        rows.append([_code(group.name), *cells])
    return ["", *(_code(group.name) for group in groups)], rows


def _improvement(section: Section, row: int, column: int) -> str:
    pair = section.pair(row, column)
    if row == column or pair is None:
        return ""
    return f"{pair.improvement if pair.first == row else 1 - pair.improvement:.2f}"


def _search(search: Search, report: Report) -> Iterator[str]:
    yield from (f"## Search {_code(str(shown(search.folder)))}", "")
    first, *rest = search.sentences
    yield from (f"**{_escaped(first)}**", "")
    yield from (f"- {_escaped(line)}" for line in [*rest, *believed.in_one_line(search)])
    yield ""
    head = [f"{share(report.level)} interval" if name == "interval" else name for name in believed.HEAD]
    if search.finals:
        rows = ([*cells, _code(settings)] for *cells, settings in believed.rows(search))
        yield from _table(head, rows)
        yield ""
    yield from (_escaped(believed.about(search)), "")
    if search.importance:
        yield from (_escaped(believed.WHAT_IMPORTANCE_IS), "")


def _left_out(report: Report) -> Iterator[tuple[str, str, str]]:
    for one in report.left_out[:MOST_LEFT]:
        yield _code(str(one.folder)), one.state, _escaped(one.reason)
    if len(report.left_out) > MOST_LEFT:
        yield f"and {len(report.left_out) - MOST_LEFT} more", "", ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _escaped(text: str) -> str:
    """A text that Markdown shows as it is."""
    text = " ".join(text.split())
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return text


def _code(text: str) -> str:
    """A text as code, also in a table, where a bar would end the cell."""
    return f"`{' '.join(text.split()).replace('`', chr(39)).replace('|', chr(92) + '|')}`"
