"""Every kind of run, stopped by a signal half-way and gone on with in another process, beside one undisturbed.

``python -m benchmarks.resume_matrix`` goes through all kinds, eager and compiled; ``--only lstm,eager`` through those
that have all that is named. Checkpoints are compared number by number, metrics cell by cell; the exit status is 1 if
anything differs. Kinds with EnvPool or Box2D are left out where those are not installed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import resuming

BACKENDS = ("sync", "native", "envpool", "async")
PROGRAMS = ("eager", "compiled")
ROLLOUT = 64  # steps of each of two environments in an iteration, which makes 896 steps a run
SHOWN = 10  # differences of one kind


def main() -> None:
    """Go through the kinds and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD,…", help="kinds that have all of these")
    wanted = {word for word in parser.parse_args().only.split(",") if word}
    if unknown := wanted - {*resuming.SETTINGS, *BACKENDS, *PROGRAMS}:
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    every = [
        resuming.Kind(what, backend, program == "compiled")
        for program in PROGRAMS
        for what in resuming.SETTINGS
        for backend in BACKENDS
    ]
    asked = [kind for kind in every if wanted <= set(str(kind).split("-"))]
    missing = {kind: why for kind in asked if (why := resuming.why_missing(kind))}
    kinds = [kind for kind in asked if kind not in missing]
    console = Console(width=None if sys.stdout.isatty() else 100)
    began = time.perf_counter()
    found = go_through(kinds)
    console.print(table(found, missing))
    for kind, problems in found.items():
        if problems:
            console.rule(f"{kind}: {len(problems)} differences")
            console.print("\n".join(problems[:SHOWN]), markup=False, highlight=False)
    differing = sum(bool(problems) for problems in found.values())
    console.print(f"{len(found)} kinds, {differing} differ, {time.perf_counter() - began:.0f} s")
    sys.exit(1 if differing or not found else 0)


def go_through(kinds: list[resuming.Kind]) -> dict[resuming.Kind, list[str]]:
    """What differs in each kind; kinds of one environment and program share their two processes."""
    found: dict[resuming.Kind, list[str]] = {}
    for (what, compiled), group in groupby(kinds, lambda kind: (kind.what, kind.compiled)):
        print(f"{len(found)}/{len(kinds)}: {what}, {PROGRAMS[compiled]}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            found |= resuming.go_through(list(group), Path(folder), ROLLOUT)
    return found


def table(found: dict[resuming.Kind, list[str]], missing: dict[resuming.Kind, str]) -> Table:
    """A row for each kind of run, a column for each stepping program."""
    shown = Table("run", "gradient step", *BACKENDS, title="stopped, gone on with, and compared with undisturbed")
    rows = dict.fromkeys((kind.what, kind.compiled) for kind in found)
    for what, compiled in rows:
        cells = []
        for backend in BACKENDS:
            kind = resuming.Kind(what, backend, compiled)
            answer = {None: "", True: "differs", False: "equal"}[bool(found[kind]) if kind in found else None]
            cells.append("none" if kind in missing else answer)
        shown.add_row(what, PROGRAMS[compiled], *cells)
    return shown


if __name__ == "__main__":
    main()
