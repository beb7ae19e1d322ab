"""NaN and infinity: whether a run goes on after them, and what is left for whoever wants to know their cause."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.errors import BadNumbersError, BrokenRowsError, Problem
from ppo_cli.places import shown
from ppo_cli.runs.checkpoint import save_checkpoint
from ppo_cli.runs.progress import Progress

log = logging.getLogger("ppo_cli")

MOST_SKIPPED = 10  # updates in a row; whatever is wrong will not mend itself after that


def located(
    error: BadNumbersError, agent: PPOAgent, run: dict[str, Any], before: int, run_dir: Path
) -> BadNumbersError:
    """The error with the step at which it was found, and all there was then in a file.

    Args:
        error: What was found.
        agent: Whose memory still holds the rollout.
        run: What a checkpoint would hold of the run.
        before: Steps up to the rollout.
        run_dir: Where the file goes.
    """
    weights = agent.memory["weights"]  # rows of weight 0 are no steps
    step = before + int(weights[: error.row].sum())
    (problem,) = error.problems
    columns = {name: torch.from_numpy(agent.memory[name]).clone() for name in agent.memory.columns}
    path, fix = run_dir / "postmortem.pt", problem.fix
    try:
        save_checkpoint(path, agent.state_dict(), {**run, "rollout": columns, "found": problem.what, "at": step})
        fix = f"{fix}; {shown(path)} holds the rollout and the agent before it"
    except OSError as unwritten:
        log.error("%s could not be written: %s", path, unwritten)
    return type(error)(Problem(f"{problem.what} at step {step:,}", fix), error.row)


def skip_or_stop(found: BadNumbersError, progress: Progress, on_nan: str) -> None:
    """Leave an update out.

    Raises:
        BadNumbersError: where the run is to stop at bad numbers, or they do not end.
    """
    progress.skipped_in_a_row += 1
    if isinstance(found, BrokenRowsError) or on_nan == "stop" or progress.skipped_in_a_row > MOST_SKIPPED:
        raise found
    log.warning("%s; this update is skipped, and the environments are built anew", found.problems[0].what)
    progress.skipped_updates += 1
