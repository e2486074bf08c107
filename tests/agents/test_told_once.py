"""A command hears of one order to stop once, whether it has it from Slurm or from its agent."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

#: Leaves a while after it has heard as often as its argument says, and says how often it has heard until then.
COUNTER = """
import os, signal, sys, time
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append("SIGTERM"))
print(f"ready {os.getpid()}", flush=True)
while len(heard) < int(sys.argv[1].partition("=")[2]):
    time.sleep(0.02)
for _ in range(60):
    time.sleep(0.02)
print("heard", *heard, flush=True)
sys.exit(143)
"""

#: Sends what Slurm does, under a given name, and stays until its input ends: the agent looks who it was.
SENDER = """
import os, signal, sys
open("/proc/self/comm", "w").write(sys.argv[1])
for number in (signal.SIGCONT, signal.SIGTERM)[int(sys.argv[2]):]:
    for pid in sys.argv[3:]:
        os.kill(int(pid), number)
print("sent", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=[1])
def agent(request, slurmsweep, write_sweep, tmp_path):
    """Return an agent whose command waits for so many orders: its process, the command's pid, and the log."""
    sweep = slurmsweep("create", str(write_sweep(COUNTER, f"  x: {{value: {request.param}}}"))).stdout.strip()
    command = [sys.executable, "-m", "slurmsweep", "agent", sweep]
    log = tmp_path / "wandb" / f"sweep-{sweep}" / "trials" / "0" / "0" / "1" / "output.log"
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (log.exists() and "ready" in log.read_text()):
            assert process.poll() is None, "the agent ended before its command was ready"
            assert time.monotonic() < deadline, "the command never got ready"
            time.sleep(0.02)
        yield process, int(log.read_text().split()[1]), log
        if process.poll() is None:
            process.kill()


@pytest.fixture
def send():
    """Send SIGCONT (unless ``first`` is 1) and SIGTERM to some processes, as a program of that name does."""
    with ExitStack() as senders:

        def send(name: str, first: int, *pids: int) -> None:
            command = [sys.executable, "-c", SENDER, name, str(first), *map(str, pids)]
            sender = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            senders.enter_context(sender)
            assert sender.stdout.readline() == "sent\n"

        yield send


def heard(process: subprocess.Popen, log: Path) -> list[str]:
    """Return what the command heard until its end, and the agent's."""
    assert process.wait(timeout=120) == 143
    return log.read_text().splitlines()[-1].split()[1:]


def test_what_slurm_told_every_process_of_the_job_is_not_told_again(agent, send):
    process, command, log = agent

    send("slurmstepd", 0, process.pid, command)

    assert heard(process, log) == ["SIGTERM"]


@pytest.mark.parametrize(("name", "first"), [("slurmstepd", 1), ("bash", 0)])
def test_what_the_agent_alone_was_told_is_passed_on(agent, send, name, first):
    """``scancel --batch`` sends no SIGCONT; a person who sends both is not Slurm."""
    process, _, log = agent

    send(name, first, process.pid)

    assert heard(process, log) == ["SIGTERM"]


@pytest.mark.parametrize("agent", [2], indirect=True)
def test_a_further_order_of_somebody_else_is_passed_on(agent, send):
    process, command, log = agent

    send("slurmstepd", 0, process.pid, command)
    send("bash", 1, process.pid)

    assert heard(process, log) == ["SIGTERM", "SIGTERM"]


#: Ends of SIGTERM before its agent hears of it, if it does: as where Slurm tells the command first, on a busy node.
OVERTAKEN = """
import os, signal, subprocess, sys
if sys.argv[1] == "--x=1":
    subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -TERM {os.getppid()}"], start_new_session=True)
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.parametrize(("x", "code", "end"), [(1, 143, ["killed", "terminated"]), (2, 143, ["crashed", "signal 15"])])
def test_a_command_that_hears_slurms_order_before_its_agent_was_told_to_stop(
    slurmsweep, write_sweep, tmp_path, x, code, end
):
    sweep = slurmsweep("create", str(write_sweep(OVERTAKEN, f"  x: {{value: {x}}}"))).stdout.strip()

    done = slurmsweep("agent", sweep)

    assert done.returncode == code, done.stderr
    outcome = json.loads((tmp_path / "wandb" / f"sweep-{sweep}" / "trials/0/0/1/outcome.json").read_text())
    assert [outcome["state"], outcome["cause"]] == end
