"""What single families of environments need to be told or kept from: Atari, MuJoCo, MiniGrid.

Gymnasium is imported late, so that a command line is read without it.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import re
import sys
from contextlib import suppress
from functools import cache
from typing import Any

from ppo_cli.config import EnvConfig

log = logging.getLogger("ppo_cli")


def listen_to_mujoco(env_id: str) -> None:
    """Let MuJoCo's warnings reach the log, once a process; by itself it prints them and writes a file beside one."""
    known = registered(env_id)
    of_gymnasium = known is not None and str(known.entry_point).startswith("gymnasium.envs.mujoco")
    if of_gymnasium and importlib.util.find_spec("mujoco") is not None:
        with suppress(Exception):  # one that is broken is answered where the environment is built
            importlib.import_module("mujoco")
    mujoco = sys.modules.get("mujoco")  # or somebody else's environment brought it
    if mujoco is not None and mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_mujoco_warns)


@cache
def _log_once(level: int, message: str) -> None:
    log.log(level, "MuJoCo: %s", message)


def _mujoco_warns(message: str) -> None:
    # what it says of old words in a robot's file is for whoever wrote that
    _log_once(logging.DEBUG if "deprecated" in message else logging.WARNING, message.partition(" Time = ")[0])


ATARI_PROGRAM = "ale_py.vector_env:AtariVectorEnv"


def atari_arguments(config: EnvConfig) -> dict[str, Any] | None:
    """What makes ALE's vector program do what ``AtariPreprocessing`` and ``env.frame_stack`` do with one game.

    It does so frame by frame and bit by bit, but for the no-ops that a game begins with: it draws 0 to ``noop_max`` - 1
    of them, and the wrapper 1 to ``noop_max``. Rewards stay whole and games too, as evaluation has them.

    Returns:
        ``None`` where the configuration asks for something else, which only the wrapper can do.
    """
    from gymnasium.vector import AutoresetMode

    known = registered(config.id)
    if known is None or known.vector_entry_point != ATARI_PROGRAM or len(config.wrappers) != 1:
        return None
    entry = config.wrappers[0]
    name, asked = next(iter(entry.items())) if isinstance(entry, dict) else (entry, {})
    preprocessing = {"noop_max": 30, "frame_skip": 4, "screen_size": 84}
    if name != "AtariPreprocessing" or asked.keys() - preprocessing.keys() or config.kwargs.get("frameskip") != 1:
        return None
    preprocessing |= asked
    return {
        **arguments_of(config),
        "frameskip": preprocessing["frame_skip"],
        "maxpool": preprocessing["frame_skip"] > 1,
        "noop_max": preprocessing["noop_max"],
        "img_height": preprocessing["screen_size"],
        "img_width": preprocessing["screen_size"],
        "stack_num": config.frame_stack or 1,
        "use_fire_reset": False,
        "reward_clipping": False,
        "autoreset_mode": AutoresetMode.SAME_STEP,  # no step is spent on fetching an observation
    }


def name_of(env_id: str) -> str:
    """The id without the module that registers it."""
    return env_id.rpartition(":")[2]


def registered(env_id: str) -> Any:
    """What Gymnasium knows of an id; ``None`` also where that leaves its version out."""
    import gymnasium

    return gymnasium.registry.get(name_of(env_id))


def arguments_of(config: EnvConfig) -> dict[str, Any]:
    """What a vector program is built with."""
    limit = {} if config.max_episode_steps is None else {"max_episode_steps": config.max_episode_steps}
    return {**config.kwargs, **limit}


_PACKAGES = {
    "ALE": ("ale_py", 'pip install "gymnasium[atari,other]"'),
    "MiniGrid": ("minigrid", "pip install minigrid"),
    "BabyAI": ("minigrid", "pip install minigrid"),
}
"""Families of ids whose package registers them only when it is imported."""


def import_family(env_id: str) -> None:
    """Import the package that registers this id's family, if it is one that registers nothing before."""
    package, _ = package_of(env_id)
    if package:
        import_error(package)


def package_of(env_id: str) -> tuple[str, str]:
    """The package that brings this id's family, and how it is installed; empty for families that need no import."""
    return _PACKAGES.get(re.split(r"[/-]", env_id)[0], ("", ""))


def import_error(module: str) -> BaseException | None:
    """What importing a module raises; ``None`` if nothing."""
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a stranger's module may raise anything; the answer names that module
        return error
    return None


def warn_of_raw_pictures(config: EnvConfig) -> None:
    """Say so where an Atari game is learnt from its pictures as they are, which is slow and rarely meant."""
    pictures = config.kwargs.get("obs_type") != "ram"
    if name_of(config.id).startswith("ALE/") and pictures and not config.wrappers:
        log.warning("%s is learnt from its raw pictures; preset=atari has the usual preprocessing", config.id)
