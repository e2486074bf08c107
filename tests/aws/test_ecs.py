"""Sweeps on Amazon ECS by the command line, beside a stand-in whose tasks are real agents."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from slurmsweep.backends.aws import ecs_tasks, service
from slurmsweep.backends.aws.ecs import EcsBackend
from slurmsweep.backends.base import JobSource, SubmitOptions
from slurmsweep.backends.keys import JobRef
from slurmsweep.errors import SchedulerUnavailableError, UsageError

AWS = "aws: {cluster: sweeps, image: 'me/sweeps:1', subnets: subnet-1, efs: 'fs-0123456789abcdef0:/shared'}"
WAITS = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"
TASK = "158d1c8083dd49d6b527399fd6414f5c"


@pytest.fixture(autouse=True)
def _no_client_of_another_test():
    service.client.cache_clear()


@pytest.fixture
def create(ecs, cloud, write_sweep, slurmsweep):
    """Make a sweep of so many trials whose tasks may write their logs; return its id."""

    def make(script: str = "pass\n", trials: int = 3, aws: str = AWS) -> str:
        cloud.logs.begin("/ecs/slurmsweep", "made before")
        write_sweep(script, f"  x: {{values: {list(range(trials))}}}", extra=aws)
        return slurmsweep("create", "sweep.yaml").stdout.strip()

    return make


@pytest.fixture
def submit(slurmsweep):
    return lambda *words: slurmsweep("submit", "last", "--backend", "ecs", *words)


def all_stopped(ecs) -> None:
    for task in list(ecs.tasks):
        ecs.wait_for(task, "STOPPED")


def counts(slurmsweep) -> dict[str, int]:
    found = json.loads(slurmsweep("status", "last", "--json").stdout)["counts"]
    return {state: n for state, n in found.items() if n}


def causes(slurmsweep) -> list[str]:
    rows = json.loads(slurmsweep("trials", "last", "--json").stdout)
    return [f"{row['state']} {row['cause']}".strip() for row in rows]


def wish(**options: str) -> SubmitOptions:
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return SubmitOptions(options={"cluster": "sweeps", "region": "eu-west-1", "image": "me/sweeps:1", **named})


def source(argument: str = "/shared/sweep") -> JobSource:
    return JobSource("slurmsweep-abcd1234", argument, "/shared/sweep/jobs", "/shared")


def refusal(**options: str) -> str:
    with pytest.raises(UsageError) as caught:
        EcsBackend().check(wish(**options), source())
    return str(caught.value)


def run_task(**options: str) -> dict:
    """Return the first RunTask that a wish leads to."""
    backend = EcsBackend()
    wished = wish(subnets="subnet-1", **options)
    requests = backend.requests(backend.request(source(), 1, wished))
    return next(content for operation, content in requests if operation == "RunTask")


# Before anything is sent


def test_a_dry_run_prints_aws_own_documents_without_network_or_credentials(
    create, slurmsweep_process, tmp_path, monkeypatch
):
    create(trials=12)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)

    done = slurmsweep_process(
        *("submit", "last", "--backend", "ecs", "--dry-run", "--region", "eu-west-1"),
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
        AWS_EC2_METADATA_DISABLED="true",
        AWS_CONFIG_FILE="/dev/null",
        AWS_SHARED_CREDENTIALS_FILE="/dev/null",
    )

    assert done.returncode == 0, done.stderr
    parts = done.stdout.split("# Amazon ECS: ")[1:]
    documents = [(part.partition("\n")[0], json.loads(part.partition("\n")[2])) for part in parts]
    assert [name for name, _ in documents] == ["RegisterTaskDefinition", "RunTask", "RunTask"]
    definition = documents[0][1]
    assert definition["containerDefinitions"][0]["image"] == "me/sweeps:1"
    assert definition["volumes"][0]["efsVolumeConfiguration"]["fileSystemId"] == "fs-0123456789abcdef0"
    assert [document["count"] for _, document in documents[1:]] == [10, 2]
    assert len({document["clientToken"] for _, document in documents[1:]}) == 2
    command = documents[1][1]["overrides"]["containerOverrides"][0]["command"]
    assert command[:4] == ["slurmsweep", "agent", "--count", "1"]
    assert command[4].startswith(str(tmp_path))


def test_the_built_in_template_is_an_input_of_register_task_definition_as_it_stands(ecs, cloud, client, repository):
    content = json.loads((repository / "job_templates" / "ecs.json").read_text())

    registered = client("ecs").register_task_definition(**content)["taskDefinition"]

    assert registered["containerDefinitions"][0]["command"][:4] == ["slurmsweep", "agent", "--count", "1"]
    assert registered["containerDefinitions"][0]["stopTimeout"] == 120


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cluster": False}, "no cluster of ECS is named: say --cluster NAME"),
        ({"subnets": False}, "no subnet is named: say --aws subnets="),
        ({"image": False}, "say --image URI, or `aws: {image: URI}` in the sweep file or your defaults: one with"),
        ({"mem": "1G"}, "Fargate has no tasks with cpus-per-task 1 and mem 1G: the next size is cpus-per-task 1 and mem 2G"),
        ({"cpus-per-task": "3", "mem": "8G"}, "the next size is cpus-per-task 4 and mem 8G"),
        ({"mem": "500G"}, "take machines of EC2 by --aws instance-type=TYPE"),
        ({"spot": True, "gpus": "1"}, "FARGATE_SPOT has no GPUs and no types of machines"),
        ({"public-ip": "maybe"}, "public-ip 'maybe': it is a flag, without a value"),
        ({"queue": "jobs"}, "Amazon ECS has no option queue for jobs"),
        ({"env": "NOT_HERE"}, "NOT_HERE is not set in this shell"),
        ({"env": "WANDB_API_KEY"}, "WANDB_API_KEY is a secret"),
    ],
)  # fmt: skip
def test_what_lacks_or_means_nothing_is_said_before_anything_is_sent(options, words):
    assert words in refusal(**{"subnets": "subnet-1", **options})


def test_a_template_that_aws_refuses_is_refused_by_path(tmp_path):
    template = tmp_path / "mine.json"
    template.write_text(json.dumps({"family": "x", "containerDefinitions": [{"name": "a", "stopTimeout": "long"}]}))

    with pytest.raises(UsageError, match=r"containerDefinitions\[0\].stopTimeout"):
        EcsBackend().check(SubmitOptions(str(template), {"cluster": "sweeps"}), source())

    template.write_text(json.dumps({"family": "x", "containerDefinitions": []}))
    with pytest.raises(UsageError, match=r"containerDefinitions\[0\].name is missing"):
        EcsBackend().check(SubmitOptions(str(template), {"cluster": "sweeps"}), source())


@pytest.mark.parametrize(
    ("options", "launch"),
    [
        ({}, {"launchType": "FARGATE"}),
        ({"spot": True}, {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]}),
        ({"spot": "yes"}, {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]}),
        ({"spot": "gpus", "gpus": "2"}, {"capacityProviderStrategy": [{"capacityProvider": "gpus", "weight": 1}]}),
        ({"gpus": "2"}, {"launchType": "EC2"}),
        ({"instance-type": "g5.*"}, {"launchType": "EC2"}),
    ],
)
def test_options_say_where_tasks_run(options, launch):
    call = run_task(**options)

    assert {key: call[key] for key in ("launchType", "capacityProviderStrategy") if key in call} == launch
    gpus = call["overrides"]["containerOverrides"][0].get("resourceRequirements", [])
    assert gpus == ([{"type": "GPU", "value": "2"}] if "gpus" in options else [])
    assert ("placementConstraints" in call) == ("instance-type" in options)


def test_options_become_sizes_role_network_and_a_time_limit_that_the_agent_keeps(monkeypatch):
    monkeypatch.setenv("HF_HOME", "/shared/hf")
    call = run_task(
        cpus_per_task="4", mem="12000M", time="1:30:00", role="trainer", env="HF_HOME", security_groups="sg-1,sg-2"
    )

    agent = call["overrides"].pop("containerOverrides")[0]
    assert call["overrides"] == {"cpu": "4096", "memory": "12288", "taskRoleArn": "trainer"}
    variables = {pair["name"]: pair["value"] for pair in agent["environment"]}
    name = variables.pop("SLURMSWEEP_SUBMISSION")
    assert name == call["startedBy"]  # so claims name it, long after ECS has forgotten the task
    assert variables == {"HF_HOME": "<value of HF_HOME>", "SLURMSWEEP_TIME_LIMIT_SECONDS": "5400"}
    assert call["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": ["subnet-1"],
        "securityGroups": ["sg-1", "sg-2"],
    }
    public = run_task(public_ip="")["networkConfiguration"]["awsvpcConfiguration"]
    assert public == {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}


def test_memory_that_fargate_rounds_up_and_what_may_lack_are_said():
    notices = EcsBackend().check(wish(subnets="subnet-1", mem="5000M"), source())

    assert "Fargate gives each task 5120 MiB: it has no size with 5000" in notices
    assert any("mounts no filesystem, and tasks need /shared/sweep" in notice for notice in notices)
    [elsewhere] = EcsBackend().check(wish(subnets="subnet-1", efs="fs-0123456789abcdef0:/share"), source())
    assert elsewhere.startswith(
        "the task definition mounts nothing but /share, and tasks need /shared/sweep: --aws efs="
    )
    assert EcsBackend().check(wish(subnets="subnet-1", efs="fs-0123456789abcdef0:/shared"), source()) == ()
    hosted = EcsBackend().check(wish(subnets="subnet-1"), source("me/project/abcd1234"))
    assert hosted == ("no secret gives tasks WANDB_API_KEY: --aws secret=WANDB_API_KEY=<ARN of the kept key>",)


def test_a_cluster_is_named_by_its_name_or_its_arn():
    named = {"region": "eu-west-1", "cluster": "arn:aws:ecs:eu-west-1:123456789012:cluster/sweeps"}

    assert EcsBackend().cluster(named) == "ecs:eu-west-1/sweeps"
    assert EcsBackend().cluster({"region": "eu-west-1"}) == ""


# Submitting


def test_a_sweep_runs_on_ecs_and_its_definition_is_registered_once(create, submit, slurmsweep, ecs):
    create()
    assert submit("-n", "2").returncode == 0
    assert submit("-n", "1").returncode == 0
    all_stopped(ecs)

    assert counts(slurmsweep) == {"finished": 3}
    assert len(ecs.definitions) == 1
    assert submit("-n", "1", "--image", "me/sweeps:2").returncode == 0
    assert [one["revision"] for one in ecs.definitions.values()] == [1]  # nothing was left to submit


def test_another_image_is_another_revision(create, submit, ecs):
    create()

    submit("-n", "1")
    submit("-n", "1", "--image", "me/sweeps:2")

    assert [one["containerDefinitions"][0]["image"] for one in ecs.definitions.values()] == [
        "me/sweeps:1",
        "me/sweeps:2",
    ]


def test_a_definition_of_the_user_is_started_as_it_is(create, submit, slurmsweep, ecs, client):
    client("ecs").register_task_definition(
        family="theirs",
        networkMode="bridge",
        containerDefinitions=[{"name": "train", "image": "x", "memory": 512, "command": ["true"]}],
    )
    create(trials=1, aws="aws: {cluster: sweeps, definition: theirs}")
    assert "so image would mean nothing: leave out one" in submit("--image", "me/sweeps:1").stderr

    assert submit().returncode == 0
    all_stopped(ecs)

    assert counts(slurmsweep) == {"finished": 1}
    assert [task.launch_type for task in ecs.tasks.values()] == ["EC2"]
    assert len(ecs.definitions) == 1


def test_tasks_are_not_started_twice_by_answers_that_are_lost(create, submit, slurmsweep, ecs):
    create(trials=12)
    ecs.lose_answers(2, "RunTask")

    assert submit().returncode == 0
    all_stopped(ecs)

    assert len(ecs.tasks) == 12
    assert len({asked["clientToken"] for asked in ecs.asked("RunTask")}) == 2
    assert counts(slurmsweep) == {"finished": 12}


def test_a_request_that_is_never_answered_is_found_by_its_name(create, submit, slurmsweep, ecs, monkeypatch):
    create()
    ecs.lose_answers(99, "RunTask")

    done = submit()
    ecs.heal()
    all_stopped(ecs)

    assert done.returncode == 0, done.stderr
    assert len(ecs.tasks) == 3
    assert counts(slurmsweep) == {"finished": 3}


def test_a_request_that_never_arrived_leaves_nothing_behind(create, submit, slurmsweep, ecs):
    create()
    ecs.drop(99, "RunTask")

    done = submit()
    ecs.heal()

    assert done.returncode == 4
    assert not ecs.tasks
    assert submit().returncode == 0  # looks for the first one, finds none, and submits
    all_stopped(ecs)
    assert (len(ecs.tasks), counts(slurmsweep)) == (3, {"finished": 3})


def test_what_could_not_be_placed_is_asked_for_again_with_another_token(create, submit, ecs):
    create(trials=12)
    ecs.placement_failures += ["RESOURCE:CPU", "RESOURCE:MEMORY"]

    assert submit().returncode == 0

    asked = ecs.asked("RunTask")
    assert [(one["clientToken"].rpartition("-")[2], one["count"]) for one in asked] == [("0", 10), ("1", 2), ("1", 2)]
    assert asked[1]["clientToken"].endswith("-0-1")
    assert len(ecs.tasks) == 12


def test_where_there_is_room_for_some_tasks_the_rest_is_kept_back_and_said(create, submit, slurmsweep, ecs):
    create(trials=4)
    ecs.placement_failures += ["RESOURCE:MEMORY"] * 16  # of four tries
    none = submit()

    assert none.returncode == 4
    assert "Amazon ECS placed no task: RESOURCE:MEMORY; submit later" in none.stderr
    assert (len(ecs.asked("RunTask")), len(ecs.tasks)) == (4, 0)

    ecs.placement_failures += ["RESOURCE:MEMORY"] * 12 + ["RESOURCE:GPU"] * 2
    some = submit()
    all_stopped(ecs)

    assert "2 trials" in some.stderr
    assert "Amazon ECS placed no more tasks: RESOURCE:GPU" in some.stderr
    assert counts(slurmsweep) == {"finished": 2, "pending": 2}
    assert submit().returncode == 0
    all_stopped(ecs)
    assert (len(ecs.tasks), counts(slurmsweep)) == (4, {"finished": 4})


def test_a_command_that_is_killed_between_two_requests_leaves_tasks_that_the_next_one_finds(
    create, submit, slurmsweep, ecs, tmp_path
):
    create(trials=12)
    answer = ecs.run_task

    def first_alone(asked):
        said = answer(asked)
        ecs.throttle(99, "RunTask")
        return said

    ecs.run_task = first_alone
    command = [sys.executable, "-m", "slurmsweep", "submit", "last", "--backend", "ecs"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        with ecs.changed:
            assert ecs.changed.wait_for(lambda: len(ecs.asked("RunTask")) > 1, 120)
        process.kill()
    ecs.run_task = answer
    ecs.heal()

    assert submit().returncode == 0
    all_stopped(ecs)

    assert (len(ecs.tasks), counts(slurmsweep)) == (12, {"finished": 12})
    assert "none lost, none doubled" in slurmsweep("check", "last").stdout


def test_run_waits_for_the_tasks_and_shows_their_logs(ecs, cloud, slurmsweep, write_sweep):
    cloud.logs.begin("/ecs/slurmsweep", "made before")
    write_sweep("print('trained')\n", "  x: {values: [1, 2]}", extra=AWS)

    done = slurmsweep("run", "sweep.yaml", "--backend", "ecs", "--plain")

    assert done.returncode == 0, done.stderr
    assert counts(slurmsweep) == {"finished": 2}
    assert slurmsweep("logs", "last", "1").stdout == "trained\n"


def test_a_refused_request_is_told_in_aws_words_and_leaves_nothing_behind(create, submit, slurmsweep, ecs):
    create()
    ecs.refuse(1, "RunTask")

    done = submit()

    assert done.returncode == 4
    assert "is not authorized to perform this operation" in done.stderr
    assert submit("--cluster", "gone").returncode == 4
    assert submit().returncode == 0
    all_stopped(ecs)
    assert (len(ecs.tasks), counts(slurmsweep)) == (3, {"finished": 3})


def test_values_of_variables_reach_tasks_and_no_file_of_ours(create, submit, ecs, cloud, tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE_DOOR", "open-sesame")
    cloud.machines.secrets["arn:aws:secretsmanager:eu-west-1:1:secret:key"] = "kept-elsewhere"
    create("import os\nprint(os.environ['SIDE_DOOR'], os.environ['MY_KEY'])\n", 1)

    submit("--env", "SIDE_DOOR", "--aws", "secret=MY_KEY=arn:aws:secretsmanager:eu-west-1:1:secret:key")
    all_stopped(ecs)

    [log] = tmp_path.glob(".slurmsweep/*/trials/*/*/*/output.log")
    assert log.read_text() == "open-sesame kept-elsewhere\n"
    others = [path for path in tmp_path.glob(".slurmsweep/**/*") if path.is_file() and path != log]
    assert others
    assert not [
        path for path in others if b"open-sesame" in path.read_bytes() or b"kept-elsewhere" in path.read_bytes()
    ]
    assert "kept-elsewhere" not in json.dumps(list(ecs.asked("RunTask")))


def test_more_than_ecs_takes_for_a_task_is_refused_before_it_is_sent(create, submit, ecs, monkeypatch):
    monkeypatch.setenv("LONG", "x" * 8000)
    create()

    done = submit("--env", "LONG")

    assert done.returncode == 4
    assert "Amazon ECS takes 8192 characters of overrides" in done.stderr
    assert not ecs.asked("RunTask")


def test_a_hosted_sweep_needs_no_filesystem(slurmsweep, ecs, cloud, tmp_path):
    cloud.logs.begin("/ecs/slurmsweep", "made before")
    cloud.machines.slots = 0
    words = ("--cluster", "sweeps", "--image", "me/sweeps:1", "--aws", "subnets=subnet-1")

    done = slurmsweep("submit", "me/project/abcd1234", "--count", "3", "--backend", "ecs", *words)

    assert done.returncode == 0, done.stderr
    [task, *_] = ecs.tasks.values()
    assert task.overrides["containerOverrides"][0]["command"] == [
        *("slurmsweep", "agent", "--count", "1", "me/project/abcd1234")
    ]
    [definition] = ecs.definitions.values()
    assert (definition["volumes"], definition["containerDefinitions"][0]["mountPoints"]) == ([], [])
    shown = json.loads(slurmsweep("status", "me/project/abcd1234", "--json").stdout)
    assert (shown["jobs"], shown["alive"]) == ({"PENDING": 3}, 3)


# Looking and ordering


def test_jobs_that_run_and_wait_are_counted_and_a_cancelled_sweep_ends_all(create, submit, slurmsweep, ecs, cloud):
    cloud.machines.slots = 1
    sweep = create(WAITS)
    submit()
    task = next(task for task in ecs.tasks if ecs.wait_for(task, "RUNNING", "PENDING").last_status == "RUNNING")
    claimed(ecs, task)

    shown = json.loads(slurmsweep("status", "last", "--json").stdout)
    assert shown["jobs"] == {"running": 1, "pending": 2}
    stopped = slurmsweep("stop", "last")
    assert f"job slurmsweep-{sweep}-" in stopped.stderr
    assert sorted(one.last_status for one in ecs.tasks.values()) == ["RUNNING", "STOPPED", "STOPPED"]
    assert slurmsweep("cancel", "last").returncode == 0
    all_stopped(ecs)

    assert {asked["reason"] for asked in ecs.asked("StopTask")} == {"slurmsweep cancel"}
    assert slurmsweep("reconcile", "last").returncode == 0
    assert causes(slurmsweep)[0] == "killed cancelled"
    assert counts(slurmsweep) == {"killed": 1, "pending": 2}


def claimed(ecs, task: str) -> None:
    ecs.wait_for_output(task, "started, log in")


def test_a_spot_task_that_is_interrupted_is_preempted_and_runs_again(create, submit, slurmsweep, ecs):
    create(
        "import os, time\n"
        "if os.path.exists('again'): raise SystemExit\n"
        "open('again', 'w').close()\nprint('up', flush=True)\ntime.sleep(600)\n",
        1,
    )
    submit("--aws", "spot=true")
    [task] = ecs.tasks
    claimed(ecs, task)
    while not os.path.exists(os.path.join(ecs._machines._folder, "again")):
        time.sleep(0.05)
    ecs.interrupt(task)
    ecs.wait_for(task, "STOPPED")

    assert slurmsweep("reconcile", "last").returncode == 0
    assert causes(slurmsweep) == ["preempted preempted"]
    assert slurmsweep("resubmit", "last").returncode == 0
    all_stopped(ecs)
    assert causes(slurmsweep) == ["finished"]


def test_a_task_that_ecs_has_forgotten_is_over_and_its_cause_is_lost(create, submit, slurmsweep, ecs):
    create(WAITS, 1)
    submit()
    [task] = ecs.tasks
    claimed(ecs, task)
    ecs.kill_container(task)
    ecs.wait_for(task, "STOPPED")
    ecs.forget(task)

    assert slurmsweep("reconcile", "last").returncode == 0
    assert causes(slurmsweep) == ["crashed lost"]


def test_what_a_task_had_asked_for_is_known_after_ecs_has_forgotten_it(create, submit, slurmsweep, ecs):
    create("import os, time\nprint('started, log in', flush=True)\ntime.sleep(600)\n", 1)
    submit("--mem", "4096M", "--time", "30", "--cpus-per-task", "1")
    [task] = ecs.tasks
    claimed(ecs, task)
    ecs.oom(task)
    ecs.wait_for(task, "STOPPED")
    assert slurmsweep("reconcile", "last").returncode == 0
    assert causes(slurmsweep) == ["crashed oom"]
    while_known = json.loads(slurmsweep("resubmit", "last", "--dry-run", "--json").stdout)
    ecs.forget(task)

    forgotten = json.loads(slurmsweep("resubmit", "last", "--dry-run", "--json").stdout)
    shown = slurmsweep("efficiency", "last").stdout

    [batch] = forgotten["batches"]
    assert batch["options"]["mem"] == "8192M"  # twice what it had
    assert forgotten == while_known
    assert "4096 MiB" in shown


def test_nothing_is_concluded_where_ecs_does_not_answer_or_knows_no_such_cluster(create, submit, slurmsweep, ecs):
    create(WAITS, 1)
    submit()
    [task] = ecs.tasks
    claimed(ecs, task)
    ecs.refuse(1, "ListTasks", code="UnrecognizedClientException", message="The security token is invalid")
    refused = slurmsweep("reconcile", "last")
    ecs.clusters["sweeps"]["status"] = "INACTIVE"
    unknown = slurmsweep("reconcile", "last")
    ecs.clusters["sweeps"]["status"] = "ACTIVE"

    assert (refused.returncode, "security token is invalid" in refused.stderr) == (4, True)
    assert (unknown.returncode, "cluster 'sweeps' is not in this account" in unknown.stderr) == (4, True)
    assert causes(slurmsweep) == ["running"]


def test_an_unknown_word_concludes_nothing(create, submit, slurmsweep, ecs):
    create(WAITS, 1)
    submit()
    [task] = ecs.tasks
    claimed(ecs, task)
    ecs.tasks[task].last_status = "RESTING"
    done = slurmsweep("reconcile", "last")
    ecs.tasks[task].last_status = "RUNNING"

    assert (done.returncode, "calls a job 'RESTING'" in done.stderr) == (4, True)


def test_pages_and_hundreds_are_read_to_their_end(ecs, cloud, client):
    cloud.machines.slots = 0
    ecs.page_size = 7
    boto = client("ecs")
    boto.register_task_definition(
        family="x", containerDefinitions=[{"name": "a", "image": "x", "memory": 512, "command": ["true"]}]
    )
    for _ in range(13):
        boto.run_task(cluster="sweeps", taskDefinition="x", count=10, startedBy="slurmsweep-abcd1234-00000000")
    boto.run_task(cluster="sweeps", taskDefinition="x", count=1, startedBy="another")

    answer = EcsBackend().poll(["slurmsweep-abcd1234-00000000@ecs:eu-west-1/sweeps"])

    assert len(answer.tasks) == 130
    assert {(status.word, status.waits, status.name) for status in answer.tasks.values()} == {
        ("PENDING", True, "slurmsweep-abcd1234-00000000")
    }
    assert [len(asked["tasks"]) for asked in ecs.asked("DescribeTasks")] == [100, 30]


def test_a_wanted_task_is_described_by_its_id_and_one_that_is_missing_is_absent(ecs, cloud, client):
    cloud.machines.slots = 0
    boto = client("ecs")
    boto.register_task_definition(
        family="x", containerDefinitions=[{"name": "a", "image": "x", "memory": 512, "command": ["true"]}]
    )
    arn = boto.run_task(cluster="sweeps", taskDefinition="x", startedBy="mine")["tasks"][0]["taskArn"]
    key = f"{ecs_tasks.id_of(arn)}@ecs:eu-west-1/sweeps"

    answer = EcsBackend().poll([], [JobRef(key), JobRef(f"{TASK}@ecs:eu-west-1/sweeps")])

    assert set(answer.tasks) == {JobRef(key)}
    assert not ecs.asked("ListTasks")


def test_tasks_that_no_answer_shows_yet_count_as_waiting_for_the_process_that_started_them(ecs, cloud, monkeypatch):
    monkeypatch.setattr(EcsBackend, "_submitted", {})
    cloud.machines.slots = 0
    cloud.logs.begin("/ecs/slurmsweep", "made before")
    ecs.unseen = 50
    backend = EcsBackend()
    key = backend.send(backend.request(source(), 3, wish(subnets="subnet-1")))

    answer = backend.poll([key])

    assert [(status.word, status.alive) for status in answer.tasks.values()] == [("PROVISIONING", True)] * 3
    assert {status.name for status in answer.tasks.values()} == {key.partition("@")[0]}


def test_a_key_without_a_cluster_concludes_nothing():
    with pytest.raises(SchedulerUnavailableError, match="is no cluster of Amazon ECS"):
        EcsBackend().poll([f"{TASK}@ecs:eu-west-1"])


def test_efficiency_knows_what_tasks_asked_for(create, submit, slurmsweep, ecs):
    create(trials=2)
    submit("--time", "30")
    all_stopped(ecs)

    shown = slurmsweep("efficiency", "last")

    assert shown.returncode == 0, shown.stderr
    assert "accounting: used" in shown.stdout
    assert "2048 MiB" in shown.stdout


def test_tasks_that_never_start_are_told_with_the_words_of_ecs(create, submit, slurmsweep, ecs):
    create()
    ecs.start_failures += ["CannotPullContainerError: pull access denied for me/sweeps"] * 3
    submit()
    all_stopped(ecs)

    shown = slurmsweep("status", "last")

    assert "3 jobs (" in shown.stderr, shown.stderr
    assert "ended without a trial: Amazon ECS says TaskFailedToStart: CannotPullContainerError" in shown.stderr
    assert counts(slurmsweep) == {"pending": 3}
    assert slurmsweep("resubmit", "last").returncode == 0
    all_stopped(ecs)
    assert counts(slurmsweep) == {"finished": 3}


def test_what_an_agent_wrote_before_it_took_a_trial_is_shown_from_its_log_stream(
    create, submit, slurmsweep, ecs, cloud
):
    create(trials=1)
    cloud.machines.environ["WANDB_AGENT_KILL_DELAY"] = "half a minute"
    submit()
    all_stopped(ecs)

    shown = slurmsweep("status", "last").stderr

    assert "ended without a trial: Amazon ECS says EssentialContainerExited" in shown
    assert "WANDB_AGENT_KILL_DELAY='half a minute' is not a number of seconds" in shown


def test_doctor_looks_at_cluster_definition_logs_and_roles(slurmsweep, ecs, cloud, tmp_path):
    words = ("--cluster", "sweeps", "--image", "me/sweeps:1", "--role", "slurmsweep-job", "--json")
    advice: dict[str, str] = {}

    def findings(*more: str) -> dict[str, tuple[str, str]]:
        done = slurmsweep("doctor", "--backend", "ecs", *words, *more)
        rows = json.loads(done.stdout)
        advice.update({row["subject"]: row["advice"] for row in rows})
        return {row["subject"]: (row["fitness"], row["why"]) for row in rows}

    first = findings()
    assert advice["logs"] == "aws logs create-log-group --log-group-name /ecs/slurmsweep --region eu-west-1"
    assert first["cluster"][1].startswith("sweeps is ACTIVE")
    assert first["definition"] == ("good", "the first submission makes it")
    assert first["logs"] == ("bad", "there is no log group /ecs/slurmsweep")
    assert first["role"] == ("good", "there is a role slurmsweep-job")
    assert first["executionRoleArn"][0] == "bad"
    cloud.logs.begin("/ecs/slurmsweep", "made before")
    second = findings("--cluster", "gone")
    assert second["logs"][0] == "good"
    assert second["cluster"] == ("bad", "there is no cluster gone in eu-west-1")
