"""Machines that take trials by messages of a queue: what goes wrong costs no trial, and runs none twice."""

from __future__ import annotations

import json
import random
import signal
from contextlib import closing

import pytest
from aws.queueing import Place, command, ends, wait_until
from living import is_alive

#: Each finished run of a trial leaves a line, so that one that ran twice is seen; trials take a moment, to be hit.
TRAIN = """
import os, sys, time
x = int(sys.argv[1].partition("=")[2])
gate = os.path.join(os.environ["GATES"], str(x))
with open(gate + ".began", "a") as file:
    file.write(f"{os.environ['SLURMSWEEP_EC2_INSTANCE']} {os.getpid()}\\n")
while x in (7, 19, 31) and not os.path.exists(gate):  # until the test has done what it wants with its machine
    time.sleep(0.05)
time.sleep(0.2)
with open(os.path.join(os.environ["GATES"], "finished"), "a") as file:
    file.write(f"{x}\\n")
"""


@pytest.fixture
def place(aws, tmp_path):
    with closing(Place(aws, tmp_path)) as made:
        yield made


def make(place, trials, script=TRAIN):
    (place.folder / "train.py").write_text(script)
    (place.folder / "gates").mkdir()
    file = place.folder / "sweep.yaml"
    file.write_text(f"program: train.py\nmethod: grid\nparameters: {{x: {{values: {list(range(trials))}}}}}\n")
    place.environ["GATES"] = str(place.folder / "gates")
    done = command(place.folder, place, "create", "sweep.yaml")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def test_sixty_trials_finish_once_while_machines_are_killed_stopped_and_taken_back(place):
    sweep = make(place, 60)
    gates = place.folder / "gates"
    done = command(place.folder, place, "submit", sweep, "--backend", "sqs", "--queue", place.url)
    assert done.returncode == 0, done.stderr
    bodies = place.bodies(place.url)
    assert len(bodies) == 60
    place.sqs.purge_queue(QueueUrl=place.url)
    doubled = bodies + random.Random(7).sample(bodies, 6)
    random.Random(8).shuffle(doubled)
    place.send(*doubled)
    for n in range(4):
        place.listen(f"i-000000000000000{n}")

    began = [gates / f"{x}.began" for x in (7, 19, 31)]
    wait_until(lambda: all(file.exists() and file.read_text().endswith("\n") for file in began), "trials at the gates")
    at = {file: file.read_text().split() for file in began}
    assert len({instance for instance, _ in at.values()}) == 3
    killed, stopped, spot = (next(m for m in place.machines if m.instance == at[file][0]) for file in began)

    [agent] = killed.agents()
    killed.process.kill()
    wait_until(lambda: not (is_alive(agent) or is_alive(int(at[began[0]][1]))), "what a killed listener left dies")
    stopped.process.send_signal(signal.SIGSTOP)
    spot.metadata.notice = {"action": "terminate", "time": "2026-11-29T22:00:00Z"}
    assert spot.process.wait(120) == 0
    assert "ended: this machine is taken back: terminate at 2026-11-29T22:00:00Z" in spot.said
    assert "trial 31, attempt 1: preempted, and may be claimed again" in spot.said
    [quiet] = [machine for machine in place.machines if machine not in (killed, stopped, spot)]
    (gates / "7").touch()
    (gates / "31").touch()
    # of the killed machine, of the one that gave its message back, and of the one that is stopped
    wait_until(lambda: quiet.said.count("a message that was delivered 2 times") == 3, "three messages come again")
    assert [agent for agent in stopped.agents() if is_alive(agent)]
    (gates / "19").touch()
    stopped.process.send_signal(signal.SIGCONT)

    wait_until(lambda: ends(place.folder, sweep, place) == {"finished": 60}, "all trials finish")
    wait_until(place.is_empty, "the queue is empty")
    assert [machine.end() for machine in (stopped, quiet)] == [0, 0]
    assert sorted(map(int, (gates / "finished").read_text().split())) == list(range(60))
    assert "the message was ours for too long" in stopped.said
    assert "trial 7: lost with its machine, attempt 2 may be claimed" in quiet.said
    assert place.counts(place.dead) == (0, 0)
    assert command(place.folder, place, "check", sweep).returncode == 0
    shown = json.loads(command(place.folder, place, "show", sweep, "7", "--json").stdout)
    first, second = shown["attempts"]
    # its process is gone from this very machine, so that EC2 is not asked
    assert (first["attempt"], first["state"], first["cause"], first["job"]) == (1, "crashed", "lost", killed.instance)
    assert (second["attempt"], second["state"], second["cause"]) == (2, "finished", "")
    assert second["job"] in {quiet.instance, stopped.instance}
    assert (shown["state"], shown["attempt"], shown["exit_code"], shown["params"]) == ("finished", 2, 0, {"x": 7})
