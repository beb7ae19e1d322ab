"""From a trial's settings to its jobs, checked and frozen as those of any sweep."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ppo_cli.config import show
from ppo_cli.search.folder import SearchFolder
from ppo_cli.search.space import value_of
from ppo_cli.sweep.extend import is_setting, with_settings
from ppo_cli.sweep.jobs import Job, add_jobs, check_kept, job_name
from ppo_cli.sweep.shares import cold_program, settled
from ppo_cli.training.plan import Planner
from ppo_cli.training.preflight import preflight

TRIAL, SEED = "trial", "seed"


class Maker:
    """Makes jobs.

    Args:
        folder: The search.
        cores: How many processor cores each job has; ``None`` for all.
        here: Whether they run on this machine, where what they compile can be known.
        first: The number of the next job.
    """

    def __init__(self, folder: SearchFolder, cores: int | None, here: bool, first: int) -> None:
        self._folder, self._cores, self._here, self._number = folder, cores, here, first
        self._planner = Planner()

    def make(self, trial: int, settings: Mapping[str, Any], seed: int) -> Job:
        """A job with its folder.

        Args:
            trial: The trial's number.
            settings: What it runs with, by dotted key.
            seed: The job's seed.

        Raises:
            ConfigError: if it could not run.
        """
        base = self._folder.base(settings)
        own = {key: value for key, value in settings.items() if is_setting(key)}
        config = with_settings(base.config, {**own, SEED: seed})
        check_kept(config)
        new = {key for key, value in own.items() if key not in base.from_preset or value != value_of(base.config, key)}
        plan = dataclasses.replace(preflight(config, self._planner), from_preset=base.from_preset - new)
        words = [f"{TRIAL}={trial}", *(f"{key}={show(value)}" for key, value in settings.items()), f"{SEED}={seed}"]
        job = Job(
            number=self._number,
            label=" ".join(words),
            swept={TRIAL: trial, **settings, SEED: seed},
            config=settled(plan, self._cores),
            folder=self._folder.folder / job_name(self._number, [words[0], words[-1]]),
            from_preset=plan.from_preset,
            cold=cold_program(plan) if self._here else None,
        )
        add_jobs([job])
        self._number += 1
        return job
