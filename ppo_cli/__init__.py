"""PPO from scratch: an experiment tool for the command line and a small library.

``from ppo_cli import PPOAgent, train, evaluate`` imports torch only when one of them is first used.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as typing has it, in whose place ``python -m ppo_cli`` would find a typing.py of the user's
if TYPE_CHECKING:
    from typing import Any

    from ppo_cli.agent.agent import PPOAgent
    from ppo_cli.config import EnvConfig, EvalConfig, NetworkConfig, TrainConfig
    from ppo_cli.training.callbacks import Callback
    from ppo_cli.training.evaluate import EvalResult, evaluate
    from ppo_cli.training.result import TrainResult
    from ppo_cli.training.rewards import RewardTransform
    from ppo_cli.training.run import resume, train

__version__ = "0.1.0"

_HOMES = {
    "Callback": "training.callbacks",
    "EnvConfig": "config",
    "EvalConfig": "config",
    "EvalResult": "training.evaluate",
    "NetworkConfig": "config",
    "PPOAgent": "agent.agent",
    "RewardTransform": "training.rewards",
    "TrainConfig": "config",
    "TrainResult": "training.result",
    "evaluate": "training.evaluate",
    "resume": "training.run",
    "train": "training.run",
}

__all__ = [
    "Callback",
    "EnvConfig",
    "EvalConfig",
    "EvalResult",
    "NetworkConfig",
    "PPOAgent",
    "RewardTransform",
    "TrainConfig",
    "TrainResult",
    "evaluate",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
