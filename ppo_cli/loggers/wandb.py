"""Weights & Biases: a run there for each run's folder, on its server or in files that are sent later."""

from __future__ import annotations

import io
import logging
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import wandb

from ppo_cli.loggers import tracked
from ppo_cli.loggers.base import RunInfo
from ppo_cli.loggers.metrics import Metrics
from ppo_cli.plain import to_plain
from ppo_cli.trackers import is_tracking

PATIENCE = 30.0
"""Seconds that a server may take to answer before the training begins."""
LAST_PATIENCE = 60.0
"""Seconds that it may take to receive the rest at the end; what is not sent by then stays in the run's folder."""

LAST_STEPS = "wandb_last_steps"
"""Under which is kept up to where each offline file goes that was closed."""

log = logging.getLogger("ppo_cli")


class WandbLogger:
    """Sends each iteration's metrics at its environment step.

    Rows come from ``RunInfo.history`` where a run goes on. A server has some of them and takes the others. An offline
    run's file is written anew from the first row on that was not sent: what a killed process wrote is cut off
    anywhere, and may hold rows beyond the checkpoint, which come again.

    Args:
        run_dir: The run's folder, which keeps its id, and what is not sent.
        changed: Whether settings differ from here on from those that the rows so far were made with.
    """

    def __init__(self, run_dir: Path, changed: bool = False) -> None:
        self._run_dir, self._changed = run_dir, changed
        self._run: Any = None
        self._from = 0  # the first step that is not there yet
        self._last = -1
        self._file: Path | None = None

    def start(self, run: RunInfo) -> None:
        """Open the run, be it a new one or one that goes on, and bring it up to the checkpoint."""
        mode = run.config.wandb.mode or wandb.setup().settings.mode
        kept = tracked.kept_id(self._run_dir, "wandb")
        self._run = self._offline(run, kept, mode) if mode in ("offline", "dryrun") else self._online(run, kept, mode)
        self._columns = [name for name in run.columns if name != "step"]
        for row in run.history:
            self.log(row)

    def _offline(self, run: RunInfo, kept: str | None, mode: str) -> Any:
        sent = -1 if kept is None else self._last_sent(kept)
        if kept is None or sent is None or self._is_parted(run, sent):
            kept, sent = self._new_id(), -1
        self._from = sent + 1
        for file in self._files(kept):
            if not _is_sent(file):
                replaced = self._run_dir / "wandb" / "replaced" / file.parent.name
                replaced.parent.mkdir(exist_ok=True)
                file.parent.replace(replaced)
        opened = self._open(run, kept, mode)
        self._file = Path(opened.dir).parent
        log.info("Weights & Biases, offline: wandb sync %s", self._file)
        return opened

    def _last_sent(self, run_id: str) -> int | None:
        """The last step that ``wandb sync`` has sent of the run; ``None`` where it sent what a kill had cut off."""
        last = tracked.kept(self._run_dir).get(LAST_STEPS, {})
        sent = [last.get(file.parent.name) for file in self._files(run_id) if _is_sent(file)]
        return None if None in sent else max(sent, default=-1)

    def _files(self, run_id: str) -> list[Path]:
        return sorted((self._run_dir / "wandb").glob(f"offline-run-*-{run_id}/run-{run_id}.wandb"))

    def _is_parted(self, run: RunInfo, last: int) -> bool:
        """Whether there are rows of other settings beyond the checkpoint, which no server takes back."""
        return self._changed and last > run.start_step

    def _online(self, run: RunInfo, kept: str | None, mode: str) -> Any:
        opened = self._open(run, kept or self._new_id(), mode, resume="allow")
        if self._is_parted(run, opened.starting_step - 1):
            opened.finish()
            opened = self._open(run, self._new_id(), mode)
        self._from = opened.starting_step
        if opened.url:
            log.info("Weights & Biases: %s", opened.url)
        return opened

    def _new_id(self) -> str:
        run_id = secrets.token_hex(4)
        tracked.keep(self._run_dir, "wandb", run_id)
        return run_id

    def _open(self, run: RunInfo, run_id: str, mode: str, **how: str) -> Any:
        config = run.config
        settings = wandb.Settings(
            console="off",  # train.log has what is printed
            silent=True,
            reinit="create_new",
            init_timeout=PATIENCE,
            finish_timeout=LAST_PATIENCE,
            finish_timeout_raises=True,
        )
        with _nobody_to_ask():
            return wandb.init(
                id=run_id,
                mode=mode,
                project=config.wandb.project,
                entity=config.wandb.entity,
                tags=config.wandb.tags,
                name=tracked.title(run),
                group=tracked.sweep_of(self._run_dir),
                config={key: value for key, value in to_plain(config).items() if not is_tracking(key)},
                dir=self._run_dir,
                settings=settings,
                **how,
            )

    def log(self, row: Metrics) -> None:
        """Send one row, unless it is there."""
        step = int(row["step"] or 0)
        if step >= self._from:
            self._run.log({name: row[name] for name in self._columns if row.get(name) is not None}, step=step)
            self._last = step

    def close(self, summary: dict[str, Any]) -> None:
        """Say how the run ended, and let the process go that sends it."""
        if self._run is not None:
            self._run.summary.update(tracked.ending(summary))
            self._run.finish(exit_code=0 if summary["status"] == "finished" else 1)
        if self._file is not None:
            last = tracked.kept(self._run_dir).get(LAST_STEPS, {})
            tracked.keep(self._run_dir, LAST_STEPS, {**last, self._file.name: max(self._last, self._from - 1)})


def _is_sent(file: Path) -> bool:
    """Whether ``wandb sync`` has been at it, which would add all of it once more."""
    return file.with_name(f"{file.name}.synced").exists()


@contextmanager
def _nobody_to_ask() -> Iterator[None]:
    """Have a missing login be an error also where a terminal is: a run waits for no answer."""
    asked = sys.stdin
    sys.stdin = io.StringIO()
    try:
        yield
    finally:
        sys.stdin = asked
