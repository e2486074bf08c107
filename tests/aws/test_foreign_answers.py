"""Answers on the way to AWS that are not AWS's, and those after which nothing is known: nothing is concluded from them."""

from __future__ import annotations

import pytest
from aws.standin.service import Reply

from slurmsweep.backends.aws.client import Client
from slurmsweep.errors import SchedulerUnavailableError, SubmissionUnknownError

PAGE = b"<!DOCTYPE html><html><body>Log in to the network</body></html>"

ASKED = [
    ("batch", "describe_jobs", {"jobs": ["1"]}),
    ("ecs", "list_tasks", {"cluster": "sweeps", "startedBy": "slurmsweep-a"}),
    ("sagemaker", "list_training_jobs", {}),
    ("sts", "get_caller_identity", {}),
    ("iam", "get_role", {"RoleName": "worker"}),
]


@pytest.mark.parametrize("body", [PAGE, b"", b'{"jobs": [', b"[]"])
@pytest.mark.parametrize(("service", "operation", "parameters"), ASKED)
def test_what_is_not_the_answer_of_aws_says_nothing(cloud, monkeypatch, service, operation, parameters, body):
    monkeypatch.setattr(cloud, "reply", lambda *_: Reply(200, "text/html", body))
    with pytest.raises(SchedulerUnavailableError, match="what answered is not AWS, but perhaps a proxy on the way"):
        Client(service, "eu-west-1").ask(operation, **parameters)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(200, "text/html", PAGE), "what answered is not AWS, but perhaps a proxy on the way"),
        (Reply(503, "application/json", b'{"message": "busy"}'), "SubmitJob: 503: busy"),
        (Reply(None), "Connection was closed"),
    ],
)
def test_a_submission_without_an_answer_of_aws_may_have_made_jobs(cloud, monkeypatch, reply, words):
    monkeypatch.setattr(cloud, "reply", lambda *_: reply)
    with pytest.raises(SubmissionUnknownError) as caught:
        Client("batch", "eu-west-1").submit("submit_job", jobName="a", jobQueue="b", jobDefinition="c")
    assert words in str(caught.value)
    assert str(caught.value).endswith(": the jobs may exist all the same")


def test_answers_of_aws_without_content_are_taken(cloud, batch, client):
    client("batch").register_job_definition(
        jobDefinitionName="a", type="container", containerProperties={"image": "x", "memory": 512, "vcpus": 1}
    )
    cloud.machines.slots = 0
    ours = Client("batch", "eu-west-1")
    job = ours.submit("submit_job", jobName="a", jobQueue="sweeps", jobDefinition="a")["jobId"]
    ours.ask("cancel_job", jobId=job, reason="over")
    assert list(ours.pages("describe_jobs", "jobs", jobs=["another"])) == []
    assert batch.jobs[job].status == "FAILED"
