"""Environments that say where they raised, and may be built anew."""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import gymnasium as gym

from ppo_cli.envs.calls import EnvCall, EnvCalls
from ppo_cli.envs.spaces import MASK_KEY
from ppo_cli.errors import Problem, RunError, UserError, add_note
from ppo_cli.seeding import stream_seed

log = logging.getLogger("ppo_cli")


class RestartOnError(gym.Wrapper[Any, Any, Any, Any]):
    """Says of an error in which environment and in what it was raised and, if asked to, builds that one anew.

    An environment that was built anew ends its episode there, cut short, with the last observation that there was and
    its mask.

    Args:
        make: Builds the environment, wrappers and all.
        index: Its number among those that step side by side.
        restart: Go on after an error.
    """

    def __init__(self, make: Callable[[], gym.Env[Any, Any]], index: int, restart: bool) -> None:
        super().__init__(make())
        self._make, self._index, self._restart = make, index, restart
        self._seed: int | None = None
        self._restarts = 0
        self._last: tuple[Any, dict[str, Any]] = (None, {})
        self._calls = EnvCalls()

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment does."""
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
        except UserError:  # it gave what it must not, and would again
            raise
        except Exception as error:
            self._add_note(error, "step")
            if not self._restart:
                raise
            self._warn(error, "step")
        else:
            self._keep(observation, info)
            return observation, reward, terminated, truncated, info
        observation, info = self._last
        self._rebuild()
        self._begin(stream_seed(self._seed or 0, "restart", self._restarts), None)
        return observation, 0.0, False, True, info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the environment does."""
        self._seed = self._seed if seed is None else seed
        try:
            return self._begin(seed, options)
        except UserError:
            raise
        except Exception as error:
            if not self._restart:
                raise
            self._warn(error, "reset")
        self._rebuild()
        return self._begin(seed, options)

    def call(self, call: EnvCall) -> Any:
        """Call a method by name, or read an attribute; one built anew is told the same again.

        Raises:
            RunError: if the environment has nothing of that name.
        """
        result = self._call(call)
        self._calls.keep(call)
        return result

    def _call(self, call: EnvCall) -> Any:
        if not self.env.has_wrapper_attr(call.name):
            what = f"the environment has no {call.name} to call"
            raise RunError(Problem(what, f"an environment, or a wrapper, with a method {call.name}"))
        found = self.env.get_wrapper_attr(call.name)
        try:
            return found(*call.args, **call.kwargs) if callable(found) else found
        except Exception as error:
            self._add_note(error, call.name)
            raise

    def _begin(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        try:
            observation, info = self.env.reset(seed=seed, options=options)
        except UserError:
            raise
        except Exception as error:
            self._add_note(error, "reset")
            raise
        self._keep(observation, info)
        return observation, info

    def _keep(self, observation: Any, info: dict[str, Any]) -> None:
        """Remember the last observation and its mask: a copy, for one that breaks may have written into it before."""
        if self._restart:
            self._last = deepcopy((observation, {key: info[key] for key in (MASK_KEY,) if key in info}))

    def _add_note(self, error: Exception, method: str) -> None:
        add_note(error, f"in {method}() of environment {self._index}")

    def _warn(self, error: Exception, method: str) -> None:
        told = f"{type(error).__name__}: {error}"
        log.warning("environment %d raised in %s() and is built anew: %s", self._index, method, told)
        log.debug("its traceback", exc_info=error)

    def _rebuild(self) -> None:
        try:
            self.env.close()
        except Exception:  # it is broken already
            log.debug("a broken environment could not be closed", exc_info=True)
        self._restarts += 1
        self.env = self._make()
        for call in self._calls:
            self._call(call)
