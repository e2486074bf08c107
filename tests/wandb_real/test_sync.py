"""`slurmsweep sync`: the real `wandb sync` against a server on this machine that refuses sweeps it does not know."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from wandb_real.server import WandbServer
from written import WAIT_UNTIL_WRITTEN

from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.store import SweepStore
from slurmsweep.sync import upload as sync_module

if TYPE_CHECKING:
    from pathlib import Path

LOGS_THREE = """
import wandb
with wandb.init() as run:
    for step in range(3):
        run.log({"loss": run.config["x"] + step})
"""

#: Its first attempt is killed in the middle, its second one goes on.
KILLED_FIRST = f"""
import os, wandb
{WAIT_UNTIL_WRITTEN}
first = os.environ["SLURMSWEEP_ATTEMPT"] == "1"
run = wandb.init()
for step in range(3):
    run.log({{"loss": step if first else 10 + step}})
if first:
    wait_until_written(3)
    os.kill(os.getpid(), 9)
run.finish()
"""


pytestmark = pytest.mark.usefixtures("no_real_account")


@pytest.fixture
def server(monkeypatch):
    with WandbServer() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        yield server
        assert server.unknown == []


@pytest.fixture(scope="module")
def of_two_trials(slurmsweep_in, tmp_path_factory) -> Path:
    """Folder of a sweep with two finished trials; to be copied, as a user may."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "train.py").write_text(LOGS_THREE)
    sweep = {"program": "train.py", "method": "grid", "project": "proj", "parameters": {"x": {"values": [10, 20]}}}
    (folder / "sweep.yaml").write_text(json.dumps(sweep))
    done = slurmsweep_in(folder, "run", "sweep.yaml", "--backend", "local", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    [made] = (folder / "wandb").glob("sweep-*")
    return made


@pytest.fixture
def finished(of_two_trials, tmp_path) -> str:
    """Return a copy of that sweep for one test; its id."""
    shutil.copytree(of_two_trials, tmp_path / "wandb" / of_two_trials.name, symlinks=True)
    return of_two_trials.name.removeprefix("sweep-")


@pytest.fixture
def run_one(slurmsweep, write_sweep):
    """Return a sweep of one trial around a script, which its agent has run; its id."""

    def run_one(script) -> str:
        done = slurmsweep("create", str(write_sweep(script, "  x: {value: 1}")))
        assert done.returncode == 0, done.stderr
        slurmsweep("agent", done.stdout.strip())
        return done.stdout.strip()

    return run_one


@pytest.fixture
def sync(slurmsweep):
    """`slurmsweep sync --json`; its exit code and document."""

    def sync(*argv, **environ) -> tuple[int, dict]:
        done = slurmsweep("sync", *argv, "--json", **environ)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return sync


def losses(server, run) -> list[float]:
    return [row["loss"] for row in server.rows(run)]


def test_finished_runs_are_uploaded_once_whole_and_without_the_sweep(finished, sync, server, slurmsweep, tmp_path):
    sweep = finished

    planned = slurmsweep("sync", sweep, "--dry-run")
    assert "would upload the runs of 2 trials" in planned.stdout
    assert server.operations == []

    code, document = sync(sweep, "--jobs", "2")
    assert (code, document["uploaded"], document["failed"]) == (0, [0, 1], [])
    assert losses(server, f"{sweep}-0") == [10, 11, 12]
    assert losses(server, f"{sweep}-1") == [20, 21, 22]
    assert server.complete == {f"{sweep}-0": [0], f"{sweep}-1": [0]}
    first = server.upserts[f"{sweep}-0"][0]
    assert (first["groupName"], first["project"]) == (f"sweep-{sweep}", "proj")
    assert json.loads(first["config"])["x"]["value"] == 10
    assert f"{sweep}-0/wandb-summary.json" in server.files

    asked = len(server.operations)
    code, document = sync(sweep)
    assert (code, document["to_upload"], document["uploaded_before"]) == (0, [], 2)
    assert len(server.operations) == asked

    folder = tmp_path / "wandb" / f"sweep-{sweep}"
    assert [path.name for path in (folder / "uploads").iterdir()] == ["lock"]
    assert len(list(folder.glob("trials/0/*/wandb/offline-run-*/run-*.wandb.synced"))) == 2
    assert slurmsweep("check", sweep).returncode == 0


def test_the_attempts_of_a_trial_are_one_run_in_their_order(run_one, sync, server, slurmsweep, tmp_path, monkeypatch):
    sweep = run_one(KILLED_FIRST)
    run = f"{sweep}-0"
    assert sync(sweep)[1]["to_upload"] == []
    assert sync(sweep, "--state", "crashed")[1]["uploaded"] == [0]
    assert losses(server, run) == [0, 1, 2]
    assert slurmsweep("resubmit", sweep, "--backend", "local").returncode == 0

    code, document = sync(sweep)
    assert (code, document["uploaded"], len(document["to_upload"][0]["runs"])) == (0, [0], 1)
    assert losses(server, run) == [0, 1, 2, 10, 11, 12]
    assert [row["_step"] for row in server.rows(run)] == [0, 1, 2, 3, 4, 5]

    for mark in [path for path in (tmp_path / ".slurmsweep").rglob("*") if path.suffix in (".synced", ".syncstate")]:
        mark.unlink()
    with WandbServer() as another:
        monkeypatch.setenv("WANDB_BASE_URL", another.url)
        code, document = sync(sweep)
        assert (code, document["uploaded"], len(document["to_upload"][0]["runs"])) == (0, [0], 2)
        assert another.rows(run) == server.rows(run)


def test_a_run_folder_that_cannot_be_read_is_named(finished, slurmsweep, tmp_path):
    stray = tmp_path / "wandb" / f"sweep-{finished}" / "trials" / "0" / "1" / "wandb" / "offline-run-stray"
    stray.write_text("")

    done = slurmsweep("sync", finished, "--dry-run")

    assert done.returncode == 5
    assert "cannot read" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_state_that_has_not_ended_is_refused(finished, slurmsweep):
    done = slurmsweep("sync", finished, "--state", "running")

    assert (done.returncode, "cannot be uploaded yet" in done.stderr) == (2, True)


def test_an_online_script_is_logged_by_the_server_at_once_and_its_metric_is_read(server, slurmsweep, write_sweep):
    file = write_sweep(LOGS_THREE, "  x: {value: 10}", "metric: {name: loss}")
    sweep = slurmsweep("create", str(file)).stdout.strip()

    assert slurmsweep("agent", sweep, WANDB_MODE="online").returncode == 0, slurmsweep("logs", sweep, "0").stdout

    assert losses(server, f"{sweep}-0") == [10, 11, 12]
    assert server.upserts[f"{sweep}-0"][0]["groupName"] == f"sweep-{sweep}"
    [trial] = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    assert (trial["state"], trial["metric"]) == ("finished", 12.0)
    said = "uploaded the runs of 0 trials; 0 were uploaded before, 1 have no offline wandb run\n"
    assert slurmsweep("sync", sweep).stdout == said


def test_what_failed_is_said_and_the_next_sync_goes_on_with_it(finished, sync, server, slurmsweep):
    sweep = finished
    server.refused = {f"{sweep}-0"}

    code, document = sync(sweep)
    assert (code, document["uploaded"]) == (1, [1])
    [failed] = document["failed"]
    assert failed["trial"] == 0
    assert "permission denied" in failed["reason"]

    server.refused = set()
    code, document = sync(sweep)
    assert (code, document["uploaded"], document["uploaded_before"]) == (0, [0], 1)
    assert losses(server, f"{sweep}-0") == [10, 11, 12]


def test_options_choose_project_entity_and_trials(finished, sync, server):
    sweep = finished

    code, document = sync(sweep, "--project", "other", "--entity", "team", "--trials", "1")

    assert (code, document["uploaded"]) == (0, [1])
    assert list(server.upserts) == [f"{sweep}-1"]
    assert {(one["project"], one["entity"]) for one in server.upserts[f"{sweep}-1"]} == {("other", "team")}


def test_artifacts_that_were_staged_are_uploaded(run_one, sync, server, tmp_path, monkeypatch):
    script = """
import wandb
with wandb.init() as run:
    artifact = wandb.Artifact("model", type="model")
    with artifact.new_file("weights.bin", mode="wb") as file:
        file.write(b"w" * 1000)
    run.log_artifact(artifact)
"""
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.delenv(name)
    sweep = run_one(script)
    folder = tmp_path / "wandb" / f"sweep-{sweep}"
    assert len(list(folder.glob("trials/0/0/wandb/artifacts/staging/*"))) == 1
    assert list((folder / "wandb-cache" / str(os.getuid())).glob("wandb/logs/*"))

    assert sync(sweep)[0] == 0
    assert server.files["artifact/weights.bin"] == b"w" * 1000


def test_trials_without_wandb_are_counted_and_nothing_is_asked(run_one, sync, server):
    sweep = run_one("import slurmsweep; slurmsweep.init(); slurmsweep.log({'loss': 1})")

    code, document = sync(sweep)

    assert (code, document["to_upload"], document["without_run"]) == (0, [], 1)
    assert server.operations == []


def test_without_wandb_the_message_says_what_to_do(finished, slurmsweep, tmp_path):
    sweep = finished
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as u, sys\nreal = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'wandb' else real(name, *a)\n"
    )

    done = slurmsweep("sync", sweep, PATH="/usr/bin:/bin", PYTHONPATH=str(hidden))

    assert done.returncode == 2
    assert "there is no `wandb` here: activate" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_that_upload_at_once_do_not_upload_twice(finished, slurmsweep, tmp_path):
    from filelock import lock_descriptor

    sweep = finished
    uploads = tmp_path / "wandb" / f"sweep-{sweep}" / "uploads"
    uploads.mkdir()
    with (uploads / "lock").open("a") as file:
        assert lock_descriptor(file.fileno(), blocking=False)
        done = slurmsweep("sync", sweep)

    assert done.returncode == 5
    assert "another `slurmsweep sync`" in done.stderr


