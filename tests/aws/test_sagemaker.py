"""The backend of SageMaker: its exact requests, what it refuses before any, and what it makes of each answer.

Against a stand-in, which shows the words and rules of SageMaker's documentation and is not SageMaker.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from slurmsweep.backends import registry
from slurmsweep.backends.aws import client as clients
from slurmsweep.backends.aws import sagemaker_jobs, service, templates
from slurmsweep.backends.aws.sagemaker import SageMakerBackend
from slurmsweep.backends.base import JobSource, SubmitOptions, Submitted
from slurmsweep.backends.keys import JobRef
from slurmsweep.errors import (
    JobLimitError,
    SchedulerError,
    SchedulerUnavailableError,
    SubmissionRefusedError,
    SubmissionUnknownError,
    UsageError,
)
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.tail import AttemptId

ROLE, IMAGE = "arn:aws:iam::123456789012:role/slurmsweep-job", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sweeps:1"
PLACE = "@sagemaker:eu-west-1"
GIVEN = {"role": ROLE, "image": IMAGE, "region": "eu-west-1"}


@pytest.fixture
def source(tmp_path) -> JobSource:
    """A sweep of W&B's own: jobs need no folder."""
    return JobSource("slurmsweep-abcd1234", "team/project/wbyz9876", str(tmp_path), str(tmp_path))


@pytest.fixture
def backend(monkeypatch) -> SageMakerBackend:
    """One that knows nothing from other tests, and gives up at the first request that is not answered."""
    service.client.cache_clear()
    sagemaker_jobs._ended.clear()
    monkeypatch.setattr(clients, "_TRIES", 1)
    yield SageMakerBackend()
    service.client.cache_clear()


@pytest.fixture
def send(cloud, backend, source):
    """Send a request for jobs, none of which starts; returns its name."""
    cloud.machines.slots = 0

    def do(trials=3, given=(), attempt_ids=(), name="") -> str:
        request = backend.request(source, trials, SubmitOptions(options={**GIVEN, **dict(given)}), attempt_ids)
        request = replace(request, name=name) if name else request
        assert backend.send(request) == f"{request.name}{PLACE}"
        return request.name

    return do


def words(backend, *jobs, wanted=()) -> dict[str, str]:
    """What the backend says of jobs, by their names without the submission's."""
    tasks = backend.poll([f"{job}{PLACE}" for job in jobs], [JobRef(f"{job}{PLACE}") for job in wanted]).tasks
    return {ref.job.removesuffix(PLACE).rpartition("-")[2]: status.word for ref, status in tasks.items()}


def content_of(backend, source, template="", **options) -> dict:
    """The first request for a sweep, after all that is refused was."""
    wish = SubmitOptions(template, {**GIVEN, **{name.replace("_", "-"): value for name, value in options.items()}})
    backend.check(wish, source)
    [(operation, content), *_] = backend.requests(backend.request(source, 1, wish))
    assert operation == "CreateTrainingJob"
    templates.check(content, "sagemaker", operation, "test")
    return content


def with_template(tmp_path, **changes) -> str:
    content = json.loads(templates.load("sagemaker", "sagemaker", "CreateTrainingJob").text)
    content = {key: value for key, value in {**content, **changes}.items() if value is not None}
    (tmp_path / "mine.json").write_text(json.dumps(content))
    return str(tmp_path / "mine.json")


# What is asked for


def test_the_request_is_the_template_with_what_options_say(backend, source):
    content = content_of(
        backend, source, time="1:30:00", instance_type="ml.g5.xlarge", subnets="a,b", security_groups="c"
    )

    name = content.pop("TrainingJobName")
    assert name.startswith("slurmsweep-abcd1234-")
    assert name == f"{content['Environment'].pop('SLURMSWEEP_SUBMISSION')}-0"
    assert content == {
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["slurmsweep"],
            "ContainerArguments": ["agent", "--count", "1", "team/project/wbyz9876"],
        },
        "OutputDataConfig": {"S3OutputPath": "s3://sagemaker-eu-west-1-123456789012/slurmsweep"},
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 5400},
        "VpcConfig": {"Subnets": ["a", "b"], "SecurityGroupIds": ["c"]},
        "Environment": {"AWS_REGION": "eu-west-1", "WANDB_SAGEMAKER_DISABLE": "true"},
    }


