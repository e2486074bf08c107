"""What SageMaker gives to a training job, around its own code: an image, S3, secrets, and `/opt/ml`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from sagemaker.training_job import ENVIRONMENT, FAKE_ACCOUNT, Sandbox

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def image(tmp_path_factory) -> Path:
    """Return a copy of the toolkit's environment, into which jobs install what their source requires."""
    if not (ENVIRONMENT / "bin" / "train").exists():
        pytest.skip("there is no .venv-sagemaker: `scripts/setup-sagemaker` makes it")
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed: `tests/containers/install` installs it, as root on Debian")
    tried = subprocess.run(
        ["bwrap", "--ro-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "--tmpfs", "/opt", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"bubblewrap does not run here: {tried.stderr.strip()}")
    copy = tmp_path_factory.mktemp("image") / "venv"
    subprocess.run(["cp", "--archive", ENVIRONMENT, copy], check=True)
    return copy


@pytest.fixture(scope="session")
def wheel(image, tmp_path_factory) -> Path:
    """Return a wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder)
    subprocess.run([ENVIRONMENT / "bin" / "python", *words, REPOSITORY], check=True)
    [made] = folder.glob("slurmsweep-*.whl")
    return made


@pytest.fixture(scope="session")
def endpoint(image, tmp_path_factory) -> str:
    """Return the address of moto, which answers for S3 and Secrets Manager."""
    command = [ENVIRONMENT / "bin" / "moto_server", "--host", "127.0.0.1", "--port", "0"]
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        found, deadline = None, time.monotonic() + 120
        while not found:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
            found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        yield found[0]
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="session")
def aws(endpoint):
    """Call an operation of AWS with boto3, at the endpoint: ``aws("s3", "create_bucket", Bucket="bucket")``."""
    code = "import boto3, json, sys; c, o, w = sys.argv[1:]; getattr(boto3.client(c), o)(**json.loads(w))"

    def call(client: str, operation: str, **words) -> None:
        environ = {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": endpoint, **FAKE_ACCOUNT}
        command = [ENVIRONMENT / "bin" / "python", "-c", code, client, operation, json.dumps(words)]
        subprocess.run(command, env=environ, check=True)

    call("s3", "create_bucket", Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return call


@pytest.fixture
def sandbox(image, tmp_path, endpoint) -> Sandbox:
    """Return the place of one training job."""
    return Sandbox(image, tmp_path / "job", endpoint)
