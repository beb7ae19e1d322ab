"""An environment whose process comes to a bad end, in one of the ways that there are."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

STRIKES_AT = 400
"""The step of the process, over all its environments, at which it happens."""
MENDED = Path("mended")
"""Where this file is, nothing happens any more."""
_steps = 0


class Peril(gymnasium.Env[Any, Any]):
    """Eight steps an episode; ``kind`` says what happens, ``pause`` how many seconds a step takes.

    One that crawls is slow from there on, until a process of the sweep's first job has ended.
    """

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, kind: str = "none", pause: float = 0.0) -> None:
        self._kind, self._pause, self._steps = kind, pause, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        global _steps
        _steps += 1
        self._steps += 1
        if _steps == STRIKES_AT and not MENDED.exists():
            strike(self._kind)
        if self._kind == "crawl" and _steps >= STRIKES_AT and not list(Path("sweep").glob("0_*/attempts.json")):
            time.sleep(0.05)
        time.sleep(self._pause)
        return self._observation(), float(action), self._steps == 8, False, {}

    def _observation(self) -> Any:
        return self.np_random.uniform(-1.0, 1.0, 2).astype(np.float32)


def strike(kind: str) -> None:
    """Come to an end of that kind; of one that is none, say so."""
    print(f"something happens: {kind}")
    if kind == "raise":
        raise RuntimeError("the wheel fell off")
    if kind == "os._exit":
        os._exit(3)
    if kind == "sys.exit":
        sys.exit(5)
    if kind == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "memory":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))
        np.ones(2**35, np.uint8)
    if kind == "worker":  # whoever has started the server that this process comes from
        MENDED.touch()
        told = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2]
        os.kill(int(told.split()[1]), signal.SIGKILL)
    if kind == "hang":
        time.sleep(1000)


gymnasium.registry.pop("Peril-v0", None)  # of the test before
gymnasium.register("Peril-v0", entry_point=Peril)