def test_an_interrupted_sync_goes_on_later_and_doubles_nothing(finished, slurmsweep, server, tmp_path):
    sweep = finished
    command = [sys.executable, "-m", "slurmsweep", "sync", sweep, "--jobs", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while f"{sweep}-0" not in server.upserts:
        assert time.monotonic() < deadline, "the first run never came"
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()

    while (done := slurmsweep("sync", sweep)).returncode == 5:  # the upload that was going on holds the lock
        assert time.monotonic() < deadline, done.stderr

    assert done.returncode == 0, done.stderr
    assert losses(server, f"{sweep}-0") == [10, 11, 12]
    assert losses(server, f"{sweep}-1") == [20, 21, 22]


def test_where_nothing_succeeds_the_rest_is_not_tried(finished, monkeypatch, tmp_path):
    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{finished}"))
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setattr(sync_module, "_HOPELESS", 1)
    uploads = sync_module.find(store, store.replay(), {TrialState.FINISHED}, None).uploads

    result = sync_module.upload(store, uploads, [], 1, lambda *_: None)

    assert (result.done, list(result.failed), result.untried) == ([], [0], [1])
    assert "api key" in result.failed[0].lower()
    assert "output.log" in result.failed[0]


def test_a_run_that_wandb_marks_as_synced_after_an_error_is_not_taken_for_uploaded(finished, slurmsweep, tmp_path):
    # a stand-in: wandb 0.22 does so when its server refuses the run (https://github.com/wandb/wandb/issues/8115)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "wandb").write_text(
        "#!/bin/sh\nshift\nfor run; do for f in $run/run-*.wandb; do touch $f.synced; done; done\n"
        "echo 'wandb: ERROR Error while calling W&B API: sweep s not found (<Response [404]>)'; echo 'Syncing ... done.'\n"
    )
    (folder / "wandb").chmod(0o700)

    done = slurmsweep("sync", finished, "--json", PATH=f"{folder}:{os.environ['PATH']}")

    assert done.returncode == 1
    assert "sweep s not found" in json.loads(done.stdout)["failed"][0]["reason"]
    assert list((tmp_path / "wandb" / f"sweep-{finished}").glob("**/*.synced")) == []
