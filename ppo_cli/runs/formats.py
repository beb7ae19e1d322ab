"""The formats that checkpoints have had, and the step from each to the next: a file of any of them is read for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ppo_cli.algorithm.moments import from_zero
from ppo_cli.config import PPOConfig, TrainConfig
from ppo_cli.plain import up_to_date

FORMAT_VERSION = 3
"""What is written.

1: the first. 2: the recurrent layer's parameters are ``recurrent.*``, not ``memory.*``. 3: running means are counted
from a first sample, a spec knows 64-bit numbers, and value targets are normalised by a moving average.
"""


def current(payload: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint of any format holds, as one that is written today would; what does not fit is left as it is.

    ``format_version`` goes on saying which it was.
    """
    for version in range(payload["format_version"], FORMAT_VERSION):
        STEPS[version](payload["agent"])
    agent, run = payload["agent"], payload["run"]
    agent = {**agent, "config": up_to_date(PPOConfig, agent["config"])} if "config" in agent else agent
    run = {**run, "config": up_to_date(TrainConfig, run["config"])} if run and "config" in run else run
    return {**payload, "agent": agent, "run": run}


def told(version: int) -> str | None:
    """What whoever goes on with a run must know of a checkpoint of that format."""
    if version > 2:
        return None
    statistics = "the running statistics were taken over, and those of normalize_value forget from now on"
    return f"the checkpoint is of an earlier version of ppo-cli: {statistics}"


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


def _count_from_a_first_sample(agent: dict[str, Any]) -> None:
    spec, normalizers = agent.get("spec"), agent.get("normalizers")
    parts = spec.get("observations") if isinstance(spec, dict) else None
    for part in parts if isinstance(parts, list | tuple) else ():
        if isinstance(part, dict) and "floating" in part:
            part.setdefault("measured", part.pop("floating"))
    if isinstance(normalizers, dict):
        for name, section in normalizers.items():
            if isinstance(section, dict) and isinstance(section.get("mean"), Tensor):
                normalizers[name] = from_zero(section)


STEPS: dict[int, Callable[[dict[str, Any]], None]] = {1: _name_the_recurrent_layer, 2: _count_from_a_first_sample}
"""By the format they start from, what changes an agent's state into the next one's."""
