"""docs/aws.md is followed: each of its commands is typed, in the order of the page, at the stand-ins of AWS's services.

Jobs are real agents, in processes of this machine. What is not typed here: the commands of AWS's own command line, which
`test_page_by_hand.py` types.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from aws.mounting import CHANNEL, image, mounted
from aws.queueing import Metadata, Place, moto_services, wait_until
from documented import ROOT
from fake_wandb import serving
from following import Shell, following, sections

PAGE = ROOT / "docs" / "aws.md"
FILE_SYSTEM = "fs-0123456789abcdef0"
ROLE = "arn:aws:iam::123456789012:role/jobs"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/me:1"

#: What the page's words for things of the reader's stand for, beside folders.
STANDS_FOR = {"URI": IMAGE, "ARN": ROLE, "QUEUE": "spot", "CLUSTER": "sweeps"}

#: Two trials stay at their first attempt, one with some memory, as long as there is a file `hold`.
TRAIN = """\
import os, sys, time
print("trained", *sys.argv[1:], flush=True)
stays = os.environ.get("SLURMSWEEP_ATTEMPT") == "1" and sys.argv[1] in ("--x=0", "--x=1")
memory = bytearray(40_000_000 if stays and sys.argv[1] == "--x=1" else 1)
while stays and os.path.exists("hold"):
    time.sleep(0.05)
"""


@pytest.fixture
def shared(tmp_path):
    """Return the folder of the filesystem, with a program and a function that writes the sweep file."""
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    return folder


def write(folder: Path, trials: int, **aws: str) -> None:
    """Write the sweep file, with its section for AWS."""
    document = {"program": "train.py", "method": "grid", "parameters": {"x": {"values": list(range(trials))}}}
    (folder / "sweep.yaml").write_text(json.dumps(document | ({"aws": aws} if aws else {})))


def logs(folder: Path) -> list[Path]:
    """Return the output files of all attempts below a folder."""
    return list(folder.glob(".slurmsweep/sweep-*/trials/*/*/*/output.log"))


def run_now(folder: Path, trials: int) -> None:
    """Wait until so many attempts of the newest sweep have begun."""

    def begun() -> int:
        newest = max(folder.glob(".slurmsweep/sweep-*"), key=lambda path: path.stat().st_ctime_ns)
        return sum("trained" in log.read_text() for log in newest.glob("trials/*/*/*/output.log"))

    wait_until(lambda: begun() >= trials, f"{trials} trials begin")


def test_no_section_of_the_page_has_commands_that_are_not_followed():
    assert list(sections(PAGE)) == [
        "AWS",
        "Batch",
        "ECS",
        "SageMaker",
        "EC2 and SQS",
        "What was tried against what",
    ]


def own(title: str):
    """Return the commands of a section, without those of AWS's own command line."""
    return [command for command in sections(PAGE)[title] if not command.text.startswith("aws ")]


