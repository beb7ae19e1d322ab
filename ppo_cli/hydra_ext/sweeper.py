"""``-m``: check every job, run them one after another, keep going, and tell how each one ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from ppo_cli.config import TrainConfig
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.hydra_ext import files
from ppo_cli.hydra_ext.compose import Loader, check_named, checked, reusing
from ppo_cli.hydra_ext.renames import with_new_names
from ppo_cli.hydra_ext.task import Outcome, SweepJob, SweepRecord, Task
from ppo_cli.runs.folder import claim


class Sweep(BasicSweeper):
    """Hydra's cartesian sweep with all jobs checked first and none of their results lost."""

    def __init__(self, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.task: Task | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep the task: it carries the sweep's results out of Hydra."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        assert isinstance(task_function, Task)
        self.task = task_function

    def sweep(self, arguments: list[str]) -> None:
        """Check all jobs, then run one after another until the last or Ctrl-C.

        Raises:
            ConfigError: if any job cannot run; then none is started and no folder made.
        """
        assert self.config is not None
        assert self.task is not None
        jobs = self._jobs(with_new_names(self._parse_config() + arguments, TrainConfig))
        check_named("hydra.sweep.dir", self.config.hydra.sweep.dir)
        folder = Path(self.config.hydra.sweep.dir)
        self._check(jobs, folder)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with (folder / "multirun.yaml").open("x", encoding="utf-8") as file:  # of several sweeps, one makes it
                OmegaConf.save(self.config, file)
        except FileExistsError as error:
            fix = "hydra.sweep.dir=<another folder>"
            raise ConfigError(Problem(f"{folder} holds a sweep already", fix)) from error
        self.task.sweep = record = SweepRecord(folder, jobs)
        try:
            for job in jobs:
                print(f"\n-- job {job.number} ({job.number + 1} of {len(jobs)}): {job.label}", flush=True)
                job.outcome = self._run(job)
                if job.outcome.result is not None and job.outcome.result.status == "interrupted":
                    record.interrupted = True
                    return
        except KeyboardInterrupt:
            record.interrupted = True

    def _jobs(self, arguments: list[str]) -> list[SweepJob]:
        assert self.hydra_context is not None
        parsed = OverridesParser.create(config_loader=self.hydra_context.config_loader).parse_overrides(arguments)
        swept = {override.get_key_element() for override in parsed if override.is_sweep_override()}
        combinations = [list(words) for batch in self.split_arguments(parsed, None) for words in batch]
        if not combinations:
            empty = [word.input_line for word in parsed if word.is_sweep_override() and not any(word.sweep_iterator())]
            what = f"the sweep has no jobs: {', '.join(map(str, empty))} stands for nothing"
            raise ConfigError(Problem(what, "ppo-train -m seed=0,1,2"))
        return [
            SweepJob(number, words, [word for word in words if word.partition("=")[0] in swept])
            for number, words in enumerate(combinations)
        ]

    def _check(self, jobs: list[SweepJob], folder: Path) -> None:
        """Compose and check all jobs; problems that several share are told once."""
        found: dict[Problem, list[SweepJob]] = {}
        from ppo_cli.training.plan import Planner
        from ppo_cli.training.preflight import check_writable, preflight

        load, planner = self._loader(), Planner()
        for job in jobs:
            try:
                config = checked(TrainConfig, load, job.overrides)
                from_preset = files.from_preset()
                inside = folder.is_relative_to(config.output_dir)
                typed = f"output_dir={config.output_dir}" if inside else f"hydra.sweep.dir={folder}"
                planner.once("folder", partial(check_writable, folder, typed))
                config.resume = None
                job.plan = dataclasses.replace(preflight(config, planner), from_preset=from_preset)
            except ConfigError as error:
                for problem in error.problems:
                    found.setdefault(problem, []).append(job)
        if found:
            raise ConfigError(list(_with_jobs(found, len(jobs))))

    def _loader(self) -> Loader:
        assert self.hydra_context is not None
        assert self.config is not None
        load = partial(self.hydra_context.config_loader.load_sweep_config, self.config)
        return reusing(TrainConfig, load)

    def _run(self, job: SweepJob) -> Outcome:
        assert self.launcher is not None
        assert self.task is not None
        assert self.config is not None
        self.task.plan = job.plan
        claim((Path(self.config.hydra.sweep.dir) / job.name).absolute())
        words = [*job.overrides, f"hydra.sweep.subdir='{job.name}'"]
        (returned,) = self.launcher.launch([words], initial_job_idx=job.number)
        outcome: Outcome = returned.return_value
        return outcome


def _with_jobs(found: dict[Problem, list[SweepJob]], total: int) -> Iterator[Problem]:
    for problem, jobs in found.items():
        if len(jobs) == total:
            yield problem
        elif len(jobs) == 1:
            yield Problem(f"job {jobs[0].number} ({jobs[0].label}): {problem.what}", problem.fix)
        else:
            numbers = ", ".join(str(job.number) for job in jobs)
            yield Problem(f"jobs {numbers} of {total}: {problem.what}", problem.fix)
