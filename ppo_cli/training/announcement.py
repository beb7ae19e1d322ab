"""What to know of a run before it begins."""

from __future__ import annotations

import logging

from ppo_cli.envs.families import warn_of_raw_pictures
from ppo_cli.envs.ids import newer_version
from ppo_cli.training.effects import warn_of_no_effect
from ppo_cli.training.plan import Plan
from ppo_cli.training.stretches import warn_of_short_stretches

log = logging.getLogger("ppo_cli")


def announce(plan: Plan, total_timesteps: int, changed: set[str] | None) -> None:
    """Say what may not be as it was meant.

    Args:
        plan: The run's.
        total_timesteps: Steps that it takes, whole iterations.
        changed: In a run that goes on, the settings that are other ones from now on.
    """
    config = plan.config
    if (newer := newer_version(config.env.id)) is not None:
        log.warning("env=%s is out of date; there is env=%s", config.env.id, newer)
    if total_timesteps != config.total_timesteps:
        log.info(
            "total_timesteps=%d is rounded up to %d: whole iterations of buffer_size=%d",
            config.total_timesteps,
            total_timesteps,
            config.buffer_size,
        )
    warn_of_short_stretches(config, total_timesteps)
    warn_of_raw_pictures(config.env)
    warn_of_no_effect(plan, changed)
