"""Run contenders in turns, each run a process of its own; medians and ratios as a table, a CSV and a plot."""

from __future__ import annotations

import csv
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
RESULTS = Path("outputs") / "benchmarks"


@dataclass(frozen=True)
class Contender:
    """Who runs what: a name, ``ours`` or ``sb3``, the worker's settings, and the clone whose code it is."""

    name: str
    side: str
    spec: dict[str, Any]
    tree: Path = HERE


@dataclass(frozen=True)
class Measurement:
    """One number per run: its key, its heading and its good direction."""

    key: str
    heading: str
    higher_is_better: bool


def compare(
    title: str,
    contenders: Sequence[Contender],
    measurements: Sequence[Measurement],
    command: Callable[[Contender, int], list[str]],
    rounds: int,
) -> dict[str, list[dict[str, float]]]:
    """Measure every contender once a round, and report; returns each one's numbers, a round each.

    Args:
        title: Name of the files that are written.
        contenders: Who runs; ratios are against the best of those whose side is ``sb3``, else the first.
        measurements: What is reported.
        command: Arguments for Python of a contender's run in a round.
        rounds: How often.
    """
    results: dict[str, list[dict[str, float]]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        for contender in contenders:
            print(f"round {number + 1}/{rounds}: {contender.name}", file=sys.stderr, flush=True)
            results[contender.name].append(_run(command(contender, number), contender.tree))
    RESULTS.mkdir(parents=True, exist_ok=True)
    _write_csv(RESULTS / f"{title}.csv", results)
    rivals = [contender.name for contender in contenders if contender.side == "sb3"] or [contenders[0].name]
    _show(title, results, measurements, rivals)
    _plot(RESULTS / f"{title}.png", title, results, measurements[0])
    print(f"\n{machine()}\n{RESULTS / title}.csv, {RESULTS / title}.png")
    return results


def machine() -> str:
    """What the numbers were measured on."""
    import torch

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = f"{names[0]}, {len(names)} cores" if names else model
    return f"{model}; Python {platform.python_version()}, torch {torch.__version__}"


def processor_of_children() -> float:
    """Processor seconds of all that has ended; a sweep's jobs count once the server that they were forked from ends."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _run(arguments: list[str], tree: Path) -> dict[str, float]:
    command, environment = [sys.executable, *arguments], {**os.environ, "PYTHONPATH": str(tree)}
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    numbers: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**numbers, "process_seconds": seconds}


def _median(runs: list[dict[str, float]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def _show(
    title: str, results: dict[str, list[dict[str, float]]], measurements: Sequence[Measurement], rivals: list[str]
) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{title}: medians of {len(next(iter(results.values())))} rounds (ratio to the rival's best)")
    table.add_column("")
    for measurement in measurements:
        table.add_column(measurement.heading, justify="right")
    for name, runs in results.items():
        table.add_row(
            name, *(_cell(runs, measurement, [results[rival] for rival in rivals]) for measurement in measurements)
        )
    Console(width=120).print(table)


def _cell(runs: list[dict[str, float]], measurement: Measurement, rivals: list[list[dict[str, float]]]) -> str:
    key = measurement.key
    if key not in runs[0]:
        return "–"
    own = _median(runs, key)
    number = f"{own:,.0f}" if own >= 100 else f"{own:,.1f}"
    if any(key not in rival[0] for rival in rivals):
        return number
    best = (max if measurement.higher_is_better else min)(_median(rival, key) for rival in rivals)
    return f"{number} ({own / best:.2f})"


def _write_csv(path: Path, results: dict[str, list[dict[str, float]]]) -> None:
    rows = [{"contender": name, "round": i, **run} for name, runs in results.items() for i, run in enumerate(runs)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def _plot(path: Path, title: str, results: dict[str, list[dict[str, float]]], measurement: Measurement) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1 + 0.6 * len(results)), layout="constrained")
    axes = figure.add_subplot()
    names = list(results)[::-1]
    axes.barh(names, [_median(results[name], measurement.key) for name in names], color="#0072B2", alpha=0.8)
    for name in names:
        points = [run[measurement.key] for run in results[name]]
        axes.plot(points, [name] * len(points), "o", color="black", markersize=4)
    axes.set_xlabel(f"{measurement.heading} (bar: median, points: rounds)")
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
