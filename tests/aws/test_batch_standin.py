"""The stand-in for AWS Batch does what AWS's documentation says, and refuses what AWS's model refuses."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from living import is_alive

PRINTS = "import os; print(*sorted(f'{k}={v}' for k, v in os.environ.items() if k.startswith('AWS_')), sep='\\n')"
ENDS_WITH = "import sys; sys.exit(int(sys.argv[1]))"
WAITS = "import time; print('up', flush=True); time.sleep(600)"
#: Its child has more memory than itself, and its own end is that of its child.
PARENT_OF_A_BIG_ONE = (
    "import subprocess, sys;"
    "child = subprocess.Popen([sys.executable, '-c', 'x = bytearray(60_000_000); print(1, flush=True); input()'],"
    " stdin=subprocess.PIPE, start_new_session=True);"
    "sys.exit(128 - child.wait())"
)


@pytest.fixture
def submit(client):
    """Register a definition with a Python program and submit a job with it; the job's id."""
    boto = client("batch")

    def do(program: str, *words: str, size: int = 0, name: str = "job", **more) -> str:
        definition = boto.register_job_definition(
            jobDefinitionName="prog",
            type="container",
            parameters={"mode": "fast"},
            containerProperties={
                "image": "none",
                "command": [sys.executable, "-c", program, *words],
                "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
            },
        )
        array = {"arrayProperties": {"size": size}} if size else {}
        return boto.submit_job(
            jobName=name, jobQueue="sweeps", jobDefinition=definition["jobDefinitionArn"], **array, **more
        )["jobId"]

    return do


@pytest.fixture
def described(client):
    boto = client("batch")
    return lambda job_id: boto.describe_jobs(jobs=[job_id])["jobs"][0]


def refusal(call, *args, **kwargs) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def test_a_job_gets_the_variables_of_batch_and_its_output_is_in_its_log_stream(batch, submit, described, client):
    job_id = submit(PRINTS)
    batch.wait_for(job_id, "SUCCEEDED")
    told = described(job_id)
    assert (told["container"]["exitCode"], told["statusReason"]) == (0, "Essential container in task exited")
    events = client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=told["container"]["logStreamName"], startFromHead=True
    )["events"]
    variables = dict(event["message"].split("=", 1) for event in events)
    assert variables["AWS_BATCH_JOB_ID"] == job_id
    assert variables["AWS_BATCH_JOB_ATTEMPT"] == "1"
    assert variables["AWS_BATCH_JQ_NAME"] == "sweeps"
    assert variables["AWS_REGION"] == "eu-west-1"
    assert "AWS_BATCH_JOB_ARRAY_INDEX" not in variables
    assert "AWS_ACCESS_KEY_ID" not in variables


def test_parameters_take_the_place_of_references_and_overrides_that_of_the_definition(batch, submit):
    program = "import os, sys; print(sys.argv[1:], os.environ['WHO'])"
    job_id = submit(
        program,
        "Ref::sweep",
        "Ref::mode",
        "Ref::unknown",
        parameters={"sweep": "/s"},
        containerOverrides={"environment": [{"name": "WHO", "value": "me"}]},
    )
    batch.wait_for(job_id, "SUCCEEDED")
    assert batch.output(job_id) == "['/s', 'fast', 'Ref::unknown'] me\n"


def test_an_array_is_pending_until_its_last_child_has_ended_and_fails_with_one_of_them(cloud, batch, submit, described):
    cloud.machines.slots = 0
    array = submit("import os, sys; sys.exit(int(os.environ['AWS_BATCH_JOB_ARRAY_INDEX']) == 1)", size=3)
    assert described(array)["status"] == "PENDING"
    assert described(array)["arrayProperties"]["statusSummary"]["RUNNABLE"] == 3
    cloud.machines.slots = 2
    batch.wait_for(array, "FAILED")
    told = described(array)
    assert told["arrayProperties"]["size"] == 3
    assert told["arrayProperties"]["statusSummary"] == {
        "SUBMITTED": 0,
        "PENDING": 0,
        "RUNNABLE": 0,
        "STARTING": 0,
        "RUNNING": 0,
        "SUCCEEDED": 2,
        "FAILED": 1,
    }
    child = described(f"{array}:1")
    assert (child["status"], child["container"]["exitCode"], child["arrayProperties"]["index"]) == ("FAILED", 1, 1)


def test_no_more_jobs_run_than_there_are_slots(cloud, batch, submit):
    cloud.machines.slots = 1
    first = submit(WAITS)
    second = submit("pass")
    batch.wait_for(first, "RUNNING")
    assert batch.jobs[second].status == "RUNNABLE"
    batch.kill_container(first)
    batch.wait_for(second, "SUCCEEDED")
    assert batch.jobs[first].attempts[0].exit_code == 137
    assert batch.jobs[first].attempts[0].reason is None