def test_a_spot_job_may_wait_a_day_longer_than_it_runs(backend, source):
    content = content_of(backend, source, time="60", spot="true")

    assert content["EnableManagedSpotTraining"] is True
    assert content["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 90000}


def test_the_templates_time_limit_is_what_more_time_is_reckoned_from(backend, source):
    assert backend.asked(backend.options(SubmitOptions(options=GIVEN), source)).time == 24 * 60
    assert backend.asked(backend.options(SubmitOptions(options={**GIVEN, "time": "30"}), source)).time == 30


def test_a_job_for_a_certain_attempt_has_it_in_its_environment(backend, source):
    request = backend.request(source, 2, SubmitOptions(options=GIVEN), (AttemptId(3, 2), AttemptId(7, 1)))

    slots = [content["Environment"]["SLURMSWEEP_SLOTS"] for _, content in backend.requests(request)]
    assert slots == ["3:2", "7"]
    assert f"TrainingJobName {request.name}-1, Environment.SLURMSWEEP_SLOTS 7" in backend.preview(request)


def test_a_script_of_the_training_toolkit_gets_the_sweep_as_a_hyperparameter(backend, source, tmp_path):
    how = {"TrainingImage": IMAGE, "TrainingInputMode": "File"}
    script = {"sagemaker_program": '"entry.py"', "sagemaker_submit_directory": '"s3://bucket/source.tar.gz"'}
    template = with_template(tmp_path, AlgorithmSpecification=how, HyperParameters=script)

    content = content_of(backend, source, template)

    assert content["AlgorithmSpecification"] == how
    assert content["HyperParameters"] == {**script, "sweep": '"team/project/wbyz9876"'}


def test_a_filesystem_is_a_channel_on_which_the_sweep_is(backend, source):
    ours = replace(source, argument="/opt/ml/input/data/sweeps/wandb/sweep-abcd1234")

    content = content_of(
        backend, ours, efs="fs-0123456789abcdef0:/opt/ml/input/data/sweeps", subnets="a", security_groups="c"
    )

    [channel] = content["InputDataConfig"]
    assert channel["ChannelName"] == "sweeps"
    assert channel["DataSource"]["FileSystemDataSource"] == {
        "FileSystemId": "fs-0123456789abcdef0",
        "FileSystemType": "EFS",
        "FileSystemAccessMode": "rw",
        "DirectoryPath": "/",
    }


def test_a_sweep_that_jobs_may_not_find_is_told_of(backend, source):
    [notice] = backend.check(SubmitOptions(options=GIVEN), replace(source, argument="/scratch/wandb/sweep-abcd1234"))

    assert "below /opt/ml/input/data/CHANNEL and nowhere else" in notice
    assert "/scratch/wandb/sweep-abcd1234" in notice


def test_a_name_that_no_training_job_may_have_is_made_one(backend, source):
    hosted = replace(source, name="slurmsweep-cloud-" + "under_score_" * 5)

    name = content_of(backend, hosted)["TrainingJobName"]

    assert name.startswith("slurmsweep-cloud-under-score-under-score")
    assert len(name) <= 63
    assert "_" not in name
    assert sagemaker_jobs.submission_of(name)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mem": "4G"}, "mem means nothing in SageMaker: the instance type decides it"),
        ({"cpus_per_task": "2"}, "cpus-per-task means nothing in SageMaker"),
        ({"gpus": "1"}, "say --aws instance-type=TYPE, such as ml.m5.2xlarge"),
        ({"secret": "WANDB_API_KEY=team/wandb"}, "fetch it by the role, as examples/sagemaker does"),
        ({"retries": "3"}, "RetryStrategy"),
        ({"queue": "sweeps"}, "Amazon SageMaker has no option queue for jobs"),
        ({"env": "WANDB_API_KEY"}, "WANDB_API_KEY is a secret"),
        ({"spot": "FARGATE_SPOT"}, "spot: FARGATE_SPOT is for ECS"),
        ({"image": False}, "AlgorithmSpecification.TrainingImage: say --image URI"),
        ({"role": False}, "RoleArn: say --role ARN"),
        ({"role": "my-sagemaker-execution-role"}, "OutputDataConfig.S3OutputPath: name a bucket"),
        ({"efs": "fs-0123456789abcdef0:/shared"}, "SageMaker mounts it as a channel, /opt/ml/input/data/NAME"),
    ],
)
def test_what_sagemaker_does_not_have_is_refused_before_anything_is_asked(backend, source, options, said):
    with pytest.raises(UsageError) as refused:
        content_of(backend, source, **options)

    assert said in str(refused.value)


