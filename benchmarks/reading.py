"""How long the commands take that read: a report of 200 runs × 300 rows, a list of 2,000 runs, help, completion.

``python -m benchmarks.reading`` makes the folders and prints the median and the slowest of five whole processes each,
and the size of the page.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from run_folders import make_run

ROUNDS = 5
RUNS, ROWS, LISTED = 200, 300, 2000


def fill(path: Path, draws: random.Random) -> None:
    """Put a number into each empty field of a ``metrics.csv``, as a run has them."""
    head, *rows = path.read_text(encoding="utf-8").splitlines()
    filled = [",".join(field or repr(draws.gauss(0, 1)) for field in row.split(",")) for row in rows]
    path.write_text("\n".join([head, *filled, ""]), encoding="utf-8")


def make(place: Path) -> None:
    """Twenty groups of ten seeds to compare, and two thousand runs to list."""
    draws = random.Random(0)
    for number in range(RUNS):
        group, seed = divmod(number, 10)
        level = draws.gauss(300 + 10 * group, 30)
        curve = [level * (1 - 0.99**row) + draws.gauss(0, 5) for row in range(ROWS)]
        folder = make_run(place / "many" / str(number), seed=seed, curve=curve, lr=1e-3 / (1 + group))
        fill(folder / "metrics.csv", draws)
    for number in range(LISTED):
        folder = make_run(
            place / "listed" / "CartPole-v1" / str(number), seed=number, rows=5, lr=1e-3 / (1 + number % 2)
        )
        for name in ("train.log", "curves.png", "checkpoints/last.pt", "checkpoints/best.pt", "tensorboard/events"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"x" * 1000)


def took(place: Path, command: str, *words: str) -> float:
    """Seconds of one command, from its start to its end."""
    program = str(Path(sys.executable).with_name(command))
    began = time.perf_counter()
    subprocess.run([program, *words], cwd=place, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Make, time in turns, print."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        make(place)
        commands = {
            f"ppo-report of {RUNS} runs × {ROWS} rows": ("ppo-report", "many", "output=report"),
            f"ppo-runs of {LISTED:,} runs": ("ppo-runs", "listed", "--json"),
            "ppo-report --help": ("ppo-report", "--help"),
            "completion of env=Cart": ("ppo-train", "--complete", "env=Cart"),
            "completion of checkpoint=listed/": ("ppo-eval", "--complete", "checkpoint=listed/CartPole-v1/"),
        }
        times: dict[str, list[float]] = {what: [] for what in commands}
        for _ in range(ROUNDS):
            for what, (command, *words) in commands.items():
                times[what].append(took(place, command, *words))
        for what, seconds in times.items():
            print(f"{what}: {statistics.median(seconds):.2f} s (slowest {max(seconds):.2f})")
        print(f"report.html: {(place / 'report' / 'report.html').stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
