"""TensorBoard event files: a curve per metric, and the configuration as hyperparameters.

Records are written here, in twenty lines, because the writers that come with torch and TensorBoard take up to two
seconds to import and load TensorFlow where that is installed.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.plugins.hparams.metadata import (
    NULL_TENSOR,
    SESSION_START_INFO_TAG,
    create_summary_metadata,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

from ppo_cli.config import show, walk
from ppo_cli.loggers.base import RunInfo
from ppo_cli.loggers.metrics import Metrics
from ppo_cli.trackers import is_tracking

NUMERIC = ("int", "float", "int | None", "float | None")


class TensorBoardLogger:
    """Writes one event file into ``log_dir``.

    Args:
        log_dir: Folder for the file; made if needed.
    """

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._open = ExitStack()

    def start(self, run: RunInfo) -> None:
        """Create the file and note the run's settings; readers drop what earlier files hold beyond ``start_step``."""
        self._curves = [name for name in run.columns if name not in ("iteration", "step")]
        self._log_dir.mkdir(parents=True, exist_ok=True)
        stamps = [int(path.name.split(".")[3]) for path in self._log_dir.glob("events.out.tfevents.*.*")]
        stamp = max([int(time.time()), *(before + 1 for before in stamps)])  # readers take files in this order
        name = f"events.out.tfevents.{stamp}.{socket.gethostname()}.{os.getpid()}"
        # Unbuffered: an iteration is one record and one write, there for TensorBoard to read at once.
        self._file = self._open.enter_context((self._log_dir / name).open("wb", buffering=0))
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if stamps:
            began = SessionLog(status=SessionLog.START)
            self._write(Event(wall_time=time.time(), step=run.start_step + 1, session_log=began))
        # No list of settings beside them: without one TensorBoard compares all runs, and shows what differs first.
        self._write_plugin_data(SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=_session(run)))

    def log(self, row: Metrics) -> None:
        """Write one iteration's values at its step."""
        values = [Summary.Value(tag=name, simple_value=row[name]) for name in self._curves if row[name] is not None]
        self._write(Event(wall_time=time.time(), step=row["step"], summary=Summary(value=values)))

    def close(self, summary: dict[str, Any]) -> None:  # noqa: ARG002
        """Close the file."""
        self._open.close()

    def _write_plugin_data(self, tag: str, data: HParamsPluginData) -> None:
        metadata: SummaryMetadata = create_summary_metadata(data)
        value = Summary.Value(tag=tag, metadata=metadata, tensor=NULL_TENSOR)
        self._write(Event(wall_time=time.time(), summary=Summary(value=[value])))

    def _write(self, event: Event) -> None:
        data = event.SerializeToString()
        header = struct.pack("<Q", len(data))
        self._file.write(header + _checksum(header) + data + _checksum(data))


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))


def _session(run: RunInfo) -> SessionStartInfo:
    session = SessionStartInfo(start_time_secs=time.time())
    for key, value, item in walk(run.config):
        if is_tracking(key):
            continue
        if item.type == "bool":
            session.hparams[key].bool_value = value
        elif item.type not in NUMERIC:
            session.hparams[key].string_value = show(value)
        elif value is not None:
            # A number that is off stays empty: TensorBoard cannot show a text in a column of numbers.
            session.hparams[key].number_value = value
    return session
