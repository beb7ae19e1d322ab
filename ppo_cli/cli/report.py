"""``ppo-report``."""

from __future__ import annotations

import sys

from ppo_cli.cli.entry import enter

SHUT = 3
"""Exit status where ``fail_if`` applies."""


def main() -> None:
    """Compare runs."""
    enter("ppo-report", _report)


def _report(argv: list[str]) -> int:
    import shlex

    from ppo_cli.cli import words
    from ppo_cli.report.options import ReportConfig

    paths, told = words.parse(argv, ReportConfig, "ppo-report")
    _check(paths, told)

    from ppo_cli.cli.frame import console
    from ppo_cli.cli.results import UNLIMITED
    from ppo_cli.errors import Problem, RunError
    from ppo_cli.report.build import build
    from ppo_cli.report.files import check_output, write
    from ppo_cli.report.table import render

    if told.output is not None:
        check_output(told.output)
    report = build(paths, told, shlex.join(["ppo-report", *argv]))
    out = console(sys.stdout, longest=UNLIMITED)
    for part in render(report, out.width):
        out.print(part)
    if told.output is not None:
        out.print()
        try:
            for path, what in write(report, told.output):
                out.print(f"{what:>12}  {path}", soft_wrap=True, markup=False)
        except OSError as error:
            what = f"output={told.output} cannot be written: {error.strerror or error}"
            raise RunError(Problem(what, "a folder that can be written, with room"), "Report not written") from error
    return SHUT if report.worse else 0


def _check(paths: list[str], told: object) -> None:
    """See that there is something to report on, and options fit together."""
    from ppo_cli.errors import ConfigError, Problem
    from ppo_cli.report.options import ReportConfig

    assert isinstance(told, ReportConfig)
    problems = []
    if not paths:
        problems.append(Problem("no runs were named", "ppo-report outputs/CartPole-v1"))
    if told.fail_if is not None and not told.against:
        fix = "against='old/*', quoted so that the shell leaves it alone"
        problems.append(Problem(f"fail_if={told.fail_if} needs runs to hold the new ones against", fix))
    if told.margin and told.fail_if is None:
        problems.append(Problem(f"margin={told.margin:g} has no effect without fail_if=", "fail_if=worse"))
    if problems:
        raise ConfigError(problems)
