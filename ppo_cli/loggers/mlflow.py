"""MLflow: a run there for each run's folder, on a server or in a database file."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from ppo_cli.config import show
from ppo_cli.loggers import tracked
from ppo_cli.loggers.base import RunInfo
from ppo_cli.loggers.metrics import Metrics

IMPATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
"""What MLflow is told unless the user has: by its own account a server may be waited for for many minutes."""
MOST_METRICS, MOST_PARAMS = 1000, 100  # that a request takes
EVERY = 1.0  # seconds between requests
PATIENCE = 120.0  # seconds until others have made the tables of a database file, which on busy machines takes many
STATUSES = {"finished": "FINISHED", "interrupted": "KILLED"}

log = logging.getLogger("ppo_cli")


class MlflowLogger:
    """Sends the metrics of each iteration at its environment step.

    Where a run goes on, what was sent of each metric is asked for: those rows are left out, and others up to the
    checkpoint come from ``RunInfo.history``.

    Args:
        run_dir: The run's folder, which keeps its id.
        changed: Whether settings differ from here on from those that the rows so far were made with.
    """

    def __init__(self, run_dir: Path, changed: bool = False) -> None:
        self._run_dir, self._changed = run_dir, changed
        self._run_id: str | None = None
        self._sent: dict[str, int] = {}  # the last step of each metric that is there
        self._waiting: list[Metric] = []
        self._last = -EVERY

    def start(self, run: RunInfo) -> None:
        """Open the run, be it a new one or one that goes on, and bring it up to the checkpoint."""
        for name, value in IMPATIENCE.items():
            os.environ.setdefault(name, value)
        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        self._columns = [name for name in run.columns if name != "step"]
        uri = run.config.mlflow.tracking_uri or mlflow.get_tracking_uri()
        with _alone(uri):
            self._client = MlflowClient(uri)
        self._run_id = self._known(run) or self._new(run)
        for row in run.history:
            self._take(row)
        self._send()

    def _known(self, run: RunInfo) -> str | None:
        """The run that this one goes on with, if it is there, and holds nothing that is no longer so."""
        run_id = tracked.kept_id(self._run_dir, "mlflow")
        if run_id is None:
            return None
        try:
            found = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        sent = {name: self._last_step(run_id, name) for name in self._columns}
        if found.info.lifecycle_stage != "active" or (self._changed and max(sent.values()) > run.start_step):
            return None  # rows of other settings beyond the checkpoint, which cannot be taken back
        self._sent = sent
        self._client.update_run(run_id, status="RUNNING")
        before = found.data.params
        for key, value in tracked.texts(run.config).items():
            if before.get(key, value) != value:  # a parameter is what it was for ever
                self._client.set_tag(run_id, f"resumed.{key}", value)
        return run_id

    def _last_step(self, run_id: str, name: str) -> int:
        return max((point.step for point in self._client.get_metric_history(run_id, name)), default=-1)

    def _new(self, run: RunInfo) -> str:
        config = run.config
        tags = {key: show(value) for key, value in config.mlflow.tags.items()}
        sweep = tracked.sweep_of(self._run_dir)
        tags |= {"folder": str(self._run_dir)} | ({} if sweep is None else {"group": sweep})
        experiment = self._experiment(config.mlflow.experiment)
        made = self._client.create_run(experiment, tags=tags, run_name=tracked.title(run))
        run_id: str = made.info.run_id
        tracked.keep(self._run_dir, "mlflow", run_id)
        params = iter([Param(key, value) for key, value in tracked.texts(config).items() if value])
        while some := list(islice(params, MOST_PARAMS)):
            self._client.log_batch(run_id, params=some)
        log.info("MLflow: run %s of experiment %s", run_id, config.mlflow.experiment)
        return run_id

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        try:
            return str(self._client.create_experiment(name) if found is None else found.experiment_id)
        except MlflowException:
            found = self._client.get_experiment_by_name(name)  # another run may have been faster
            if found is None:
                raise
            return str(found.experiment_id)

    def log(self, row: Metrics) -> None:
        """Send one row, with others where they come faster than one a second."""
        self._take(row)
        if time.monotonic() - self._last >= EVERY:
            self._send()

    def _take(self, row: Metrics) -> None:
        step, now = int(row["step"] or 0), int(time.time() * 1000)
        for name in self._columns:
            value = row.get(name)
            if value is not None and step > self._sent.get(name, -1):
                self._waiting.append(Metric(name, value, now, step))

    def _send(self) -> None:
        assert self._run_id is not None
        while self._waiting:
            self._client.log_batch(self._run_id, metrics=self._waiting[:MOST_METRICS])
            del self._waiting[:MOST_METRICS]
        self._last = time.monotonic()

    def close(self, summary: dict[str, Any]) -> None:
        """Send the rest, and say how the run ended."""
        if self._run_id is None:
            return
        self._send()
        tags = [RunTag(key, show(value)) for key, value in tracked.ending(summary).items()]
        self._client.log_batch(self._run_id, tags=tags)
        self._client.set_terminated(self._run_id, STATUSES.get(summary["status"], "FAILED"))


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Have a database file to oneself: where two processes make its tables at once, MLflow fails in either."""
    file = uri.partition("sqlite:///")[2].partition("?")[0]
    if not file:
        yield
        return
    with FileLock(f"{file}.lock", timeout=PATIENCE):
        yield
