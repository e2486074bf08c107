"""Commands on sweeps whose jobs are of SageMaker: what they say and do there that is otherwise than on Slurm."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aws.standin.model import RefusedError

SWEEP = """\
program: train.py
method: grid
parameters: {x: {values: [1, 2, 3, 4]}}
aws:
  role: arn:aws:iam::123456789012:role/slurmsweep-job
  image: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/sweeps:1
"""
HERE = ("--backend", "sagemaker")
NO_MEMORY = "ClientError: Please use an instance type with more memory, or reduce the size of training data."


@pytest.fixture
def project(tmp_path):
    """Return a folder with a sweep file; its trials last until there is a file ``end``."""
    Path(tmp_path, "s.yaml").write_text(SWEEP)
    program = (
        "import os, time\nopen('started', 'a').write('x')\nwhile not os.path.exists('end'):\n    time.sleep(0.05)\n"
    )
    Path(tmp_path, "train.py").write_text(program)
    return tmp_path


@pytest.fixture
def do(project, slurmsweep):
    """Run a command that succeeds, and return what it says: its output and its notes."""

    def run(*words: str) -> str:
        said = slurmsweep(*words)
        assert said.returncode == 0, said.stderr
        return said.stdout + said.stderr

    return run


@pytest.fixture
def rows(do):
    """Return the trials of the newest sweep."""
    return lambda: json.loads(do("trials", "--json").partition("\nslurmsweep: ")[0])


def started(project, number: int) -> None:
    deadline, mark = time.monotonic() + 60, Path(project, "started")
    while not mark.exists() or mark.stat().st_size < number:
        assert time.monotonic() < deadline, f"{number} trials have not started"
        time.sleep(0.05)


def names(sagemaker, *secondary: str) -> list[str]:
    return [job.name for job in sagemaker.jobs.values() if job.secondary in secondary or not secondary]


def all_end(project, sagemaker) -> None:
    Path(project, "end").touch()
    for name in names(sagemaker):
        sagemaker.wait_for(name, "Completed", "Failed", "Stopped")


def test_what_waits_and_runs_is_shown_in_the_words_of_sagemaker(project, cloud, sagemaker, do, rows):
    do("run", "s.yaml", *HERE, "--no-wait")
    started(project, 2)

    shown = json.loads(do("status", "--json").partition("\nslurmsweep: ")[0])
    said = " ".join(do("status").split())

    assert shown["jobs"] == {"training": 2, "starting": 2}
    assert "2 jobs (" in said
    assert "wait: their machines are started (Starting)" in said
    assert "Slurm" not in said
    assert {row["job"] for row in rows() if row["state"] == "running"} == set(names(sagemaker, "Training"))
    all_end(project, sagemaker)
    assert json.loads(do("status", "--json"))["counts"]["finished"] == 4


def test_a_sweep_goes_on_where_it_was_submitted_before(project, cloud, sagemaker, do):
    cloud.machines.slots = 0
    do("run", "s.yaml", *HERE, "--count", "1", "--no-wait")
    do("run", "last", "--no-wait")

    assert len(sagemaker.jobs) == 4
    assert "4 jobs wait in the queue" in do("run", "last", "--dry-run")


def test_jobs_for_which_there_was_no_machine_are_told_and_submitted_again(project, cloud, sagemaker, do, slurmsweep):
    why = "CapacityError: Unable to provision requested ML compute capacity. Please retry using another type."
    sagemaker.start_failures = [why] * 4

    said = slurmsweep("run", "s.yaml", *HERE)

    assert said.returncode == 1
    told = f"-0@sagemaker:eu-west-1 ...) ended without a trial: Amazon SageMaker says Failed: {why}"
    assert told in said.stderr
    assert told in do("status")
    Path(project, "end").touch()
    assert json.loads(do("run", "last", "--json").partition("\nslurmsweep: ")[0])["counts"]["finished"] == 4
    assert "without a trial" not in do("status")


def test_cancel_stops_what_runs_and_what_waits(project, cloud, sagemaker, do, rows):
    do("run", "s.yaml", *HERE, "--no-wait")
    started(project, 2)

    said = do("cancel", "last")

    assert "told to end: job slurmsweep-" in said
    for name in names(sagemaker):
        sagemaker.wait_for(name, "Stopped")
    assert len(sagemaker.asked("StopTrainingJob")) == 4
    do("reconcile", "last")
    assert (
        sorted((row["state"], row["cause"]) for row in rows()) == [("killed", "cancelled")] * 2 + [("pending", "")] * 2
    )


def test_more_memory_is_another_instance_type_which_a_person_chooses(project, cloud, sagemaker, do, rows, slurmsweep):
    Path(project, "s.yaml").write_text(SWEEP.replace("[1, 2, 3, 4]", "[1]"))
    do("run", "s.yaml", *HERE, "--no-wait")
    started(project, 1)
    [name] = names(sagemaker)
    sagemaker.kill_container(name)
    sagemaker.wait_for(name, "Failed").failure = NO_MEMORY
    do("reconcile", "last")
    assert rows()[0]["cause"] == "oom"

    said = slurmsweep("resubmit", "last", "--no-wait")

    assert len(sagemaker.jobs) == 1
    assert (
        "a job has the memory that its instance-type gives: choose one with more by --aws instance-type=" in said.stderr
    )
    Path(project, "end").touch()
    do("resubmit", "last", "--aws", "instance-type=ml.m5.4xlarge")
    asked = sagemaker.asked("CreateTrainingJob")[-1]
    assert asked["ResourceConfig"]["InstanceType"] == "ml.m5.4xlarge"
    assert rows()[0]["state"] == "finished"
    refused = slurmsweep("run", "last", "--mem", "auto")
    assert (refused.returncode, "the instance-type decides what memory a job has" in refused.stderr) == (2, True)


def test_where_a_quota_leaves_less_room_the_rest_is_kept_back(project, cloud, sagemaker, do, slurmsweep):
    cloud.machines.slots = 0
    sagemaker.exceed_limit()
    said = slurmsweep("run", "s.yaml", *HERE, "--no-wait")
    assert said.returncode == 4
    assert "ResourceLimitExceeded: The account-level service limit" in said.stderr
    assert sagemaker.jobs == {}

    create = sagemaker.create_training_job

    def create_two(asked):
        if len(sagemaker.jobs) == 2:
            raise RefusedError("ResourceLimitExceeded", "there are 2 of 2 instances")
        return create(asked)

    sagemaker.create_training_job = create_two
    said = slurmsweep("run", "s.yaml", *HERE, "--no-wait", "--json")
    made = json.loads(said.stdout)
    assert ([array["jobs"] for array in made["arrays"]], made["trials"], made["kept_back"]) == ([2], 2, 2)
    assert "ResourceLimitExceeded: there are 2 of 2 instances" in made["why"]
    sagemaker.create_training_job = create
    assert "2 trials" in do("run", "last", "--no-wait")
    assert len(sagemaker.jobs) == 4


def test_a_command_that_is_killed_between_two_requests_leaves_jobs_that_the_next_one_finds(
    project, cloud, sagemaker, do
):
    cloud.machines.slots = 0
    create, command = sagemaker.create_training_job, [sys.executable, "-m", "slurmsweep", "run", "s.yaml", *HERE]

    def create_and_kill(asked):
        if len(sagemaker.jobs) == 2:
            process.kill()
        return create(asked)

    sagemaker.create_training_job = create_and_kill
    with subprocess.Popen(command, cwd=project, stderr=subprocess.DEVNULL) as process:
        assert process.wait(120) == -9
    sagemaker.create_training_job = create
    assert len(sagemaker.jobs) == 3

    do("run", "last", "--backend", "sagemaker", "--no-wait")

    assert len(sagemaker.jobs) == 4
    assert len({name.rpartition("-")[0] for name in names(sagemaker)}) == 2
    cloud.machines.slots = 2
    all_end(project, sagemaker)
    assert json.loads(do("status", "--json"))["counts"]["finished"] == 4
    do("check", "last")


def test_rounds_that_are_held_by_hand_go_on_as_long_as_jobs_take_trials(project, cloud, sagemaker, do, rows):
    for round_ in (1, 2, 3):
        do("run", "s.yaml", *HERE, "--count", "1", "--no-wait") if round_ == 1 else do("mend", "last")
        started(project, round_)
        name = names(sagemaker, "Training")[0]
        sagemaker.kill_container(name)
        sagemaker.wait_for(name, "Failed")

    assert "ended without claiming one" not in do("mend", "last")


def test_agents_of_a_sweep_that_wandb_holds_are_submitted_and_shown(project, cloud, sagemaker, do):
    cloud.machines.slots = 0
    role = "arn:aws:iam::123456789012:role/slurmsweep-job"
    words = ("team/project/ab_cd-ef", "--role", role, "--image", "me/image:1")

    said = do("submit", *words, *HERE, "--count", "3")

    assert "CloudWatch Logs, group /aws/sagemaker/TrainingJobs" in said
    request = sagemaker.asked("CreateTrainingJob")[0]
    assert request["AlgorithmSpecification"]["ContainerArguments"] == ["agent", "--count", "1", "team/project/ab_cd-ef"]
    assert request["TrainingJobName"].startswith("slurmsweep-cloud-ab-cd-ef-")
    status = do("status", words[0])
    assert "jobs: 3 Starting" in status
    assert "Slurm" not in said + status
    do("submit", *words, "--count", "1")  # on SageMaker again
    assert len(sagemaker.jobs) == 4


def test_what_agents_of_a_sweep_that_wandb_holds_wrote_is_read_from_cloudwatch(
    project, cloud, sagemaker, do, slurmsweep
):
    program = project / "image" / "slurmsweep"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nfor n in 1 2 3; do echo $TRAINING_JOB_NAME line $n; done\n")
    program.chmod(0o755)
    cloud.machines.environ["PATH"] = f"{program.parent}:{cloud.machines.environ['PATH']}"
    role = "arn:aws:iam::123456789012:role/slurmsweep-job"
    assert slurmsweep("logs", "team/project/abcdefgh").returncode == 3
    do("submit", "team/project/abcdefgh", "--role", role, "--image", "me/image:1", *HERE, "--count", "2")
    for name in names(sagemaker):
        sagemaker.wait_for(name, "Completed")

    said = do("logs", "team/project/abcdefgh", "-n", "2")

    first, second = names(sagemaker)
    assert said == "".join(
        f"==> {name}@sagemaker:eu-west-1: Completed <==\n{name} line 2\n{name} line 3\n\n" for name in (first, second)
    )
    assert slurmsweep("logs", "team/project/abcdefgh", "3").returncode == 2


def test_efficiency_knows_what_jobs_asked_for_and_held(project, cloud, sagemaker, do):
    Path(project, "end").touch()
    do("run", "s.yaml", *HERE, "-t", "10")

    document = json.loads(do("efficiency", "--json").partition("\nslurmsweep: ")[0])

    assert document["accounting"] == "used"
    assert document["time"]["each_asked"] == 10


def test_the_doctor_looks_at_what_training_jobs_need(project, cloud, do):
    role = "arn:aws:iam::123456789012:role/slurmsweep-job"

    said = json.loads(do("doctor", *HERE, "--image", "me/image:1", "--role", role, "--json"))

    seen = {one["subject"]: (one["fitness"], one["why"]) for one in said}
    assert seen["identity"] == ("good", "account 123456789012, region eu-west-1")
    assert seen["role"] == ("good", "there is a role slurmsweep-job")
    assert seen["jobs"] == ("good", "training jobs may be listed")
    assert seen["logs"] == ("good", "log group /aws/sagemaker/TrainingJobs")
