"""The stand-in for SageMaker's training jobs does what AWS's documentation says, and refuses what its model refuses."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

WAITS = "import time; print('up', flush=True); time.sleep(600)"
SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
}


@pytest.fixture
def create(client):
    """Create a job with a Python program; its name."""
    boto = client("sagemaker")

    def do(program: str, *words: str, name: str = "job-1", **more) -> str:
        asked = {
            "TrainingJobName": name,
            "AlgorithmSpecification": {
                "TrainingImage": "none",
                "TrainingInputMode": "File",
                "ContainerEntrypoint": [sys.executable],
                "ContainerArguments": ["-c", program, *words],
            },
            "RoleArn": "arn:aws:iam::123456789012:role/slurmsweep-job",
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        }
        arn = boto.create_training_job(**asked | more)["TrainingJobArn"]
        assert arn.endswith(f"training-job/{name}")
        return name

    return do


@pytest.fixture
def described(client):
    boto = client("sagemaker")
    return lambda name: boto.describe_training_job(TrainingJobName=name)


def refusal(call, *args, **kwargs) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def secondary(told) -> list[str]:
    return [transition["Status"] for transition in told["SecondaryStatusTransitions"]]


def test_a_job_runs_its_entrypoint_with_the_variables_of_sagemaker(sagemaker, create, described, client):
    program = (
        "import os, sys; print(os.environ['TRAINING_JOB_NAME'], os.environ['A'], sys.argv[1], os.environ['AWS_REGION'])"
    )
    name = create(program, "word", Environment={"A": "1"})
    sagemaker.wait_for(name, "Completed")
    told = described(name)
    assert secondary(told) == ["Starting", "Training", "Uploading", "Completed"]
    assert told["CreationTime"] <= told["TrainingStartTime"] <= told["TrainingEndTime"]
    assert told["BillableTimeInSeconds"] >= 1
    logs = client("logs")
    group = {"logGroupName": "/aws/sagemaker/TrainingJobs"}
    [stream] = logs.describe_log_streams(**group, logStreamNamePrefix=name)["logStreams"]
    assert stream["logStreamName"].startswith("job-1/algo-1-")
    [event] = logs.get_log_events(**group, logStreamName=stream["logStreamName"])["events"]
    assert event["message"] == "job-1 1 word eu-west-1"


def test_without_an_entrypoint_the_images_own_train_is_run(cloud, sagemaker, create, tmp_path):
    script = tmp_path / "bin" / "train"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho trained\n")
    script.chmod(0o755)
    cloud.machines.environ["PATH"] = f"{script.parent}{os.pathsep}{cloud.machines.environ['PATH']}"
    name = create("", AlgorithmSpecification={"TrainingImage": "none", "TrainingInputMode": "File"})
    sagemaker.wait_for(name, "Completed", "Failed")
    assert sagemaker.output(name) == "trained\n"


def test_an_exit_code_is_in_the_failure_reason(sagemaker, create, described):
    name = create("import sys; sys.exit(3)")
    sagemaker.wait_for(name, "Failed")
    told = described(name)
    assert (told["SecondaryStatus"], told["FailureReason"]) == ("Failed", "AlgorithmError: , exit code: 3")


def test_a_name_is_taken_once(cloud, sagemaker, create, client):
    cloud.machines.slots = 0
    create("pass")
    assert refusal(create, "pass")[0] == "ResourceInUse"
    assert refusal(client("sagemaker").describe_training_job, TrainingJobName="none") == (
        "ValidationException",
        "Requested resource not found.",
    )


def test_stopping_is_sigterm_and_a_job_that_has_ended_cannot_be_stopped(sagemaker, create, described, client):
    program = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit('asked to stop'));"
        "print('up', flush=True); time.sleep(600)"
    )
    name = create(program)
    sagemaker.wait_for_output(name, "up")
    client("sagemaker").stop_training_job(TrainingJobName=name)
    sagemaker.wait_for(name, "Stopped")
    assert secondary(described(name)) == ["Starting", "Training", "Stopping", "Stopped"]
    assert sagemaker.output(name) == "up\nasked to stop\n"
    code, message = refusal(client("sagemaker").stop_training_job, TrainingJobName=name)
    assert (code, "in status Stopped" in message) == ("ValidationException", True)


def test_a_job_that_waits_is_stopped_at_once(cloud, create, described, client):
    cloud.machines.slots = 0
    name = create("pass")
    client("sagemaker").stop_training_job(TrainingJobName=name)
    told = described(name)
    assert (told["TrainingJobStatus"], "TrainingStartTime" in told) == ("Stopped", False)


def test_the_time_limit_stops_a_job_and_two_minutes_later_kills_it(cloud, sagemaker, create, described):
    cloud.machines.grace_scale = 1 / 120
    name = create("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + WAITS)
    sagemaker.wait_for_output(name, "up")
    sagemaker.expire(name)
    sagemaker.wait_for(name, "Stopped")
    told = described(name)
    assert (told["TrainingJobStatus"], told["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    cloud.machines.time_scale = 1 / 3600
    other = create(WAITS, name="job-2")
    assert sagemaker.wait_for(other, "Stopped").secondary == "MaxRuntimeExceeded"


def test_spot_takes_a_job_away_and_starts_the_same_one_again(cloud, sagemaker, create, described, tmp_path):
    program = "import os, sys, time; print('up', flush=True); time.sleep(600 * (not os.path.exists(sys.argv[1])))"
    name = create(program, str(tmp_path / "again"), **SPOT)
    sagemaker.wait_for_output(name, "up")
    cloud.machines.slots = 0
    sagemaker.interrupt(name)
    sagemaker.wait_for(name, "Interrupted")
    assert described(name)["TrainingJobStatus"] == "InProgress"
    (tmp_path / "again").touch()
    cloud.machines.slots = 2
    sagemaker.wait_for(name, "Completed")
    assert secondary(described(name)) == [
        "Starting",
        "Training",
        "Interrupted",
        "Starting",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert [sagemaker.output(name, start) for start in (0, 1)] == ["up\n", "up\n"]


def test_spot_wants_a_time_to_wait_which_may_pass(cloud, sagemaker, create, described):
    assert "MaxWaitTimeInSeconds" in refusal(create, "pass", EnableManagedSpotTraining=True)[1]
    cloud.machines.slots = 0
    name = create("pass", **SPOT)
    sagemaker.give_up(name)
    told = described(name)
    assert (told["TrainingJobStatus"], told["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")


def test_faults_of_the_service_have_its_words_and_its_own_retries(cloud, sagemaker, create, described):
    sagemaker.start_failures = ["CapacityError: Unable to provision requested ML compute capacity."]
    sagemaker.wait_for(create("pass", name="a"), "Failed")
    assert described("a")["FailureReason"].startswith("CapacityError")
    assert "TrainingStartTime" not in described("a")
    create(WAITS, name="b", RetryStrategy={"MaximumRetryAttempts": 1})
    for start in (0, 1):
        sagemaker.wait_for_output("b", "up")
        cloud.machines.slots = 0
        sagemaker.break_down("b")
        sagemaker.wait_for("b", *(("Restarting",) if start == 0 else ("Failed",)))
        cloud.machines.slots = 2
    assert described("b")["FailureReason"].startswith("InternalServerError")
    sagemaker.exceed_limit()
    assert refusal(create, "pass", name="c")[0] == "ResourceLimitExceeded"
    sagemaker.throttle(1)
    assert refusal(create, "pass", name="c")[0] == "ThrottlingException"


def test_lists_are_by_name_and_status_in_pages_the_newest_first(cloud, sagemaker, create, client):
    cloud.machines.slots = 0
    sagemaker.page_size = 2
    for name in ("s-1", "s-2", "other", "s-3"):
        create("pass", name=name)
    boto = client("sagemaker")
    pages = boto.get_paginator("list_training_jobs").paginate(NameContains="s-", SortBy="Name", SortOrder="Ascending")
    assert [[job["TrainingJobName"] for job in page["TrainingJobSummaries"]] for page in pages] == [
        ["s-1", "s-2"],
        ["s-3"],
    ]
    boto.stop_training_job(TrainingJobName="s-2")
    [found] = boto.list_training_jobs(StatusEquals="Stopped")["TrainingJobSummaries"]
    assert (found["TrainingJobName"], found["SecondaryStatus"]) == ("s-2", "Stopped")


def test_what_the_model_and_the_documentation_forbid_is_refused(create, client):
    unchecked = client("sagemaker", check=False)
    assert refusal(create, "pass", name="under_score")[0] == "ValidationException"
    assert refusal(create, "pass", RoleArn="arn:aws:iam::1:role/short-account")[0] == "ValidationException"
    resources = {"InstanceType": "ml.moon.large", "InstanceCount": 1, "VolumeSizeInGB": 10}
    assert "must be one of" in refusal(create, "pass", ResourceConfig=resources)[1]
    assert "at most 512" in refusal(create, "pass", Environment={"A": "x" * 513})[1]
    assert refusal(unchecked.create_training_job, TrainingJobName="x")[0] == "ValidationException"
    assert refusal(create, "pass", StoppingCondition={"MaxWaitTimeInSeconds": 60})[0] == "ValidationException"


def test_tags_are_kept_and_no_job_outlives_the_cloud(cloud, sagemaker, create, client):
    name = create(
        "import os; print(os.getpid(), flush=True); import time; time.sleep(600)", Tags=[{"Key": "a", "Value": "1"}]
    )
    boto, arn = client("sagemaker"), sagemaker.jobs[name].arn
    boto.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    assert [tag["Key"] for tag in boto.list_tags(ResourceArn=arn)["Tags"]] == ["a", "b"]
    sagemaker.wait_for_output(name, "\n")
    pid = int(sagemaker.output(name))
    assert Path(f"/proc/{pid}").exists()
    cloud.machines.close()
    assert not Path(f"/proc/{pid}").exists()
