"""What a checkpoint holds of a run beside its agent, and the way back from there."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from ppo_cli.agent.state import read_description
from ppo_cli.plain import to_plain
from ppo_cli.runs.progress import read_run
from ppo_cli.runs.summary import as_json
from ppo_cli.spec import Spec

if TYPE_CHECKING:
    from ppo_cli.training.trainer import Trainer

log = logging.getLogger("ppo_cli")


def state_dict(trainer: Trainer) -> dict[str, Any]:
    """Settings, counts, the last evaluation and episodes, and what the user's parts keep."""
    evaluation = trainer.evaluation
    return {
        "config": to_plain(trainer.config),
        "progress": dataclasses.asdict(trainer.progress),
        "evaluation": None if evaluation is None else dataclasses.asdict(evaluation),
        "episodes": dataclasses.asdict(trainer.episode_statistics.state_dict()),
        "stop_reason": trainer.stop_reason,
        "calls": trainer.calls.state_dict(),
        "callbacks": trainer.callbacks.state_dict(),
        "rewards": trainer.rewards.state_dict(),
    }


def spec_of(spec: Spec, saved: dict[str, Any]) -> Spec:
    """The spec with which a run goes on: what it has not standardised so far stays as it is.

    Raises:
        CheckpointError: if its checkpoint has none.
    """
    _, before = read_description(saved["agent"])
    if not spec.same_spaces(before) or spec.measured_as(before) == spec:
        return spec
    log.warning("whole numbers are standardised in new runs, and in this one they are not, as when it began")
    return spec.measured_as(before)


def restore(trainer: Trainer, saved: dict[str, Any]) -> None:
    """Be where the run was that a scheduled checkpoint was saved of.

    Raises:
        CheckpointError: if anything is missing or of another kind.
    """
    trainer.agent.load_state_dict(saved["agent"])
    run = saved["run"]
    found = read_run(run)
    trainer.progress, trainer.evaluation = found.progress, found.evaluation
    trainer.episode_statistics.load_state_dict(found.episodes)
    trainer.calls.load_state_dict(run.get("calls", []))
    trainer.callbacks.load_state_dict(run.get("callbacks", {}))
    trainer.rewards.load_state_dict(run.get("rewards", {}))
    if as_json(run["config"]) == as_json(to_plain(trainer.config)):
        # so it ended here; whoever changes a setting wants it to go on
        trainer.stop_if_good_enough()
        if run.get("stop_reason") is not None:
            trainer.stop(str(run["stop_reason"]))
