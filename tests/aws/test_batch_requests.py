"""What is asked of AWS Batch for a submission: the exact requests, what is refused, and which values are never shown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

SECRET = "value-of-nobody-1f7c"
SWEEP = """\
program: train.py
method: grid
parameters: {x: {values: [1, 2, 3]}}
aws: {queue: sweeps, image: "me/image:1"}
"""
JOB_ROLE = "arn:aws:iam::123456789012:role/slurmsweep-job"


@pytest.fixture
def project(tmp_path):
    """Return a folder with a sweep file and its program."""
    Path(tmp_path, "s.yaml").write_text(SWEEP)
    Path(tmp_path, "train.py").write_text("print(1)\n")
    return tmp_path


@pytest.fixture
def unreachable(monkeypatch):
    """Leave neither credentials, nor a region, nor any address that answers."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    # port 1 of this machine is closed: a request would fail at once, and the test with it
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def rehearse(project, unreachable, slurmsweep):
    """Rehearse a run; the requests by their operation."""

    def run(*words: str) -> dict[str, dict]:
        said = slurmsweep("run", "s.yaml", "--backend", "batch", "--dry-run", *words)
        assert said.returncode == 0, said.stderr
        parts = said.stdout.split("# AWS Batch: ")[1:]
        return {part.partition("\n")[0]: json.loads(part.partition("\n")[2]) for part in parts}

    return run


@pytest.fixture
def refused(project, unreachable, slurmsweep):
    """Rehearse a run that is refused, and return the message."""

    def run(*words: str) -> str:
        said = slurmsweep("run", "s.yaml", "--backend", "batch", "--dry-run", *words)
        assert (said.returncode, said.stdout) == (2, "")
        assert "Traceback" not in said.stderr
        return said.stderr

    return run


def test_a_rehearsal_prints_the_exact_requests_and_asks_nothing(rehearse, project):
    said = rehearse("-t", "30", "--mem", "4G", "--cpus-per-task", "2", "--gpus", "1", "--retries", "2")
    assert list(said) == ["RegisterJobDefinition", "SubmitJob"]
    built_in = json.loads(Path(__file__).parents[2].joinpath("job_templates/batch.json").read_text())
    definition = said["RegisterJobDefinition"]
    digest = definition["tags"].pop("slurmsweep-digest")
    assert len(digest) == 16
    container = built_in["containerProperties"] | {"image": "me/image:1", "volumes": [], "mountPoints": []}
    assert definition == built_in | {"containerProperties": container, "tags": {}}
    job = said["SubmitJob"]
    folder = job["parameters"].pop("sweep")
    assert Path(folder).parent == project / ".slurmsweep"
    assert job.pop("jobName").startswith(f"slurmsweep-{Path(folder).name.removeprefix('sweep-')}-")
    assert job == {
        "jobQueue": "sweeps",
        "jobDefinition": "slurmsweep:<its revision>",
        "containerOverrides": {
            "resourceRequirements": [
                {"type": "VCPU", "value": "2"},
                {"type": "MEMORY", "value": "4096"},
                {"type": "GPU", "value": "1"},
            ]
        },
        "propagateTags": True,
        "tags": {"slurmsweep-sweep": Path(folder).name.removeprefix("sweep-")},
        "parameters": {},
        "arrayProperties": {"size": 3},
        "timeout": {"attemptDurationSeconds": 1800},
        "retryStrategy": {"attempts": 2, "evaluateOnExit": built_in["retryStrategy"]["evaluateOnExit"]},
    }
    assert sorted(path.name for path in project.iterdir() if path.name[0] != ".") == ["s.yaml", "train.py"]


def test_one_job_is_no_array(rehearse):
    assert "arrayProperties" not in rehearse("--count", "1")["SubmitJob"]


def test_what_the_template_asks_for_counts_where_nothing_else_says_it(rehearse):
    needs = rehearse()["SubmitJob"]["containerOverrides"]["resourceRequirements"]
    assert needs == [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "2048"}]


