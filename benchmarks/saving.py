"""What checkpoints cost: the share of a default run that goes into writing them and building environments anew.

``python -m benchmarks.saving`` trains with the default arguments; other settings follow as ``key=value``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ppo_cli.config import TrainConfig
from ppo_cli.hydra_ext.app import config_of
from ppo_cli.hydra_ext.argv import parse
from ppo_cli.hydra_ext.compose import prepare
from ppo_cli.training.run import train
from ppo_cli.training.trainer import Trainer


def main() -> None:
    """Train, and report."""
    prepare()
    words = ["hyperparameters=default", *sys.argv[1:]]
    config = config_of(parse(words, TrainConfig), "train", TrainConfig)
    spent = {"checkpoint": [0.0, 0.0], "save": [0.0, 0.0]}

    def timed(name: str) -> Callable[..., Any]:
        method = getattr(Trainer, name)

        def wrapper(trainer: Trainer, *arguments: Any) -> Any:
            began = time.perf_counter()
            result = method(trainer, *arguments)
            spent[name][0] += 1
            spent[name][1] += time.perf_counter() - began
            return result

        return wrapper

    for name in spent:
        setattr(Trainer, name, timed(name))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        result = train(config, Path(folder) / "run", show=False)
        total = time.perf_counter() - began
    scheduled, others = spent["checkpoint"], spent["save"]
    print(f"{result.step:,} steps of {config.env.id} in {total:.1f} s")
    print(f"{scheduled[0]:.0f} scheduled checkpoints, environments built anew: {scheduled[1]:.2f} s")
    print(f"{others[0]:.0f} other saves (best, last): {others[1]:.2f} s")
    print(f"together {100 * (scheduled[1] + others[1]) / total:.2f} % of the run")


if __name__ == "__main__":
    main()
