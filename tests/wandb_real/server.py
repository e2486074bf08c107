"""A stand-in for W&B's server on 127.0.0.1: the operations that `wandb sync` asks for, and what it then knows.

Answers as far as `wandb sync` of 0.31 looks; a run of a sweep is refused, as the real server refuses a sweep that it
does not know. Only so much of the real server is known here: a request that is not understood fails the test.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WandbServer:
    """Runs by id: ``history`` lines in the order of their offsets, ``files`` by name, ``upserts`` as they came."""

    def __init__(self) -> None:
        self.upserts: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.history: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        self.complete: dict[str, list[int]] = defaultdict(list)
        self.files: dict[str, bytes] = {}
        self.operations: list[str] = []
        self.unknown: list[str] = []
        self.refused: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> WandbServer:  # noqa: PYI034 - typing.Self needs 3.11
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def rows(self, run: str) -> list[dict[str, Any]]:
        """Return what was logged in a run, as the server would show it."""
        return [row for _, row in sorted(self.history[run].items())]

    def answer(self, operation: str, variables: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.operations.append(operation)
        function = getattr(self, "on_" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower(), None)
        if function is None:
            self.unknown.append(operation)
            return 400, {"errors": [{"message": f"{operation} is not known here"}]}
        return function(variables)

    def on_viewer(self, _: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return _data(viewer={"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}})

    def on_server_features_query(self, _: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return _data(serverInfo={"features": []})

    def on_organization_core_weave_organization_id(self, _: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return _data(entity=None)

    def on_run_resume_status(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        run = asked["name"]
        rows = self.rows(run)
        bucket = {
            "id": run, "name": run, "summaryMetrics": "{}", "displayName": run, "logLineCount": 0,
            "historyLineCount": len(rows), "eventsLineCount": 0, "historyTail": json.dumps([json.dumps(r) for r in rows[-1:]]),
            "eventsTail": "[]", "config": "{}", "tags": [], "notes": "", "wandbConfig": json.dumps({"t": 1}),
        }  # fmt: skip
        known = run in self.upserts
        return _data(
            model={"id": "p", "name": "p", "entity": {"id": "e", "name": "me"}, "bucket": bucket if known else None}
        )

    def on_upsert_bucket(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        run = asked["name"]
        if asked.get("sweep"):
            return 404, {"errors": [{"message": f"sweep {asked['sweep']} not found"}], "data": {"upsertBucket": None}}
        if run in self.refused:
            return 403, {"errors": [{"message": f"permission denied for {run}"}], "data": {"upsertBucket": None}}
        self.upserts[run].append(asked)
        project = {"id": "p", "name": asked["project"], "entity": {"id": "e", "name": asked["entity"] or "me"}}
        bucket = {
            "id": run, "name": run, "displayName": asked.get("displayName") or run, "description": "", "config": "{}",
            "sweepName": None, "historyLineCount": len(self.history[run]), "project": project,
        }  # fmt: skip
        return _data(upsertBucket={"bucket": bucket, "inserted": len(self.upserts[run]) == 1})

    def on_create_run_files(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        files = [{"name": name, "uploadUrl": f"{self.url}/up/{asked['run']}/{name}"} for name in asked["files"]]
        return _data(createRunFiles={"runID": asked["run"], "uploadHeaders": [], "files": files})

    def on_create_artifact(self, _: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return _data(
            createArtifact={"artifact": {"id": "a", "state": "PENDING", "artifactSequence": {"latestArtifact": None}}}
        )

    def on_create_artifact_manifest(self, _: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        file = {
            "id": "f",
            "name": "wandb_manifest.json",
            "displayName": "m",
            "uploadUrl": f"{self.url}/up/manifest",
            "uploadHeaders": [],
        }
        return _data(createArtifactManifest={"artifactManifest": {"id": "m", "file": file}})

    def on_update_artifact_manifest(self, _: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        file = {
            "id": "f",
            "name": "wandb_manifest.json",
            "displayName": "m",
            "uploadUrl": f"{self.url}/up/manifest",
            "uploadHeaders": [],
        }
        return _data(updateArtifactManifest={"artifactManifest": {"id": "m", "file": file}})

    def on_create_artifact_files(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        edges = [{"node": {
            "id": spec["name"], "name": spec["name"], "displayName": spec["name"], "uploadUrl": f"{self.url}/up/artifact/{spec['name']}",
            "uploadHeaders": [], "artifact": {"id": "a"}, "storagePath": None, "uploadMultipartUrls": None,
        }} for spec in asked["input"]["artifactFiles"]]  # fmt: skip
        return _data(createArtifactFiles={"files": {"edges": edges}})

    def on_commit_artifact(self, _: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return _data(commitArtifact={"artifact": {"id": "a", "digest": "d"}})

    def stream(self, run: str, body: dict[str, Any]) -> None:
        """Return a piece of a run's files, as file_stream takes it."""
        part = body.get("files", {}).get("wandb-history.jsonl", {"offset": 0, "content": []})
        for offset, line in enumerate(part["content"], part["offset"]):
            self.history[run][offset] = json.loads(line)
        if body.get("complete"):
            self.complete[run].append(body.get("exitcode"))


def _data(**fields: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"data": fields}


def _handler(state: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path == "/graphql":
                asked = json.loads(body)
                operation = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
                self.reply(*state.answer(operation[1] if operation else "?", asked.get("variables") or {}))
                return
            found = re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path)
            if found:
                state.stream(found[1], json.loads(body))
            self.reply(200, {})  # telemetry too

        def do_PUT(self) -> None:
            state.files[self.path.removeprefix("/up/")] = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.reply(200, {})

        def do_GET(self) -> None:
            self.reply(404, {})

        def reply(self, code: int, document: dict[str, Any]) -> None:
            data = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):  # wandb ends without good-bye
                super().handle()

    return Handler
