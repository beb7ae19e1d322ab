"""What Hydra runs, alone or in a sweep, and what it leaves for the command to tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from ppo_cli.config import TrainConfig, own_modules
from ppo_cli.places import shown
from ppo_cli.plain import to_plain
from ppo_cli.runs.folder import slug

if TYPE_CHECKING:
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


@dataclass
class SweepJob:
    """One combination of a sweep.

    Attributes:
        number: Its place in the order of running.
        overrides: All of its overrides.
        swept: Those in which it differs from other jobs.
        plan: What it is to train, once it has been checked.
        outcome: How it ended; ``None`` if it was not started.
    """

    number: int
    overrides: list[str]
    swept: list[str]
    plan: Plan | None = None
    outcome: Outcome | None = None

    @property
    def label(self) -> str:
        """What it differs in, as one types it."""
        return " ".join(word.lstrip("+") for word in self.swept)

    @property
    def name(self) -> str:
        """Its folder's name: the number keeps it apart from all others, the rest says what it is."""
        return slug("_".join([str(self.number), *(word.lstrip("+") for word in self.swept)]))


@dataclass
class SweepRecord:
    """A sweep that has begun: its folder, its jobs, and whether Ctrl-C stopped it."""

    folder: Path
    jobs: list[SweepJob]
    interrupted: bool = False


@dataclass
class Task:
    """What Hydra runs. It keeps errors instead of raising them, since Hydra prints lines of its own about those.

    Attributes:
        command: The command line, as the run's records keep it.
        plan: What to train next, as it was checked.
        last: How the latest run ended.
        sweep: The sweep, if it is one and was begun.
    """

    command: str
    plan: Plan | None = None
    last: Outcome | None = None
    sweep: SweepRecord | None = None

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
    from ppo_cli.runs.resume import modules_to_name

    found = own_modules(config), modules_to_name(config)
    evaluating, resuming = ([f"{key}={value}" for key, value in names.items()] for names in found)
    return evaluating, resuming
