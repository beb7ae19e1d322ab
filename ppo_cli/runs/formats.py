"""The formats that checkpoints have had, and the step from each to the next: a file of any of them is read for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ppo_cli.config import PPOConfig, TrainConfig
from ppo_cli.plain import up_to_date

FORMAT_VERSION = 2
"""What is written. 1: the first. 2: the recurrent layer's parameters are ``recurrent.*``, not ``memory.*``."""


def current(payload: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint of any format holds, as one that is written today would; what does not fit is left as it is."""
    for version in range(payload["format_version"], FORMAT_VERSION):
        STEPS[version](payload["agent"])
    agent, run = payload["agent"], payload["run"]
    agent = {**agent, "config": up_to_date(PPOConfig, agent["config"])} if "config" in agent else agent
    run = {**run, "config": up_to_date(TrainConfig, run["config"])} if run and "config" in run else run
    return {**payload, "format_version": FORMAT_VERSION, "agent": agent, "run": run}


def _name_the_recurrent_layer(agent: dict[str, Any]) -> None:
    for name in ("parameters", "first_moment", "second_moment"):
        section = agent.get(name)
        if isinstance(section, dict):
            agent[name] = {_in_format_2(key, section): tensor for key, tensor in section.items()}


def _in_format_2(key: Any, section: dict[Any, Any]) -> Any:
    """A parameter's name, unless that is taken: then the file is refused for the one that stays."""
    before, after = "memory.", "recurrent."
    renamed = after + key.removeprefix(before) if isinstance(key, str) and key.startswith(before) else key
    return key if renamed in section else renamed


STEPS: dict[int, Callable[[dict[str, Any]], None]] = {1: _name_the_recurrent_layer}
"""By the format they start from, what changes an agent's state into the next one's."""
