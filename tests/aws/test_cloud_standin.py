"""The stand-ins for STS, IAM, CloudWatch Logs and the metadata of EC2 do what AWS's documentation says."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError
from botocore.utils import InstanceMetadataRegionFetcher

GROUP = {"logGroupName": "/aws/batch/job"}
STREAM = {**GROUP, "logStreamName": "s"}


def code_of(call, **kwargs) -> str:
    with pytest.raises(ClientError) as caught:
        call(**kwargs)
    return caught.value.response["Error"]["Code"]


def test_the_account_and_a_role_are_known_and_wrong_keys_are_refused_on_order(cloud, client):
    sts, iam = client("sts"), client("iam")
    assert sts.get_caller_identity()["Account"] == "123456789012"
    assert iam.get_role(RoleName="slurmsweep-job")["Role"]["Arn"].endswith(":role/slurmsweep-job")
    assert code_of(iam.get_role, RoleName="none") == "NoSuchEntity"
    cloud.sts.refuse(1, code="InvalidClientTokenId", message="The security token included in the request is invalid.")
    assert code_of(sts.get_caller_identity) == "InvalidClientTokenId"


def test_each_service_may_have_an_address_of_its_own(cloud, client, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # where nothing listens
    monkeypatch.setenv("AWS_ENDPOINT_URL_BATCH", cloud.url)
    assert client("batch").describe_jobs(jobs=["x"])["jobs"] == []


def test_log_events_are_read_page_by_page_until_the_token_stays_the_same(cloud, client):
    cloud.logs.begin("/aws/batch/job", "s")
    for number in range(5):
        cloud.logs.write("/aws/batch/job", "s", f"line {number}")
    logs, seen, token = client("logs"), [], {}
    while True:
        answer = logs.get_log_events(**STREAM, startFromHead=True, limit=2, **token)
        seen.append([event["message"] for event in answer["events"]])
        if token.get("nextToken") == answer["nextForwardToken"]:
            break
        token = {"nextToken": answer["nextForwardToken"]}
    assert seen == [["line 0", "line 1"], ["line 2", "line 3"], ["line 4"], []]
    cloud.logs.write("/aws/batch/job", "s", "later")
    [event] = logs.get_log_events(**STREAM, **token)["events"]
    assert event["message"] == "later"
    last = logs.get_log_events(**STREAM, limit=2)
    assert [event["message"] for event in last["events"]] == ["line 4", "later"]
    before = logs.get_log_events(**STREAM, limit=2, nextToken=last["nextBackwardToken"])
    assert [event["message"] for event in before["events"]] == ["line 2", "line 3"]


def test_unknown_groups_and_streams_are_refused(client):
    logs = client("logs")
    assert code_of(logs.get_log_events, **STREAM) == "ResourceNotFoundException"
    assert code_of(logs.get_log_events, logGroupName="none", logStreamName="s") == "ResourceNotFoundException"
    found = logs.describe_log_groups(logGroupNamePrefix="/aws/batch")["logGroups"]
    assert [group["logGroupName"] for group in found] == ["/aws/batch/job"]


def test_a_service_without_a_stand_in_fails_the_test(cloud, client):
    with pytest.raises(ClientError):
        client("ssm").describe_parameters()
    [mistake] = cloud.mistakes
    assert "no stand-in for ssm" in mistake
    cloud.mistakes.clear()


def asked(imds, method: str, path: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"{imds.url}/latest/{path}", method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


TTL = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}


def test_metadata_is_given_for_a_token_alone(imds):
    assert asked(imds, "GET", "meta-data/instance-id") == (401, "")
    assert asked(imds, "PUT", "api/token") == (400, "")
    status, token = asked(imds, "PUT", "api/token", **TTL)
    assert status == 200
    mine = {"X-aws-ec2-metadata-token": token}
    assert asked(imds, "GET", "meta-data/instance-id", **mine) == (200, imds.instance_id)
    assert asked(imds, "GET", "meta-data/placement/region", **mine) == (200, "eu-west-1")
    assert asked(imds, "GET", "meta-data/instance-life-cycle", **mine) == (200, "spot")
    imds.forget_tokens()
    assert asked(imds, "GET", "meta-data/instance-id", **mine) == (401, "")


def test_a_spot_notice_is_there_once_it_is_announced(imds):
    mine = {"X-aws-ec2-metadata-token": asked(imds, "PUT", "api/token", **TTL)[1]}
    assert asked(imds, "GET", "meta-data/spot/instance-action", **mine) == (404, "")
    imds.announce()
    status, text = asked(imds, "GET", "meta-data/spot/instance-action", **mine)
    assert (status, json.loads(text)["action"]) == (200, "terminate")


def test_botocore_finds_the_metadata(cloud, imds):
    assert InstanceMetadataRegionFetcher(base_url=imds.url).retrieve_region() == "eu-west-1"
    assert ("PUT", "/latest/api/token") in imds.requests
