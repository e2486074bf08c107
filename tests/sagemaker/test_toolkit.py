"""SageMaker's own training toolkit runs the example: requirements, a key by its secret's name, the agent of a sweep."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from fake_wandb import API_KEY, serving
from sagemaker.training_job import CHANNEL, TRAIN, Sandbox, source

from slurmsweep.metrics.run_file import RecordReader

if TYPE_CHECKING:
    from pathlib import Path

HOSTED = "ent/proj/abcd1234"
POINT = {"lr": 0.3, "epochs": 10}

#: Of jobs: SageMaker takes each name once.
NAMES = (f"sweep-{os.getpid()}-{number}" for number in itertools.count())

#: Trains three epochs, and stays in the second one as long as a file tells it to.
STEPS = """\
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("heard TERM", flush=True), sys.exit(143)))
saved = pathlib.Path(os.environ["SLURMSWEEP_CHECKPOINT_DIR"], "epoch")
epoch = int(saved.read_text()) if saved.exists() else 0
print("run", os.environ["WANDB_RUN_ID"], "from epoch", epoch, flush=True)
while epoch < 3:
    epoch += 1
    saved.write_text(str(epoch))
    print("epoch", epoch, flush=True)
    while epoch == 2 and pathlib.Path("stays").exists():
        time.sleep(0.05)
