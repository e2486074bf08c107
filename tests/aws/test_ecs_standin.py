"""The stand-in for Amazon ECS does what AWS's documentation says, and refuses what AWS's model refuses."""

from __future__ import annotations

import json
import sys

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

WAITS = "import time; print('up', flush=True); time.sleep(600)"
ASKS = (
    "import os, urllib.request;"
    "print(urllib.request.urlopen(os.environ['ECS_CONTAINER_METADATA_URI_V4'] + '/task').read().decode())"
)


@pytest.fixture
def define(client):
    """Register a definition with a Python program; its ARN."""
    boto = client("ecs")

    def do(program: str, *words: str, family: str = "prog", more: dict | None = None, **container) -> str:
        settings = {"name": "main", "image": "none", "memory": 512, "command": [sys.executable, "-c", program, *words]}
        return boto.register_task_definition(
            family=family, containerDefinitions=[settings | container], **(more or {})
        )["taskDefinition"]["taskDefinitionArn"]

    return do


@pytest.fixture
def run(client, define):
    """Run a Python program as tasks on the cluster ``sweeps``; their ARNs."""
    boto = client("ecs")

    def do(program: str, count: int = 1, **more) -> list[str]:
        answer = boto.run_task(cluster="sweeps", taskDefinition=define(program), count=count, **more)
        return [task["taskArn"] for task in answer["tasks"]]

    return do


@pytest.fixture
def described(client):
    boto = client("ecs")
    return lambda arn: boto.describe_tasks(cluster="sweeps", tasks=[arn], include=["TAGS"])["tasks"][0]


