"""Every combination of action, observation, memory, mask and stepping program, trained, saved, loaded and played.

``python -m benchmarks.matrix`` goes through all of ``tests/matrix.py``'s table, which takes a quarter of an hour;
``--only lstm,async`` through those combinations that have all the kinds named. The exit status is 1 if any fails.
Combinations with EnvPool are left out where it is not installed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import matrix

SHOWN = 10  # tracebacks of failures
LINE_EVERY = 100  # combinations between lines of plain output


def main() -> None:
    """Go through the table and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="KIND,…", help="combinations that have all of these kinds")
    wanted = {kind for kind in parser.parse_args().only.split(",") if kind}
    if unknown := wanted - {kind for kinds in matrix.AXES.values() for kind in kinds}:
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    table = [case for case in matrix.cases() if wanted <= set(case)]
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    console = Console()
    failures = go_through(table, console)
    console.print(summary(table, failures))
    for case, trace in list(failures.items())[:SHOWN]:
        console.rule(str(case))
        console.print(trace, markup=False, highlight=False)
    seconds = time.perf_counter() - began
    console.print(f"{len(table)} combinations, {len(failures)} failed, {seconds:.0f} s")
    sys.exit(1 if failures or not table else 0)


def go_through(table: list[matrix.Case], console: Console) -> dict[matrix.Case, str]:
    """Check every case; returns the tracebacks of those that fail."""
    failures: dict[matrix.Case, str] = {}
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(table))
        for number, case in enumerate(table):
            if not console.is_terminal and number % LINE_EVERY == 0:  # where nothing is repainted
                print(f"{number}/{len(table)}, {len(failures)} failed", flush=True)
            progress.update(task, description=f"{case}, {len(failures)} failed")
            with tempfile.TemporaryDirectory() as folder:
                try:
                    matrix.check(case, Path(folder))
                except Exception:
                    failures[case] = traceback.format_exc()
            progress.advance(task)
    return failures


def summary(table: list[matrix.Case], failures: dict[matrix.Case, str]) -> Table:
    """How many combinations each kind is part of, and how many of those fail."""
    shown = Table("axis", "kind", "combinations", "failed")
    for place, (axis, kinds) in enumerate(matrix.AXES.items()):
        tried, failed = (Counter(case[place] for case in cases) for cases in (table, failures))
        for kind in kinds:
            if tried[kind]:
                shown.add_row(axis, kind, str(tried[kind]), str(failed[kind] or ""))
        shown.add_section()
    return shown


if __name__ == "__main__":
    main()
