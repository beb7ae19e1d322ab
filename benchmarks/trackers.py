"""Runs that are killed and gone on with while trackers show them, over servers that answer as the real ones do.

``python -m benchmarks.trackers`` goes through what the tests leave out because it takes many processes, in about a
minute; the exit status is 1 if a row is missing or there twice anywhere, or a run became two. Needs the extras
``wandb`` and ``mlflow``, and no network.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from tracking import act, learnt, mlflow_rows, problems_of, rows_of, sync, wandb_rows
from wandb_server import WandbServer, wandb_server

from ppo_cli.loggers.tracked import kept_id

KILL = int(signal.SIGKILL)


def killed_often(folder: Path, server: WandbServer) -> None:
    """A run that is killed in each iteration but the first is one run in MLflow, and offline one in wandb."""
    run_dir, store = folder / "run", f"sqlite:///{folder / 'mlflow.db'}"
    act("begin", run_dir, "csv,wandb,mlflow", "offline", 3, KILL, kills=True, MLFLOW_TRACKING_URI=store)
    for iteration in (4, 5, 6, 7):
        act("go_on", run_dir, {}, iteration, KILL, kills=True, MLFLOW_TRACKING_URI=store)
    act("go_on", run_dir, {}, MLFLOW_TRACKING_URI=store)
    sync(server, run_dir)
    expected = learnt(rows_of(run_dir))
    assert len(expected) == 7
    assert learnt(mlflow_rows(store, kept_id(run_dir, "mlflow") or "none")) == expected
    assert learnt(wandb_rows(server, kept_id(run_dir, "wandb") or "none")) == expected
    assert (len(server.runs), problems_of(run_dir)) == (1, [])


def online(folder: Path, server: WandbServer) -> None:
    """An online run goes on as itself, unless it has rows that were made with other settings."""
    run_dir = folder / "run"
    act("begin", run_dir, "csv,wandb", "online", 6, KILL, kills=True, **server.variables)
    for changes, length in ({}, 7), ({"total_timesteps": 288}, 9):
        act("go_on", run_dir, changes, **server.variables)
        ((one, run),) = server.runs.items()
        before = learnt(rows_of(run_dir))
        assert learnt(wandb_rows(server, one)) == before
        assert len(run.rows) == length
    first = min((run_dir / "checkpoints").glob("step_*.pt"))
    act("go_on", first, {"lr": 0.01}, **server.variables)
    other = kept_id(run_dir, "wandb") or "none"
    assert list(server.runs) == [one, other]
    assert learnt(wandb_rows(server, one)) == before
    assert learnt(wandb_rows(server, other)) == learnt(rows_of(run_dir)) != before
    assert problems_of(run_dir) == []


CHECKS: tuple[Callable[[Path, WandbServer], None], ...] = (killed_often, online)


def main() -> None:
    """Go through all and report."""
    failed = 0
    for check in CHECKS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder, wandb_server() as server:
            try:
                check(Path(folder), server)
                outcome = "holds"
            except Exception:
                traceback.print_exc()
                failed, outcome = failed + 1, "FAILS"
        print(f"{outcome} ({time.monotonic() - began:.0f} s): {check.__doc__}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
