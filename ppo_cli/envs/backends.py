"""Which program steps the environments, and how each is built."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from ppo_cli import cores
from ppo_cli.config import AS_ASKED, EnvConfig
from ppo_cli.envs.families import arguments_of, atari_arguments, name_of, registered
from ppo_cli.envs.inspect import Inspection
from ppo_cli.envs.make import make_env
from ppo_cli.envs.spaces import MASK_KEY, describe
from ppo_cli.envs.workers import Workers, in_process
from ppo_cli.errors import ConfigError, Problem, RunError
from ppo_cli.spec import Spec

Built = tuple[Any, Any]
"""A vector environment, and what its ``reset`` takes as seed."""


def _native(config: EnvConfig, _: Inspection, seeds: list[int], __: AutoresetMode) -> Built:
    arguments = atari_arguments(config) or arguments_of(config)
    envs = gym.make_vec(config.id, len(seeds), vectorization_mode="vector_entry_point", **arguments)
    # a head made for a space chooses nothing outside it, and to look again takes a quarter of CartPole's step
    space = copy(envs.unwrapped.action_space)
    vars(space)["contains"] = lambda _: True
    with suppress(AttributeError):  # some make theirs anew whenever it is asked for
        envs.unwrapped.action_space = space
    return envs, seeds[0]  # one seed serves all its environments


def _envpool(config: EnvConfig, _: Inspection, seeds: list[int], __: AutoresetMode) -> Built:
    import envpool  # type: ignore[import-not-found,unused-ignore]

    arguments = {**arguments_of(config), **_kept_apart(len(seeds))}
    envs = envpool.make_gymnasium(name_of(config.id), num_envs=len(seeds), seed=seeds, **arguments)
    envs.observation_space  # noqa: B018 - made when first asked for, with warnings that are to fall here
    return envs, None


def _kept_apart(num_envs: int) -> dict[str, int]:
    """A thread for each processor, and each kept on its own, where EnvPool would use them all anyway.

    Left to itself, the kernel often wakes two of them on one processor. A pool of fewer threads is left alone, since
    those of several runs would all be kept on the same first processors; so is a process that may not use them all.
    A job of a sweep has as many threads as its share of the processors, and none is kept anywhere.
    """
    if (share := cores.share()) is not None:
        return {"num_threads": min(share, num_envs)}
    count = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return {"num_threads": count, "thread_affinity_offset": 0} if allowed == count <= num_envs else {}


def _sync(config: EnvConfig, inspection: Inspection, seeds: list[int], autoreset: AutoresetMode) -> Built:
    spaces = (inspection.observations, inspection.actions)
    make = partial(make_env, config, spec=inspection.spec, spaces=spaces)
    makers = [partial(make, index=index) for index in range(len(seeds))]
    return SyncVectorEnv(makers, copy=False, autoreset_mode=autoreset), seeds


def _async(config: EnvConfig, inspection: Inspection, seeds: list[int], autoreset: AutoresetMode) -> Built:
    makers = [partial(in_process, config, index, seed, os.getpid(), inspection) for index, seed in enumerate(seeds)]
    try:
        return Workers(makers, config.start_timeout, copy=False, autoreset_mode=autoreset), seeds
    except OSError as error:  # too many processes, or files
        what = f"vector_backend=async: the processes of {len(seeds)} environments cannot be started: {error}"
        raise RunError(Problem(what, "a smaller num_envs, or vector_backend=sync")) from error


_BUILDERS = {"native": _native, "envpool": _envpool, "sync": _sync, "async": _async}


def choose_backend(wanted: str, config: EnvConfig, inspection: Inspection) -> tuple[str, str]:
    """The backend that ``vector_backend=wanted`` means here, and why.

    ``auto`` takes the environment's own vector program, then EnvPool where it is installed and knows the environment,
    then Gymnasium's loop. Processes are never taken unasked: for most environments they cost more than they bring.

    Args:
        wanted: ``auto`` or a backend.
        config: The environment.
        inspection: Its spaces, which a vector program must have too.

    Raises:
        ConfigError: if the wanted one cannot serve this environment.
    """
    if wanted != "auto":
        if wanted in _WHY_NOT and (reason := _reason_against(wanted, config, inspection)):
            raise ConfigError(Problem(f"vector_backend={wanted}: {reason}", "vector_backend=auto"))
        return wanted, AS_ASKED
    reasons = []
    for backend in _WHY_NOT:  # asked one by one, for EnvPool takes a second or two to import
        reason = _reason_against(backend, config, inspection)
        if not reason:
            return backend, f"{config.id} has it, and it is the fastest"
        reasons.append(reason)
    return "sync", "; ".join(dict.fromkeys(reasons))


def _reason_against(backend: str, config: EnvConfig, inspection: Inspection) -> str:
    if reason := _WHY_NOT[backend](config):
        return reason
    try:
        envs, _ = build(backend, config, inspection, [0])
    except Exception as error:  # whatever a vector program raises, it cannot serve
        return f"{config.id} cannot be built there: {error}"
    try:
        return mismatch(config, inspection.spec, envs) or _missing_masks(config, inspection.spec, envs)
    finally:
        envs.close()


def _missing_masks(config: EnvConfig, spec: Spec, envs: Any) -> str:
    """Whether a vector program leaves the masks out that the environment itself gives."""
    if spec.mask == "method" and not callable(getattr(envs, "call", None)):
        return f"{config.id} has no action_masks() there"
    if spec.mask == "info" and MASK_KEY not in envs.reset()[1]:
        return f"{config.id} gives no action masks there"
    return ""


def build(
    backend: str,
    config: EnvConfig,
    inspection: Inspection,
    seeds: list[int],
    autoreset: AutoresetMode = AutoresetMode.SAME_STEP,
) -> Built:
    """Environments stepped side by side, one per seed; ``autoreset`` is for those that Gymnasium steps one by one."""
    with warnings.catch_warnings():
        # outdated ids are answered in one place, and to what type EnvPool casts its bounds is nobody's concern
        warnings.simplefilter("ignore")
        return _BUILDERS[backend](config, inspection, seeds, autoreset)


def mismatch(config: EnvConfig, spec: Spec, envs: Any) -> str:
    """How a vector program shows something else than the environment itself does; empty if it does not."""
    mode = envs.metadata.get("autoreset_mode")
    if mode not in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED):
        return f"{config.id} has the autoreset mode {mode} there"
    try:
        theirs = describe(config.id, envs.single_observation_space, envs.single_action_space, spec.mask)
    except ConfigError as error:
        return error.problems[0].what
    if _form(spec) == _form(theirs):
        return ""
    shapes = ", ".join(str(part.shape) for part in theirs.observations)
    return f"{config.id} has other spaces there (observations {shapes})"


def _form(spec: Spec) -> list[tuple[Any, ...]]:
    parts: list[tuple[Any, ...]] = [(part.kind, part.shape, part.counts) for part in spec.observations]
    return parts + [(part.kind, part.size, part.counts) for part in spec.actions]


SINGLE_ONLY = ("wrappers", "frame_stack", "restart_crashed")


def _single_only(config: EnvConfig, keys: Sequence[str] = SINGLE_ONLY) -> str:
    """The setting that needs environments of one's own building, if there is one."""
    for key in keys:
        if getattr(config, key):
            return f"env.{key} is for environments that Gymnasium steps one by one"
    return ""


def _why_not_native(config: EnvConfig) -> str:
    if reason := _single_only(config, SINGLE_ONLY[2:] if atari_arguments(config) else SINGLE_ONLY):
        return reason
    known = registered(config.id)
    if known is None or known.vector_entry_point is None:
        return f"{config.id} has no vector program of its own"
    return ""


def _why_not_envpool(config: EnvConfig) -> str:
    if importlib.util.find_spec("envpool") is None:
        return "EnvPool is not installed (pip install envpool)"
    if reason := _single_only(config):
        return reason
    if config.kwargs:
        return "EnvPool's environments take other env.kwargs"
    import envpool

    return "" if config.id in envpool.list_all_envs() else f"EnvPool does not know {config.id}"


_WHY_NOT = {"native": _why_not_native, "envpool": _why_not_envpool}
