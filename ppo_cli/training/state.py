"""What a checkpoint holds of a run beside its agent, and the way back from there."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ppo_cli.plain import to_plain
from ppo_cli.runs.progress import read_run
from ppo_cli.runs.summary import as_json

if TYPE_CHECKING:
    from ppo_cli.training.trainer import Trainer


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