@pytest.fixture
def fresh(tmp_path):
    """Return an environment in which slurmsweep is not, but what it needs is; pip builds it from what is here, too."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "tests.pth").write_text(str(Path(pytest.__file__).parents[1]))
    pip = folder / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec {folder}/bin/python -m pip "$@"\n')
    pip.chmod(0o755)
    return folder


def told(shell: Shell, words: str):
    """Return the document of a command that is not of the page."""
    said = shell.type(f"slurmsweep {words} --json 2>/dev/null")
    return json.loads(said)


def finished(shell: Shell) -> int:
    """Return how many trials of the newest sweep have finished."""
    return told(shell, "status last")["counts"]["finished"]


def cancelled_and_again(shell: Shell, folder: Path, typed) -> None:
    """Follow the end of a section: three trials are started, cancelled while they run, and run again."""
    (folder / "hold").touch()
    assert "3 trials" in typed("slurmsweep run sweep.yaml")
    run_now(folder, 2)
    assert "told to end: job" in typed("slurmsweep cancel last")
    typed("slurmsweep resubmit last")
    assert finished(shell) == 3
    assert checked(3, 5) in typed("slurmsweep check last")


def checked(trials: int, attempts: int) -> str:
    return f"{trials} trials, {attempts} attempts: every trial once, none lost, none doubled\n"


def test_the_first_commands(shared, cloud, batch, fresh):
    batch.add_queue("spot", "machines")
    write(shared, 3, queue="spot", image=IMAGE, efs=f"{FILE_SYSTEM}:{shared}")
    shell = Shell(shared, {}, {"/path/to/this/checkout": str(ROOT)})
    offline = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    with following(own("AWS"), shell) as typed:
        shell.environ = {
            "PATH": f"{fresh}/bin:{os.environ['PATH']}",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
        }
        typed("pip install")
        said = shell.type("slurmsweep --version; python -c 'import slurmsweep; print(slurmsweep.__file__)'")
        assert str(fresh) in said
        shell.environ = offline
        said = typed("slurmsweep run sweep.yaml --backend batch --dry-run")
        assert re.findall("# AWS Batch: (.*)", said) == ["RegisterJobDefinition", "SubmitJob"]
        assert batch.requests == []
        shell.environ = {}
        assert "spot is ENABLED and VALID" in typed("slurmsweep doctor --backend batch")
        (shared / "hold").touch()
        assert "3 trials" in typed("slurmsweep run sweep.yaml --backend batch --no-wait")
        run_now(shared, 2)
        [array] = [job.job_id for job in batch.jobs.values() if job.parent is None]
        batch.oom(f"{array}:1")
        (shared / "hold").unlink()
        batch.wait_for(array, "FAILED")
        assert "1 crashed" in typed("slurmsweep status")
        typed("slurmsweep resubmit last")
    again = batch.asked("SubmitJob")[-1]["containerOverrides"]["resourceRequirements"]
    assert {"type": "MEMORY", "value": "4096"} in again
    wait_until(lambda: finished(shell) == 3, "all trials have finished")


def test_batch(shared, cloud, batch):
    cloud.iam.roles.add("jobs")
    batch.add_queue("spot", "machines")
    shell = Shell(shared, {}, STANDS_FOR | {"/shared": str(shared)})
    with following(own("Batch"), shell) as typed:
        write(shared, 2)
        typed("slurmsweep run sweep.yaml --backend batch --queue spot")
        [asked] = batch.asked("SubmitJob")
        [definition] = batch.definitions.values()
        container = definition["containerProperties"]
        assert (asked["jobQueue"], asked["arrayProperties"], container["image"]) == ("spot", {"size": 2}, IMAGE)
        assert container["mountPoints"][0]["containerPath"] == str(shared)
        assert container["volumes"][0]["efsVolumeConfiguration"]["fileSystemId"] == FILE_SYSTEM
        assert finished(shell) == 2
        write(shared, 3, queue="spot", image=IMAGE, efs=f"{FILE_SYSTEM}:{shared}")
        assert "account 123456789012" in typed("slurmsweep doctor")
        cancelled_and_again(shell, shared, typed)
    retries = [request["retryStrategy"]["attempts"] for request in batch.asked("SubmitJob")[2:]]
    assert set(retries) == {2}


def test_ecs(shared, cloud, ecs):
    cloud.logs.begin("/ecs/slurmsweep", "made before")
    cloud.iam.roles |= {"jobs", "ecsTaskExecutionRole"}
    shell = Shell(shared, {}, STANDS_FOR | {"ID:FOLDER": f"{FILE_SYSTEM}:{shared}"})
    with following(own("ECS"), shell) as typed:
        write(shared, 2)
        typed("slurmsweep run sweep.yaml --backend ecs --cluster sweeps")
        [asked] = ecs.asked("RunTask")
        assert (asked["cluster"], asked["count"]) == ("sweeps", 2)
        assert asked["networkConfiguration"]["awsvpcConfiguration"]["subnets"] == ["subnet-0a1b"]
        assert finished(shell) == 2
        write(shared, 3, cluster="sweeps", image=IMAGE, subnets="subnet-0a1b", efs=f"{FILE_SYSTEM}:{shared}")
        assert "account 123456789012" in typed("slurmsweep doctor --backend ecs")
        cancelled_and_again(shell, shared, typed)


def test_sagemaker(shared, cloud, sagemaker, tmp_path):
    cloud.iam.roles.add("jobs")
    there = image(tmp_path, "slurmsweep", shared, str(shutil.which("slurmsweep")))
    cloud.machines.environ["PATH"] = f"{there}:{cloud.machines.environ['PATH']}"
    shutil.copy(shared / "train.py", tmp_path)  # in an image the program is in its working folder
    network = {"subnets": "subnet-0a1b", "security-groups": "sg-0a1b"}
    write(shared, 3, role=ROLE, image=IMAGE, **network)
    shell = Shell(shared, {}, STANDS_FOR, mounted(shared))
    with following(own("SageMaker"), shell) as typed:
        with serving([{"x": 5}, {"x": 6}]) as wandb:
            cloud.machines.environ |= wandb.environ()
            shell.environ = {"WANDB_DIR": str(tmp_path)}
            said = typed("slurmsweep submit team/project/wbyz9876 --backend sagemaker")
            hosted = list(sagemaker.jobs)
            assert (len(hosted), "20 agents of W&B's sweep team/project/wbyz9876" in said) == (20, True), said
            wait_until(lambda: len(wandb.runs) == 2, "agents get the points that W&B has")
            cloud.machines.slots = 0
            for name in hosted[:2]:
                assert sagemaker.wait_for(name, "Completed", "Failed").status == "Completed", sagemaker.output(name)
                assert "trained --x=" in sagemaker.output(name)
        for name in hosted[2:]:
            sagemaker.stop_training_job({"TrainingJobName": name})
        cloud.machines.slots, shell.environ = 2, {}
        typed("cd /opt/ml")
        typed("slurmsweep run sweep.yaml --backend sagemaker --aws efs=")
        assert finished(shell) == 3
        [channel] = sagemaker.asked("CreateTrainingJob")[-1]["InputDataConfig"]
        assert channel["DataSource"]["FileSystemDataSource"]["FileSystemId"] == FILE_SYSTEM
        write(shared, 3, role=ROLE, image=IMAGE, efs=f"{FILE_SYSTEM}:{CHANNEL}", **network)
        assert "there is a role jobs" in typed("slurmsweep doctor --backend sagemaker")
        asked = len(sagemaker.requests)
        assert "CreateTrainingJob" in typed("slurmsweep run sweep.yaml --backend sagemaker --count 3 --dry-run")
        assert len(sagemaker.requests) == asked
        cancelled_and_again(shell, shared, typed)


@pytest.fixture
def place(tmp_path, shared):
    """Return a queue, of moto's SQS."""
    with moto_services() as address, closing(Place(address, shared)) as made:
        yield made


