"""Environments stepped side by side, and what a step led to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from ppo_cli.algorithm.finite import count_choices
from ppo_cli.algorithm.rollout import FinalObservations, ObsRows
from ppo_cli.config import EnvConfig
from ppo_cli.envs.backends import build, mismatch
from ppo_cli.envs.calls import EnvCall, EnvCalls
from ppo_cli.envs.edge import SUCCESS_KEY
from ppo_cli.envs.inspect import Inspection
from ppo_cli.envs.spaces import MASK_KEY, Codec
from ppo_cli.envs.workers import LOST, WorkerError, Workers
from ppo_cli.errors import ConfigError, Problem, RunError
from ppo_cli.seeding import stream_seed

log = logging.getLogger("ppo_cli")


class Transition(NamedTuple):
    """What one vector step led to."""

    observations: ObsRows  # (envs, obs_size) to act on next
    rewards: npt.NDArray[np.floating[Any]]  # (envs,)
    terminated: npt.NDArray[np.bool_]  # (envs,)
    truncated: npt.NDArray[np.bool_]  # (envs,) and not terminated
    ended: npt.NDArray[np.bool_] | None  # (envs,) terminated or truncated; None: none is
    starts: npt.NDArray[np.bool_] | None  # (envs,) whose ``observations`` begin an episode; None: none does
    valid: npt.NDArray[np.bool_] | None  # (envs,) false where the step only fetched an observation; None: all are
    finals: FinalObservations | None  # of the truncated, where ``observations`` begins the next episode already
    successes: dict[int, bool]  # by environment, of the episodes that ended and say whether the task was solved


class VectorEnv:
    """One interface to vector environments of every habit of starting the next episode.

    With SAME_STEP, an episode's last step returns the next one's first observation, and the true last one beside it.
    With NEXT_STEP, it returns the true last observation, and the step after it, whose action is ignored, fetches the
    next episode's first one: such a step is no transition, and ``Transition.valid`` says so. With DISABLED, episodes
    that ended are reset here, within the step.

    If a process that steps an environment dies, all are built anew where ``env.restart_crashed`` says so, and every
    episode is cut short at its last observation.

    Args:
        backend: ``native``, ``envpool``, ``sync`` or ``async``.
        config: The environment.
        inspection: What was found out about it.
        seeds: One per environment.
        autoreset: The habit of those that are built here, ``sync`` and ``async``.
        calls: What they are told once they are built; :meth:`call` adds to it.
        all_finals: Give the last observations of terminated episodes too, not of truncated ones alone.
    """

    def __init__(
        self,
        backend: str,
        config: EnvConfig,
        inspection: Inspection,
        seeds: Sequence[int],
        autoreset: AutoresetMode = AutoresetMode.SAME_STEP,
        *,
        calls: EnvCalls | None = None,
        all_finals: bool = False,
    ) -> None:
        self.num_envs = len(seeds)
        self._backend, self._config, self._inspection, self._seeds = backend, config, inspection, list(seeds)
        spec = self._spec = inspection.spec
        self._autoreset = autoreset
        self._restarts = 0
        self.calls = EnvCalls() if calls is None else calls
        self._all_finals = all_finals
        self._build(self._seeds)
        self._mode = self._envs.metadata.get("autoreset_mode")
        if reason := mismatch(config, spec, self._envs):
            self._envs.close()
            raise ConfigError(Problem(f"vector_backend={backend}: {reason}", "vector_backend=sync"))
        masks = [columns for part, columns in spec.obs_columns() if part.kind == "mask"]
        self._aside = masks[0] if spec.mask in ("info", "method") else None  # columns of masks beside observations
        self._codec = Codec(spec, self._envs.single_observation_space, self._envs.single_action_space)
        self._ended, self._fetching = np.zeros(self.num_envs, np.bool_), False  # where the next step only fetches
        self._shown: ObsRows = np.empty((self.num_envs, spec.obs_size), spec.obs_dtype)

    @property
    def fetches(self) -> bool:
        """Whether some steps are no transitions, but only fetch an episode's first observation."""
        return bool(self._mode == AutoresetMode.NEXT_STEP)

    def _build(self, seeds: list[int]) -> None:
        self._envs, self._reset_seed = build(self._backend, self._config, self._inspection, seeds, self._autoreset)
        for call in self.calls:
            self._call(call)

    def call(self, name: str, /, *args: Any, in_evaluation: bool = False, **kwargs: Any) -> list[Any]:
        """Call a method of every environment by name, or read an attribute.

        What was called last under a name is called again on environments that are built anew: at checkpoints, after a
        resume, where one is restarted and, if asked for, in evaluations.

        Args:
            name: Of the method, which may be a wrapper's.
            *args: What it is called with: numbers, texts, and lists and mappings of them.
            in_evaluation: Tell evaluations' environments the same from now on.
            **kwargs: As ``args``.

        Returns:
            What each environment answered.

        Raises:
            RunError: if the backend holds no Python environments, they have nothing of that name, or an argument cannot
                be kept.
        """
        if self._backend not in ("sync", "async"):
            what = f"vector_backend={self._backend} has no Python environments, so {name} cannot be called on them"
            raise RunError(Problem(what, "vector_backend=sync"))
        call, before = EnvCall(name, args, kwargs, in_evaluation), self.calls.state_dict()
        self.calls.keep(call)
        try:
            return self._call(call)
        except Exception:  # it would fail again wherever environments are built anew
            self.calls.load_state_dict(before)
            raise

    def _call(self, call: EnvCall) -> list[Any]:
        try:
            return list(self._envs.call("call", call))
        except WorkerError as error:
            fix = f"an environment, or a wrapper, with a method {call.name} that takes this"
            raise RunError(Problem(str(error), fix)) from error

    def reset(self) -> ObsRows:
        """Seed and reset every environment; returns observations (envs, obs_size).

        Raises:
            RunError: if an environment in a process of its own raised, or its process died.
        """
        try:
            return self._reset()
        except (WorkerError, *LOST) as error:
            self._bear(error, "reset")
        return self._start_over()

    def _reset(self) -> ObsRows:
        observations, infos = self._envs.reset(seed=self._reset_seed)
        self._ended, self._fetching = np.zeros(self.num_envs, np.bool_), False
        self._shown = self._pack(observations, infos)
        return self._shown

    def step(self, actions: ObsRows, out: ObsRows | None = None) -> Transition:
        """Apply actions (envs, action_size) in the environment's units.

        Args:
            actions: What to do.
            out: (envs, obs_size) Where the observations to act on next are put, if not into an array of their own. It
                may be written to again once the next step is done.

        Raises:
            RunError: as :meth:`reset`.
        """
        try:
            result = self._step(actions, out)
        except (WorkerError, *LOST) as error:
            self._bear(error, "step")
            result = self._cut()
            if out is not None:
                out[:] = result.observations
                result = result._replace(observations=out)
        self._shown = result.observations
        return result

    def _step(self, actions: ObsRows, out: ObsRows | None) -> Transition:
        observations, rewards, terminated, truncated, infos = self._envs.step(self._codec.unpack(actions))
        ended = terminated | truncated
        any_ended = bool(np.count_nonzero(ended))
        cut = truncated & ~terminated if any_ended else truncated
        starts = valid = finals = None
        if self._mode == AutoresetMode.NEXT_STEP:
            if self._fetching:
                starts = self._ended
                valid = ~starts
            self._ended, self._fetching = ended, any_ended
        rows = self._pack(observations, infos, out)
        if any_ended and self._aside is not None and self._mode != AutoresetMode.SAME_STEP:
            rows[ended] = self._with_choice(rows[ended])
        if any_ended and self._mode != AutoresetMode.NEXT_STEP:
            starts = ended
            where = (ended if self._all_finals else cut).nonzero()[0]
            if self._mode == AutoresetMode.DISABLED:
                if len(where):
                    finals = FinalObservations(where, rows[where])
                rows[ended] = self._pack(*self._envs.reset(options={"reset_mask": ended.copy()}))[ended]
            elif len(where):
                masks = self._told_at_end(MASK_KEY, infos, ended)
                lasts = [self._codec.pack_one(infos["final_obs"][env], {}, masks.get(int(env))) for env in where]
                finals = FinalObservations(where, self._with_choice(np.concatenate(lasts)))
        told = self._told_at_end(SUCCESS_KEY, infos, ended) if any_ended else {}
        solved = {env: bool(success) for env, success in told.items()}
        ends = ended if any_ended else None
        return Transition(rows, rewards, terminated, cut, ends, starts, valid, finals, solved)

    def _told_at_end(self, key: str, infos: dict[str, Any], ended: npt.NDArray[np.bool_]) -> dict[int, Any]:
        """What the infos of the steps that ended episodes say, by environment."""
        if self._mode == AutoresetMode.SAME_STEP:
            infos = infos.get("final_info", {})
        if not isinstance(infos, dict) or key not in infos:
            return {}
        told = infos.get(f"_{key}", ended)
        return {int(env): infos[key][env] for env in (ended & told).nonzero()[0]}

    def _with_choice(self, lasts: ObsRows) -> ObsRows:
        """Last observations of episodes; a mask beside one that allows nothing any more gives way to one of ones."""
        if self._aside is not None:
            empty = (count_choices(self._spec, lasts[:, self._aside] > 0) == 0).any(1)
            lasts[empty, self._aside] = 1
        return lasts

    def _cut(self) -> Transition:
        """Build all environments anew; every episode that was in progress is cut short where it was last seen."""
        cut, finals = ~self._ended, None
        if cut.any():
            where = cut.nonzero()[0]
            finals = FinalObservations(where, self._shown[where])
        valid = None if cut.all() else cut
        rows = self._start_over()
        none, all_ = np.zeros(self.num_envs, np.bool_), np.ones(self.num_envs, np.bool_)
        ends = cut if cut.any() else None
        return Transition(rows, np.zeros(self.num_envs), none, cut, ends, all_, valid, finals, {})

    def _start_over(self) -> ObsRows:
        self._restarts += 1
        self._build([stream_seed(seed, "restart", self._restarts) for seed in self._seeds])
        try:
            return self._reset()
        except (WorkerError, *LOST) as error:
            raise self._failure(error, "reset") from error

    def _bear(self, error: Exception, method: str) -> None:
        """Go on after an error, where that is wanted and can be done."""
        failure = self._failure(error, method)
        if isinstance(error, WorkerError) or not self._config.restart_crashed:
            raise failure from error
        log.warning("%s; all environments are built anew", failure.problems[0].what)

    def _failure(self, error: Exception, method: str) -> RunError:
        """What an error in a process, or its death, is to the person; of other errors, those themselves."""
        fix = "env.restart_crashed=true, which builds it anew and goes on"
        if self._config.restart_crashed:
            fix = "an environment that survives being built anew"
        if isinstance(error, WorkerError):
            return RunError(Problem(str(error), error.fix or fix))
        dead = self._envs.terminate_all() if isinstance(self._envs, Workers) else []
        if not dead:  # an environment of this very process lost a connection of its own
            raise error
        which = " and ".join(f"the process of environment {index} died ({how})" for index, how in dead)
        return RunError(Problem(f"{which} in {method}()", fix))

    def close(self) -> None:
        """Close every environment."""
        self._envs.close()

    def _pack(self, observations: Any, infos: dict[str, Any], out: ObsRows | None = None) -> ObsRows:
        masks = None
        if self._aside is not None and MASK_KEY in infos:
            # where an environment gave no mask, Gymnasium's batch of them holds zeros
            gave = infos.get(f"_{MASK_KEY}", np.ones(self.num_envs, np.bool_))
            masks = [mask if given else None for mask, given in zip(infos[MASK_KEY], gave, strict=True)]
        elif self._spec.mask == "method":  # of a vector program, which shows no masks in its infos
            masks = self._envs.call("action_masks")
        return self._codec.pack(observations, infos, masks, out)
