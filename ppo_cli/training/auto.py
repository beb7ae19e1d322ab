"""What stands for every ``auto``, and why."""

from __future__ import annotations

import os
import shutil
from typing import NamedTuple

import torch

from ppo_cli.agent.learner import sequence_length
from ppo_cli.config import AS_ASKED, TrainConfig, whole_iterations
from ppo_cli.training.stretches import CHECKPOINT_EVERY, STRETCH, shortest_stretch


def count_updates(config: TrainConfig) -> tuple[int, int]:
    """Gradient steps that a run takes, and the steps that each goes back through a recurrent layer."""
    updates = whole_iterations(config.total_timesteps, config.buffer_size) * config.epochs
    updates *= whole_iterations(config.buffer_size, config.batch_size)
    steps = config.buffer_size // config.num_envs
    return updates, 1 if config.network.recurrent is None else sequence_length(config, steps)


def choose_checkpoint_every(config: TrainConfig) -> tuple[int | str | None, str]:
    """Steps between scheduled checkpoints, which cut the episodes in progress.

    Cuts that lie far apart change nothing about what is learnt; close ones would show the agent the beginnings of
    episodes more often than their ends. Where no limit of episodes is known, ``auto`` remains: how far is far follows
    from the episodes that are seen.
    """
    if config.checkpoint_every != "auto":
        return config.checkpoint_every, AS_ASKED
    least = shortest_stretch(config)
    if not least:
        return "auto", f"{CHECKPOINT_EVERY}, or {STRETCH} of the longest episodes seen in each environment"
    if least > CHECKPOINT_EVERY:
        return least, f"{STRETCH} of the longest episodes in each environment"
    return CHECKPOINT_EVERY, f"at least {STRETCH} of the longest episodes in each environment"


class Costs(NamedTuple):
    """Fixed constants behind ``auto``; ``python -m benchmarks.update_cost`` measures them."""

    thread_pays: int  # multiplications in the largest layer's product of a minibatch that keep a thread busy
    compile_seconds: float  # to compile the gradient step with nothing cached
    saved_seconds: float  # by a compiled gradient step over an eager one: dispatch, whatever the network's size
    compile_seconds_more: float  # per step of a recurrent layer's sequence
    saved_seconds_more: float  # likewise

    def of_compiling(self, sequence: int) -> float:
        """Seconds that it takes, with nothing cached, to compile a step that goes back through ``sequence`` steps."""
        return self.compile_seconds + (sequence - 1) * self.compile_seconds_more


COMPILES_SINCE = (2, 13)
"""The first PyTorch in which a loop around a gradient has been seen to compile."""


COSTS = Costs(
    thread_pays=4_000_000,
    compile_seconds=24.0,
    saved_seconds=0.8e-3,
    compile_seconds_more=2.0,
    saved_seconds_more=0.2e-3,
)


CLEAR_GAIN = 1.5  # saved time over compile time from which auto compiles: both are estimates


def choose_threads(wanted: int | str, work: int, batch_size: int) -> tuple[int, str]:
    """Intra-op threads for a network whose largest layer makes ``work`` multiplications a row, and why."""
    if isinstance(wanted, int):
        return wanted, AS_ASKED
    largest = work * batch_size
    busy = min(torch.get_num_threads(), largest // COSTS.thread_pays)
    if busy > 1:
        return busy, f"{largest:,} multiplications in the largest layer"
    return 1, "small products gain nothing from waiting for a second thread"


def choose_compile(wanted: bool | str, device: torch.device, updates: int, sequence: int = 1) -> tuple[bool, str]:
    """Whether to compile a gradient step that is taken ``updates`` times, and why.

    Args:
        wanted: ``auto``, or what it is to be.
        device: Where it runs.
        updates: How often.
        sequence: Steps that it goes back through a recurrent layer; 1 where there is none.
    """
    missing = _missing_compiler(device)
    if wanted is False:
        return False, AS_ASKED
    if missing:
        return False, missing
    if wanted is True:
        return True, AS_ASKED
    if device.type == "cuda":
        return True, "on a GPU the gradient step is recorded, which takes no time"
    saved = updates * (COSTS.saved_seconds + (sequence - 1) * COSTS.saved_seconds_more)
    cost = COSTS.of_compiling(sequence)
    pays = saved > CLEAR_GAIN * cost
    verdict = "clearly more" if pays else "not clearly more"
    return pays, f"{updates:,} updates save about {saved:.0f} s, {verdict} than the {cost:.0f} s that compiling costs"


def _missing_compiler(device: torch.device) -> str:
    """Why the gradient step cannot be compiled here; empty if it can. On a GPU it is recorded, which needs nothing."""
    if device.type == "cuda":
        return ""
    if device.type != "cpu":
        return f"the compiled gradient step is for CPUs, and device={device}"
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < COMPILES_SINCE:
        return f"PyTorch {torch.__version__} cannot compile the gradient step; {'.'.join(map(str, COMPILES_SINCE))} can"
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler here ({compiler}), so the gradient step is not compiled"
    return ""