def test_lists_show_what_runs_unless_a_state_is_named_and_come_in_pages(cloud, batch, submit, client):
    cloud.machines.slots = 0
    batch.page_size = 2
    array = submit("pass", size=5)
    boto = client("batch")
    assert boto.list_jobs(arrayJobId=array)["jobSummaryList"] == []
    first = boto.list_jobs(arrayJobId=array, jobStatus="RUNNABLE")
    assert [job["arrayProperties"]["index"] for job in first["jobSummaryList"]] == [0, 1]
    pages = boto.get_paginator("list_jobs").paginate(arrayJobId=array, jobStatus="RUNNABLE")
    assert [len(page["jobSummaryList"]) for page in pages] == [2, 2, 1]
    assert boto.list_jobs(jobQueue="sweeps")["jobSummaryList"] == []
    assert [job["jobId"] for job in boto.list_jobs(jobQueue="sweeps", jobStatus="PENDING")["jobSummaryList"]] == [array]
    code, _, _ = refusal(boto.list_jobs, arrayJobId=array, jobQueue="sweeps")
    assert code == "ClientException"


def test_a_filter_finds_names_in_any_state_and_any_case(cloud, batch, submit, client):
    cloud.machines.slots = 0
    ids = [submit("pass", name=name) for name in ("Sweep-1", "sweep-10", "other")]
    batch.filter_page_size = 1
    pages = (
        client("batch")
        .get_paginator("list_jobs")
        .paginate(jobQueue="sweeps", filters=[{"name": "JOB_NAME", "values": ["sweep-1*"]}])
    )
    assert [[job["jobId"] for job in page["jobSummaryList"]] for page in pages] == [[ids[1]], [ids[0]]]
    [found] = client("batch").list_jobs(jobQueue="sweeps", filters=[{"name": "JOB_NAME", "values": ["sweep-1"]}])[
        "jobSummaryList"
    ]
    assert (found["jobId"], found["status"]) == (ids[0], "RUNNABLE")


def test_summaries_say_how_a_job_ended(batch, submit, client):
    job_id = submit(ENDS_WITH, "3")
    batch.wait_for(job_id, "FAILED")
    [told] = client("batch").list_jobs(jobQueue="sweeps", jobStatus="FAILED")["jobSummaryList"]
    assert told["container"] == {"exitCode": 3}
    assert told["statusReason"] == "Essential container in task exited"


RULES = [
    {"onStatusReason": "Host EC2*", "action": "RETRY"},
    {"onExitCode": "7", "action": "RETRY"},
    {"onReason": "*", "action": "EXIT"},
]


def test_the_first_rule_that_matches_decides_and_without_one_all_attempts_are_used(batch, submit, described):
    strict = submit(ENDS_WITH, "3", retryStrategy={"attempts": 3, "evaluateOnExit": RULES})
    by_code = submit(ENDS_WITH, "7", retryStrategy={"attempts": 2, "evaluateOnExit": RULES})
    unmatched = submit(ENDS_WITH, "3", retryStrategy={"attempts": 3, "evaluateOnExit": RULES[:2]})
    for job_id, attempts in ((strict, 1), (by_code, 2), (unmatched, 3)):
        batch.wait_for(job_id, "FAILED")
        assert len(described(job_id)["attempts"]) == attempts


def test_a_lost_host_leaves_no_exit_code_and_the_next_attempt_says_so_to_its_process(batch, submit, described):
    program = PRINTS + "; import time; time.sleep(600 * (os.environ['AWS_BATCH_JOB_ATTEMPT'] == '1'))"
    job_id = submit(program, retryStrategy={"attempts": 4, "evaluateOnExit": RULES})
    host = batch.lose_host(job_id)
    batch.wait_for(job_id, "SUCCEEDED")
    first, second = described(job_id)["attempts"]
    assert first["statusReason"] == f"Host EC2 (instance {host}) terminated."
    assert "exitCode" not in first["container"]
    assert second["container"]["exitCode"] == 0
    assert first["container"]["logStreamName"] != second["container"]["logStreamName"]
    assert "AWS_BATCH_JOB_ATTEMPT=2\n" in batch.output(job_id)


