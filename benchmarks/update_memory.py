"""Memory that an update of an Atari-shaped rollout takes beside its rows.

``python -m benchmarks.update_memory`` measures rollouts of several sizes, each in a process of its own; the smallest
is one minibatch, which shows what the network takes by itself. Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.config import PPOConfig
from ppo_cli.spec import ObsPart, Spec

ENVS, BATCH, SHAPE = 8, 64, (4, 84, 84)
STEPS = (8, 128, 512)


def main() -> None:
    """Measure rollouts of several sizes, or one in this process."""
    parser = argparse.ArgumentParser(description="Peak memory of an update beside the rollout's rows.")
    parser.add_argument("--steps", type=int, help="measure a rollout of so many steps in this process")
    steps = parser.parse_args().steps
    if steps is not None:
        measure(steps)
        return
    # freed pieces go back to the system at once, so that what counts is what is used, not what is kept for later
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}
    for number in STEPS:
        command = [sys.executable, "-m", "benchmarks.update_memory", "--steps", str(number)]
        subprocess.run(command, check=True, env=environment)


def measure(steps: int) -> None:
    """Fill a rollout and learn from it; prints the peak over what was held before."""
    spec = Spec((ObsPart("", "image", SHAPE, scale=1 / 255),), Spec.simple(1, 6).actions)
    config = PPOConfig(buffer_size=steps * ENVS, batch_size=BATCH, epochs=2)
    agent = PPOAgent.from_spec(spec, config, seed=0, num_envs=ENVS)
    rng = np.random.default_rng(0)
    over = [False] * ENVS
    for _ in range(steps):
        pictures = rng.integers(0, 255, (ENVS, spec.obs_size), dtype=np.uint8)
        agent.memory.append(pictures, rng.integers(0, 6, (ENVS, 1)), rng.normal(size=ENVS), over, over)
    agent.memory.next_observations = pictures
    rows, before = agent.memory["observations"].nbytes / 2**20, resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here
    agent.learn()
    print(f"{rows:6.1f} MiB of rows: the update takes {resident('VmHWM') - before:4.0f} MiB more")


def resident(name: str) -> float:
    """A line of this process's memory, MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


if __name__ == "__main__":
    main()
