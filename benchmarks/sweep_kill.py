"""Kill sweeps with SIGKILL at random instants, go on with them, and compare every job with an undisturbed one.

Each sweep of four jobs, two at a time, is a real ``ppo-train -m`` and is killed one to three times at instants spread
over its life from its first row to its end: the parent alone, whose jobs save and stop by themselves; the parent with
all of its jobs at once; or a single job. Each time ``ppo-train -m resume=<folder>`` goes on, at once, beside jobs that
may still be saving. In the end every job's final checkpoint and rows of metrics must have the same bits as the
undisturbed sweep's. The jobs save every fourth iteration (``checkpoint_every``), so that most go on from step > 0.

    python -m benchmarks.sweep_kill --runs 30
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.kill_test import broken, differences, half_written, result_of
from ppo_cli.sweep.jobs import read_sweep

MARK = "PPO_CLI_SWEEP_KILL"
"""Environment variable by which all processes of one sweep are found."""
MOST_KILLS, MOST_RESUMPTIONS = 3, 6
PATIENCE = 30.0  # seconds for jobs without a parent to save and stop
SETTINGS = (
    "seed=0,1,2,3", "n_jobs=2", "env=CartPole-v1", "env.max_episode_steps=30", "vector_backend=sync", "num_envs=2",
    "buffer_size=64", "batch_size=32", "epochs=4", "total_timesteps=5120", "checkpoint_every=256", "keep_last=3",
    "eval_every=1280", "eval_episodes=2", "normalize_obs=true", "network.hidden_sizes=[16]", "logger=csv",
    "compile=false",
)  # fmt: skip


@dataclass
class Tally:
    """What was done to the sweeps, and what came of it."""

    kills: Counter[str] = field(default_factory=Counter)
    resumed_jobs: int = 0
    from_later_steps: int = 0
    problems: list[str] = field(default_factory=list)

    def report(self, runs: int) -> str:
        """All of it in a few lines."""
        kills = ", ".join(f"{count} × {what}" for what, count in sorted(self.kills.items()))
        lines = [
            f"{runs} sweeps of 4 jobs killed {self.kills.total()} times ({kills})",
            f"  resumptions of jobs: {self.resumed_jobs}, of which from a step > 0: {self.from_later_steps}",
            f"jobs and sweeps that did not end as the undisturbed ones: {len(self.problems)}",
        ]
        return "\n".join([*lines, *self.problems])


class Command:
    """A ``ppo-train -m`` that is on, with all of its processes."""

    def __init__(self, place: Path, *words: str) -> None:
        self._mark = secrets.token_hex(8)
        self.said = place / f"{self._mark}.log"
        with self.said.open("w") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ppo_cli", "-m", *words],
                cwd=place,
                env={**os.environ, MARK: self._mark, "OMP_NUM_THREADS": "1"},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def processes(self) -> dict[int, str]:
        """The living ones but the parent, with their command lines."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                ours = entry.name.isdigit() and f"{MARK}={self._mark}".encode() in (entry / "environ").read_bytes()
                if ours and (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:  # it has ended meanwhile
                continue
        found.pop(self._process.pid, None)
        return found

    def jobs(self) -> list[int]:
        """The processes of jobs: they lead groups of their own, as neither the server nor its helper does."""
        return [pid for pid in self.processes() if _leads_group(pid)]

    def ended(self, seconds: float) -> bool:
        """Wait so long at most; whether the parent is gone."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def code(self) -> int:
        """Wait for its end."""
        return self._process.wait()

    def kill(self, what: str, luck: random.Random) -> None:
        """SIGKILL to the parent, to it and all of its processes, or to one of its jobs."""
        jobs = self.jobs()
        if what == "a job":
            targets = [luck.choice(jobs)] if jobs else []
        else:
            targets = [self._process.pid, *(self.processes() if what == "parent and jobs" else ())]
        for pid in targets:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _leads_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def wait_for_rows(folder: Path, command: Command) -> None:
    """Wait until a sweep's first job has begun to train; what it imports before takes longer than the rest."""
    while not any(folder.glob("0_*/metrics.csv")) and not command.ended(0.01):
        pass


def undisturbed(place: Path) -> tuple[list[dict[str, object]], float]:
    """The results of all jobs that nobody killed, and the seconds from the first job to the end."""
    command = Command(place, "hydra.sweep.dir=reference", *SETTINGS)
    wait_for_rows(place / "reference", command)
    began = time.monotonic()
    if command.code() != 0:
        raise RuntimeError(f"the undisturbed sweep failed: {command.said.read_text()}")
    life = time.monotonic() - began
    return [result_of(job.folder) for job in read_sweep(place / "reference").jobs], life


def disturbed(place: Path, reference: list[dict[str, object]], life: float, luck: random.Random, tally: Tally) -> None:
    """Kill a sweep one to three times, go on until it is done, and compare."""
    folder = place / "sweep"
    commands = [Command(place, "hydra.sweep.dir=sweep", *SETTINGS)]
    wait_for_rows(folder, commands[-1])
    for _ in range(luck.randint(1, MOST_KILLS)):
        if commands[-1].ended(luck.random() * life):
            break
        what = luck.choice(["parent", "parent and jobs", "a job"])
        tally.kills[what] += 1
        commands[-1].kill(what, luck)
        if what == "a job":
            continue
        commands[-1].code()
        tally.problems += [problem for job in read_sweep(folder).jobs for problem in broken(job.folder)]
        commands.append(Command(place, "resume=sweep"))
    for _ in range(MOST_RESUMPTIONS):
        if commands[-1].code() == 0:
            break
        commands.append(Command(place, "resume=sweep"))
    else:
        tally.problems.append(f"the sweep does not end: {commands[-1].said.read_text()[-2000:]}")
        return
    for job, expected in zip(read_sweep(folder).jobs, reference, strict=True):
        tally.problems += [f"job {job.number}: {one}" for one in differences(expected, result_of(job.folder))]
        tally.problems += [f"{path} was left half written" for path in half_written(job.folder)]
        resumed = json.loads((job.folder / "summary.json").read_text())["resumed"]
        tally.resumed_jobs += len(resumed)
        tally.from_later_steps += sum(one["step"] > 0 for one in resumed)
    until = time.monotonic() + PATIENCE
    while (left := [pid for command in commands for pid in command.processes()]) and time.monotonic() < until:
        time.sleep(0.05)
    tally.problems += [f"process {pid} was left" for pid in left]


def main() -> int:
    """Run the test; the exit status says whether all ended alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    luck, tally = random.Random(options.seed), Tally()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        reference, life = undisturbed(place)
        for number in range(options.runs):
            known, kills = len(tally.problems), tally.kills.total()
            while tally.kills.total() == kills and len(tally.problems) == known:  # or it was over before it was killed
                disturbed(place, reference, life, luck, tally)
                shutil.rmtree(place / "sweep")
            print(*tally.problems[known:], sep="\n", end="\n" if tally.problems[known:] else "")
            print(f"sweep {number}: {tally.kills.total()} kills so far, {len(tally.problems)} problems", flush=True)
    print(tally.report(options.runs))
    return int(bool(tally.problems) or (options.runs > 1 and not tally.from_later_steps))


if __name__ == "__main__":
    sys.exit(main())
