"""Where a run's time goes, beside the bound that the network's arithmetic alone would set.

``python -m benchmarks.profile`` profiles the work W1; ``--compile`` with the compiled gradient step.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.throughput import W1
from ppo_cli import EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.loggers.hub import make_loggers
from ppo_cli.training.plan import Planner
from ppo_cli.training.trainer import Trainer

ITERATIONS, WARM_UP = 5, 2
PARTS = {
    "environment": ("vector.py", "step"),
    "inference": ("actor.py", "act"),
    "values and log-probs": ("learner.py", "fill_in"),
    "update": ("learner.py", "learn"),
    "evaluation": ("trainer.py", "evaluate"),
    "saving": ("trainer.py", "save"),
}
LOGGING = {("csv.py", "log"), ("tensorboard.py", "log"), ("lines.py", "log"), ("curves.py", "log")}


def main() -> None:
    """Profile some iterations and print shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    spec = {**W1, "compile": arguments.compile}
    env, network = EnvConfig(spec.pop("env")), NetworkConfig(**spec.pop("network"))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(env=env, network=network, eval_every=None, normalize_value=False, **spec)
        loggers = make_loggers(config, Path(folder), False)
        trainer = Trainer(Planner().plan(config), Path(folder), loggers)
        trainer.total_timesteps = WARM_UP * config.buffer_size
        trainer.run()
        before, began = trainer.progress.step, time.perf_counter()
        _iterate(trainer)
        speed = (trainer.progress.step - before) / (time.perf_counter() - began)
        profile = cProfile.Profile()
        profile.runcall(_iterate, trainer)
        trainer.close({"status": "finished", "step": 0, "final_return": None, "best_return": None, "best_step": None})
    _show(profile)
    print(f"\n{speed:,.0f} steps/s without the profiler")
    print(f"{_bound(trainer):,.0f} steps/s if the matrix products of the updates alone took time")


def _iterate(trainer: Trainer) -> None:
    for _ in range(ITERATIONS):
        row = trainer.iterate()
        row["time/elapsed"] = 0.0
        trainer.hub.log(row)


def _show(profile: cProfile.Profile) -> None:
    stats = pstats.Stats(profile)
    seconds = dict.fromkeys((*PARTS, "logging"), 0.0)
    for (file, _, function), (_, _, _, cumulative, _) in stats.stats.items():  # type: ignore[attr-defined]
        place = (Path(file).name, function)
        for part, wanted in PARTS.items():
            if place == wanted and "ppo_cli" in file:
                seconds[part] += cumulative
        if place in LOGGING and "loggers" in file:
            seconds["logging"] += cumulative
    total: float = stats.total_tt  # type: ignore[attr-defined]
    seconds["bookkeeping"] = total - sum(seconds.values())
    for part, spent in seconds.items():
        print(f"{part:>22}  {100 * spent / total:5.1f} %")


def _bound(trainer: Trainer) -> float:
    """Steps per second if the update were only its matrix products, at the rate measured for one such product."""
    network, config = trainer.agent.policy.network, trainer.config
    batch = config.batch_size
    weights = sum(torch.Size(shape).numel() for name, shape in network.shapes.items() if name.endswith("weight"))
    left, right = torch.randn(batch, 64), torch.randn(64, 64)
    began, repeats = time.perf_counter(), 2000
    for _ in range(repeats):
        left @ right
    per_multiplication = (time.perf_counter() - began) / repeats / (batch * 64 * 64)
    per_row = 3 * weights * per_multiplication  # forward, by inputs, by weights
    return 1.0 / (config.epochs * per_row)


if __name__ == "__main__":
    main()