def test_out_of_memory_takes_the_biggest_process_and_is_a_reason_of_the_container(batch, submit, described):
    job_id = submit(PARENT_OF_A_BIG_ONE)
    batch.wait_for(job_id, "RUNNING")
    deadline = time.monotonic() + 120
    while not batch.output(job_id):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    batch.oom(job_id)
    batch.wait_for(job_id, "FAILED")
    container = described(job_id)["container"]
    assert container["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    assert container["exitCode"] == 128 + 9


def test_a_time_limit_ends_a_job_for_good(cloud, batch, submit, described):
    cloud.machines.time_scale = 1 / 60
    job_id = submit(WAITS, timeout={"attemptDurationSeconds": 60}, retryStrategy={"attempts": 5})
    batch.wait_for(job_id, "FAILED")
    told = described(job_id)
    assert told["statusReason"] == "Job attempt duration exceeded timeout"
    assert [attempt["container"]["exitCode"] for attempt in told["attempts"]] == [143]


def test_a_job_that_ignores_sigterm_is_killed_after_the_grace(cloud, batch, submit, described):
    cloud.machines.grace_scale = 1 / 30
    program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + WAITS
    job_id = submit(program)
    batch.wait_for(job_id, "RUNNING")
    deadline = time.monotonic() + 120
    while batch.output(job_id) != "up\n":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    batch.expire(job_id)
    batch.wait_for(job_id, "FAILED")
    assert described(job_id)["container"]["exitCode"] == 137


def test_termination_ends_all_children_with_the_reason_and_retries_none(cloud, batch, submit, described, client):
    array = submit(WAITS, size=3, retryStrategy={"attempts": 3})
    for index in (0, 1):
        batch.wait_for(f"{array}:{index}", "RUNNING")
    client("batch").terminate_job(jobId=array, reason="no more")
    batch.wait_for(array, "FAILED")
    assert described(array)["statusReason"] == "no more"
    ran, waited = described(f"{array}:0"), described(f"{array}:2")
    assert (ran["statusReason"], ran["isTerminated"], ran["container"]["exitCode"]) == ("no more", True, 143)
    assert (waited["statusReason"], waited["isCancelled"], waited["attempts"]) == ("no more", True, [])


def test_cancelling_ends_what_waits_and_nothing_that_runs(cloud, batch, submit, client):
    cloud.machines.slots = 1
    running, waiting = submit(WAITS), submit("pass")
    batch.wait_for(running, "RUNNING")
    for job_id in (running, waiting):
        client("batch").cancel_job(jobId=job_id, reason="not now")
    assert batch.jobs[waiting].status_reason == "not now"
    assert batch.jobs[running].status == "RUNNING"


def test_an_image_that_cannot_be_pulled_and_a_missing_secret_start_nothing(batch, submit, described):
    batch.start_failures = ["CannotPullContainerError: no such image"]
    job_id = submit("pass")
    batch.wait_for(job_id, "FAILED")
    told = described(job_id)
    assert told["statusReason"] == "Task failed to start"
    assert told["container"]["reason"] == "CannotPullContainerError: no such image"
    assert "exitCode" not in told["container"]


def test_a_forgotten_job_is_absent_and_a_new_one_may_be_so_for_a_while(batch, submit, client):
    boto = client("batch")
    batch.unseen = 2
    job_id = submit("pass")
    assert [len(boto.describe_jobs(jobs=[job_id])["jobs"]) for _ in range(3)] == [0, 0, 1]
    batch.wait_for(job_id, "SUCCEEDED")
    batch.forget(job_id)
    assert boto.describe_jobs(jobs=[job_id, "unknown"])["jobs"] == []


def test_what_the_documentation_forbids_is_refused(submit, client):
    boto = client("batch")
    assert refusal(submit, "pass", size=1)[0] == "ClientException"
    assert refusal(submit, "pass", size=10_001)[0] == "ClientException"
    assert "at least 60" in refusal(submit, "pass", timeout={"attemptDurationSeconds": 59})[2]
    assert "between 1 and 10" in refusal(submit, "pass", retryStrategy={"attempts": 11})[2]
    assert (
        "AWS_BATCH"
        in refusal(submit, "pass", containerOverrides={"environment": [{"name": "AWS_BATCH_X", "value": "1"}]})[2]
    )
    assert "not found" in refusal(boto.submit_job, jobName="a", jobQueue="none", jobDefinition="prog")[2]
    assert "not found" in refusal(boto.submit_job, jobName="a", jobQueue="sweeps", jobDefinition="none")[2]
    assert refusal(boto.describe_jobs, jobs=["x"] * 101)[0] == "ClientException"
    assert "valid pattern" in refusal(submit, "pass", name="a b")[2]


def test_what_the_model_forbids_is_refused_by_the_service_too(client):
    unchecked = client("batch", check=False)
    code, status, message = refusal(unchecked.submit_job, jobName="a", jobQueue="sweeps")
    assert (code, status) == ("ClientException", 400)
    assert 'Missing required parameter in input: "jobDefinition"' in message
    assert "must be one of" in refusal(client("batch").list_jobs, jobQueue="sweeps", jobStatus="BROKEN")[2]


def test_definitions_have_revisions_and_tags(batch, submit, client):
    boto = client("batch")
    submit("pass")
    submit("pass")
    found = boto.describe_job_definitions(jobDefinitionName="prog", status="ACTIVE")["jobDefinitions"]
    assert [definition["revision"] for definition in found] == [1, 2]
    arn = found[1]["jobDefinitionArn"]
    boto.tag_resource(resourceArn=arn, tags={"digest": "abc"})
    assert boto.list_tags_for_resource(resourceArn=arn)["tags"] == {"digest": "abc"}
    boto.untag_resource(resourceArn=arn, tagKeys=["digest"])
    boto.deregister_job_definition(jobDefinition=arn)
    [left] = boto.describe_job_definitions(jobDefinitionName="prog", status="ACTIVE")["jobDefinitions"]
    assert left["revision"] == 1
    assert "digest" not in boto.list_tags_for_resource(resourceArn=arn)["tags"]


def test_queues_and_compute_environments_are_described(batch, client):
    batch.add_queue("closed", "machines", state="DISABLED")
    boto = client("batch")
    queues = boto.describe_job_queues(jobQueues=["sweeps", "closed", "unknown"])["jobQueues"]
    assert [(queue["jobQueueName"], queue["state"], queue["status"]) for queue in queues] == [
        ("sweeps", "ENABLED", "VALID"),
        ("closed", "DISABLED", "VALID"),
    ]
    arns = [place["computeEnvironment"] for place in queues[0]["computeEnvironmentOrder"]]
    [environment] = boto.describe_compute_environments(computeEnvironments=arns)["computeEnvironments"]
    assert environment["computeEnvironmentName"] == "machines"


def test_trouble_comes_as_ordered(batch, submit, client):
    batch.throttle(2, "DescribeJobs")
    boto = client("batch")
    for _ in range(2):
        assert refusal(boto.describe_jobs, jobs=["x"])[:2] == ("TooManyRequestsException", 429)
    assert boto.describe_jobs(jobs=["x"])["jobs"] == []
    batch.refuse(1, code="UnrecognizedClientException", message="The security token is invalid.")
    assert refusal(boto.describe_jobs, jobs=["x"])[:2] == ("UnrecognizedClientException", 403)
    batch.lose_answers(1, "SubmitJob")
    with pytest.raises(ConnectionClosedError):
        submit("pass", name="unanswered")
    assert [job.name for job in batch.jobs.values()] == ["unanswered"]
    batch.drop(1, "SubmitJob")
    with pytest.raises(ConnectionClosedError):
        submit("pass", name="dropped")
    assert [asked["jobName"] for asked in batch.asked("SubmitJob")] == ["unanswered", "dropped"]
    assert [job.name for job in batch.jobs.values()] == ["unanswered"]
    assert [request.fault for request in batch.requests if request.operation == "SubmitJob"] == ["lost", "dropped"]


def test_retries_of_botocore_double_a_submission_whose_answer_is_lost(batch, submit, client):
    submit("pass")
    batch.lose_answers(1, "SubmitJob")
    client("batch", total_max_attempts=3).submit_job(jobName="two", jobQueue="sweeps", jobDefinition="prog")
    assert [job.name for job in batch.jobs.values()] == ["job", "two", "two"]


def test_a_request_without_a_signature_is_refused(cloud):
    reply = cloud.reply("POST", "/v1/describejobs", {}, b"{}")
    assert reply.status == 403


def test_a_wrong_answer_of_the_standin_itself_fails_the_test(cloud, batch, client, monkeypatch):
    monkeypatch.setattr(batch, "describe_jobs", lambda asked: {"jobs": [{"jobId": 3}]})
    assert refusal(client("batch").describe_jobs, jobs=["x"])[1] == 500
    [mistake] = cloud.mistakes
    assert "own answer to DescribeJobs" in mistake
    cloud.mistakes.clear()


def test_the_largest_array_is_taken_shown_and_ended(cloud, batch, submit, described, client):
    cloud.machines.slots = 0
    array = submit("pass", size=10_000)
    pages = client("batch").get_paginator("list_jobs").paginate(arrayJobId=array, jobStatus="RUNNABLE")
    assert [len(page["jobSummaryList"]) for page in pages] == [1000] * 10
    client("batch").terminate_job(jobId=array, reason="enough")
    assert described(array)["arrayProperties"]["statusSummary"]["FAILED"] == 10_000
    assert described(array)["status"] == "FAILED"


def test_no_process_is_left_when_the_cloud_is_closed(cloud, batch, submit):
    program = (
        "import subprocess, sys, time; p = subprocess.Popen(['sleep', '600'], start_new_session=True);"
        "print(p.pid, flush=True); time.sleep(600)"
    )
    job_id = submit(program)
    deadline = time.monotonic() + 120
    while not (batch.jobs[job_id].attempts and batch.output(job_id)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pid = int(batch.output(job_id))
    assert b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()
    cloud.machines.close()
    assert not is_alive(pid)