def test_a_key_that_is_passed_on_by_force_is_not_shown(backend, source, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789secret")

    content = content_of(backend, source, plain_env="WANDB_API_KEY")

    assert content["Environment"]["WANDB_API_KEY"] == "<value of WANDB_API_KEY>"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Environment": {"WANDB_API_KEY": "0123"}}, "Environment.WANDB_API_KEY: a secret"),
        ({"HyperParameters": {"hf_token": "0123"}}, "HyperParameters.hf_token: a secret"),
        ({"Environment": {f"V{n}": "" for n in range(97)}}, "Environment: 100 variables, and SageMaker takes 100"),
        ({"Environment": {"LONG": "x" * 513}}, "Environment.LONG: longer than 512 characters"),
        (
            {"StoppingCondition": {"MaxRuntimeInSecond": 1}},
            'Unknown parameter in StoppingCondition: "MaxRuntimeInSecond"',
        ),
        ({"AlgorithmSpecification": {"TrainingInputMode": "File"}}, "write SWEEP as a word"),
        ({"AlgorithmSpecification": None}, "mine.json: it has no AlgorithmSpecification, which names the image"),
    ],
)
def test_a_template_that_makes_no_job_is_refused_with_the_path_of_the_key(backend, source, tmp_path, changes, said):
    with pytest.raises(UsageError) as refused:
        content_of(backend, source, with_template(tmp_path, **changes))

    assert said in str(refused.value)
    assert "0123" not in str(refused.value)


@pytest.mark.parametrize("mode", ["ro", ""])
def test_a_channel_on_which_jobs_cannot_write_is_refused(backend, source, tmp_path, mode):
    system = {"FileSystemId": "fs-0123456789abcdef0", "FileSystemType": "FSxLustre", "DirectoryPath": "/fsx"}
    where = {"FileSystemDataSource": {**system, "FileSystemAccessMode": mode}} if mode else {}
    template = with_template(tmp_path, InputDataConfig=[{"ChannelName": "sweeps", "DataSource": where}])

    with pytest.raises(UsageError, match="ChannelName sweeps and FileSystemAccessMode rw"):
        content_of(backend, replace(source, argument="/opt/ml/input/data/sweeps/s"), template)


def test_a_rehearsal_needs_neither_network_nor_credentials(slurmsweep, write_sweep, monkeypatch):
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    given = [word for name, value in GIVEN.items() for word in (f"--{name}", value)]

    done = slurmsweep("run", str(write_sweep("")), "--backend", "sagemaker", *given, "--dry-run")

    assert done.returncode == 0, done.stderr
    first, rest = done.stdout.split("# and 2 more, which have otherwise:")
    content = json.loads(first.removeprefix("# Amazon SageMaker: CreateTrainingJob\n"))
    templates.check(content, "sagemaker", "CreateTrainingJob", "test")
    name = content["TrainingJobName"].removesuffix("-0")
    assert rest.split() == ["#", "TrainingJobName", f"{name}-1", "#", "TrainingJobName", f"{name}-2"]


# Submitting


def test_each_trial_gets_a_job_of_the_submissions_name(send, sagemaker):
    name = send(3)

    assert list(sagemaker.jobs) == [f"{name}-{n}" for n in range(3)]


def test_a_lost_answer_makes_no_second_job(send, sagemaker, monkeypatch):
    monkeypatch.setattr(clients, "_TRIES", 4)
    sagemaker.lose_answers(1, "CreateTrainingJob")
    sagemaker.throttle(1, "CreateTrainingJob")

    name = send(3)

    assert Counter(asked["TrainingJobName"] for asked in sagemaker.asked("CreateTrainingJob")) == {
        f"{name}-0": 3,
        f"{name}-1": 1,
        f"{name}-2": 1,
    }
    assert len(sagemaker.jobs) == 3


def submit(backend, request):
    """Submit a request as commands do, each part under its own name."""

    def part(first, trials):
        array = replace(request, name=f"{request.name[:-8]}{first:08x}", tasks=trials, trials=trials)
        job = backend.send(array)
        return Submitted(job, backend.taken(array), backend.taken(array))

    return backend.submit(request, part)


def test_where_a_quota_ends_the_submission_what_was_made_stays_and_the_rest_is_kept_back(
    cloud, backend, source, sagemaker
):
    cloud.machines.slots = 0
    request = backend.request(source, 5, SubmitOptions(options=GIVEN))
    send = service.client("sagemaker", "eu-west-1").ask

    def ask(operation, **parameters):
        if operation == "create_training_job" and parameters["TrainingJobName"].endswith("-3"):
            sagemaker.exceed_limit()
        return send(operation, **parameters)

    service.client("sagemaker", "eu-west-1").ask = ask
    result = submit(backend, request)

    assert [(array.tasks, array.trials) for array in result.arrays] == [(3, 3)]
    assert (result.kept_back, len(sagemaker.jobs)) == (2, 3)
    assert "ResourceLimitExceeded" in result.why
    assert "quota" in result.why


