"""Sweeps with jobs in AWS where a service, or the machine that asks it, is not as it should be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aws.standin import model
from cli.test_json import validate

from slurmsweep.backends import registry
from slurmsweep.backends.aws import client, service
from slurmsweep.errors import SchedulerUnavailableError, UsageError

#: Until a test says that trials may go on they run.
SCRIPT = """
import os, sys, time
deadline = time.monotonic() + 120
while not os.path.exists("go") and time.monotonic() < deadline:
    time.sleep(0.02)
"""
AWS = 'aws: {queue: sweeps, image: "me/image:1", time: 10}'


@pytest.fixture(autouse=True)
def _new_clients(cloud):
    """Clients of one stand-in are of no use to the next test; tasks of ECS find their group of logs."""
    service.client.cache_clear()
    cloud.logs.begin("/ecs/slurmsweep", "made before")


@pytest.fixture
def create(slurmsweep, write_sweep):
    """Make a sweep of trials that run until the file ``go`` is there."""

    def make(trials: int, aws: str = AWS) -> None:
        write_sweep(SCRIPT, f"  x: {{values: {list(range(trials))}}}", extra=aws)
        made = slurmsweep("create", "sweep.yaml")
        assert made.returncode == 0, made.stderr

    return make


@pytest.fixture
def is_running(slurmsweep):
    """Wait until so many trials run."""

    def wait(trials: int) -> None:
        deadline = time.monotonic() + 120
        while f"{trials} running" not in slurmsweep("status", "last").stdout:
            assert time.monotonic() < deadline
            time.sleep(0.1)

    return wait


def test_a_state_that_is_new_to_this_version_is_shown_and_is_no_end(
    create, slurmsweep, batch, cloud, is_running, monkeypatch, tmp_path
):
    cloud.machines.slots = 3
    create(3)
    assert slurmsweep("submit", "last", "--backend", "batch").returncode == 0
    is_running(3)
    known = batch.describe_jobs

    def describe(asked):
        said = known(asked)
        for job in said["jobs"]:
            if "size" in job.get("arrayProperties", {}):
                job["arrayProperties"]["statusSummary"] = {"HIBERNATING": 3}
            else:
                job["status"] = "HIBERNATING"
        return said

    with monkeypatch.context() as newer:
        newer.setattr(model, "complaints", lambda *_: "")
        newer.setattr(batch, "describe_jobs", describe)
        status, cancelled, reconciled = (slurmsweep(word, "last") for word in ("status", "cancel", "reconcile"))

    words = "AWS Batch calls a job 'HIBERNATING', which this slurmsweep does not know: nothing was concluded from it"
    assert (status.returncode, "3 running" in status.stdout, words in status.stderr) == (0, True, True)
    assert (cancelled.returncode, words in cancelled.stderr) == (4, True)
    assert "is canceled all the same: no new trial starts. Its jobs were not cancelled" in cancelled.stderr
    assert (reconciled.returncode, words in reconciled.stderr) == (4, True)
    Path(tmp_path, "go").write_text("")
    for parent in [job for job in batch.jobs.values() if job.parent is None]:
        batch.wait_for(parent.job_id, "SUCCEEDED")
    assert "3 finished" in slurmsweep("status", "last").stdout


def test_where_boto3_is_missing_a_sweep_is_shown_as_the_journal_knows_it(
    create, slurmsweep, slurmsweep_process, cloud, tmp_path
):
    cloud.machines.slots = 0
    create(2)
    assert slurmsweep("submit", "last", "--backend", "batch").returncode == 0
    without = tmp_path / "without"
    without.mkdir()
    Path(without, "boto3.py").write_text("raise ImportError")
    status, cancelled = (slurmsweep_process(word, "last", PYTHONPATH=str(without)) for word in ("status", "cancel"))
    words = "jobs in AWS need boto3 on the machine that submits them: `pip install 'boto3>=1.35'`"
    assert (status.returncode, "2 pending" in status.stdout, words in status.stderr) == (0, True, True)
    assert (cancelled.returncode, words in cancelled.stderr) == (4, True)
    assert "Its jobs were not cancelled: give the order again" in cancelled.stderr


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("batch", "1c7f@batch:eu-west-1"),
        ("ecs", "158d1c8083dd49d6b527399fd6414f5c@ecs:eu-west-1/sweeps"),
        ("sagemaker", "slurmsweep-abcd1234-00000000-0@sagemaker:eu-west-1"),
        ("sqs", "sweeps/slurmsweep-abcd1234-00000000:1@sqs:eu-west-1"),
        ("sqs", "i-0123456789abcdef0@ec2:eu-west-1"),
    ],
)
def test_without_boto3_nothing_is_known_of_jobs_of_any_service(monkeypatch, word, key):
    def missing() -> None:
        raise UsageError("jobs in AWS need boto3")

    monkeypatch.setattr(client, "require_boto3", missing)
    backend = registry.service(word)
    for ask in (backend.poll, *([backend.cancel] if backend.endable([key]) else [])):
        with pytest.raises(SchedulerUnavailableError, match="could not be asked about: jobs in AWS need boto3"):
            ask([key])


def test_a_new_sweep_whose_submission_was_not_answered_stays_though_the_jobs_cannot_be_looked_for(
    slurmsweep, write_sweep, batch, cloud
):
    cloud.machines.slots = 0
    write_sweep("", "  x: {values: [0, 1, 2]}", extra=AWS)
    batch.lose_answers(1, "SubmitJob")
    batch.refuse(1, "DescribeJobQueues")
    done = slurmsweep("run", "sweep.yaml", "--backend", "batch", "--no-wait")
    assert done.returncode == 4
    assert "the jobs may exist all the same; they could not be looked for: AWS Batch, DescribeJobQueues" in done.stderr
    assert "was removed" not in done.stderr

    again = slurmsweep("resubmit", "last")
    assert (again.returncode, "3 jobs wait in the queue" in again.stderr) == (0, True), again.stderr
    assert len(batch.asked("SubmitJob")) == 1


def test_files_name_options_of_all_services_and_each_takes_its_own(slurmsweep, write_sweep, cloud):
    both = (
        'aws: {queue: sweeps, retries: 2, cluster: sweeps, subnets: subnet-1, image: "me/image:1", mem: 2G, time: 10}'
    )
    write_sweep("", "  x: {values: [0, 1]}", extra=both)
    batch, ecs = (slurmsweep("run", "sweep.yaml", "--backend", word, "--dry-run") for word in ("batch", "ecs"))
    assert (batch.returncode, '"jobQueue": "sweeps"' in batch.stdout) == (0, True), batch.stderr
    assert "cluster, subnets of your files is ignored: AWS Batch has no such option for jobs" in batch.stderr
    assert (ecs.returncode, '"cluster": "sweeps"' in ecs.stdout) == (0, True), ecs.stderr
    assert "queue, retries of your files is ignored: Amazon ECS has no such option for jobs" in ecs.stderr
    refused = slurmsweep("run", "sweep.yaml", "--backend", "ecs", "--dry-run", "--queue", "sweeps")
    assert (refused.returncode, "Amazon ECS has no option queue for jobs" in refused.stderr) == (2, True)


def test_where_slurm_does_not_answer_jobs_in_aws_are_cancelled_all_the_same(
    create, slurmsweep, slurmsweep_process, batch, cloud, tmp_path
):
    cloud.machines.slots = 0
    create(3)
    assert slurmsweep("submit", "last", "--backend", "batch", "--count", "2").returncode == 0
    [sweep] = tmp_path.glob(".slurmsweep/sweep-*")
    on_slurm = {"SLURM_JOB_ID": "77", "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "0", "SLURM_CLUSTER_NAME": "a"}
    agent = subprocess.Popen(
        [sys.executable, "-m", "slurmsweep", "agent", "--count", "1", sweep], cwd=tmp_path, env=os.environ | on_slurm
    )
    deadline = time.monotonic() + 120
    while "1 running" not in slurmsweep("status", "last").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    commands = tmp_path / "commands"
    commands.mkdir()
    Path(commands, "squeue").write_text("#!/bin/sh\necho squeue: error: Unknown host >&2\nexit 1\n")
    Path(commands, "squeue").chmod(0o755)
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    status, cancelled = (slurmsweep_process(word, "last", PATH=path) for word in ("status", "cancel"))
    Path(tmp_path, "go").write_text("")
    agent.wait()

    [parent] = [job for job in batch.jobs.values() if job.parent is None]
    assert (status.returncode, "1 running" in status.stdout, "Unknown host" in status.stderr) == (0, True, True)
    assert (cancelled.returncode, f"elsewhere cancelled: job {parent.job_id}@batch" in cancelled.stderr) == (4, True)
    assert "is canceled all the same" in cancelled.stderr
    assert batch.wait_for(parent.job_id, "FAILED").order == "slurmsweep cancel"


def test_credentials_that_expire_end_the_waiting_and_not_the_jobs(
    create, slurmsweep, batch, cloud, is_running, tmp_path
):
    cloud.machines.slots = 2
    create(2)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(slurmsweep, "run", "last", "--backend", "batch")
        is_running(2)
        batch.refuse(1000, code="ExpiredTokenException", message="The security token is expired")
        waited = waiting.result()
    batch.heal()
    assert waited.returncode == 4
    assert "ExpiredTokenException: The security token is expired" in waited.stderr
    assert "only the waiting has ended, and the jobs go on: `slurmsweep status" in waited.stderr
    assert "2 running" in slurmsweep("status", "last").stdout
    Path(tmp_path, "go").write_text("")
    [parent] = [job for job in batch.jobs.values() if job.parent is None]
    batch.wait_for(parent.job_id, "SUCCEEDED")
    assert "nothing to run again: all 2 trials finished" in slurmsweep("resubmit", "last", "--wait").stderr


@pytest.mark.parametrize(("backend", "trials"), [("batch", 1), ("batch", 2), ("ecs", 2)])
def test_jobs_that_wait_in_aws_are_not_changed_and_that_is_said(create, slurmsweep, cloud, backend, trials):
    cloud.machines.slots = 0
    create(trials, 'aws: {queue: sweeps, cluster: sweeps, subnets: subnet-1, image: "me/image:1", time: 10, mem: 2G}')
    assert slurmsweep("submit", "last", "--backend", backend).returncode == 0
    done = slurmsweep("set", "last", "--time", "20")
    words = f"not all of {trials} waiting trials changed: {backend} changes no job that waits: `cancel` it"
    assert (done.returncode, words in done.stderr) == (4, True), done.stderr


@pytest.mark.parametrize("backend", ["batch", "ecs"])
def test_documents_about_jobs_in_aws_are_as_the_schemas_say(create, slurmsweep, batch, ecs, cloud, is_running, backend):
    cloud.machines.slots = 2
    create(3, 'aws: {queue: sweeps, cluster: sweeps, subnets: subnet-1, image: "me/image:1", time: 10, mem: 2G}')

    def document(command: str, *argv: str) -> Any:
        said = json.loads(slurmsweep(command, *argv, "--json").stdout)
        validate(command, said)
        return said

    assert document("plan", "sweep.yaml", "--backend", backend)["backend"] == backend
    document("submit", "last", "--backend", backend)
    is_running(2)
    for command in ("status", "trials", "set", "pause", "resume", "stop", "cancel"):
        document(command, "last", *(["--time", "20"] if command == "set" else []))
    for job in [job for job in batch.jobs.values() if job.parent is None]:
        batch.wait_for(job.job_id, "FAILED")
    for task in list(ecs.tasks):
        ecs.wait_for(task, "STOPPED")
    ended = document("reconcile", "last")["ended"]
    assert {(one["state"], one["cause"], one["by"]) for one in ended} == {("killed", "cancelled", "service")}
    for command in ("show", "efficiency", "check", "resubmit", "mend"):
        document(command, "last", *(["0"] if command == "show" else []))


def test_a_wish_that_is_refused_once_the_sweep_is_made_leaves_none(slurmsweep, write_sweep, cloud, tmp_path):
    write_sweep("", "  x: {min: 0.0, max: 1.0}", method="random", extra=AWS)
    done = slurmsweep("run", "sweep.yaml", "--backend", "batch", "--no-wait")
    assert (done.returncode, "a random search has no end: say how many trials by --count" in done.stderr) == (2, True)
    assert list(tmp_path.glob(".slurmsweep/sweep-*")) == []
