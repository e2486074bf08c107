"""Receipts of messages that came to another machine since: servers differ in what they do with them, and it is the same.

moto takes orders by old receipts, ministack refuses them; SQS promises neither. ministack wants another botocore than
ours, so it has an environment of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from aws.queueing import FAKE, REGION, Place, command, ends, moto_services, wait_until

from slurmsweep.backends.registry import open_queue
from slurmsweep.errors import NotFoundError

OWN_ENVIRONMENT = Path(__file__).parent.parent.parent / ".venv-aws"

TRAIN = """
import os, sys, time
open("began-" + sys.argv[1], "a").close()
while sys.argv[1] == "--x=0" and not os.path.exists("go"):
    time.sleep(0.05)
open("finished", "a").write(sys.argv[1] + "\\n")
"""


@pytest.fixture(scope="module", params=["moto", "ministack"])
def aws(request):
    if request.param == "moto":
        with moto_services() as address:
            yield address
        return
    program = shutil.which("ministack") or shutil.which(OWN_ENVIRONMENT / "bin" / "ministack")
    if program is None:
        pytest.skip("no ministack: scripts/setup-aws installs it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {**os.environ, "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}
    server = subprocess.Popen([program], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"

    def answers():
        try:
            urllib.request.urlopen(f"{url}/_ministack/health", timeout=5).close()
        except OSError as error:
            return "HTTP Error" in str(error)
        return True

    wait_until(answers, "ministack answers")
    yield url
    server.terminate()
    server.wait(60)


@pytest.fixture
def place(aws, tmp_path, monkeypatch):
    for name, value in {**FAKE, "AWS_ENDPOINT_URL": aws}.items():
        monkeypatch.setenv(name, value)
    with closing(Place(aws, tmp_path)) as made:
        yield made


def test_a_message_is_hidden_extended_given_back_and_deleted(place):
    queue = open_queue(place.url, REGION)
    place.send("one")

    first = queue.receive(1, 60)
    assert (first.body, first.receives) == ("one", 1)
    assert queue.receive(1, 60) is None
    assert queue.hide(first, 120)
    assert queue.hide(first, 0)
    second = queue.receive(1, 60)
    assert (second.body, second.receives) == ("one", 2)
    assert queue.delete(second)
    assert queue.receive(1, 60) is None
    assert place.is_empty()
    assert queue.keeps_refused() is True


def test_an_order_by_an_old_receipt_raises_nothing_and_an_order_by_one_of_no_message_is_not_taken(place):
    queue = open_queue(place.url, REGION)
    place.send("one")
    first = queue.receive(1, 1)
    second = None
    while second is None:
        second = queue.receive(1, 60)

    assert queue.hide(first, 60) in (True, False)
    assert queue.delete(second)
    assert place.is_empty()
    assert queue.hide(first._replace(receipt="no-such-receipt"), 60) is False


def test_a_queue_that_is_not_there_is_said(place):
    queue = open_queue(f"{place.url}-gone", REGION)

    with pytest.raises(NotFoundError):
        queue.receive(1, 60)


def test_a_machine_that_was_stopped_lets_go_of_its_message_and_all_trials_finish_once(place):
    (place.folder / "train.py").write_text(TRAIN)
    values = list(range(4))
    (place.folder / "sweep.yaml").write_text(
        f"program: train.py\nmethod: grid\nparameters: {{x: {{values: {values}}}}}\n"
    )
    sweep = command(place.folder, place, "create", "sweep.yaml").stdout.split()[-1]
    assert command(place.folder, place, "submit", sweep, "--backend", "sqs", "--queue", place.url).returncode == 0
    stopped = place.listen("i-00000000000000aa", visibility=4)
    wait_until((place.folder / "began---x=0").exists, "trial 0 begins")
    stopped.process.send_signal(signal.SIGSTOP)
    other = place.listen("i-00000000000000bb", visibility=4)

    wait_until(lambda: "delivered 2 times" in other.said, "the message of the stopped machine comes again")
    (place.folder / "go").touch()
    stopped.process.send_signal(signal.SIGCONT)
    wait_until(lambda: ends(place.folder, sweep, place) == {"finished": 4}, "all trials finish")
    wait_until(place.is_empty, "the queue is empty")

    assert [machine.end() for machine in (stopped, other)] == [0, 0]
    assert "the message was ours for too long" in stopped.said
    assert sorted((place.folder / "finished").read_text().split()) == [f"--x={n}" for n in values]
    assert command(place.folder, place, "check", sweep).returncode == 0