def test_a_quota_that_leaves_no_room_at_all_is_a_limit_of_jobs(cloud, backend, source, sagemaker):
    sagemaker.exceed_limit()

    with pytest.raises(JobLimitError, match="ResourceLimitExceeded: The account-level service limit"):
        submit(backend, backend.request(source, 5, SubmitOptions(options=GIVEN)))
    assert sagemaker.jobs == {}


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (lambda it: it.refuse(1, "CreateTrainingJob", code="ValidationException", status=400), SubmissionRefusedError),
        (lambda it: it.refuse(1, "CreateTrainingJob", code="InternalFailure", status=500), SubmissionUnknownError),
        (lambda it: it.refuse(1, "CreateTrainingJob"), SchedulerUnavailableError),
        (lambda it: it.throttle(1, "CreateTrainingJob"), SubmissionUnknownError),
        (lambda it: it.drop(1, "CreateTrainingJob"), SubmissionUnknownError),
    ],
)
def test_only_what_may_have_been_done_is_looked_for(cloud, backend, source, sagemaker, trouble, kind):
    trouble(sagemaker)
    request = backend.request(source, 2, SubmitOptions(options=GIVEN))

    with pytest.raises(SchedulerError) as said:
        backend.send(request)

    assert type(said.value) is kind
    assert backend.find(request.name, "sagemaker:eu-west-1") == ""


def test_jobs_whose_answers_were_all_lost_are_found_by_name_and_counted(cloud, backend, source, sagemaker):
    cloud.machines.slots = 0
    sagemaker.lose_answers(1, "CreateTrainingJob")
    request = backend.request(source, 2, SubmitOptions(options=GIVEN))
    with pytest.raises(SubmissionUnknownError):
        backend.send(request)

    assert backend.find(request.name, "sagemaker:eu-west-1") == f"{request.name}{PLACE}"
    assert backend.taken(request) == 1


# Looking


def test_a_submission_tells_of_all_its_jobs_page_by_page(send, backend, sagemaker, monkeypatch):
    monkeypatch.setattr(sagemaker_jobs, "_PAGE", 2)
    name = send(5)
    other = send(1, name="slurmsweep-abcd1234-00000000")

    assert words(backend, name) == dict.fromkeys("01234", "Starting")
    assert [asked.get("NextToken") is None for asked in sagemaker.asked("ListTrainingJobs")] == [True, False, False]
    [status] = backend.poll([f"{other}{PLACE}"]).tasks.values()
    assert (status.name, status.alive, status.waits, status.source) == (other, True, True, "Amazon SageMaker")


def test_a_job_that_was_just_made_waits_though_the_list_does_not_have_it_yet(send, backend, sagemaker, monkeypatch):
    name = send(2)
    del sagemaker.jobs[f"{name}-1"]

    assert words(backend, name) == {"0": "Starting", "1": "Starting"}
    monkeypatch.setattr(service, "_UNSEEN", 0.0)
    assert words(backend, name) == {"0": "Starting"}


def test_several_submissions_of_a_sweep_are_one_question(send, backend, sagemaker):
    names = [send(2, name=f"slurmsweep-abcd1234-{n:08x}") for n in range(4)]

    assert len(backend.poll([f"{name}{PLACE}" for name in names[:3]]).tasks) == 6
    assert [asked["NameContains"] for asked in sagemaker.asked("ListTrainingJobs")] == ["slurmsweep-abcd1234-"]


def test_a_failed_job_is_asked_for_its_reason_once(send, backend, sagemaker):
    name = send(2)
    job = sagemaker.jobs[f"{name}-1"]
    job.failure = "CapacityError: Unable to provision requested ML compute capacity."
    job.become("Failed", "Failed")

    for _ in range(2):
        tasks = backend.poll([f"{name}{PLACE}"], [JobRef(f"{name}-1{PLACE}")]).tasks
        status = tasks[JobRef(f"{name}-1{PLACE}")]
        assert (status.state, status.cause, status.reason) == (TrialState.PREEMPTED, "preempted", job.failure)
        assert tasks[JobRef(f"{name}-0{PLACE}")].alive

    assert len(sagemaker.asked("DescribeTrainingJob")) == 1


def test_a_job_that_was_made_by_hand_is_asked_for_by_its_own_name(send, backend, client, sagemaker):
    send(1)
    asked = {**sagemaker.asked("CreateTrainingJob")[0], "TrainingJobName": "my-own-job"}
    client("sagemaker").create_training_job(**asked)

    [(ref, status)] = backend.poll([], [JobRef(f"my-own-job{PLACE}")]).tasks.items()

    assert (ref.job, status.name, status.alive) == (f"my-own-job{PLACE}", "my-own-job", True)


