"""What Hydra runs, and what it leaves for the command to tell."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from ppo_cli.config import TrainConfig, own_modules
from ppo_cli.modules import modules_to_name
from ppo_cli.places import shown
from ppo_cli.plain import to_plain

if TYPE_CHECKING:
    from ppo_cli.search.folder import SearchFolder
    from ppo_cli.search.run import SearchOutcome
    from ppo_cli.sweep.jobs import Job
    from ppo_cli.sweep.scheduler import Outcome as SweepOutcome
    from ppo_cli.training.plan import Plan
    from ppo_cli.training.result import TrainResult


@dataclass(frozen=True)
class Outcome:
    """How a run ended: with a result or with an error.

    Attributes:
        run_dir: The run's folder.
        named: What ppo-eval must be told of the user's own modules.
        named_again: What ppo-train must be told of them to go on with the run.
        result: What the trainer returned.
        error: What it raised.
    """

    run_dir: Path
    named: list[str]
    named_again: list[str]
    result: TrainResult | None = None
    error: BaseException | None = None


@dataclass(frozen=True)
class SweepRecord:
    """A sweep that has ended, or was stopped.

    Attributes:
        outcome: How it ended.
        named: What ppo-eval must be told of the user's own modules in the best job.
        named_again: What ppo-train must be told of those in all jobs to go on with it.
    """

    outcome: SweepOutcome
    named: list[str]
    named_again: list[str]


@dataclass(frozen=True)
class SearchRecord:
    """A search that has ended, or was stopped.

    Attributes:
        outcome: How it ended.
        named: What ppo-eval must be told of the user's own modules in its trials.
        named_again: What ppo-train must be told of those to go on with it.
    """

    outcome: SearchOutcome
    named: list[str]
    named_again: list[str]


@dataclass
class Task:
    """What Hydra runs. It keeps errors instead of raising them, since Hydra prints lines of its own about those.

    Attributes:
        command: The command line, as the run's records keep it.
        plan: What to train next, as it was checked.
        last: How the latest run ended.
        options: The words that are about the sweep as a whole.
        sweep: The sweep, if it was one.
        listed: The jobs of a sweep that was only to be listed.
        search: The search, if it was one.
        space: A search that was only to be listed.
    """

    command: str
    options: list[str] = field(default_factory=list)
    plan: Plan | None = None
    last: Outcome | None = None
    sweep: SweepRecord | None = None
    listed: list[Job] | None = None
    search: SearchRecord | None = None
    space: SearchFolder | None = None

    def __call__(self, _: DictConfig) -> Outcome:
        """Train what was planned, in the folder that Hydra made."""
        from hydra.core.hydra_config import HydraConfig

        from ppo_cli.training.run import train_planned

        run_dir, record = Path(HydraConfig.get().runtime.output_dir), HydraConfig.get().output_subdir
        plan = self.plan
        assert plan is not None
        named = _named(plan.config)
        try:
            if record is not None:  # where it is null, a run's summary.json has its settings
                OmegaConf.save(OmegaConf.create(to_plain(plan.config)), run_dir / record / "config.yaml")
            result = replace(train_planned(plan, run_dir, self.command), run_dir=shown(run_dir))
            self.last = Outcome(shown(run_dir), *named, result=result)
        except (Exception, SystemExit) as error:
            self.last = Outcome(shown(run_dir), *named, error=error)
        return self.last


def resumed(run: Path | str, changes: dict[str, Any], command: str) -> Outcome:
    """Go on with a run in its own folder."""
    from ppo_cli.runs.resume import find_saved
    from ppo_cli.training.run import resume

    saved = find_saved(run, changes)
    named = _named(saved.config)
    try:
        return Outcome(saved.run_dir, *named, result=resume(run, changes, command=command))
    except (Exception, SystemExit) as error:
        return Outcome(saved.run_dir, *named, error=error)


def _named(config: TrainConfig) -> tuple[list[str], list[str]]:
    """What ppo-eval and ppo-train must be told of the user's own modules."""
    found = own_modules(config), modules_to_name(config)
    evaluating, resuming = ([f"{key}={value}" for key, value in names.items()] for names in found)
    return evaluating, resuming
