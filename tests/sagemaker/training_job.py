"""A training job as SageMaker runs it, without SageMaker: its own toolkit in a sandbox that has a `/opt/ml`.

What is real: the toolkit (`sagemaker-training`, which is in AWS's images), pip, boto3, the example's files, the agent.
What is not: the files that SageMaker would write into `/opt/ml/input`, which are written here, as a request's
hyperparameters look that the SDK sends; S3 and Secrets Manager, for which moto answers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples" / "sagemaker"

#: Made by ``scripts/setup-sagemaker``.
ENVIRONMENT = REPOSITORY / ".venv-sagemaker"

#: What SageMaker starts in an image that has the toolkit.
TRAIN = str(ENVIRONMENT / "bin" / "train")

#: No test can reach an account of AWS.
FAKE_ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}

#: Where a channel of this name is mounted: the sweep's folder is there on the machine that made it, too.
CHANNEL = "sweeps"


class Sandbox:
    """The machine of one training job: a fresh `/opt/ml`, and a shared filesystem as a channel where there is one.

    Attributes:
        ml: what the job sees as `/opt/ml`.
        shared: what it sees as `/opt/ml/input/data/sweeps`; None without that channel.
    """

    def __init__(self, image: Path, folder: Path, endpoint: str, shared: Path | None = None) -> None:
        self.ml, self.shared = folder / "ml", shared
        self._image, self._endpoint, self._hosts = image, endpoint, folder / "hosts"
        self._info = folder / "info"
        folder.mkdir(parents=True)
        for name in ("input/config", f"input/data/{CHANNEL}", "output/intermediate", "model", "home", "tmp"):
            (self.ml / name).mkdir(parents=True)
        self._hosts.write_text("127.0.0.1 localhost\n127.0.0.1 algo-1\n")

    def configure(self, name: str, hyperparameters: Mapping[str, str]) -> None:
        """Write what SageMaker tells a job, each hyperparameter as JSON in a text, as the SDK sends it."""
        written = {key: json.dumps(value) for key, value in hyperparameters.items()}
        written |= {
            "sagemaker_program": json.dumps("entry.py"),
            "sagemaker_submit_directory": json.dumps(f"s3://bucket/{name}/source/sourcedir.tar.gz"),
            "sagemaker_job_name": json.dumps(name),
            "sagemaker_region": json.dumps("eu-west-1"),
            "sagemaker_container_log_level": "20",
        }
        resources = {
            "current_host": "algo-1",
            "current_instance_type": "ml.m5.large",
            "current_group_name": "homogeneousCluster",
            "hosts": ["algo-1"],
            "instance_groups": [
                {"instance_group_name": "homogeneousCluster", "instance_type": "ml.m5.large", "hosts": ["algo-1"]}
            ],
            "network_interface_name": "lo",
        }
        channels = {CHANNEL: {"TrainingInputMode": "File"}} if self.shared else {}
        documents = {"hyperparameters": written, "resourceconfig": resources, "inputdataconfig": channels}
        for file, document in documents.items():
            (self.ml / "input" / "config" / f"{file}.json").write_text(json.dumps(document))

    @contextmanager
    def running(self, *command: str, log: Path, is_first: bool = False, **environ: str) -> Iterator[Running]:
        """Start a command in the sandbox; with ``is_first`` as its PID 1. Killed with all it started at the end."""
        words = ["bwrap", "--die-with-parent", "--unshare-pid", *(["--as-pid-1"] if is_first else [])]
        words += ["--ro-bind", "/", "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc", "--tmpfs", "/opt"]
        for path in Path("/opt").iterdir():  # a Python may be there
            words += ["--ro-bind", str(path), str(path)] if path.name != "ml" and path.is_dir() else []
        words += [
            "--bind",
            str(self._image),
            str(ENVIRONMENT),
            "--ro-bind",
            str(self._hosts),
            "/etc/hosts",
            "--bind",
            str(self.ml),
            "/opt/ml",
        ]
        if self.shared:
            words += ["--bind", str(self.shared), f"/opt/ml/input/data/{CHANNEL}"]
        words += ["--chdir", "/opt/ml", "--clearenv"]
        for name, value in (self._environ() | environ).items():
            words += ["--setenv", name, value]
        with self._info.open("w+b") as info, log.open("wb") as output:
            words += ["--info-fd", str(info.fileno())]
            process = subprocess.Popen(
                [*words, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[info.fileno()],
            )
            try:
                yield Running(process, self._info, log)
            finally:
                process.kill()
                process.wait()

    def run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the sandbox to its end; its output, of both streams."""
        log = self.ml.parent / "log"
        with self.running(*command, log=log, **environ) as running:
            code = running.process.wait(timeout=400)
        return subprocess.CompletedProcess(command, code, log.read_text())

    def train(self, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the toolkit's own `train` to its end, as SageMaker starts an image."""
        return self.run(TRAIN, **environ)

    def slurmsweep(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this checkout where the sweep's folder has the path that jobs see."""
        return self.run(sys.executable, "-m", "slurmsweep", *argv)

    def failure(self) -> str:
        """Return what SageMaker would tell as the job's FailureReason."""
        return (self.ml / "output" / "failure").read_text()

    def has_succeeded(self) -> bool:
        """Return whether the toolkit said so; it never says both."""
        success, failure = (self.ml / "output" / word for word in ("success", "failure"))
        assert success.exists() != failure.exists()
        return success.exists()

    def _environ(self) -> dict[str, str]:
        own = {
            "PATH": f"{ENVIRONMENT}/bin:/usr/bin:/bin",
            "HOME": "/opt/ml/home",
            "TMPDIR": "/opt/ml/tmp",
            "LANG": "C.UTF-8",
            "AWS_ENDPOINT_URL": self._endpoint,
            "S3_ENDPOINT_URL": self._endpoint,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": f"{ENVIRONMENT}/wheels",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        return own | FAKE_ACCOUNT


class Running:
    """A command in a sandbox while it runs."""

    def __init__(self, process: subprocess.Popen[bytes], info: Path, log: Path) -> None:
        self.process, self.log = process, log
        self._info = info

    def child(self) -> int:
        """Return the id, on this machine, of the first process in the sandbox."""
        return json.loads(self._info.read_text())["child-pid"]


def source(folder: Path, wheel: Path, **other: str) -> Path:
    """Pack what `launch.py` sends: entry and requirements, the training script, the wheel; ``other`` texts by name."""
    names = [EXAMPLE / "source" / "entry.py", EXAMPLE / "source" / "requirements.txt", EXAMPLE / "train.py", wheel]
    path = folder / "sourcedir.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for file in names:
            if file.name not in other:
                tar.add(file, file.name)
        for name, text in other.items():
            (folder / name).write_text(text)
            tar.add(folder / name, name)
    return path