@pytest.mark.parametrize("code", ["ValidationException", "ResourceNotFound"])
def test_a_job_that_sagemaker_does_not_know_is_not_in_its_answer(backend, sagemaker, code):
    sagemaker.missing = (code, "Requested resource not found.")

    assert backend.poll([], [JobRef(f"slurmsweep-abcd1234-00000000-7{PLACE}")]).tasks == {}


def test_silence_is_no_answer(backend, sagemaker):
    sagemaker.drop(1)

    with pytest.raises(SchedulerUnavailableError):
        backend.poll([f"slurmsweep-abcd1234-00000000{PLACE}"])


def test_a_job_that_is_over_tells_its_last_lines_and_the_seconds_that_are_paid_for(
    cloud, send, backend, sagemaker, tmp_path
):
    program = tmp_path / "slurmsweep"
    program.write_text("#!/bin/sh\nfor n in 1 2 3 4 5 6; do echo line $n; done; exit 3\n")
    program.chmod(0o755)
    cloud.machines.environ["PATH"] = f"{tmp_path}:{cloud.machines.environ['PATH']}"
    name = send(1)
    cloud.machines.slots = 1
    sagemaker.wait_for(f"{name}-0", "Failed")
    ref = JobRef(f"{name}-0{PLACE}")

    status = backend.poll([f"{name}{PLACE}"]).tasks[ref]
    [(known, account)] = backend.accounts([f"{name}{PLACE}"])[0].items()

    assert (status.state, status.cause, status.exit_code) == (TrialState.FAILED, "exit 3", 3)
    assert backend.last_words(ref) == ("line 2", "line 3", "line 4", "line 5", "line 6")
    assert (known, account.minutes, account.elapsed) == (ref, 24 * 60, 1)
    assert backend.last_words(JobRef(f"{name}-9{PLACE}")) == ()


# Ordering


def test_cancelling_a_submission_stops_its_live_jobs_and_no_other(send, backend, sagemaker):
    name, other = send(3), send(1, name="slurmsweep-abcd1234-00000000")
    sagemaker.jobs[f"{name}-1"].become("Completed", "Completed")

    backend.cancel([f"{name}{PLACE}"])

    assert [asked["TrainingJobName"] for asked in sagemaker.asked("StopTrainingJob")] == [f"{name}-2", f"{name}-0"]
    assert sagemaker.jobs[f"{other}-0"].status == "InProgress"
    assert words(backend, name) == {"0": "Stopped", "1": "Completed", "2": "Stopped"}


@pytest.mark.parametrize("only_waiting", [False, True])
def test_a_job_that_was_just_made_is_stopped_though_the_list_does_not_have_it_yet(
    send, backend, sagemaker, monkeypatch, only_waiting
):
    name = send(2)
    monkeypatch.setattr(sagemaker, "list_training_jobs", lambda _: {"TrainingJobSummaries": []})

    backend.cancel([f"{name}{PLACE}"], only_waiting=only_waiting)

    assert {asked["TrainingJobName"] for asked in sagemaker.asked("StopTrainingJob")} == {f"{name}-0", f"{name}-1"}


def test_a_job_that_is_over_or_unknown_is_no_error_to_cancel(send, backend, sagemaker):
    name = send(1)
    sagemaker.jobs[f"{name}-0"].become("Completed", "Completed")

    backend.cancel([f"{name}-0{PLACE}", f"{name}-7{PLACE}"])

    assert len(sagemaker.asked("StopTrainingJob")) == 2


def test_cancelling_what_waits_leaves_what_runs(send, backend, sagemaker):
    name = send(2)
    sagemaker.jobs[f"{name}-0"].become("InProgress", "Training")

    backend.cancel([f"{name}-0{PLACE}", f"{name}-1{PLACE}"], only_waiting=True)

    assert words(backend, name) == {"0": "Training", "1": "Stopped"}


def test_a_refused_order_is_told_when_all_jobs_were_asked(send, backend, sagemaker):
    name = send(2)
    sagemaker.refuse(1, "StopTrainingJob")

    with pytest.raises(SchedulerUnavailableError, match="not authorized"):
        backend.cancel([f"{name}{PLACE}"])

    assert len(sagemaker.asked("StopTrainingJob")) == 2


def test_the_command_line_finds_it_by_its_word(cloud):
    assert isinstance(registry.choose("sagemaker", rehearsal=True), SageMakerBackend)
    assert isinstance(registry.service("sagemaker"), SageMakerBackend)
