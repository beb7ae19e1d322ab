"""Before a run: whether it could start, and what stands for every ``auto``; nothing is left on disk."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import numpy as np

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.config import TrainConfig
from ppo_cli.config import show as show_value
from ppo_cli.devices import resolve_device
from ppo_cli.envs.backends import choose_backend
from ppo_cli.envs.inspect import read_spec, try_out
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.loggers.hub import own_logger
from ppo_cli.networks.actor_critic import make_network
from ppo_cli.runs.checkpoint import find_checkpoint, load_checkpoint
from ppo_cli.spec import Spec
from ppo_cli.validation import validate

log = logging.getLogger("ppo_cli")


def preflight(config: TrainConfig) -> None:
    """Find out whether a run could start, without leaving anything on disk.

    Raises:
        ConfigError: if a value, the environment, the device, a logger or ``init_from`` does not fit.
    """
    validate(config)
    device = resolve_device(config.device)
    spec = read_spec(config.env)
    _check_memory(config, spec)
    agent = PPOAgent.from_spec(spec, config, seed=0, device=device)
    choose_backend(config.vector_backend, config.env, spec)
    try_out(config.env)
    for name in config.logger:
        if ":" in name:
            own_logger(name)
    if config.init_from is not None:
        state = load_checkpoint(find_checkpoint(config.init_from, key="init_from"))["agent"]
        agent.load_weights(state)


def _check_memory(config: TrainConfig, spec: Spec) -> None:
    """See that network and rollout fit into this machine, before any of it is made."""
    network = make_network(spec, config)
    row = (spec.obs_size + network.state_size) * np.dtype(spec.obs_dtype).itemsize
    needs = {  # parameters, two moments and a gradient; rows once in the memory and once on their way to the network
        f"network.hidden_sizes={show_value(config.network.hidden_sizes)}": 4 * 4 * network.num_parameters,
        f"buffer_size={config.buffer_size}": 2 * row * config.buffer_size,
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


def check_writable(folder: Path, typed: str) -> None:
    """See that a run could write into a folder, or make it.

    Args:
        folder: Which.
        typed: How it came to be this one, for the message.

    Raises:
        ConfigError: if it could not.
    """
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:  # to write is the only sure way to know: root passes every check of permissions, even where nobody can write
        with tempfile.TemporaryDirectory(dir=existing):
            return
    except OSError as error:
        what = f"{typed} cannot be written: {existing}: {error.strerror}"
        raise ConfigError(Problem(what, "output_dir=outputs, or another folder of yours")) from error
