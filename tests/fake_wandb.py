"""A fake of the part of W&B's server that ``wandb agent`` talks to: GraphQL operations on 127.0.0.1.

A fake because the real one is closed and on the internet. It answers what wandb 0.31 asks in the life of an agent whose
runs are offline: Viewer, SweepWithRuns, CreateAgent, Heartbeat; and UpsertSweep of ``wandb sweep``.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from served import served

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Of the right length; wandb checks that before it sends one.
API_KEY = "0123456789" * 4

#: The sweep that `wandb sweep` makes.
MADE = "wbyz9876"

_VIEWER = {
    "id": "viewer",
    "entity": "ent",
    "username": "user",
    "flags": "{}",
    "teams": {"edges": []},
    "apiKeys": {"edges": []},
}


class FakeWandb:
    """The server: one sweep, whose runs are handed out in order.

    Attributes:
        url: for WANDB_BASE_URL.
        operations: how often each was asked for.
        wanted: how often an agent without a run asked for one.
        runs: parameters handed out so far, by the id of the agent that got them.
        registered: when agents registered, in seconds.
    """

    def __init__(self, points: list[dict[str, Any]], config: str = "method: grid\n") -> None:
        self.url = ""
        self.operations: Counter[str] = Counter()
        self.wanted = 0
        self.runs: dict[str, dict[str, Any]] = {}
        self.registered: list[float] = []
        self._left = list(points)
        self._config = config
        self._lock = threading.Lock()

    def environ(self) -> dict[str, str]:
        """Return what makes wandb talk to it; its runs stay offline."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": API_KEY, "WANDB_MODE": "offline"}

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the data of one GraphQL request."""
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        operation = found[1] if found else "?"
        with self._lock:
            self.operations[operation] += 1
            return getattr(self, f"_{operation}", lambda _: {})(variables)

    def _Viewer(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802, ARG002 - W&B's name
        return {"viewer": _VIEWER}

    def _UpsertSweep(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self._config = variables["config"]
        project = {"name": variables["projectName"], "entity": {"name": variables["entityName"] or _VIEWER["entity"]}}
        return {"upsertSweep": {"sweep": {"name": MADE, "project": project}, "configValidationWarnings": []}}

    def _SweepWithRuns(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if variables.get("sweep") == "gone1234":
            return {"project": {"sweep": None}}
        sweep = {
            "id": "sweep",
            "name": variables.get("sweep"),
            "method": "grid",
            "state": "RUNNING",
            "config": self._config,
            "runs": {"edges": []},
        }
        return {"project": {"sweep": sweep}}

    def _CreateAgent(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802, ARG002
        self.registered.append(time.monotonic())
        return {"createAgent": {"agent": {"id": f"agent{len(self.registered)}"}}}

    def _Heartbeat(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"agentHeartbeat": {"agent": {"id": variables["id"]}, "commands": json.dumps(self._commands(variables))}}

    def _commands(self, variables: dict[str, Any]) -> list[dict[str, Any]]:
        if json.loads(variables.get("runState") or "{}"):
            return []
        self.wanted += 1
        if not self._left:
            return [{"type": "exit"}]
        point = self._left.pop(0)
        self.runs[variables["id"]] = point
        args = {name: {"value": value} for name, value in point.items()}
        return [{"type": "run", "run_id": f"run{len(self.runs)}", "program": "train.py", "args": args}]


@contextmanager
def serving(points: list[dict[str, Any]], config: str = "method: grid\n") -> Iterator[FakeWandb]:
    """Return a server that runs until the end of the block."""
    fake = FakeWandb(points, config)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            answer = {"data": fake.answer(request.get("query", ""), request.get("variables") or {})}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with served(Handler) as fake.url:
        yield fake