def test_ec2_and_sqs(shared, place, slurmsweep, tmp_path):
    write(shared, 3)
    sweep = slurmsweep("create", "sweep.yaml", cwd=shared).stdout.strip()
    queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/sweeps"
    shell = Shell(shared, place.environ, {queue: place.url, "SWEEP": sweep, "/shared": str(shared)})
    submit, listen = own("EC2 and SQS")
    with following([submit], shell) as typed:
        assert "3 trials" in typed("slurmsweep submit SWEEP --backend sqs --queue")
    assert place.counts() == (3, 0)

    assert listen.text.startswith("slurmsweep listen https://")  # it goes on until it is told to end
    machines = [Metadata(f"i-00000000000000a{n}") for n in range(2)]
    processes = []
    try:
        for machine in machines:
            there = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": machine.url}
            environ = os.environ | place.environ | there
            words = shell.words(f"exec {listen.text}")
            processes.append(subprocess.Popen(words, env=environ, stderr=subprocess.PIPE, text=True))
        wait_until(lambda: finished(shell) == 3 and place.is_empty(), "each message runs a trial, and is deleted")
        for process in processes:
            process.send_signal(signal.SIGTERM)
        said = [process.communicate(timeout=120)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], said
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for machine in machines:
            machine.close()
    assert told(shell, "check last")["findings"] == []


def test_the_ten_commands(shared, cloud, batch):
    batch.add_queue("spot", "machines")
    write(shared, 4, region="eu-west-1", queue="spot", image=IMAGE, efs=f"{FILE_SYSTEM}:{shared}")
    shell = Shell(shared, {}, STANDS_FOR)
    with following(own("What was tried against what"), shell) as typed:
        assert "spot is ENABLED and VALID" in typed("slurmsweep doctor --backend batch")
        assert "# AWS Batch: SubmitJob" in typed("slurmsweep run sweep.yaml --backend batch --dry-run")
        assert batch.asked("SubmitJob") == []
        (shared / "hold").touch()
        assert "3 trials" in typed("slurmsweep run sweep.yaml --backend batch --count 3 --no-wait")
        run_now(shared, 2)
        assert "2 running" in typed("slurmsweep status last")
        assert typed("slurmsweep logs last 0") == "trained --x=0\n"
        assert "told to end: job" in typed("slurmsweep cancel last")
        assert "would be run again: trials 0, 1 (cancelled)" in typed("slurmsweep resubmit last --dry-run")
        assert len(batch.asked("SubmitJob")) == 1
        typed("slurmsweep resubmit last --wait")
        assert finished(shell) == 4
        assert "6 attempts of 4 trials have ended" in typed("slurmsweep efficiency last")
        assert checked(4, 6) in typed("slurmsweep check last")
