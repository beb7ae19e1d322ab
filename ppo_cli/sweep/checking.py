"""The jobs of a sweep, checked before the first folder is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ppo_cli.config import TrainConfig
from ppo_cli.devices import is_device
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.launchers import Launcher, Ray, Slurm
from ppo_cli.sweep.jobs import check_kept
from ppo_cli.sweep_config import SweepConfig
from ppo_cli.training.plan import Plan, Planner
from ppo_cli.training.preflight import check_writable, preflight


class Checker:
    """Finds out of each job whether it could run, and tells all that is wrong at once.

    Args:
        folder: The sweep's folder.
        options: How its jobs are to be run.
        launcher: What is to start them; a cluster may have devices that this machine has not.
    """

    def __init__(self, folder: Path, options: SweepConfig, launcher: Launcher) -> None:
        self._folder, self._options = folder, options
        self._elsewhere = isinstance(launcher, Slurm | Ray)
        self._planner = Planner()
        self._found: dict[Problem, list[tuple[int, str]]] = {}
        self._plans: list[Plan] = []
        self._total = 0

    def check(self, number: int, label: str, compose: Callable[[], tuple[TrainConfig, frozenset[str]]]) -> None:
        """Compose and plan a job; what is wrong with it is kept for later."""
        self._total += 1
        try:
            config, from_preset = compose()
            inside = self._folder.is_relative_to(Path(config.output_dir).absolute())
            typed = f"output_dir={config.output_dir}" if inside else f"hydra.sweep.dir={self._folder}"
            self._planner.once("folder", partial(check_writable, self._folder, typed))
            config.resume = None
            check_kept(config)
            if self._options.job_timeout is not None and "csv" not in config.logger:
                what = "job_timeout waits for rows of metrics.csv, and logger= writes none"
                raise ConfigError(Problem(what, "logger=csv, or the same without job_timeout="))
            self._plans.append(dataclasses.replace(self._plan(config), from_preset=from_preset))
        except ConfigError as error:
            for problem in error.problems:
                self._found.setdefault(problem, []).append((number, label))

    def _plan(self, config: TrainConfig) -> Plan:
        if not self._elsewhere or not is_device(config.device):
            return preflight(config, self._planner)
        plan = preflight(dataclasses.replace(config, device="cpu"), self._planner)
        return dataclasses.replace(plan, asked=dataclasses.replace(plan.asked, device=config.device))

    def plans(self, others: list[Problem]) -> list[Plan]:
        """The plans of all jobs.

        Args:
            others: What is wrong with the sweep itself.

        Raises:
            ConfigError: if anything is wrong with any; what several share is told once.
        """
        problems = [*others, *_with_jobs(self._found, self._total)]
        if problems:
            raise ConfigError(problems)
        return self._plans


def _with_jobs(found: dict[Problem, list[tuple[int, str]]], total: int) -> Iterator[Problem]:
    for problem, jobs in found.items():
        if len(jobs) == total:
            yield problem
        elif len(jobs) == 1:
            yield Problem(f"job {jobs[0][0]} ({jobs[0][1]}): {problem.what}", problem.fix)
        else:
            numbers = ", ".join(str(number) for number, _ in jobs)
            yield Problem(f"jobs {numbers} of {total}: {problem.what}", problem.fix)
