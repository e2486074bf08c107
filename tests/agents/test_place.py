"""Who am I: from the environment to a job, of Slurm or of a service of AWS; and what no environment may bring about."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import served

from slurmsweep.agents import metadata, place
from slurmsweep.agents.identity import array_of, place_of, stands_by, this_process
from slurmsweep.backends import registry
from slurmsweep.errors import SchedulerUnavailableError, SlurmsweepError, UsageError
from slurmsweep.state.assignment import ECS_URI
from slurmsweep.state.owner import JobPlace

UUID = "1b0f3c1e-8a52-4d7f-9d5f-0a6f1c2d3e4f"
HERE = {"AWS_REGION": "eu-west-1"}
BATCH = {"AWS_BATCH_JOB_ID": UUID, "AWS_BATCH_JOB_ATTEMPT": "1", **HERE}
ELEMENT = BATCH | {"AWS_BATCH_JOB_ID": f"{UUID}:3", "AWS_BATCH_JOB_ARRAY_INDEX": "3", "AWS_BATCH_JOB_ARRAY_SIZE": "12"}
ARN = "arn:aws:sagemaker:us-west-2:123456789012:training-job/Sweep-abc-1".lower()
TRAINING = {"TRAINING_JOB_NAME": "Sweep-abc-1", "TRAINING_JOB_ARN": ARN}
EC2 = {"SLURMSWEEP_EC2_INSTANCE": "i-0abc123def4567890", "SLURMSWEEP_EC2_REGION": "eu-north-1"}
SLURM = {"SLURM_JOB_ID": "70", "SLURM_CLUSTER_NAME": "lab", "SLURMD_NODENAME": "n1"}
TASK = "158d1c8083dd49d6b527399fd6414f5c"
ECS = {"TaskARN": f"arn:aws:ecs:eu-west-1:123456789012:task/mine/{TASK}", "Cluster": "mine"}


def nothing():
    pytest.fail("nothing is to be asked here")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, JobPlace()),
        ({"AWS_REGION": "eu-west-1", "AWS_BATCH_CE_NAME": "x", "SM_MODEL_DIR": "/opt"}, JobPlace()),
        ({"AWS_BATCH_JOB_ID": "", "TRAINING_JOB_NAME": "", "SLURM_ARRAY_TASK_ID": ""}, JobPlace()),
        (SLURM, JobPlace("slurm", "lab", "70", node="n1")),
        (
            SLURM | {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "4"},
            JobPlace("slurm", "lab", "7", 0, 0, 4, node="n1"),
        ),
        ({"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "2"}, JobPlace("slurm", None, "7", restart=2)),
        ({"SLURM_ARRAY_TASK_ID": "2"}, JobPlace(element=2)),
        (BATCH, JobPlace("batch", "batch:eu-west-1", UUID)),
        (ELEMENT, JobPlace("batch", "batch:eu-west-1", UUID, 3, 3, 12)),
        (BATCH | {"AWS_BATCH_JOB_ID": f"{UUID}:5"}, JobPlace("batch", "batch:eu-west-1", UUID, 5, 5)),
        (BATCH | {"AWS_BATCH_JOB_ATTEMPT": "3"}, JobPlace("batch", "batch:eu-west-1", UUID, restart=2)),
        (
            {"AWS_BATCH_JOB_ID": UUID, "AWS_DEFAULT_REGION": "cn-north-1", "AWS_REGION": ""},
            JobPlace("batch", "batch:cn-north-1", UUID),
        ),
        (BATCH | {"AWS_REGION": "us-gov-west-1"}, JobPlace("batch", "batch:us-gov-west-1", UUID)),
        (EC2 | HERE, JobPlace("ec2", "ec2:eu-north-1", "i-0abc123def4567890")),
        (BATCH | SLURM, JobPlace("slurm", "lab", "70", node="n1")),
        (BATCH | {"SLURMSWEEP_LOCAL": "0"}, JobPlace("batch", "batch:eu-west-1", UUID)),
        (BATCH | {"SLURM_CONF": "/etc/slurm.conf"}, JobPlace("batch", "batch:eu-west-1", UUID)),
    ],
)
def test_the_environment_says_which_job_this_is(environ, expected):
    assert place_of(environ) == expected


@pytest.mark.parametrize(
    ("environ", "cluster"),
    [
        (TRAINING, "sagemaker:us-west-2"),
        (TRAINING | HERE, "sagemaker:us-west-2"),
        ({"TRAINING_JOB_NAME": "Sweep-abc-1", "AWS_DEFAULT_REGION": "eu-west-3"}, "sagemaker:eu-west-3"),
    ],
)
def test_a_training_job_is_named_and_is_where_its_arn_says(environ, cluster):
    found = place.in_service(environ, nothing, lambda: None)

    assert found == JobPlace("sagemaker", cluster, "Sweep-abc-1", restart=None)


@pytest.mark.parametrize(
    ("said", "cluster"),
    [
        (ECS, "ecs:eu-west-1/mine"),
        (ECS | {"Cluster": "arn:aws:ecs:eu-west-1:123456789012:cluster/mine"}, "ecs:eu-west-1/mine"),
        ({"TaskARN": f"arn:aws-cn:ecs:cn-north-1:1:task/{TASK}", "Cluster": "a/old_one"}, "ecs:cn-north-1/old_one"),
    ],
)
def test_a_task_of_ecs_is_named_by_the_last_part_of_its_arn(said, cluster):
    environ = {"ECS_CONTAINER_METADATA_URI_V4": "http://x", "AWS_REGION": "us-east-1"}

    assert place.in_service(environ, lambda: said, nothing) == JobPlace("ecs", cluster, TASK)


def test_a_job_of_batch_whose_region_no_variable_names_asks_for_its_task():
    environ = {"AWS_BATCH_JOB_ID": UUID, "ECS_CONTAINER_METADATA_URI_V4": "http://x"}

    assert place.in_service(environ, lambda: ECS, nothing).cluster == "batch:eu-west-1"
    assert place.in_service(environ | HERE, nothing, nothing).cluster == "batch:eu-west-1"


def test_an_owner_has_what_its_place_says():
    owner = this_process(ELEMENT | {"AWS_BATCH_JOB_ATTEMPT": "2"})

    assert (owner.cluster, owner.job_name, owner.restart, owner.service) == ("batch:eu-west-1", f"{UUID}_3", 1, "batch")
    assert (this_process(SLURM).service, this_process({}).service) == ("", "")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (BATCH | {"AWS_BATCH_JOB_ATTEMPT": "x"}, "AWS_BATCH_JOB_ATTEMPT='x': AWS Batch sets it to a whole number"),
        (BATCH | {"AWS_BATCH_JOB_ATTEMPT": "0"}, "from 1 on"),
        (BATCH | {"AWS_BATCH_JOB_ATTEMPT": "-1"}, "AWS_BATCH_JOB_ATTEMPT='-1'"),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "3", **HERE}, "AWS_BATCH_JOB_ARRAY_INDEX=3 without AWS_BATCH_JOB_ID"),
        (ELEMENT | {"AWS_BATCH_JOB_ARRAY_INDEX": "4"}, f"does not fit AWS_BATCH_JOB_ID='{UUID}:3'"),
        (ELEMENT | {"AWS_BATCH_JOB_ARRAY_SIZE": "3"}, "does not fit AWS_BATCH_JOB_ARRAY_SIZE=3"),
        (BATCH | {"AWS_BATCH_JOB_ID": f"{UUID}@lab"}, "is not the id of a job of AWS Batch"),
        (BATCH | {"AWS_BATCH_JOB_ID": f"{UUID}\n"}, "is not the id of a job of AWS Batch"),
        (BATCH | {"AWS_BATCH_JOB_ID": "a_3"}, "is not the id of a job of AWS Batch"),
        (BATCH | {"AWS_REGION": "Ireland"}, "AWS_REGION='Ireland' is not a region of AWS, such as eu-west-1"),
        ({"AWS_BATCH_JOB_ID": UUID}, "neither AWS_REGION nor AWS_DEFAULT_REGION"),
        ({"TRAINING_JOB_NAME": "a"}, "neither AWS_REGION nor AWS_DEFAULT_REGION"),
        (TRAINING | {"TRAINING_JOB_NAME": "other"}, "is not the ARN of the training job other"),
        (TRAINING | {"TRAINING_JOB_NAME": "a@b"}, "is not the name of a training job"),
        (TRAINING | {"TRAINING_JOB_ARN": "arn:x"}, "TRAINING_JOB_ARN='arn:x'"),
        ({"SLURM_JOB_ID": "7@lab"}, "SLURM_JOB_ID='7@lab': Slurm sets it to a whole number"),
        ({"SLURM_ARRAY_JOB_ID": "7\n"}, "SLURM_ARRAY_JOB_ID="),
        ({"SLURMSWEEP_EC2_INSTANCE": "i-1"}, "SLURMSWEEP_EC2_REGION='' is not a region of AWS"),
        ({"SLURMSWEEP_EC2_REGION": "eu-west-1"}, "SLURMSWEEP_EC2_INSTANCE='' is not"),
        ({"ECS_CONTAINER_METADATA_URI_V4": "file:///etc/passwd"}, "begins with http://"),
        ({"ECS_CONTAINER_METADATA_URI_V4": "http://127.0.0.1:x/v4"}, "is no address"),
        ({"ECS_CONTAINER_METADATA_URI_V4": "http://a..b/v4"}, "is no address"),
        ({"ECS_CONTAINER_METADATA_URI_V4": f"http://{'a' * 64}/v4"}, "is no address"),
        (BATCH | {"SLURM_JOB_ID": "70"}, "job '70' of Slurm and AWS_BATCH_JOB_ID are both"),
        (TRAINING | {"SLURM_ARRAY_JOB_ID": "70"}, "job '70' of Slurm and TRAINING_JOB_NAME are both"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(environ, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        place_of(environ)


@pytest.mark.parametrize(
    "said", [None, [], {}, {"TaskARN": 7}, {"TaskARN": "x"}, ECS | {"TaskARN": ECS["TaskARN"] + "\n"}, {"Cluster": "a"}]
)
def test_what_ecs_says_without_a_task_is_an_error(said):
    with pytest.raises(UsageError, match="what ECS says of this task has no TaskARN"):
        place.in_service({"ECS_CONTAINER_METADATA_URI_V4": "http://x"}, lambda: said, nothing)


@pytest.mark.parametrize(
    ("name", "submission"),
    [("slurmsweep-abcd1234-0011aaff", "slurmsweep-abcd1234-0011aaff"), ("", None), (None, None)],
)
def test_a_task_is_told_which_submission_made_it_and_one_that_is_started_by_hand_is_not(name, submission):
    environ = {} if name is None else {"SLURMSWEEP_SUBMISSION": name}
    arn = "arn:aws:ecs:eu-west-1:123456789012:task/sweeps/158d1c8083dd49d6b527399fd6414f5c"

    assert place.in_service(environ, lambda: {"TaskARN": arn}, nothing).submission == submission


def test_a_submission_whose_name_cannot_be_one_is_an_error():
    arn = "arn:aws:ecs:eu-west-1:123456789012:task/sweeps/158d1c8083dd49d6b527399fd6414f5c"
    with pytest.raises(UsageError, match="SLURMSWEEP_SUBMISSION='a b' is not the name of a submission"):
        place.in_service({"SLURMSWEEP_SUBMISSION": "a b"}, lambda: {"TaskARN": arn}, nothing)


HOSTILE = st.one_of(
    st.text(max_size=40).filter(lambda text: "\0" not in text),
    st.sampled_from(
        [*BATCH.values(), *ELEMENT.values(), *TRAINING.values(), *EC2.values(), "0", "1", "a@b", "x\ny", "7" * 99]
    ),
)
NAMES = sorted({*ELEMENT, *TRAINING, *EC2, *SLURM, "AWS_DEFAULT_REGION", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"})
ANYTHING = st.recursive(st.none() | st.integers() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3))
DOCUMENTS = st.one_of(
    ANYTHING, st.dictionaries(st.sampled_from(["TaskARN", "Cluster", "current_host", "hosts"]), ANYTHING)
)


@given(environ=st.dictionaries(st.sampled_from([*NAMES, ECS_URI]), HOSTILE), said=DOCUMENTS)
def test_whatever_the_values_a_service_gives_a_name_that_keys_can_hold_or_an_error_in_words(environ, said):
    found, words = None, ""
    try:
        found = place.in_service(environ, lambda: said, lambda: said)
    except UsageError as error:
        words = str(error)
    assert len(words) < 500
    assert "\n" not in words
    if found:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", found.job)
        assert re.fullmatch(rf"{found.kind}:[a-z0-9-]+(/[A-Za-z0-9_-]+)?", found.cluster)
        assert found.restart is None or found.restart >= 0


@given(environ=st.dictionaries(st.sampled_from(NAMES), HOSTILE))
def test_whatever_the_values_there_is_a_place_or_an_error_of_ours(environ):
    try:
        found = place_of(environ)
    except SlurmsweepError:
        return
    assert (found.job is None) == (found.kind == "local")
    assert ":" in (found.cluster or "") or found.kind in ("slurm", "local")


@pytest.mark.parametrize(
    ("environ", "array"),
    [
        ({}, (None, None)),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "9"}, (3, 9)),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "3", "AWS_BATCH_JOB_ARRAY_SIZE": "9"}, (3, 9)),
        ({"SLURM_ARRAY_TASK_ID": "1", "AWS_BATCH_JOB_ARRAY_INDEX": "3"}, (1, None)),
    ],
)
def test_an_agent_that_records_no_owner_is_told_its_element_and_no_more(environ, array):
    assert array_of(environ) == array


@pytest.mark.parametrize(
    ("environ", "machines", "words"),
    [
        ({}, None, ""),
        (BATCH, None, ""),
        (BATCH | {"AWS_BATCH_JOB_NODE_INDEX": "0", "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0"}, None, ""),
        (
            BATCH | {"AWS_BATCH_JOB_NODE_INDEX": "2", "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0"},
            None,
            "number 0 runs the agent",
        ),
        (TRAINING, None, ""),
        (TRAINING, {"current_host": "algo-1", "hosts": ["algo-1"]}, ""),
        (TRAINING, {"current_host": "algo-1", "hosts": ["algo-2", "algo-10", "algo-1"]}, ""),
        (
            TRAINING,
            {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]},
            "this job's 2 machines algo-1 runs the agent",
        ),
    ],
)
def test_of_several_machines_of_a_job_the_first_one_runs_the_agent(environ, machines, words, tmp_path):
    if machines is not None:
        (tmp_path / "input" / "config").mkdir(parents=True)
        (tmp_path / "input" / "config" / "resourceconfig.json").write_text(json.dumps(machines))
    environ = environ | {"SAGEMAKER_BASE_DIR": str(tmp_path)}

    said = stands_by(environ)

    assert words in said
    assert bool(said) == bool(words)
    assert place_of(environ).idle == said
    assert place_of(environ).node == (machines["current_host"] if machines else None)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null{",
        '{"hosts": ["a"]}',
        '{"current_host": "b", "hosts": ["a"]}',
        '{"current_host": 1, "hosts": 2}',
    ],
)
def test_a_damaged_file_of_machines_is_named(text, tmp_path):
    (tmp_path / "input" / "config").mkdir(parents=True)
    (tmp_path / "input" / "config" / "resourceconfig.json").write_text(text)

    with pytest.raises(UsageError, match=r"resourceconfig\.json"):
        place_of(TRAINING | {"SAGEMAKER_BASE_DIR": str(tmp_path)})


@contextmanager
def answering(*answers):
    """Serve these answers (status, headers, body), the last one for ever; yield the address and what was asked."""
    asked, left = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.command, self.path, dict(self.headers)))
            status, headers, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self):
            self.do_GET()

    with served(Handler) as address:
        yield address, asked


def test_ecs_is_asked_for_its_task_again_after_a_failure_and_never_through_a_proxy(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with answering((500, {}, b"busy"), (200, {}, json.dumps(ECS).encode())) as (address, asked):
        found = place_of({"ECS_CONTAINER_METADATA_URI_V4": f"{address}/v4/c1"})

    assert found == JobPlace("ecs", "ecs:eu-west-1/mine", TASK)
    assert [(method, path) for method, path, _ in asked] == [("GET", "/v4/c1/task")] * 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((404, {}, b""), "status 404"),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), "status 302"),
        ((200, {}, b"<html>"), "is no JSON"),
        ((200, {}, b"[" * 100_000), "is no JSON"),
        ((200, {}, b" " * (1024 * 1024 + 1)), "more than 1048576 bytes"),
    ],
)
def test_an_answer_that_is_none_says_what_could_not_be_read(answer, words, monkeypatch):
    monkeypatch.setattr(metadata, "_AGAIN", (0.0,))
    with answering(answer) as (address, asked), pytest.raises(SchedulerUnavailableError, match=words) as error:
        place_of({"ECS_CONTAINER_METADATA_URI_V4": address})

    assert f"{address}/task" in str(error.value)
    assert len(asked) in (1, 2)


def test_a_machine_of_ec2_is_asked_by_version_2_of_its_metadata_service(monkeypatch):
    answers = [(200, {}, b"TOKEN=="), (200, {}, b"i-0abc123def4567890"), (200, {}, b"eu-north-1\n")]
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    with answering(*answers) as (address, asked):
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{address}/")
        found = registry.this_machine()

    assert (found.instance, found.region) == ("i-0abc123def4567890", "eu-north-1")
    assert [(method, path) for method, path, _ in asked] == [
        ("PUT", "/latest/api/token"),
        ("GET", "/latest/meta-data/instance-id"),
        ("GET", "/latest/meta-data/placement/region"),
    ]
    sent = [{name.lower(): value for name, value in headers.items()} for _, _, headers in asked]
    assert sent[0]["x-aws-ec2-metadata-token-ttl-seconds"] == "21600"
    assert [headers["x-aws-ec2-metadata-token"] for headers in sent[1:]] == ["TOKEN=="] * 2
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "True")
    with pytest.raises(UsageError, match="which machine of EC2 this is cannot be told"):
        registry.this_machine()
    assert len(asked) == 3
