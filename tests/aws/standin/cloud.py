"""One HTTP server on 127.0.0.1 with all stand-ins for AWS services, and the object by which tests control them.

A stand-in: what it answers is what AWS's model and documentation say, and what was seen in public; nothing here
touches AWS. It cannot show IAM's decisions, quotas, capacity, prices, latency, or texts that AWS changes.

::

    with closing(Cloud(folder, {"PATH": os.environ["PATH"]})) as cloud:
        environ = cloud.environ()        # endpoints and fake keys, for boto3 and the product
        cloud.batch.throttle(3)
"""

from __future__ import annotations

import re
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aws.standin.accounts import Iam, Sts
from aws.standin.batch import Batch
from aws.standin.ecs import Ecs
from aws.standin.jobs import Machines
from aws.standin.logs import Logs
from aws.standin.model import RefusedError, error_body
from aws.standin.sagemaker import SageMaker
from aws.standin.service import REGION, Reply, Service

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIGNED_FOR = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")


class Cloud:
    """The server and its services.

    Args:
        folder: jobs run here, as in the working directory of their image.
        environ: what each job finds in its environment beside the service's own variables, as from its image.

    Attributes:
        url: for AWS_ENDPOINT_URL.
        mistakes: wrong answers of the stand-ins themselves; a test that sees one must fail.
        machines: where jobs run: its ``slots`` say how many at a time, ``secrets`` what Secrets Manager would give.
    """

    def __init__(self, folder: str | Path, environ: Mapping[str, str], slots: int = 2) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.logs = Logs()
        self.mistakes: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.machines = Machines(str(folder), dict(environ), slots, self.logs, self.url)
        self.batch = Batch(self.machines)
        self.ecs = Ecs(self.machines)
        self.sagemaker = SageMaker(self.machines)
        self.sts = Sts()
        self.iam = Iam()
        self.services: dict[str, Service] = {
            service.name: service for service in (self.batch, self.ecs, self.sagemaker, self.logs, self.sts, self.iam)
        }
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End all jobs and the server.

        Raises:
            AssertionError: a stand-in has given a wrong answer, or a job of one has failed by the stand-in's fault.
        """
        self.machines.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        failures = ["".join(traceback.format_exception(error)) for error in self.machines.failures]
        assert not self.mistakes + failures, "\n".join(self.mistakes + failures)

    def environ(self) -> dict[str, str]:
        """Return the variables with which boto3 finds these services, and nothing of AWS itself."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "AKIDSTANDIN000000000",
            "AWS_SECRET_ACCESS_KEY": "no-secret-of-anyone",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def reply(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Return the answer to any request, of a service or of the address at which a container reads about itself."""
        if target.startswith("/v4/"):
            return self.machines.metadata(target)
        signed = _SIGNED_FOR.match(headers.get("Authorization", ""))
        if signed is None:
            return Reply(403, "application/json", b'{"message":"Missing Authentication Token"}')
        service = self.services.get(signed["service"])
        if service is None:
            self.mistakes.append(f"{method} {target}: no stand-in for {signed['service']}")
            return Reply(501, "application/json", b'{"message":"no stand-in for this service"}')
        try:
            return service.answer(method, target, headers, body, signed["region"])
        except RefusedError as refused:
            kind, more, text = error_body(service.name, refused)
            return Reply(refused.status, kind, text, more)
        except Exception:  # noqa: BLE001 - told in the answer and at the end of the test
            self.mistakes.append(traceback.format_exc())
            kind, more, text = error_body(service.name, RefusedError("InternalStandInError", self.mistakes[-1]))
            return Reply(500, kind, text, more)


def _handler(cloud: Cloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = cloud.reply(self.command, self.path, self.headers, body)
            if reply.status is None:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, text in {"Content-Type": reply.kind, "x-amzn-RequestId": "0" * 8, **reply.headers}.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - names of http.server

        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    return Handler
