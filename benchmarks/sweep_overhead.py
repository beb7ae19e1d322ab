"""What a sweep costs beside its jobs' own work, and whether its parent leaks: many tiny jobs, some of which die.

One job in twenty kills its own process half-way. The processor time of all processes (the parent, the server that jobs
are forked from, and the jobs) is divided by the jobs, and the same run's in a process that has everything imported is
subtracted: what is left is what a job costs beyond its own work. The parent's memory and open files are looked at as
it goes on, and at the end the processes that are left.

    python -m benchmarks.sweep_overhead --jobs 1000
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from ppo_cli.config import TrainConfig
from ppo_cli.training.run import train

MODULE = """
import os, signal
from ppo_cli import Callback

class Dies(Callback):
    def on_iteration(self, row, run):
        if run.config.seed % 20 == 7 and row["iteration"] == 2:
            os.kill(os.getpid(), signal.SIGKILL)
"""
SETTINGS: dict[str, Any] = {
    "num_envs": 1, "buffer_size": 64, "batch_size": 64, "epochs": 1, "total_timesteps": 256, "eval_every": None,
    "threads": 1, "compile": False,
}  # fmt: skip
PATIENCE = 30.0  # seconds for the server to notice that the parent is gone
ALONE = 20  # runs in one process, for the cost of one
TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Usage(NamedTuple):
    """What a process has used and holds."""

    seconds: float
    with_children: float
    memory: int
    files: int


def usage(pid: int) -> Usage | None:
    """Of a living process; ``None`` of one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        files = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - /proc's
    except OSError:
        return None
    user, system, child_user, child_system = (int(fields[at]) / TICK for at in range(11, 15))
    pages = int(fields[21])
    return Usage(user + system, user + system + child_user + child_system, pages * os.sysconf("SC_PAGE_SIZE"), files)


def server_of(parent: int) -> int | None:
    """The process that a sweep's jobs are forked from."""
    for entry in Path("/proc").iterdir():
        try:
            is_server = entry.name.isdigit() and b"multiprocessing.forkserver" in (entry / "cmdline").read_bytes()
            if is_server and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                return int(entry.name)
        except OSError:
            continue
    return None


def seconds_alone(place: Path) -> float:
    """Processor time of one run where everything is imported and warm."""
    train(TrainConfig(**SETTINGS), place / "warm", show=False)
    began = time.process_time()
    for number in range(ALONE):
        train(TrainConfig(**SETTINGS, seed=number), place / f"alone{number}", show=False)
    return (time.process_time() - began) / ALONE


def words(jobs: int) -> list[str]:
    """The command line of the sweep."""
    plain = {key: "null" if value is None else str(value).lower() for key, value in SETTINGS.items()}
    return [f"seed=range({jobs})", "callbacks=[dies:Dies]", "hydra.sweep.dir=sweep", *map("=".join, plain.items())]


def main() -> int:
    """Measure; the exit status says whether anything was lost or leaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "dies.py").write_text(MODULE)
        alone = seconds_alone(place)
        command = [sys.executable, "-m", "ppo_cli", "-m", *words(options.jobs)]
        began = time.monotonic()
        parent = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL)
        server, seen, all_jobs = None, [], None
        while parent.poll() is None:
            server = server or server_of(parent.pid)
            if (now := usage(parent.pid)) is not None:
                seen.append(now)
            all_jobs = (usage(server) if server else None) or all_jobs
            time.sleep(0.2)
        wall = time.monotonic() - began
        with (place / "sweep" / "results.csv").open(newline="") as file:
            states = Counter(row["state"] for row in csv.DictReader(file))
        assert all_jobs is not None
        total = seen[-1].seconds + all_jobs.with_children
        early, late = seen[len(seen) // 4], seen[-1]
        until = time.monotonic() + PATIENCE
        while (left := server is not None and usage(server) is not None) and time.monotonic() < until:
            time.sleep(0.05)
    died = sum(number % 20 == 7 for number in range(options.jobs))
    print(f"{options.jobs} jobs in {wall:.0f} s: {dict(states)}, exit status {parent.returncode}")
    print(f"processor time per job: {total / options.jobs:.2f} s, of which the run alone {alone:.2f} s,")
    print(f"  the parent {late.seconds / options.jobs:.3f} s, and beyond the run {total / options.jobs - alone:.2f} s")
    print(f"the parent's memory: {early.memory / 2**20:.0f} MiB after a quarter, {late.memory / 2**20:.0f} at the end")
    print(f"the parent's open files: {early.files} after a quarter, {late.files} at the end")
    print(f"processes left: {int(left)}")
    as_expected = states == Counter(finished=options.jobs - died, failed=died) and parent.returncode == int(died > 0)
    return int(not as_expected or left or late.files > early.files + 8)


if __name__ == "__main__":
    sys.exit(main())