def refusal(call, *args, **kwargs) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_task_runs_its_command_and_says_how_its_container_ended(ecs, run, described):
    [arn] = run("import sys; sys.exit(3)", startedBy="me", tags=[{"key": "sweep", "value": "s1"}])
    ecs.wait_for(arn, "STOPPED")
    told = described(arn)
    assert (told["lastStatus"], told["desiredStatus"], told["startedBy"]) == ("STOPPED", "STOPPED", "me")
    assert (told["stopCode"], told["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    assert told["containers"][0]["exitCode"] == 3
    assert told["tags"] == [{"key": "sweep", "value": "s1"}]


def test_a_container_reads_its_task_and_cluster_at_the_metadata_address(ecs, run):
    [arn] = run(ASKS)
    ecs.wait_for(arn, "STOPPED")
    document = json.loads(ecs.output(arn))
    assert (document["TaskARN"], document["Cluster"], document["LaunchType"]) == (arn, "sweeps", "EC2")


FARGATE = {"requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512", "networkMode": "awsvpc"}
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}


def test_fargate_wants_more_of_a_definition_and_tells_the_cluster_by_its_arn(ecs, client, define):
    boto = client("ecs")
    assert "'cpu' be defined" in refusal(define, "pass", more={"requiresCompatibilities": ["FARGATE"]})[1]
    on_ec2, on_fargate = define("pass"), define(ASKS, more=FARGATE)
    assert "does not support" in refusal(boto.run_task, taskDefinition=on_ec2, launchType="FARGATE")[1]
    assert "Network Configuration" in refusal(boto.run_task, taskDefinition=on_fargate, launchType="FARGATE")[1]
    [task] = boto.run_task(taskDefinition=on_fargate, launchType="FARGATE", networkConfiguration=NETWORK)["tasks"]
    ecs.wait_for(task["taskArn"], "STOPPED")
    assert json.loads(ecs.output(task["taskArn"]))["Cluster"].endswith(":cluster/default")


def test_the_same_client_token_gives_the_same_tasks_and_other_parameters_with_it_a_conflict(ecs, client, define):
    boto, definition = client("ecs"), define("pass")
    asked = {"cluster": "sweeps", "taskDefinition": definition, "count": 2, "clientToken": "t-1"}
    first, second = (boto.run_task(**asked)["tasks"] for _ in range(2))
    assert [task["taskArn"] for task in first] == [task["taskArn"] for task in second]
    assert len(ecs.tasks) == 2
    with pytest.raises(ClientError) as caught:
        boto.run_task(**asked | {"count": 1})
    assert caught.value.response["Error"]["Code"] == "ConflictException"
    assert caught.value.response["resourceIds"] == [task["taskArn"] for task in first]


def test_a_lost_answer_doubles_nothing_with_a_token(ecs, client, define):
    boto, definition = client("ecs", total_max_attempts=3), define("pass")
    ecs.lose_answers(1, "RunTask")
    boto.run_task(taskDefinition=definition)  # botocore makes a token of its own
    assert len(ecs.tasks) == 1
    ecs.lose_answers(1, "RunTask")
    with pytest.raises(ConnectionClosedError):
        client("ecs").run_task(taskDefinition=definition)


def test_eleven_tasks_are_refused_and_those_without_room_are_failures_of_a_good_answer(cloud, ecs, client, define):
    cloud.machines.slots = 0
    boto, definition = client("ecs"), define("pass")
    assert refusal(boto.run_task, taskDefinition=definition, count=11)[0] == "InvalidParameterException"
    ecs.placement_failures = ["RESOURCE:MEMORY"]
    answer = boto.run_task(taskDefinition=definition, count=3)
    assert len(answer["tasks"]) == 2
    assert [failure["reason"] for failure in answer["failures"]] == ["RESOURCE:MEMORY"]


def test_stopping_is_sigterm_and_our_reason_and_sigkill_after_the_stop_timeout(cloud, ecs, client, define, described):
    cloud.machines.grace_scale = 0.5
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + WAITS
    boto = client("ecs")
    codes = []
    for program in (WAITS, deaf):
        definition = define(program, stopTimeout=2)
        [task] = boto.run_task(cluster="sweeps", taskDefinition=definition)["tasks"]
        arn = task["taskArn"]
        ecs.wait_for_output(arn, "up")
        stopped = boto.stop_task(cluster="sweeps", task=arn, reason="enough")["task"]
        assert stopped["desiredStatus"] == "STOPPED"
        ecs.wait_for(arn, "STOPPED")
        told = described(arn)
        assert (told["stopCode"], told["stoppedReason"]) == ("UserInitiated", "enough")
        codes.append(told["containers"][0]["exitCode"])
    assert codes == [143, 137]


def test_a_task_that_waits_is_stopped_without_ever_starting(cloud, ecs, run, client, described):
    cloud.machines.slots = 0
    [arn] = run("pass")
    assert described(arn)["lastStatus"] == "PENDING"
    client("ecs").stop_task(cluster="sweeps", task=arn, reason="never mind")
    told = described(arn)
    assert (told["lastStatus"], told["stopCode"]) == ("STOPPED", "UserInitiated")
    assert "exitCode" not in told["containers"][0]


def test_misfortunes_have_the_words_of_ecs(ecs, run, described):
    lost, taken, killed = (run(WAITS)[0] for _ in range(3))
    host = ecs.lose_host(lost)
    told = described(ecs.wait_for(lost, "STOPPED").arn)
    assert (told["stopCode"], told["stoppedReason"]) == (
        "TerminationNotice",
        f"Host EC2 (instance {host}) terminated.",
    )
    assert "exitCode" not in told["containers"][0]
    ecs.interrupt(taken)
    told = described(ecs.wait_for(taken, "STOPPED").arn)
    assert (told["stopCode"], told["stoppedReason"]) == ("SpotInterruption", "Your Spot Task was interrupted.")
    ecs.oom(killed)
    [container] = described(ecs.wait_for(killed, "STOPPED").arn)["containers"]
    assert container["exitCode"] == 137
    assert container["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    ecs.start_failures = ["CannotPullContainerError: no such image"]
    [unstarted] = run("pass")
    told = described(ecs.wait_for(unstarted, "STOPPED").arn)
    assert (told["stopCode"], told["stoppedReason"]) == (
        "TaskFailedToStart",
        "CannotPullContainerError: no such image",
    )


def test_lists_show_what_is_to_run_unless_stopped_ones_are_asked_for_and_come_in_pages(cloud, ecs, run, client):
    cloud.machines.slots = 0
    ecs.page_size = 2
    boto = client("ecs")
    arns = run("pass", 3, startedBy="s-1")
    run("pass", 1, startedBy="s-2")
    pages = boto.get_paginator("list_tasks").paginate(cluster="sweeps", startedBy="s-1")
    assert [page["taskArns"] for page in pages] == [arns[:2], arns[2:]]
    boto.stop_task(cluster="sweeps", task=arns[0])
    assert boto.list_tasks(cluster="sweeps", startedBy="s-1")["taskArns"] == arns[1:]
    assert boto.list_tasks(cluster="sweeps", startedBy="s-1", desiredStatus="STOPPED")["taskArns"] == [arns[0]]
    assert boto.list_tasks(cluster="default")["taskArns"] == []
    assert "only filter" in refusal(boto.list_tasks, cluster="sweeps", startedBy="s-1", family="prog")[1]


def test_a_forgotten_task_is_missing_and_a_new_one_may_be_so_for_a_while(ecs, run, client):
    boto = client("ecs")
    ecs.unseen = 1
    [arn] = run("pass")
    assert boto.describe_tasks(cluster="sweeps", tasks=[arn])["failures"] == [{"arn": arn, "reason": "MISSING"}]
    assert [task["taskArn"] for task in boto.describe_tasks(cluster="sweeps", tasks=[arn])["tasks"]] == [arn]
    ecs.wait_for(arn, "STOPPED")
    ecs.forget(arn)
    assert boto.describe_tasks(cluster="sweeps", tasks=[arn])["failures"] == [{"arn": arn, "reason": "MISSING"}]
    assert refusal(boto.describe_tasks, cluster="none", tasks=[arn])[0] == "ClusterNotFoundException"


def test_output_goes_to_the_awslogs_stream_and_a_missing_group_stops_the_start(cloud, ecs, client, define, described):
    options = {"awslogs-group": "/ecs/x", "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "pre"}
    definition = define("print('hello')", logConfiguration={"logDriver": "awslogs", "options": options})
    boto, logs = client("ecs"), client("logs")
    [task] = boto.run_task(cluster="sweeps", taskDefinition=definition)["tasks"]
    ecs.wait_for(task["taskArn"], "STOPPED")
    assert described(task["taskArn"])["stoppedReason"].startswith("ResourceInitializationError")
    logs.create_log_group(logGroupName="/ecs/x")
    [task] = boto.run_task(cluster="sweeps", taskDefinition=definition)["tasks"]
    ecs.wait_for(task["taskArn"], "STOPPED")
    stream = f"pre/main/{task['taskArn'].rsplit('/', 1)[-1]}"
    events = logs.get_log_events(logGroupName="/ecs/x", logStreamName=stream)["events"]
    assert [event["message"] for event in events] == ["hello"]


def test_overrides_and_secrets_reach_the_container(cloud, ecs, client, define, described):
    boto = client("ecs")
    secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:key-AbCdEf"
    definition = define(
        "import os; print(os.environ['A'], os.environ['KEY'])", secrets=[{"name": "KEY", "valueFrom": secret}]
    )
    override = {"containerOverrides": [{"name": "main", "environment": [{"name": "A", "value": "1"}]}]}
    cloud.machines.secrets[secret] = "of-the-store"
    for expected in ("1 of-the-store\n", ""):
        [task] = boto.run_task(cluster="sweeps", taskDefinition=definition, overrides=override)["tasks"]
        ecs.wait_for(task["taskArn"], "STOPPED")
        assert ecs.output(task["taskArn"]) == expected
        cloud.machines.secrets.clear()
    assert described(task["taskArn"])["stopCode"] == "TaskFailedToStart"
    wrong = {"containerOverrides": [{"name": "other"}]}
    assert "Override" in refusal(boto.run_task, taskDefinition=definition, overrides=wrong)[1]


def test_definitions_have_revisions_and_tags_and_clusters_are_described(client, define):
    boto = client("ecs")
    define("pass")
    arn = define("pass", more={"tags": [{"key": "digest", "value": "abc"}]})
    found = boto.describe_task_definition(taskDefinition="prog", include=["TAGS"])
    assert (found["taskDefinition"]["revision"], found["tags"]) == (2, [{"key": "digest", "value": "abc"}])
    boto.deregister_task_definition(taskDefinition=arn)
    assert boto.describe_task_definition(taskDefinition="prog")["taskDefinition"]["revision"] == 1
    assert refusal(boto.run_task, taskDefinition=arn)[0] == "ClientException"
    assert len(boto.list_task_definitions(familyPrefix="prog")["taskDefinitionArns"]) == 1
    clusters = boto.describe_clusters(clusters=["sweeps", "none"])
    assert [cluster["status"] for cluster in clusters["clusters"]] == ["ACTIVE"]
    assert clusters["failures"][0]["reason"] == "MISSING"
    assert (
        "At least one of 'memory'"
        in refusal(boto.register_task_definition, family="x", containerDefinitions=[{"name": "a", "image": "b"}])[1]
    )


def test_what_the_model_forbids_is_refused_and_throttling_has_the_words_of_ecs(ecs, client):
    unchecked = client("ecs", check=False)
    code, message = refusal(unchecked.run_task, cluster="sweeps")
    assert (code, "taskDefinition" in message) == ("InvalidParameterException", True)
    assert "must be one of" in refusal(unchecked.run_task, taskDefinition="x", launchType="MOON")[1]
    ecs.throttle(1)
    assert refusal(client("ecs").list_tasks)[0] == "ThrottlingException"
