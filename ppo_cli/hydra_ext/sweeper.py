"""``-m``: compose and check every job, freeze them all in the sweep's folder, and have them run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from ppo_cli.config import TrainConfig
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.hydra_ext import files
from ppo_cli.hydra_ext.compose import Loader, check_named, checked, reusing
from ppo_cli.hydra_ext.launching import launcher_of
from ppo_cli.hydra_ext.renames import with_new_names
from ppo_cli.hydra_ext.sweep_words import grid, options_of
from ppo_cli.hydra_ext.task import SweepRecord, Task
from ppo_cli.launchers import Launcher
from ppo_cli.places import shown
from ppo_cli.plain import to_plain
from ppo_cli.sweep.engines import missing
from ppo_cli.sweep.grid import swept
from ppo_cli.sweep.grid import words as typed_words
from ppo_cli.sweep.jobs import Axis, Job, SweepFolder, add_jobs, job_name
from ppo_cli.sweep_config import OPTIONS, SweepConfig


class Sweep(Sweeper):
    """Hydra's door to ``ppo_cli.sweep``: all jobs are checked before a folder is made, and run as they were checked."""

    def __init__(self, params: dict[str, Any] | None = None) -> None:
        self._params = dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over; the task carries the sweep's results out of it."""
        assert isinstance(task_function, Task)
        self._loads, self._config, self.task = hydra_context.config_loader, config, task_function

    def sweep(self, arguments: list[str]) -> None:
        """Check all jobs, then run them until the last or a signal.

        Raises:
            ConfigError: if any job cannot run; then none is started and no folder made.
        """
        in_file = [f"{key}={value}" for key, value in self._params.items()]
        own = {key: value for key, value in self._plain_root().items() if key in OPTIONS}
        options, asked, problems = options_of(self.task.options, own)
        launcher, wrong = self._launcher()
        problems += [*wrong, *self._unheard(), *missing(launcher, options)]
        check_named("hydra.sweep.dir", self._config.hydra.sweep.dir)
        folder = Path(self._config.hydra.sweep.dir).absolute()
        words = with_new_names([*in_file, *arguments], TrainConfig)
        axes, jobs = self._checked(words, options, launcher, folder, problems)
        if options.dry_run:
            self.task.listed = [job for job, _ in jobs]
            return
        frozen = tuple(job for job, _ in jobs)
        self._run(SweepFolder(folder, self.task.command, tuple(axes), asked, frozen, launcher=launcher), options, jobs)

    def _run(self, sweep: SweepFolder, options: SweepConfig, jobs: list[tuple[Job, list[str]]]) -> None:
        from ppo_cli.hydra_ext.sweeps import modules_of
        from ppo_cli.runs.resume import modules_to_name
        from ppo_cli.sweep.start import alone, run_sweep

        sweep.folder.mkdir(parents=True, exist_ok=True)
        with alone(sweep.folder):
            try:
                with (sweep.folder / "multirun.yaml").open("x", encoding="utf-8") as file:  # of several, one makes it
                    OmegaConf.save(self._config, file)
            except FileExistsError as error:
                name = shown(sweep.folder)
                fix = f"ppo-train -m resume={name}, or hydra.sweep.dir=<another folder>"
                raise ConfigError(Problem(f"{name} holds a sweep already", fix)) from error
            add_jobs(sweep.jobs)
            for job, words in jobs:
                self._record(job, words)
            sweep.write()  # the last, so that what can be gone on with is whole
            named = {job.number: tuple(modules_to_name(job.config)) for job in sweep.jobs}
            outcome = run_sweep(sweep, options, named, self.task.command)
        self.task.sweep = SweepRecord(outcome, *modules_of(sweep.jobs, outcome.views))

    def _record(self, job: Job, words: list[str]) -> None:
        """Hydra's own record of a job, unless somebody does without."""
        inside = self._config.hydra.output_subdir
        if inside is None:
            return
        (job.folder / inside).mkdir(exist_ok=True)
        OmegaConf.save(OmegaConf.create(to_plain(job.config)), job.folder / inside / "config.yaml")
        OmegaConf.save(OmegaConf.create(words), job.folder / inside / "overrides.yaml")

    def _plain_root(self) -> Mapping[str, Any]:
        keys: list[Any] = [key for key in self._config if key in OPTIONS]
        found = OmegaConf.to_container(OmegaConf.masked_copy(self._config, keys), resolve=True)
        assert isinstance(found, dict)
        return {str(key): value for key, value in found.items()}

    def _launcher(self) -> tuple[Launcher, list[Problem]]:
        """What is to start the jobs, and what is wrong with it."""
        told = OmegaConf.to_container(self._config.hydra.launcher, resolve=True)
        assert isinstance(told, dict)
        given = {str(key): value for key, value in told.items() if key != "name"}
        return launcher_of(str(self._config.hydra.runtime.choices.get("hydra/launcher")), given)

    def _unheard(self) -> list[Problem]:
        """What of Hydra's own settings would not be done as it was asked."""
        problems = []
        own = OmegaConf.to_container(self._config.hydra.sweep, resolve=False)
        assert isinstance(own, dict)
        if own["subdir"] != "${hydra.job.num}":
            what = f"hydra.sweep.subdir={own['subdir']}: jobs' folders are named by their number and what differs"
            problems.append(Problem(what, "hydra.sweep.dir=<a folder for all of them>"))
        return problems

    def _checked(
        self,
        arguments: list[str],
        options: SweepConfig,
        launcher: Launcher,
        folder: Path,
        problems: list[Problem],
    ) -> tuple[list[Axis], list[tuple[Job, list[str]]]]:
        """Compose and check all jobs; problems that several share are told once."""
        from ppo_cli.hydra_ext.checking import Checker
        from ppo_cli.sweep.local import warm_up
        from ppo_cli.sweep.shares import cold_program, divide, settled

        try:
            found = grid(OverridesParser.create(config_loader=self._loads), arguments, options.zip)
        except ConfigError as error:
            raise ConfigError([*problems, *error.problems]) from error
        here = type(launcher) is Launcher
        if here and not options.dry_run and not problems:
            warm_up()
        sides = list(found.jobs())
        load = reusing(TrainConfig, self._load)
        checker = Checker(folder, options, launcher)
        for number, (choices, words) in enumerate(sides):
            checker.check(number, " ".join(typed_words(choices)), partial(_composed, load, words))
        plans = checker.plans(problems)
        shares = divide(options, [plan.asked for plan in plans], launcher)
        jobs = []
        for number, (plan, (choices, words)) in enumerate(zip(plans, sides, strict=True)):
            texts = typed_words(choices)
            job = Job(
                number=number,
                label=" ".join(texts),
                swept=swept(choices),
                config=settled(plan, shares.cores),
                folder=folder / job_name(number, texts),
                from_preset=plan.from_preset,
                cold=cold_program(plan) if here else None,
            )
            jobs.append((job, words))
        return found.axes, jobs

    def _load(self, words: list[str]) -> DictConfig:
        config = self._loads.load_sweep_config(self._config, words)
        theirs = config.hydra.sweeper.get("params") or {}
        if theirs != self._params:
            keys = ", ".join(map(str, theirs))
            what = f"a file that is swept over has hydra.sweeper.params of its own ({keys}), which would not be heard"
            raise ConfigError(Problem(what, "a sweep for each of these files"))
        return config


def _composed(load: Loader, words: list[str]) -> tuple[TrainConfig, frozenset[str]]:
    config: TrainConfig = checked(TrainConfig, load, words)
    return config, files.from_preset()
