"""What a command tells at its end: where things lie, how well it went, and what to type next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ppo_cli.cli.frame import PLAIN_WIDTH, console, one_line
from ppo_cli.errors import CheckpointError, Problem, RunError, UserError
from ppo_cli.places import shown
from ppo_cli.runs.names import CHECKPOINTS_FOLDER, CURVES_FILE, LOG_FILE, SCHEDULED_FILES
from ppo_cli.signals import SIGNALLED
from ppo_cli.streams import plain

UNLIMITED = 10_000
"""Width of a table that goes to a file: nothing in it is folded."""

if TYPE_CHECKING:
    from rich.console import Console

    from ppo_cli.hydra_ext.task import Outcome
    from ppo_cli.training.evaluate import EvalResult


def line_printer(out: Console) -> Callable[..., None]:
    """What prints a line of texts and (text, style), however long, in letters that the stream has."""
    from rich.text import Text

    def say(*parts: str | tuple[str, str]) -> None:
        told = [plain(part, out.encoding) if isinstance(part, str) else part for part in parts]
        out.print(Text.assemble(*told), soft_wrap=True)

    return say


def show_rows(say: Callable[..., None], rows: Mapping[str, str]) -> None:
    """Print names in a column, and beside each what it is of."""
    width = max(map(len, rows), default=0)
    for name, value in rows.items():
        say((f"{name:>{width}}  ", "dim"), value)


def show_run(outcome: Outcome) -> int:
    """Print how a single run ended.

    Returns:
        The exit status.

    Raises:
        UserError: if the run failed; it says where the traceback lies.
    """
    if outcome.result is None:
        raise _failure(outcome) from outcome.error
    result = outcome.result
    folder = result.run_dir
    stopped = result.signal is not None
    ending = "interrupted at" if stopped else "finished before, at" if result.untouched else "finished at"
    rows = {
        ending: f"step {result.step:,}",
        "final return": _number(result.final_return),
        "best return": _number(result.best_return),
        "folder": str(folder),
    }
    plot = folder / CURVES_FILE
    if plot.is_file():
        rows["plot"] = str(plot)
    with suppress(CheckpointError):  # where it has saved none
        rows["checkpoint"] = str(result.checkpoint)
        rows["evaluate it"] = shlex.join(["ppo-eval", f"checkpoint={folder}", *outcome.named])
    again = ["ppo-train", f"resume={folder}", *outcome.named_again]
    if stopped:
        scheduled = any((folder / CHECKPOINTS_FOLDER).glob(SCHEDULED_FILES))
        rows["go on with it" if scheduled else "begin it again"] = shlex.join(again)
    _print_rows(rows)
    return SIGNALLED + result.signal if result.signal is not None else 0


def example_checkpoint() -> str:
    """An argument for ``ppo-eval``: the newest run near here, or one that might be."""
    files = Path("outputs").glob("*/*/checkpoints/*.pt")
    runs = sorted({path.parent.parent for path in files}, key=lambda run: run.name)
    return shlex.quote(f"checkpoint={runs[-1]}") if runs else "checkpoint=outputs/CartPole-v1/<the run's folder>"


def show_evaluation(result: EvalResult) -> None:
    """Print the statistics of an evaluation."""
    low, high = result.episode_return_ci95
    lengths = result.episode_lengths
    how = "most probable action" if result.deterministic else "sampled actions"
    rows = {
        "checkpoint": str(result.checkpoint),
        "episodes": f"{result.episodes} (seed {result.seed}, {how})",
        "mean return": f"{result.episode_return_mean:.2f} (95% bootstrap interval {low:.2f} to {high:.2f})",
        "std": f"{result.episode_return_std:.2f}",
        "median": f"{result.episode_return_median:.2f}",
        "min, max": f"{result.episode_return_min:.2f}, {result.episode_return_max:.2f}",
        "mean length": f"{sum(lengths) / len(lengths):.1f} steps",
    }
    if result.success_rate is not None:
        rows["success rate"] = f"{result.success_rate:.0%}"
    if result.written is not None:
        rows["written"] = str(result.written)
    if result.video is not None:
        rows["video"] = str(shown(result.video))
    _print_rows(rows)


def _failure(outcome: Outcome) -> UserError:
    error = outcome.error
    if isinstance(error, UserError):
        return error
    assert error is not None
    return RunError(Problem(one_line(error), f"reading {_log(outcome)}"))


def _log(outcome: Outcome) -> str:
    """Where the traceback lies."""
    log = outcome.run_dir / LOG_FILE
    return f"the traceback in {log}" if log.is_file() else "HYDRA_FULL_ERROR=1 shows the traceback"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _print_rows(rows: dict[str, str]) -> None:
    from rich.text import Text

    width = max(map(len, rows))
    out = console(sys.stdout, longest=PLAIN_WIDTH)
    out.print()
    for name, value in rows.items():
        out.print(Text.assemble((f"{name:>{width}}  ", "dim"), value), soft_wrap=True)
