"""A queue, machines that listen to it, and the metadata service of each: for tests of SQS on this machine.

The queue is moto's, over HTTP. What it does otherwise than SQS: it takes orders by old receipt handles.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REGION = "eu-west-1"

#: Nothing of these reaches an account of AWS.
FAKE = {
    "AWS_ACCESS_KEY_ID": "AKIDSTANDIN000000000",
    "AWS_SECRET_ACCESS_KEY": "no-secret-of-anyone",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


@contextmanager
def moto_services() -> Iterator[str]:
    """Serve what moto has of AWS; yield the address."""
    from moto.server import ThreadedMotoServer  # many tests of AWS have stand-ins of their own

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = 240) -> None:
    """Wait for an event. Raises AssertionError where it does not come."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


class Metadata:
    """The metadata service, version 2, of one machine."""

    def __init__(self, instance: str) -> None:
        self.notice: dict[str, str] | None = None
        values = {"instance-id": instance, "placement/region": REGION}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self._reply(200, "a-token") if self.path == "/latest/api/token" else self._reply(404, "")

            def do_GET(self) -> None:
                known = values | ({"spot/instance-action": json.dumps(owner.notice)} if owner.notice else {})
                found = known.get(self.path.removeprefix("/latest/meta-data/"))
                if self.headers.get("X-aws-ec2-metadata-token") != "a-token":
                    self._reply(401, "")
                else:
                    self._reply(404, "") if found is None else self._reply(200, found)

            def _reply(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Place:
    """A queue with a dead-letter queue behind it, and the machines that listen to it.

    Args:
        url: of the server that stands for AWS.
        folder: in which sweeps are, and what machines say.
        receives: how often a message is delivered before it is a dead letter.
    """

    def __init__(self, url: str, folder: Path, receives: int = 5, *, fifo: bool = False) -> None:
        self.folder, self.environ = folder, FAKE | {"AWS_ENDPOINT_URL": url}
        self.sqs = self.client("sqs")
        end, more = (".fifo", {"FifoQueue": "true"}) if fifo else ("", {})
        self.name = f"sweeps-{os.urandom(4).hex()}{end}"
        self.dead = self.sqs.create_queue(QueueName=f"dead-{self.name}", Attributes=more)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": receives})
        self.url = self.sqs.create_queue(QueueName=self.name, Attributes={"RedrivePolicy": policy, **more})["QueueUrl"]
        self.machines: list[Listening] = []

    def client(self, service: str) -> Any:
        return boto3.Session(
            FAKE["AWS_ACCESS_KEY_ID"],
            FAKE["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
            botocore_session=botocore.session.Session(),
        ).client(service, endpoint_url=self.environ["AWS_ENDPOINT_URL"])

    def listen(
        self, instance: str, *options: str, visibility: int = 6, before: tuple[str, ...] = (), **environ: str
    ) -> Listening:
        """Start a machine that listens; ``before`` are words in front of its command."""
        machine = Listening(self, instance, [*options, "--visibility", str(visibility)], before, environ)
        self.machines.append(machine)
        return machine

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def counts(self, url: str = "") -> tuple[int, int]:
        """Return how many messages wait, and how many a machine has."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        said = self.sqs.get_queue_attributes(QueueUrl=url or self.url, AttributeNames=names)["Attributes"]
        return int(said[names[0]]), int(said[names[1]])

    def is_empty(self) -> bool:
        return self.counts() == (0, 0)

    def bodies(self, url: str) -> list[str]:
        """Take all messages of a queue."""
        found = []
        while got := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            found += [one["Body"] for one in got]
        return found

    def close(self) -> None:
        for machine in self.machines:
            machine.close()


class Listening:
    """One ``slurmsweep listen``, on a machine of its own name."""

    def __init__(
        self, place: Place, instance: str, options: list[str], before: tuple[str, ...], environ: dict[str, str]
    ) -> None:
        self.metadata, self.instance = Metadata(instance), instance
        self.log = place.folder / f"{instance}-{os.urandom(2).hex()}.log"
        there = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.metadata.url}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *before,
                    sys.executable,
                    "-m",
                    "slurmsweep",
                    "listen",
                    place.url,
                    "--root",
                    str(place.folder),
                    *options,
                ],
                cwd=place.folder,
                env={**os.environ, **place.environ, **there, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    def agents(self) -> list[int]:
        """Return the processes that it has started and that live."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in found]

    def end(self, number: int = signal.SIGTERM, seconds: float = 120) -> int:
        """Tell it to end; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        self.metadata.close()


def ends(folder: Path, sweep: str, place: Place) -> Counter[str]:
    """Return the number of trials by state, as the command line says it."""
    done = command(folder, place, "trials", sweep, "--json")
    return Counter(row["state"] for row in json.loads(done.stdout))


def command(folder: Path, place: Place, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line where machines are submitted to."""
    return subprocess.run(
        [sys.executable, "-m", "slurmsweep", *words],
        cwd=folder,
        env={**os.environ, **place.environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
