"""A grid of 24 trials on AWS Batch, by its stand-in with real agents, through all that goes wrong there."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

TRAIN = """\
import os, pathlib, sys, time
x = sys.argv[1].partition("=")[2]
mark = pathlib.Path("marks", x)
if x in ("1", "2", "3", "13", "14") and not mark.exists():
    mark.write_text(os.environ["AWS_BATCH_JOB_ID"])
    memory = bytearray(40_000_000)
    time.sleep(600)
with open(pathlib.Path("done", x), "a") as file:
    file.write("once\\n")
"""
SWEEP = """\
program: train.py
method: grid
parameters: {x: {values: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]}}
aws: {queue: sweeps, image: "me/image:1", mem: 1G, time: 10}
"""


@pytest.fixture
def job_of(tmp_path):
    """Wait for a trial that does not end, and return the id of its job."""

    def wait(x: int) -> str:
        deadline, mark = time.monotonic() + 120, Path(tmp_path, "marks", str(x))
        while not (mark.exists() and mark.read_text()):
            assert time.monotonic() < deadline, f"trial {x} has not started"
            time.sleep(0.05)
        return mark.read_text()

    return wait


def parents(batch) -> list[str]:
    return [job.job_id for job in batch.jobs.values() if job.parent is None]


def submissions(batch) -> Counter[str]:
    """Return how often a submission of each name was carried out."""
    done = [request for request in batch.requests if request.operation == "SubmitJob"]
    return Counter(request.parameters["jobName"] for request in done if request.fault in ("", "lost"))


def test_whatever_goes_wrong_on_batch_each_trial_finishes_once(tmp_path, cloud, batch, slurmsweep, job_of):
    for name in ("marks", "done"):
        Path(tmp_path, name).mkdir()
    Path(tmp_path, "train.py").write_text(TRAIN)
    Path(tmp_path, "s.yaml").write_text(SWEEP)
    cloud.machines.slots, cloud.machines.grace_scale = 6, 0.5

    # the answer to the first submission is lost, after three that were throttled
    batch.throttle(3, "SubmitJob")
    batch.lose_answers(1, "SubmitJob")
    said = slurmsweep("run", "s.yaml", "--backend", "batch", "--count", "12", "--no-wait")
    assert said.returncode == 0, said.stderr
    assert len(parents(batch)) == 1
    first = parents(batch)[0]
    batch.lose_host(job_of(1))  # Batch itself starts this job again
    batch.kill_container(job_of(2))
    batch.oom(job_of(3))
    batch.wait_for(first, "FAILED")

    said = slurmsweep("submit", "last", "--count", "12", "--retries", "1")  # on Batch, as before
    assert said.returncode == 0, said.stderr
    second = parents(batch)[1]
    batch.lose_host(job_of(13))
    batch.expire(job_of(14))
    batch.wait_for(second, "FAILED")

    assert slurmsweep("reconcile", "last").returncode == 0
    rows = {row["number"]: row for row in json.loads(slurmsweep("trials", "last", "--json").stdout)}
    ended = {number: (row["state"], row["cause"]) for number, row in rows.items() if row["state"] != "finished"}
    assert ended == {
        2: ("crashed", "signal 9"),
        3: ("crashed", "oom"),
        13: ("preempted", "preempted"),
        14: ("crashed", "timeout"),
    }
    shown = json.loads(slurmsweep("show", "last", "1", "--json").stdout)
    assert [(one["state"], one["cause"]) for one in shown["attempts"]] == [("preempted", "requeued"), ("finished", "")]

    said = slurmsweep("resubmit", "last", "--wait")
    assert said.returncode == 0, said.stderr
    again = {}
    for request in batch.asked("SubmitJob")[-3:]:
        own = request["containerOverrides"]
        needs = {one["type"]: one["value"] for one in own["resourceRequirements"]}
        attempts = "".join(pair["value"] for pair in own.get("environment", []))
        again[attempts] = (needs["MEMORY"], request["timeout"]["attemptDurationSeconds"])
    # as before, and with more memory or time where that lacked
    assert again == {"": ("1024", 600), "3:2": ("2048", 600), "14:2": ("1024", 1200)}

    status = json.loads(slurmsweep("status", "last", "--json").stdout)
    assert (status["state"], status["counts"]["finished"]) == ("finished", 24)
    assert {path.name: path.read_text() for path in Path(tmp_path, "done").iterdir()} == {
        str(x): "once\n" for x in range(24)
    }
    checked = slurmsweep("check", "last")
    assert checked.stdout == "24 trials, 29 attempts: every trial once, none lost, none doubled\n"
    assert set(submissions(batch).values()) == {1}
    assert len(batch.asked("RegisterJobDefinition")) == 1
