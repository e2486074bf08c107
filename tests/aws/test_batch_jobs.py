"""What AWS Batch says of jobs, and orders to them, with as few requests as that takes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from slurmsweep.backends.aws import batch as batch_module
from slurmsweep.backends.aws import batch_jobs, client, service
from slurmsweep.backends.aws.batch import BatchBackend
from slurmsweep.backends.base import JobSource, SubmitOptions
from slurmsweep.backends.keys import JobRef
from slurmsweep.errors import SchedulerUnavailableError, SubmissionRefusedError, SubmissionUnknownError
from slurmsweep.state.lifecycle import TrialState

CLUSTER = "batch:eu-west-1"


@pytest.fixture(autouse=True)
def _patient(cloud, monkeypatch):
    """Clients of one stand-in are of no use to the next test; looks that wait do so for a moment."""
    service.client.cache_clear()
    monkeypatch.setattr(batch_module, "_SEARCHES", (0.01, 0.01))
    monkeypatch.setattr(batch_jobs, "_SECOND_LOOK", 0.01)
    monkeypatch.setattr(BatchBackend, "_submitted", {})


@pytest.fixture
def send(tmp_path):
    """Submit jobs that run a program in the place of an agent; the key."""
    backend = BatchBackend()

    def do(tasks: int = 1, program: str = "exit 0", **options: str) -> str:
        folder = Path(tmp_path, "bin")
        folder.mkdir(exist_ok=True)
        script = Path(folder, "slurmsweep")
        script.write_text(f"#!/bin/bash\n{program}\n")
        script.chmod(0o755)
        source = JobSource("slurmsweep-abcd1234", "/sweep", str(tmp_path), str(tmp_path))
        wish = SubmitOptions(options={"queue": "sweeps", "image": "me/image:1", **options})
        return backend.send(backend.request(source, tasks, wish))

    return do


@pytest.fixture
def with_program(cloud, tmp_path):
    """Let jobs find that program first."""
    cloud.machines.environ["PATH"] = f"{tmp_path}/bin:{cloud.machines.environ['PATH']}"


def operations(batch) -> Counter[str]:
    return Counter(request.operation for request in batch.requests)


def job_of(key: str) -> str:
    return key.partition("@")[0]


def test_an_array_that_waits_is_told_element_by_element_with_a_request_a_thousand(cloud, batch, send):
    cloud.machines.slots = 0
    key = send(2500)
    batch.requests.clear()

    answer = BatchBackend().poll([key])

    assert set(answer.tasks) == {JobRef(key, task) for task in range(2500)}
    assert {(s.word, s.alive, s.waits, s.name[:20]) for s in answer.tasks.values()} == {
        ("RUNNABLE", True, True, "slurmsweep-abcd1234-")
    }
    # three pages of those that wait; none has started or failed meanwhile
    assert operations(batch) == {"DescribeJobs": 1, "ListJobs": 6, "DescribeJobQueues": 1}


def test_of_an_array_that_is_over_those_that_failed_are_told_and_those_that_are_wanted(batch, send, with_program):
    key = send(4, "exit $((AWS_BATCH_JOB_ARRAY_INDEX == 1 ? 3 : 0))")
    batch.wait_for(job_of(key), "FAILED")
    batch.requests.clear()

    answer = BatchBackend().poll([key], {JobRef(key, 2)})

    told = {ref.task: (s.state, s.cause, s.exit_code, s.alive) for ref, s in answer.tasks.items()}
    assert told == {1: (TrialState.FAILED, "exit 3", 3, False), 2: (TrialState.FINISHED, "", 0, False)}
    assert operations(batch) == {"DescribeJobs": 2, "ListJobs": 1}


def test_a_plain_job_is_told_with_its_limit(cloud, batch, send):
    cloud.machines.slots = 0
    key = send(time="30")
    status = BatchBackend().poll([key]).tasks[JobRef(key)]
    assert (status.word, status.waits, status.minutes, status.source) == ("RUNNABLE", True, 30, "AWS Batch")


def test_a_job_whose_host_was_lost_waits_again_and_then_says_so(cloud, batch, send, with_program):
    key = send(1, "sleep 600")
    cloud.machines.slots = 1
    batch.wait_for(job_of(key), "RUNNING")
    cloud.machines.slots = 0
    host = batch.lose_host(job_of(key))
    batch.wait_for(job_of(key), "RUNNABLE")
    assert BatchBackend().poll([key]).tasks[JobRef(key)].waits

    key = send(1, "sleep 600", retries="1")
    cloud.machines.slots = 2
    batch.wait_for(job_of(key), "RUNNING")
    host = batch.lose_host(job_of(key))
    batch.wait_for(job_of(key), "FAILED")
    status = BatchBackend().poll([key]).tasks[JobRef(key)]
    assert (status.state, status.cause, status.node) == (TrialState.PREEMPTED, "preempted", host)


def test_why_jobs_wait_is_told_with_its_meaning(cloud, batch, send):
    cloud.machines.slots = 0
    key = send(2)
    batch.explain(f"{job_of(key)}:0", "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - the job asks for too much")
    batch.explain(f"{job_of(key)}:1", "something new")
    tasks = BatchBackend().poll([key]).tasks
    stuck, unknown = tasks[JobRef(key, 0)], tasks[JobRef(key, 1)]
    assert stuck.wait
    assert stuck.wait.is_stuck
    assert (unknown.reason, unknown.wait) == ("something new", None)


def test_a_job_that_no_answer_shows_yet_counts_as_waiting_for_who_submitted_it(cloud, batch, send):
    cloud.machines.slots, batch.unseen = 0, 5
    key = send()
    assert BatchBackend().poll([key]).tasks[JobRef(key)].alive
    BatchBackend._submitted.clear()  # as in another process
    assert BatchBackend().poll([key]).tasks == {}


def test_a_job_that_batch_forgot_is_absent(batch, send, with_program):
    key = send()
    batch.wait_for(job_of(key), "SUCCEEDED")
    batch.forget(job_of(key))
    BatchBackend._submitted.clear()
    assert BatchBackend().poll([key], {JobRef(key)}).tasks == {}


def test_a_submission_is_found_by_its_name_though_lists_lag(cloud, batch, send):
    cloud.machines.slots = 0
    send()
    batch.unseen = 2
    batch.lose_answers(1, "SubmitJob")
    with pytest.raises(SubmissionUnknownError, match="the jobs may exist all the same"):
        send(3)
    name = batch.asked("SubmitJob")[-1]["jobName"]
    job = next(job.job_id for job in batch.jobs.values() if job.name == name and job.parent is None)
    assert BatchBackend().find(name, CLUSTER) == f"{job}@{CLUSTER}"
    assert BatchBackend().find(f"{name}0", CLUSTER) == ""
    assert len(batch.asked("SubmitJob")) == 2


def test_a_throttled_submission_is_sent_again_and_one_that_never_comes_through_was_not_made(batch, send, monkeypatch):
    monkeypatch.setattr(client.time, "sleep", lambda _: None)
    batch.throttle(3, "SubmitJob")
    send()
    assert len(batch.asked("SubmitJob")) == 4
    batch.throttle(100, "SubmitJob")
    with pytest.raises(SchedulerUnavailableError, match="throttled: try again later"):
        send()
    batch.heal()
    batch.refuse(1, "SubmitJob", code="ClientException", message="JobQueue nope not found.", status=400)
    with pytest.raises(SubmissionRefusedError, match="JobQueue nope not found"):
        send()


def test_all_elements_are_ended_by_one_order(cloud, batch, send, with_program):
    key = send(3, "exec sleep 600")
    cloud.machines.slots = 1
    array = job_of(key)
    BatchBackend().cancel([key])
    batch.wait_for(array, "FAILED")
    assert len(batch.asked("TerminateJob")) == 1
    told = BatchBackend().poll([key]).tasks
    assert {(s.state, s.cause) for s in told.values()} == {(TrialState.KILLED, "cancelled")}
    BatchBackend().cancel([key])  # a job that is over is no error


def test_only_what_waits_is_cancelled_where_that_is_wanted(cloud, batch, send, with_program, tmp_path):
    cloud.machines.slots = 1
    key = send(4, "until [ -e end ]; do sleep 0.05; done")
    array = job_of(key)
    with batch.changed:
        assert batch.changed.wait_for(lambda: any(c.status == "RUNNING" for c in batch.jobs[array].children), 60)
    BatchBackend().cancel([key], only_waiting=True)
    Path(tmp_path, "end").touch()
    batch.wait_for(array, "FAILED")
    assert Counter(child.status for child in batch.jobs[array].children) == {"SUCCEEDED": 1, "FAILED": 3}


def test_some_elements_are_cancelled_by_their_indexes(cloud, batch, send):
    cloud.machines.slots = 0
    key = send(5)
    array = job_of(key)
    BatchBackend().cancel([f"{array}_[0-1,4]@{CLUSTER}"], only_waiting=True)
    assert [child.status for child in batch.jobs[array].children] == [
        "FAILED",
        "FAILED",
        "RUNNABLE",
        "RUNNABLE",
        "FAILED",
    ]
    assert BatchBackend().cancel([]) is None


def test_a_job_that_batch_does_not_know_is_no_error_and_one_that_it_does_not_end_is(cloud, batch, send):
    cloud.machines.slots = 0
    BatchBackend().cancel([f"00000000-0000-4000-8000-000000000000@{CLUSTER}"])
    key = send()
    batch.refuse(1, "TerminateJob", code="ClientException", message="no", status=400)
    with pytest.raises(SubmissionRefusedError, match="does not end job"):
        BatchBackend().cancel([key])


def test_what_jobs_asked_for_and_how_they_ended_is_told(batch, send, with_program):
    key = send(3, "exit $((AWS_BATCH_JOB_ARRAY_INDEX == 1 ? 3 : 0))", time="30", mem="2G")
    batch.wait_for(job_of(key), "FAILED")
    known, said = BatchBackend().accounts([key])
    assert said == "used"
    assert {(ref.task, one.minutes, one.mem, one.cpus) for ref, one in known.items()} == {
        (task, 30, 2048, 1) for task in range(3)
    }
    assert BatchBackend().restarts([key]).ends == {"exit 3": 1}
