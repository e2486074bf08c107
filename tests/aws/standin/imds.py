"""An emulator of an EC2 instance's metadata service, version 2, for AWS_EC2_METADATA_SERVICE_ENDPOINT.

A stand-in: it knows what an agent asks for. It cannot show hop limits, version 1, or when AWS really tells.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aws.standin.jobs import random_hex
from aws.standin.service import REGION

_TTL = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN = "X-aws-ec2-metadata-token"  # a header's name


class Imds:
    """The metadata of one instance.

    Attributes:
        url: for AWS_EC2_METADATA_SERVICE_ENDPOINT.
        instance_id: of the instance.
        life_cycle: ``spot`` or ``on-demand``.
        notice: the Spot notice as AWS writes it; None while there is none.
        requests: method and path of all requests, in this order.
        broken: answer 500 to everything.
    """

    def __init__(self) -> None:
        self.instance_id = f"i-{random_hex(17)}"
        self.region = REGION
        self.life_cycle = "spot"
        self.notice: dict[str, str] | None = None
        self.requests: list[tuple[str, str]] = []
        self.broken = False
        self._tokens: dict[str, float] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def announce(self, action: str = "terminate", at: str = "2026-01-01T00:00:00Z") -> None:
        """Give the two minutes' notice of Spot."""
        self.notice = {"action": action, "time": at}

    def forget_tokens(self) -> None:
        """Let all tokens expire."""
        self._tokens.clear()

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, headers: Any) -> tuple[int, str]:
        """Return status and body for a request."""
        self.requests.append((method, path))
        if self.broken:
            return 500, ""
        if path == "/latest/api/token":
            return self._token(method, headers.get(_TTL, ""))
        if self._tokens.get(headers.get(_TOKEN, ""), 0.0) <= time.monotonic():
            return 401, "Unauthorized"
        if method != "GET":
            return 405, "Method Not Allowed"
        known = {
            "instance-id": self.instance_id,
            "instance-life-cycle": self.life_cycle,
            "instance-type": "m5.large",
            "placement/region": self.region,
            "placement/availability-zone": f"{self.region}a",
        }
        if self.notice is not None:
            known["spot/instance-action"] = json.dumps(self.notice)
        found = known.get(path.removeprefix("/latest/meta-data/").rstrip("/"))
        return (404, "Not Found") if found is None else (200, found)

    def _token(self, method: str, seconds: str) -> tuple[int, str]:
        if method != "PUT":
            return 405, "Method Not Allowed"
        if not seconds.isdigit() or not 1 <= int(seconds) <= 21_600:
            return 400, "Bad Request"
        token = secrets.token_urlsafe(40)
        self._tokens[token] = time.monotonic() + int(seconds)
        return 200, token


def _handler(imds: Imds) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            status, text = imds.answer(self.command, self.path, self.headers)
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = handle_any  # noqa: N815 - names of http.server

        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    return Handler
