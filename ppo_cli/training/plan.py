"""One plan per run: its settings with nothing left open, and all that was found out about its environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import torch

from ppo_cli.agent.learner import AT_ONCE
from ppo_cli.config import EnvConfig, TrainConfig, show
from ppo_cli.devices import resolve_device
from ppo_cli.envs.backends import choose_backend
from ppo_cli.envs.inspect import Inspection, inspect
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.networks.actor_critic import ActorCritic, make_network
from ppo_cli.places import kept_folder
from ppo_cli.plain import as_data
from ppo_cli.spec import Spec
from ppo_cli.training.auto import choose_checkpoint_every, choose_compile, choose_threads, count_updates
from ppo_cli.validation import validate

Found = TypeVar("Found")


class PlannedConfig(TrainConfig):
    """Settings in which every ``auto`` has given way to what it means here.

    That of ``checkpoint_every`` stays where it follows from the episodes that will be seen.
    """

    threads: int
    compile: bool
    vector_backend: str


@dataclass(frozen=True)
class Plan:
    """What trainer, preflight and evaluations need to know of a run before it begins.

    Attributes:
        config: Its settings.
        asked: The settings as they were asked for.
        inspection: What was found out about its environment.
        reasons: Why each setting that may be ``auto`` is as it is, by name.
        from_preset: The settings, by dotted key, that nobody set but a preset.
    """

    config: PlannedConfig
    asked: TrainConfig
    inspection: Inspection
    reasons: Mapping[str, str]
    from_preset: frozenset[str] = frozenset()

    @property
    def spec(self) -> Spec:
        """The rows of observations and actions."""
        return self.inspection.spec

    def lines(self) -> list[str]:
        """What was chosen for each setting that may be ``auto``, and why."""
        return [f"{key}={show(getattr(self.config, key))} ({reason})" for key, reason in self.reasons.items()]

    @property
    def device(self) -> torch.device:
        """Where tensors live."""
        return resolve_device(self.config.device)


class Planner:
    """Makes plans; what several of them have in common, such as an environment, is found out once.

    The choices follow from the configuration and from what is installed, so the same command makes the same ones.
    """

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    @kept_folder()
    def plan(self, config: TrainConfig) -> Plan:
        """The plan of a run.

        Raises:
            ConfigError: if a value, the device, the environment or the network does not fit.
        """
        config = as_data(config)
        validate(config)
        device = resolve_device(config.device)
        inspection = self._inspection(config.env)
        network = make_network(inspection.spec, config)
        _check_memory(config, inspection.spec, network)
        choices: dict[str, tuple[Any, str]] = {
            "vector_backend": self.once(
                f"backend {config.vector_backend} {config.env!r}",
                lambda: choose_backend(config.vector_backend, config.env, inspection),
            ),
            "threads": choose_threads(config.threads, network.work, config.batch_size),
            "compile": choose_compile(config.compile, device, *count_updates(config)),
            "checkpoint_every": choose_checkpoint_every(config),
        }
        chosen = {key: value for key, (value, _) in choices.items()}
        settings = {item.name: getattr(config, item.name) for item in fields(TrainConfig)}
        reasons = {key: reason for key, (_, reason) in choices.items()}
        return Plan(PlannedConfig(**settings | chosen), config, inspection, reasons)

    def _inspection(self, env: EnvConfig) -> Inspection:
        return self.once(f"environment {env!r}", lambda: inspect(env))

    def once(self, what: str, find: Callable[[], Found]) -> Found:
        """What ``find`` finds, or that it cannot, looked for the first time that ``what`` is asked for.

        Raises:
            ConfigError: as ``find`` does, each time.
        """
        if what not in self._known:
            try:
                self._known[what] = find()
            except ConfigError as error:
                self._known[what] = error
        if isinstance(self._known[what], ConfigError):
            raise self._known[what]
        found: Found = self._known[what]
        return found


def _check_memory(config: TrainConfig, spec: Spec, network: ActorCritic) -> None:
    """See that network and rollout fit into this machine, before any of it is made."""
    row = (spec.obs_size + network.state_size) * np.dtype(spec.obs_dtype).itemsize
    rows = config.buffer_size + min(config.buffer_size, max(config.batch_size, AT_ONCE // row))
    needs = {  # parameters, two moments and a gradient; all rows in the memory, some on their way to the network
        f"network.hidden_sizes={show(config.network.hidden_sizes)}": 4 * 4 * network.num_parameters,
        f"buffer_size={config.buffer_size}": row * rows,
    }
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # Windows
        return
    problems = [
        Problem(f"{setting} needs {need / 2**30:,.0f} GiB, and this machine has {there / 2**30:,.0f}", "a smaller one")
        for setting, need in needs.items()
        if need > there
    ]
    if problems:
        raise ConfigError(problems)