def test_role_secrets_and_filesystem_are_filled_into_the_template(rehearse):
    words = (
        "--role",
        JOB_ROLE,
        "--aws",
        "secret=WANDB_API_KEY=team/wandb",
        "--aws",
        "efs=fs-0123456789abcdef0:/shared",
    )
    container = rehearse(*words)["RegisterJobDefinition"]["containerProperties"]
    assert (container["jobRoleArn"], container["executionRoleArn"]) == (JOB_ROLE, JOB_ROLE)
    assert container["secrets"] == [{"name": "WANDB_API_KEY", "valueFrom": "team/wandb"}]
    assert container["volumes"][0]["efsVolumeConfiguration"]["fileSystemId"] == "fs-0123456789abcdef0"
    assert container["mountPoints"] == [{"sourceVolume": "sweeps", "containerPath": "/shared", "readOnly": False}]


def test_a_sweep_whose_folder_no_mount_has_is_told_before_jobs_miss_it(project, unreachable, slurmsweep):
    def said(efs: str) -> str:
        words = ("--backend", "batch", "--dry-run", "--aws", f"efs=fs-0123456789abcdef0:{efs}")
        return slurmsweep("run", "s.yaml", *words).stderr

    assert f"the job definition mounts nothing but /shared, and jobs need {project}/.slurmsweep/sweep-" in said(
        "/shared"
    )
    assert f"the job definition mounts nothing but {project}/.slurm, " in said(f"{project}/.slurm")  # no parent of it
    assert "mounts" not in said(str(project))


def test_a_definition_of_the_users_own_is_used_as_it_is(rehearse, project):
    Path(project, "s.yaml").write_text(SWEEP.replace('image: "me/image:1"', "definition: theirs"))
    said = rehearse()
    assert list(said) == ["SubmitJob"]
    assert said["SubmitJob"]["jobDefinition"] == "theirs"
    command = said["SubmitJob"]["containerOverrides"]["command"]
    assert command[:4] == ["slurmsweep", "agent", "--count", "1"]
    assert Path(command[4]).parent == project / ".slurmsweep"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-t", "0:59"), "time 0:59: AWS Batch gives a job 60 seconds at least"),
        (("-t", "soon"), "time 'soon' is not a time; write minutes, 1:30:00 or 2-0"),
        (("--retries", "11"), "retries '11' is not a whole number, 1 to 10"),
        (("-p", "gpu"), "'partition' is not an option of jobs in AWS"),
        (("--cluster", "mine"), "AWS Batch has no option cluster for jobs; it has cpus-per-task, definition, efs, env"),
        (("--aws", "definition=theirs"), "definition: theirs is used as it is, and image would mean nothing"),
        (("--aws", "efs=disk"), "efs 'disk' is not ID:FOLDER, such as fs-0123456789abcdef0:/shared"),
        (("--env", "WANDB_API_KEY"), "env: WANDB_API_KEY is a secret"),
        (("--env", "NOT_SET_ANYWHERE"), "env: NOT_SET_ANYWHERE is not set in this shell"),
        (("--template", "nothing"), "there is no job template 'nothing' for AWS"),
    ],
)
def test_what_batch_cannot_do_is_refused_before_anything_is_asked(refused, words, message):
    assert message in refused(*words)


def test_without_a_queue_or_an_image_the_message_says_where_to_write_it(refused, project):
    Path(project, "s.yaml").write_text(SWEEP.partition("aws:")[0])
    assert "`aws: {image: URI}` in the sweep file or your defaults: one with slurmsweep" in refused("--queue", "sweeps")
    assert "no queue of AWS Batch is named: say --queue NAME" in refused("--image", "me/image:1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"typ": "container"}, 'Unknown parameter in input: "typ"'),
        ({"type": 3}, "Invalid type for parameter type"),
        (
            {"containerProperties": {"image": "i", "command": ["slurmsweep", "agent", "Ref::sweep"], "vcpu": 2}},
            'Unknown parameter in containerProperties: "vcpu"',
        ),
        ({"containerProperties": {"image": "i", "command": ["true"]}}, 'has no element "Ref::sweep"'),
        ({"containerProperties": None, "nodeProperties": {}}, "it has no containerProperties"),
        (
            {
                "containerProperties": {
                    "image": "i",
                    "command": ["slurmsweep", "agent", "Ref::sweep"],
                    "resourceRequirements": [{"type": "VCPU", "value": "two"}],
                }
            },
            "mine.json: cpus-per-task 'two' is not a whole number",
        ),
    ],
)
def test_a_template_is_refused_with_the_path_of_the_mistake(refused, project, change, message):
    content = {"jobDefinitionName": "mine", "type": "container"} | change
    Path(project, "mine.json").write_text(
        json.dumps({key: value for key, value in content.items() if value is not None})
    )
    said = refused("--template", "./mine.json")
    assert "mine.json" in said
    assert message in said or "nodeProperties" in said


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("queue: sweeps, memry: 3G", "line 4, aws.memry: 'memry' is not an option of jobs in AWS; "),
        ("queue: sweeps, time: soon", "line 4, aws.time: time 'soon' is not a time"),
        ("queue: [a]", "aws.queue"),
    ],
)
def test_mistakes_of_the_sweep_file_are_told_with_their_place(refused, project, section, message):
    Path(project, "s.yaml").write_text(SWEEP.replace("queue: sweeps", section))
    assert message in refused()


