"""A server that answers as Weights & Biases does, as far as runs need it, and keeps what they send.

What a real one does with a run that is opened again was looked up in its client: ``RunResumeStatus`` tells how many
lines it has, and lines are sent with the number of the first of them, in whose place they are put.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789" * 4
HISTORY = "wandb-history.jsonl"


@dataclass
class SentRun:
    """What was sent of a run: how it was opened, its rows, and how it ended."""

    about: dict[str, Any] = field(default_factory=dict)
    lines: dict[int, dict[str, Any]] = field(default_factory=dict)
    exit_codes: list[int] = field(default_factory=list)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of its history, in the order in which a server has them."""
        return [self.lines[number] for number in sorted(self.lines)]


class WandbServer(ThreadingHTTPServer):
    """Runs by their ids."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs: dict[str, SentRun] = {}

    @property
    def variables(self) -> dict[str, str]:
        """What tells wandb of this server."""
        return {"WANDB_BASE_URL": f"http://127.0.0.1:{self.server_port}", "WANDB_API_KEY": KEY}

    def answer(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        """GraphQL, by the name of the operation."""
        project = {"id": "p", "name": given.get("project"), "entity": {"id": "e", "name": "me"}}
        if "Viewer" in query:
            return {"viewer": {"id": "v", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        if "RunResumeStatus" in query:
            return {"model": {**project, "internalId": "1", "bucket": self._status(given["name"])}}
        if "UpsertBucket" in query:
            name = given["name"]
            is_new = name not in self.runs
            run = self.runs.setdefault(name, SentRun())
            run.about |= {key: value for key, value in given.items() if value is not None}
            bucket = {"id": name, "name": name, "displayName": given.get("displayName") or name, "project": project}
            bucket |= {"historyLineCount": len(run.lines), "sweepName": None, "description": None, "config": None}
            return {"upsertBucket": {"bucket": bucket, "inserted": is_new}}
        if "CreateRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"http://127.0.0.1:{self.server_port}/"} for name in given["files"]]
            return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}
        if "ServerFeatures" in query:
            return {"serverInfo": {"features": []}}
        return {}

    def _status(self, name: str) -> dict[str, Any] | None:
        run = self.runs.get(name)
        if run is None:
            return None
        tail = [json.dumps(row) for row in run.rows[-1:]]
        status = {"id": name, "name": name, "displayName": name, "historyLineCount": len(run.lines), "tags": []}
        status |= {"summaryMetrics": "{}", "logLineCount": 0, "eventsLineCount": 0, "eventsTail": "[]", "config": "{}"}
        return status | {"historyTail": json.dumps(tail), "wandbConfig": json.dumps({"t": 1})}


class _Handler(BaseHTTPRequestHandler):
    server: WandbServer

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.path.endswith(("/graphql", "/file_stream")):
            self._reply({})
            return
        content = json.loads(gzip.decompress(sent) if self.headers.get("Content-Encoding") == "gzip" else sent)
        if self.path.endswith("/graphql"):
            self._reply({"data": self.server.answer(content["query"], content.get("variables") or {})})
            return
        run = self.server.runs[self.path.split("/")[-2]]  # …/<project>/<run>/file_stream
        history = (content.get("files") or {}).get(HISTORY, {"offset": 0, "content": []})
        run.lines |= {history["offset"] + place: json.loads(line) for place, line in enumerate(history["content"])}
        if content.get("complete"):
            run.exit_codes.append(content["exitcode"])
        self._reply({})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._reply({})

    do_GET = do_PUT  # noqa: N815

    def _reply(self, content: dict[str, Any]) -> None:
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """A server on a free port of this machine."""
    server = WandbServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
