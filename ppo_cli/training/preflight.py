"""Before a run: whether it could start, and what stands for every ``auto``; nothing is left on disk."""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.agent.learner import sequence_length
from ppo_cli.algorithm.acceleration import choose_compile, choose_threads
from ppo_cli.config import TrainConfig, validate, whole_iterations
from ppo_cli.config import show as show_value
from ppo_cli.devices import resolve_device
from ppo_cli.envs.backends import choose_backend
from ppo_cli.envs.make import longest_episode, read_spec, try_out
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.loggers import own_logger
from ppo_cli.networks.actor_critic import ActorCritic
from ppo_cli.networks.distributions import make_head
from ppo_cli.runs.checkpoint import find_checkpoint, load_checkpoint
from ppo_cli.spec import Spec

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
    network = ActorCritic(spec, partial(make_head, spec, config.continuous), config.network)
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


def resolve(config: TrainConfig) -> tuple[TrainConfig, list[str]]:
    """Put what was chosen in the place of every ``auto``; with a reason for each.

    The choices follow from the configuration and from what is installed, so the same command makes the same ones.
    """
    updates = whole_iterations(config.total_timesteps, config.buffer_size) * config.epochs
    updates *= whole_iterations(config.buffer_size, config.batch_size)
    spec = read_spec(config.env)
    network = ActorCritic(spec, partial(make_head, spec, config.continuous), config.network)
    sequence = 1 if config.network.memory is None else sequence_length(config, config.buffer_size // config.num_envs)
    choices: dict[str, tuple[Any, str]] = {
        "vector_backend": choose_backend(config.vector_backend, config.env, spec),
        "threads": choose_threads(config.threads, network.work, config.batch_size),
        "compile": choose_compile(config.compile, resolve_device(config.device), updates, sequence),
        "checkpoint_every": _choose_checkpoint_every(config),
    }
    reasons = [f"{key}={show_value(value)} ({reason})" for key, (value, reason) in choices.items()]
    return dataclasses.replace(config, **{key: value for key, (value, _) in choices.items()}), reasons


STRETCH = 10  # longest episodes of each environment that should fit between two scheduled checkpoints, or more
CHECKPOINT_EVERY = 100_000


def _choose_checkpoint_every(config: TrainConfig) -> tuple[int | None, str]:
    """Steps between scheduled checkpoints, which cut the episodes in progress.

    Cuts that lie far apart change nothing about what is learnt; close ones would show the agent the beginnings of
    episodes more often than their ends.
    """
    if config.checkpoint_every != "auto":
        assert not isinstance(config.checkpoint_every, str)
        return config.checkpoint_every, "as asked"
    least = _shortest_stretch(config)
    if least > CHECKPOINT_EVERY:
        return least, f"{STRETCH} of the longest episodes in each environment"
    return CHECKPOINT_EVERY, f"at least {STRETCH} of the longest episodes in each environment" if least else "as usual"


def _shortest_stretch(config: TrainConfig) -> int:
    """Steps between checkpoints below which their cuts are felt; 0 where episodes have no limit."""
    return STRETCH * (longest_episode(config.env) or 0) * config.num_envs


def warn_of_raw_pictures(config: TrainConfig) -> None:
    """Say so where an Atari game is learnt from its pictures as they are, which is slow and rarely meant."""
    pictures = config.env.kwargs.get("obs_type") != "ram"
    if config.env.id.rpartition(":")[2].startswith("ALE/") and pictures and not config.env.wrappers:
        log.warning("%s is learnt from its raw pictures; preset=atari has the usual preprocessing", config.env.id)


def warn_of_short_stretches(config: TrainConfig, total_timesteps: int) -> None:
    """Say so where checkpoints lie so close together that their cuts are felt."""
    every, least = config.checkpoint_every, _shortest_stretch(config)
    if isinstance(every, int) and every < min(least, total_timesteps):
        log.warning(
            "checkpoint_every=%d leaves each environment less than %d of its longest episodes between two checkpoints, "
            "which cut them: their late parts are seen less often; checkpoint_every=%d would not disturb learning",
            every,
            STRETCH,
            least,
        )
