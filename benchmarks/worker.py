"""One training run in a process of its own, measured from inside; prints one line of JSON.

``python -m benchmarks.worker '{"side": "ours", …}'`` is called by the other modules of this package.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

START = time.perf_counter()
WARM_UP = 2  # iterations that steady speed leaves out: first calls of everything, and compilation


def main() -> None:
    """Run what the argument describes."""
    spec = json.loads(sys.argv[1])
    collecting: list[float] = []
    side = spec.pop("side")
    stamps = _ours(spec, collecting) if side == "ours" else _sb3(spec)
    numbers = _steady(stamps)
    if collecting:
        numbers["collecting"] = statistics.median(collecting[WARM_UP:])
    print(json.dumps({**numbers, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def _steady(stamps: list[tuple[int, float]]) -> dict[str, float]:
    (first_step, first), (last_step, last) = stamps[WARM_UP - 1], stamps[-1]
    return {
        "steps_per_second": (last_step - first_step) / (last - first),
        "seconds_to_first_iteration": stamps[0][1] - START,
        "steps": last_step,
    }


def _ours(spec: dict[str, Any], collecting: list[float]) -> list[tuple[int, float]]:
    """Steps and times at the ends of iterations; appends each one's microseconds a step of collecting."""
    from ppo_cli import EnvConfig, NetworkConfig, TrainConfig
    from ppo_cli.training import run

    stamps: list[tuple[int, float]] = []

    class Clock:
        def start(self, run: object) -> None:
            pass

        def log(self, row: dict[str, Any]) -> None:
            before = stamps[-1][0] if stamps else 0
            stamps.append((row["step"], time.perf_counter()))
            collecting.append(row["time/collect"] / (row["step"] - before) * 1e6)

        def close(self, summary: dict[str, Any]) -> None:
            pass

    usual = run.make_loggers
    run.make_loggers = lambda *args, **more: [*usual(*args, **more), Clock()]
    network = NetworkConfig(**spec.pop("network"))
    env = EnvConfig(spec.pop("env"))
    with tempfile.TemporaryDirectory() as folder:
        spec = {"eval_every": None, "normalize_value": False, **spec}
        config = TrainConfig(env=env, network=network, output_dir=folder, **spec)
        run.train(config, Path(folder) / "run", show=False)
    return stamps


def _sb3(spec: dict[str, Any]) -> list[tuple[int, float]]:
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    threads = spec["threads"]
    if threads != "auto":
        torch.set_num_threads(threads)
    network = spec["network"]
    sizes = network["hidden_sizes"]
    activation = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[network["activation"]]
    stamps: list[tuple[int, float]] = []

    class Clock(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if self.num_timesteps:  # the iteration before is over, update included
                stamps.append((self.num_timesteps, time.perf_counter()))

    model = PPO(
        "MlpPolicy",
        make_vec_env(spec["env"], spec["num_envs"], seed=spec["seed"]),
        learning_rate=spec["lr"],
        n_steps=spec["buffer_size"] // spec["num_envs"],
        batch_size=spec["batch_size"],
        n_epochs=spec["epochs"],
        gamma=spec["gamma"],
        gae_lambda=spec["lam"],
        clip_range=spec["clip_ratio"],
        ent_coef=spec["entropy_coef"],
        policy_kwargs={"net_arch": {"pi": sizes, "vf": sizes}, "activation_fn": activation},
        seed=spec["seed"],
        device="cpu",
    )
    model.learn(spec["total_timesteps"], callback=Clock())
    stamps.append((model.num_timesteps, time.perf_counter()))
    return stamps


if __name__ == "__main__":
    main()
