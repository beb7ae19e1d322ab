"""Before a run: whether it could start, leaving nothing on disk, and what to know of it."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.algorithm.objectives import own_objective
from ppo_cli.config import TrainConfig
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.loggers.hub import check_installed, own_logger
from ppo_cli.runs.checkpoint import find_checkpoint, load_checkpoint
from ppo_cli.trackers import TRACKERS
from ppo_cli.training.callbacks import callback_classes
from ppo_cli.training.plan import Plan, Planner
from ppo_cli.training.rewards import transform_class

log = logging.getLogger("ppo_cli")


def preflight(config: TrainConfig, planner: Planner | None = None) -> Plan:
    """Find out whether a run could start, without leaving anything on disk, and plan it.

    Args:
        config: The run's settings.
        planner: What has planned other runs before, and knows what they have in common.

    Raises:
        ConfigError: if a value, the environment, the device, a logger, a part of the user's or ``init_from`` does not
            fit.
    """
    planner = planner or Planner()
    plan = planner.plan(config)
    config = plan.asked
    for name in config.logger:
        if ":" in name:
            planner.once(f"logger {name}", lambda name=name: own_logger(name))  # type: ignore[misc]
        elif name in TRACKERS:
            planner.once(f"logger {name}", lambda name=name: check_installed(name))  # type: ignore[misc]
    if ":" in config.objective:
        planner.once(f"objective {config.objective}", lambda: own_objective(config.objective))
    callback_classes(config)
    transform_class(config)
    if config.init_from is not None:
        state = load_checkpoint(find_checkpoint(config.init_from, key="init_from"))["agent"]
        PPOAgent.from_spec(plan.spec, config, seed=0, device=plan.device).load_weights(state)
    return plan


def check_writable(folder: Path, typed: str) -> None:
    """See that a run could write into a folder, or make it.

    Args:
        folder: Which.
        typed: How it came to be this one, for the message.

    Raises:
        ConfigError: if it could not.
    """
    whole = folder.absolute()
    existing = next(parent for parent in (whole, *whole.parents) if parent.exists())
    try:  # to write is the only sure way to know: root passes every check of permissions, even where nobody can write
        with tempfile.TemporaryDirectory(dir=existing):
            return
    except OSError as error:
        what = f"{typed} cannot be written: {existing}: {error.strerror}"
        key = typed.partition("=")[0]
        here = existing == Path.cwd() or whole.is_relative_to(Path("outputs").absolute())
        other = f"{key}=<a folder that you can write to>"
        fix = other if here or key != "output_dir" else "output_dir=outputs, or another folder of yours"
        raise ConfigError(Problem(what, fix)) from error