"""


@pytest.fixture
def uploaded(wheel, aws, tmp_path):
    """Upload a source; the name of its job."""

    def upload(**others: str) -> str:
        name, path = next(NAMES), source(tmp_path, wheel, **others)
        aws("s3", "upload_file", Filename=str(path), Bucket="bucket", Key=f"{name}/source/sourcedir.tar.gz")
        return name

    return upload


@pytest.fixture
def job(sandbox, uploaded):
    """Run a training job of a sweep that W&B holds; how it ended."""

    def run(wandb, others: dict[str, str], **environ: str):
        name = uploaded(**others)
        sandbox.configure(name, {"sweep": HOSTED})
        server = {"WANDB_BASE_URL": wandb.url, "WANDB_MODE": "offline"}
        return sandbox.train(TRAINING_JOB_NAME=name, **server, **environ)

    return run


def run_of(sandbox: Sandbox) -> tuple[str, dict]:
    """Return id and config of the only run that wandb wrote, without what wandb notes of itself."""
    from wandb.proto.wandb_internal_pb2 import Record

    [file] = (sandbox.ml / "code" / "wandb").glob("offline-run-*/run-*.wandb")
    records = [Record.FromString(record) for record in RecordReader(str(file)).new()]
    updates = [record.run.config.update for record in records if record.WhichOneof("record_type") == "run"]
    updates += [record.config.update for record in records if record.WhichOneof("record_type") == "config"]
    config = {item.key: json.loads(item.value_json) for update in updates for item in update if item.key}
    return file.stem, {key: value for key, value in config.items() if key != "_wandb"}


def test_the_toolkit_installs_the_requirements_and_a_run_of_wandb_has_the_sweeps_parameters_alone(sandbox, job, aws):
    aws("secretsmanager", "create_secret", Name="wandb-key", SecretString=json.dumps({"WANDB_API_KEY": API_KEY}))

    with serving([POINT]) as wandb:
        done = job(wandb, {}, WANDB_SECRET="wandb-key")

    assert done.returncode == 0, done.stdout
    assert sandbox.has_succeeded()
    assert "Installing dependencies from requirements.txt" in done.stdout
    assert list(wandb.runs.values()) == [POINT]
    name, config = run_of(sandbox)
    assert name == "run-run1"
    assert config == POINT  # and none of SageMaker's
    state = json.loads((sandbox.ml / "checkpoints" / "run1" / "state.json").read_text())
    assert state["epoch"] == POINT["epochs"]
    assert API_KEY not in done.stdout


def test_the_exit_code_of_a_script_is_what_sagemaker_tells_and_the_file_of_sagemaker_auth_is_read(
    sandbox, job, tmp_path
):
    write = [sys.executable, "-c", "import wandb; wandb.sagemaker_auth(path='.')"]
    subprocess.run(write, cwd=tmp_path, env=os.environ | {"WANDB_API_KEY": API_KEY}, check=True)
    secrets = (tmp_path / "secrets.env").read_text()

    with serving([POINT]) as wandb:
        done = job(wandb, {"train.py": "import sys\nsys.exit(3)\n", "secrets.env": secrets})

    assert done.returncode == 1  # the toolkit's own, whatever the script's was
    assert not sandbox.has_succeeded()
    assert sandbox.failure().splitlines()[:2] == ["ExecuteUserScriptError:", "ExitCode 3"]
    assert list(wandb.runs.values()) == [POINT]


def test_a_secret_that_may_not_be_read_ends_the_job_with_its_name_before_any_agent(sandbox, job):
    with serving([POINT]) as wandb:
        done = job(wandb, {}, WANDB_SECRET="no-such-secret")

    assert sandbox.failure().splitlines()[:2] == ["ExecuteUserScriptError:", "ExitCode 1"]
    assert "the secret 'no-such-secret' that WANDB_SECRET names cannot be read" in done.stdout
    assert "Traceback" not in done.stdout.partition("Reporting training FAILURE")[0]
    assert not wandb.operations


@pytest.fixture
def shared(image, endpoint, tmp_path):
    """Create a sweep of one trial on a shared filesystem; a function that gives a fresh machine, and the sweep's folder.

    The filesystem is mounted at the same path where the sweep is made and in each job.
    """
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "train.py").write_text(STEPS)
    (folder / "sweep.yaml").write_text("program: train.py\nmethod: grid\nparameters: {x: {value: 1}}\n")
    numbers = itertools.count()

    def machine() -> Sandbox:
        return Sandbox(image, tmp_path / f"machine-{next(numbers)}", endpoint, folder)

    create = f"cd input/data/{CHANNEL} && exec {sys.executable} -m slurmsweep create sweep.yaml"
    made = machine().run("/bin/sh", "-c", create)
    assert made.returncode == 0, made.stdout
    return machine, folder, f"/opt/ml/input/data/{CHANNEL}/.slurmsweep/sweep-{made.stdout.split()[-1]}"


def log_of(folder: Path, attempt: int) -> Path:
    [sweep] = (folder / ".slurmsweep").glob("sweep-*")
    return sweep / "trials" / "0" / "0" / str(attempt) / "output.log"


def rows(machine, sweep: str) -> list[dict]:
    checked = machine().slurmsweep("check", sweep)
    assert checked.returncode == 0, checked.stdout
    return json.loads(machine().slurmsweep("trials", sweep, "--json").stdout)


def wait_for_second_epoch(running, folder: Path) -> None:
    log, deadline = log_of(folder, 1), time.monotonic() + 300
    while not (log.exists() and "epoch 2" in log.read_text().splitlines()):
        assert running.process.poll() is None, running.log.read_text()
        assert time.monotonic() < deadline, running.log.read_text()
        time.sleep(0.05)


def test_a_job_that_spot_took_goes_on_with_the_trial_of_its_folder(shared, uploaded, tmp_path):
    machine, folder, sweep = shared
    (folder / "stays").touch()
    name = uploaded()
    first, second = machine(), machine()
    for sandbox in (first, second):  # SageMaker starts the same job again, on another machine
        sandbox.configure(name, {"sweep": sweep})

    with first.running(TRAIN, log=tmp_path / "first", TRAINING_JOB_NAME=name) as running:
        wait_for_second_epoch(running, folder)
    (folder / "stays").unlink()
    done = second.train(TRAINING_JOB_NAME=name)

    assert done.returncode == 0, done.stdout
    assert second.has_succeeded()
    [row] = rows(machine, sweep)
    assert (row["number"], row["state"], row["attempt"]) == (0, "finished", 2)
    begun, went_on = (log_of(folder, attempt).read_text().splitlines() for attempt in (1, 2))
    assert begun[-1] == "epoch 2"
    assert went_on == [begun[0].replace("from epoch 0", "from epoch 2"), "epoch 3"]


def test_in_script_mode_a_trial_is_told_nothing_before_its_job_is_stopped(shared, uploaded, tmp_path):
    machine, folder, sweep = shared
    (folder / "stays").touch()
    name, sandbox = uploaded(), machine()
    sandbox.configure(name, {"sweep": sweep})

    with sandbox.running(TRAIN, log=tmp_path / "log", is_first=True, TRAINING_JOB_NAME=name) as running:
        wait_for_second_epoch(running, folder)
        os.kill(running.child(), signal.SIGTERM)  # as `docker stop` does
        (folder / "stays").unlink()
        code = running.process.wait(timeout=300)

    assert code == 0
    assert log_of(folder, 1).read_text().splitlines()[-1] == "epoch 3"
    [row] = rows(machine, sweep)
    assert (row["state"], row["attempt"]) == ("finished", 1)


def test_as_the_entrypoint_of_an_image_the_agent_is_told_and_tells_its_trial(shared, tmp_path):
    machine, folder, sweep = shared
    (folder / "stays").touch()
    sandbox = machine()
    words = (sys.executable, "-m", "slurmsweep", "agent", "--count", "1", sweep)

    with sandbox.running(*words, log=tmp_path / "log", is_first=True, TRAINING_JOB_NAME=next(NAMES)) as running:
        wait_for_second_epoch(running, folder)
        os.kill(running.child(), signal.SIGTERM)
        code = running.process.wait(timeout=300)

    assert code == 143
    assert log_of(folder, 1).read_text().splitlines()[-1] == "heard TERM"
    [row] = rows(machine, sweep)
    assert (row["state"], row["cause"]) == ("killed", "terminated")
