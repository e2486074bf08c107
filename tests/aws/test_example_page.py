"""examples/sagemaker/README.md is followed: each of its commands is typed, with SageMaker's own SDK.

The jobs are those of the stand-in for SageMaker, and S3 and Secrets Manager are moto's. What `train` of AWS's images does
is shortened here, to the source from S3 and its entry; `tests/sagemaker` runs the real one.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
import tarfile
from typing import TYPE_CHECKING

import boto3
import pytest
from aws.mounting import CHANNEL, image, mounted
from aws.queueing import moto_services
from documented import ROOT, commands
from fake_wandb import API_KEY, MADE, serving
from following import Shell, following

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "examples" / "sagemaker" / "README.md"
SDK = ROOT / ".venv-aws" / "bin"

#: What an image of AWS does with a job in script mode, as far as a trial needs it.
TRAIN = """\
import io, json, os, sys, tarfile, tempfile
import boto3
asked = boto3.client("sagemaker").describe_training_job(TrainingJobName=os.environ["TRAINING_JOB_NAME"])
given = {name: json.loads(value) for name, value in asked["HyperParameters"].items()}
bucket, _, key = given["sagemaker_submit_directory"].removeprefix("s3://").partition("/")
packed = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
os.chdir(tempfile.mkdtemp(dir=os.environ["HOME"]))
tarfile.open(fileobj=io.BytesIO(packed)).extractall()
os.execvp("python", ["python", given["sagemaker_program"], "--sweep", given["sweep"]])
"""

#: The SDK would report its calls to AWS.
NO_REPORTS = "SchemaVersion: '1.0'\nSageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}\n"


@pytest.fixture
def moto():
    """Return the address of S3 with the page's bucket, and of Secrets Manager with the page's secret."""
    with moto_services() as address:
        yield address


@pytest.fixture
def user(tmp_path, cloud, moto, monkeypatch):
    """Return the folder of the user, with the examples in it, and the folder that is the channel's."""
    if not (SDK / "python").exists():
        pytest.skip("no SDK of SageMaker: scripts/setup-aws installs it")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", moto)
    place = {"LocationConstraint": "eu-west-1"}
    boto3.client("s3").create_bucket(Bucket="my-bucket", CreateBucketConfiguration=place)
    boto3.client("secretsmanager").create_secret(Name="wandb-key", SecretString=json.dumps({"WANDB_API_KEY": API_KEY}))
    ours = shutil.ignore_patterns("*.whl", "wandb", "__pycache__")
    shutil.copytree(PAGE.parent, tmp_path / "examples" / "sagemaker", ignore=ours)
    (tmp_path / "sagemaker.yaml").write_text(NO_REPORTS)
    monkeypatch.setenv("SAGEMAKER_USER_CONFIG_OVERRIDE", str(tmp_path / "sagemaker.yaml"))
    (tmp_path / "shared").mkdir()
    (tmp_path / "train_of_the_image.py").write_text(TRAIN)
    there = image(tmp_path, "train", tmp_path / "shared", sys.executable, str(tmp_path / "train_of_the_image.py"))
    cloud.machines.environ |= cloud.environ() | {
        "PATH": f"{there}:{os.environ['PATH']}",
        "AWS_ENDPOINT_URL_S3": moto,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": moto,
        "WANDB_MODE": "offline",
    }
    return tmp_path


def all_completed(sagemaker) -> None:
    for name in list(sagemaker.jobs):
        job = sagemaker.wait_for(name, "Completed", "Failed", seconds=240)
        assert job.status == "Completed", (job.failure, sagemaker.output(name))


def files_in_s3(name: str) -> set[str]:
    """Return the files of a job's source."""
    packed = boto3.client("s3").get_object(Bucket="my-bucket", Key=f"sweeps/{name}/source/sourcedir.tar.gz")["Body"]
    with tarfile.open(fileobj=io.BytesIO(packed.read())) as archive:
        return {os.path.basename(each) for each in archive.getnames()}


def test_the_page_of_the_example(user: Path, cloud, sagemaker):
    points = [{"lr": lr, "epochs": 10} for lr in (0.03, 0.1, 0.3)]
    shell = Shell(user, {}, {"/path/to/this/checkout": str(ROOT), "IMAGE": "me/image:1"}, mounted(user / "shared"))
    with following(commands(PAGE), shell) as typed, serving(points) as wandb:
        shell.environ = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
        typed("pip wheel --no-deps")
        source = user / "examples" / "sagemaker" / "source"
        [wheel] = [path.name for path in source.glob("*.whl")]
        assert f"./{wheel}" in (source / "requirements.txt").read_text().splitlines()

        shell.environ = wandb.environ()
        assert f"wandb agent ent/sagemaker/{MADE}" in typed("wandb sweep --project sagemaker")

        with_sdk = {"PATH": f"{SDK}:{os.environ['PATH']}", "HOME": str(user)}
        cloud.machines.environ["WANDB_BASE_URL"] = wandb.url
        shell.environ = with_sdk
        said = typed("python examples/sagemaker/launch.py my-team/sagemaker/wbyz9876")
        names = list(sagemaker.jobs)
        assert re.findall(r"^sweep-[\d-]+$", said, re.MULTILINE) == names
        all_completed(sagemaker)
        assert sorted(wandb.runs.values(), key=str) == points
        assert {"entry.py", "train.py", "requirements.txt", wheel} <= files_in_s3(names[0])
        asked = sagemaker.asked("CreateTrainingJob")
        assert {one["Environment"]["WANDB_SECRET"] for one in asked} == {"wandb-key"}
        assert API_KEY not in repr(asked)

        typed("cd /opt/ml")
        assert (user / "shared" / "train.py").exists()
        shell.environ = {}
        made = re.findall(r"^\w{8}$", typed("slurmsweep create sweep.yaml"), re.MULTILINE)[-1]
        shell.stands_for["sweep-k3v9q2xa"] = f"sweep-{made}"
        shell.environ = with_sdk
        typed("python ~/examples/sagemaker/launch.py /opt/ml")
        all_completed(sagemaker)
        [channel] = sagemaker.asked("CreateTrainingJob")[-1]["InputDataConfig"]
        given = channel["DataSource"]["FileSystemDataSource"]
        assert (channel["ChannelName"], given["FileSystemType"]) == (os.path.basename(CHANNEL), "FSxLustre")
        shell.environ = {}
        assert "3 trials, 3 attempts" in shell.type(f"slurmsweep check {made}")
        assert '"finished": 3' in shell.type(f"slurmsweep status {made} --json")