def test_the_command_line_wins_over_the_sweep_file_and_that_over_the_defaults(rehearse, project):
    Path(project, ".slurmsweep.yaml").write_text("aws: {mem: 8G, time: 90, cpus-per-task: 4}\ntemplate: array\n")
    Path(project, "s.yaml").write_text(SWEEP.replace("queue: sweeps", "queue: sweeps, time: 60"))
    job = rehearse("--mem", "3G")["SubmitJob"]
    needs = {one["type"]: one["value"] for one in job["containerOverrides"]["resourceRequirements"]}
    assert (needs, job["timeout"]) == ({"VCPU": "4", "MEMORY": "3072"}, {"attemptDurationSeconds": 3600})


def test_defaults_are_refused_with_file_and_key(refused, project):
    Path(project, ".slurmsweep.yaml").write_text("aws: {memry: 8G}\n")
    assert "aws.memry" in refused()


def test_a_definition_is_registered_once_for_each_content(project, cloud, batch, slurmsweep):
    cloud.machines.slots = 0
    submit = ("run", "s.yaml", "--backend", "batch", "--no-wait")
    for words in ((), (), ("--image", "me/image:2"), ()):
        said = slurmsweep(*submit, *words)
        assert said.returncode == 0, said.stderr
    assert len(batch.asked("RegisterJobDefinition")) == 2
    used = [request["jobDefinition"].rpartition(":")[2] for request in batch.asked("SubmitJob")]
    assert used == ["1", "1", "2", "1"]


def test_the_value_of_a_variable_reaches_its_job_and_nothing_else(project, cloud, batch, slurmsweep, monkeypatch):
    monkeypatch.setenv("MY_FLAG", SECRET)
    monkeypatch.setenv("MY_TOKEN", "another-" + SECRET)
    Path(project, "train.py").write_text("import os\nassert os.environ['MY_FLAG'] and os.environ['MY_TOKEN']\n")
    words = ("run", "s.yaml", "--backend", "batch", "--count", "1", "--env", "MY_FLAG", "--aws", "plain-env=MY_TOKEN")
    shown = [slurmsweep(*words, *more) for more in (("--dry-run",), ())]
    shown += [slurmsweep(*more) for more in (("status",), ("trials", "--json"), ("show", "last", "0"))]
    assert shown[1].returncode == 0, shown[1].stderr
    assert "<value of MY_FLAG>" in shown[0].stdout
    assert all(SECRET not in said.stdout + said.stderr for said in shown)
    assert all(SECRET.encode() not in path.read_bytes() for path in project.rglob("*") if path.is_file())
    given = batch.asked("SubmitJob")[0]["containerOverrides"]["environment"]
    assert {pair["name"]: pair["value"] for pair in given} == {"MY_FLAG": SECRET, "MY_TOKEN": f"another-{SECRET}"}


def test_a_key_of_wandb_is_passed_by_the_name_of_a_secret_alone(project, cloud, batch, slurmsweep, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    cloud.machines.secrets["team/wandb"] = SECRET
    words = ("run", "s.yaml", "--backend", "batch", "--count", "1", "--aws", "secret=WANDB_API_KEY=team/wandb")
    Path(project, "train.py").write_text(f"import os\nassert os.environ['WANDB_API_KEY'] == {SECRET[::-1]!r}[::-1]\n")
    said = slurmsweep(*words)
    assert said.returncode == 0, said.stderr
    assert SECRET not in said.stdout + said.stderr
    assert SECRET not in json.dumps([request.parameters for request in batch.requests])
    assert all(SECRET.encode() not in path.read_bytes() for path in project.rglob("*") if path.is_file())
