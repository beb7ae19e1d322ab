"""``-m``: compose and check every job, freeze them all in the sweep's folder, and have them run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from ppo_cli.config import TrainConfig
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.hydra_ext import files, preset_files
from ppo_cli.hydra_ext.compose import Loader, check_named, checked, reusing
from ppo_cli.hydra_ext.launching import launcher_of
from ppo_cli.hydra_ext.renames import with_new_names
from ppo_cli.hydra_ext.search_words import search_of, sorted_words, space_words
from ppo_cli.hydra_ext.sweep_words import grid, options_of
from ppo_cli.hydra_ext.task import SweepRecord, Task
from ppo_cli.launchers import Launcher
from ppo_cli.modules import modules_to_name
from ppo_cli.places import shown
from ppo_cli.plain import to_plain
from ppo_cli.runs.names import MULTIRUN_FILE
from ppo_cli.search_config import KEYS, SearchConfig, is_about_search
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
        """Check all jobs, then run them until the last or a signal; or begin a search, and run that.

        Raises:
            ConfigError: if any job cannot run; then none is started and no folder made.
        """
        in_file = [f"{key}={value}" for key, value in self._params.items()]
        root = self._plain_root()
        own = {key: value for key, value in root.items() if key in OPTIONS}
        options, asked, problems = options_of(self.task.options, own)
        launcher, wrong = self._launcher()
        problems += [*wrong, *self._unheard(), *missing(launcher, options)]
        check_named("hydra.sweep.dir", self._config.hydra.sweep.dir)
        search, wrong = search_of(root, arguments)
        problems += wrong
        space = {} if search is None else root.get("search_space") or {}
        words = [*space_words(space), *in_file]
        words = with_new_names([*words, *(word for word in arguments if not is_about_search(word))], TrainConfig)
        folder = Path(self._config.hydra.sweep.dir).absolute()
        sweep = SweepFolder(folder, self.task.command, (), asked, (), launcher=launcher)
        if search is not None:
            self._search(sweep, search, options, words, problems)
            return
        axes, jobs = self._checked(words, options, launcher, folder, problems)
        if options.dry_run:
            self.task.listed = [job for job, _ in jobs]
            return
        frozen = tuple(job for job, _ in jobs)
        self._run(dataclasses.replace(sweep, axes=tuple(axes), jobs=frozen), options, jobs)

    def _run(self, sweep: SweepFolder, options: SweepConfig, jobs: list[tuple[Job, list[str]]]) -> None:
        from ppo_cli.hydra_ext.sweeps import modules_of
        from ppo_cli.sweep.start import run_sweep

        with self._begun(sweep.folder):
            add_jobs(sweep.jobs)
            for job, words in jobs:
                self._record(job, words)
            sweep.write()  # the last, so that what can be gone on with is whole
            named = {job.number: tuple(modules_to_name(job.config)) for job in sweep.jobs}
            outcome = run_sweep(sweep, options, named, self.task.command)
        self.task.sweep = SweepRecord(outcome, *modules_of(sweep.jobs, outcome.views))

    def _search(
        self,
        sweep: SweepFolder,
        search: SearchConfig,
        options: SweepConfig,
        words: list[str],
        problems: list[Problem],
    ) -> None:
        from ppo_cli.hydra_ext import searches
        from ppo_cli.sweep.checking import Checker

        problems += searches.unfit(sweep.launcher, options)
        load = reusing(TrainConfig, self._load)
        checker = Checker(sweep.folder, options, sweep.launcher)
        try:
            parser = OverridesParser.create(config_loader=self._loads)
            found = searches.planned(
                sorted_words(parser, words, options),
                search,
                sweep.folder,
                lambda own: _composed(load, list(own)),
                lambda label, compose: checker.check(0, label, compose),
            )
        except ConfigError as error:
            raise ConfigError([*problems, *error.problems]) from error
        checker.plans(problems)
        if options.dry_run:
            self.task.space = found
            return
        from ppo_cli.search.run import run_search

        with self._begun(sweep.folder):
            searches.freeze(found, sweep)
            outcome = run_search(sweep, found, options, searches.names(found), self.task.command)
        self.task.search = searches.record_of(outcome, found)

    @contextmanager
    def _begun(self, folder: Path) -> Iterator[None]:
        """Have a new sweep's folder to oneself.

        Raises:
            ConfigError: if it holds a sweep already.
        """
        from ppo_cli.sweep.start import alone

        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            try:
                with (folder / MULTIRUN_FILE).open("x", encoding="utf-8") as file:  # of several, one makes it
                    OmegaConf.save(self._config, file)
            except FileExistsError as error:
                name = shown(folder)
                fix = f"ppo-train -m resume={name}, or hydra.sweep.dir=<another folder>"
                raise ConfigError(Problem(f"{name} holds a sweep already", fix)) from error
            yield

    def _record(self, job: Job, words: list[str]) -> None:
        """Hydra's own record of a job, unless somebody does without."""
        inside = self._config.hydra.output_subdir
        if inside is None:
            return
        (job.folder / inside).mkdir(exist_ok=True)
        OmegaConf.save(OmegaConf.create(to_plain(job.config)), job.folder / inside / "config.yaml")
        OmegaConf.save(OmegaConf.create(words), job.folder / inside / "overrides.yaml")

    def _plain_root(self) -> Mapping[str, Any]:
        keys: list[Any] = [key for key in self._config if key in (*OPTIONS, *KEYS)]
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
        from ppo_cli.sweep.display import busy

        try:
            found = grid(OverridesParser.create(config_loader=self._loads), arguments, options.zip)
        except ConfigError as error:
            raise ConfigError([*problems, *error.problems]) from error
        sides = list(found.jobs())
        with busy("checking the jobs"):
            # which import PyTorch, for a second in which the server does the same
            from ppo_cli.sweep.checking import Checker
            from ppo_cli.sweep.shares import cold_program, divide, settled

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
                cold=cold_program(plan) if type(launcher) is Launcher else None,
            )
            jobs.append((job, words))
        return found.axes, jobs

    def _load(self, words: list[str]) -> DictConfig:
        config = preset_files.compose(words, lambda: self._loads.load_sweep_config(self._config, words))
        theirs = config.hydra.sweeper.get("params") or {}
        if theirs != self._params:
            keys = ", ".join(map(str, theirs))
            what = f"a file that is swept over has hydra.sweeper.params of its own ({keys}), which would not be heard"
            raise ConfigError(Problem(what, "a sweep for each of these files"))
        return config


def _composed(load: Loader, words: list[str]) -> tuple[TrainConfig, frozenset[str]]:
    config: TrainConfig = checked(TrainConfig, load, words)
    return config, files.from_preset()
