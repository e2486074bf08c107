"""A command that is refused has changed nothing: not for whom a sweep is, where its trials run, nor what is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_backend import FakeBackend
from submitting import on_backend

from slurmsweep.api.sweep import Sweep
from slurmsweep.control.jobs.change import change_waiting
from slurmsweep.errors import SchedulerUnavailableError, SubmissionRefusedError
from slurmsweep.state.store import SweepStore
from slurmsweep.state.supervisor_files import SupervisorFiles, SupervisorSettings

LOCAL = ("--backend", "local")
SCRIPT = "method: grid\nparameters: {x: {values: [1, 2, 3]}}\n"


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of all that is in a folder, and of itself."""
    paths = [folder, *folder.rglob("*")]
    return {str(path): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"") for path in paths}


@pytest.fixture
def moved(slurmsweep, tmp_path):
    """Make a sweep of a program, ``whole``, and one without, ``bare``; return the folder to which they were moved."""
    before = tmp_path / "before"
    before.mkdir()
    (before / "train.py").write_text("def train(): pass\n")
    (before / "whole.yaml").write_text(f"program: train.py\nname: whole\n{SCRIPT}")
    assert slurmsweep("create", "whole.yaml", cwd=before).returncode == 0
    make = (
        "import slurmsweep; slurmsweep.sweep({'name': 'bare', 'method': 'grid', 'parameters': {'x': {'values': [1]}}})"
    )
    subprocess.run([sys.executable, "-c", make], cwd=before, check=True, capture_output=True)
    return before.rename(tmp_path / "now")


REFUSED = [
    (2, ["run", "whole", *LOCAL, "--shared"]),
    (2, ["run", "whole", *LOCAL, "--shared", "--workdir", ".", "--no-wait"]),
    (2, ["run", "whole", *LOCAL, "--workdir", ".", "--mend"]),
    (2, ["run", "whole", *LOCAL, "--workdir", ".", "--notify", "true", "--no-wait"]),
    (2, ["run", "whole", *LOCAL, "--workdir", ".", "--notify", "no-such-program"]),
    (2, ["run", "whole", *LOCAL, "--workdir", ".", "--jobs", "2", "--gpus", "0-2"]),
    (2, ["run", "whole", *LOCAL, "--workdir", ".", "--function", "train:nothing"]),
    (2, ["run", "bare", *LOCAL, "--workdir", "."]),
    (2, ["run", "bare", *LOCAL, "--function", "train:train", "--no-wait"]),
    (4, ["submit", "whole", "--shared=read", "--dry-run"]),
    (4, ["submit", "whole", "--shared", "--workdir", ".", "--backend", "slurm"]),
    (4, ["submit", "whole", "--workdir", ".", "--max-fails", "3"]),
    (3, ["resubmit", "whole", *LOCAL, "--workdir", ".", "--trials", "99"]),
    (2, ["resubmit", "whole", *LOCAL, "--workdir", ".", "--no-wait"]),
    (2, ["mend", "whole", "--workdir", ".", "--mend-sbatch", "nosuch=1"]),
    (2, ["mend", "whole", "--workdir", ".", "--sbatch", "job-name=mine"]),
    (2, ["extend", "whole", "--count", "5"]),
    (2, ["set", "whole", "--sbatch", "job-name=mine"]),
    (2, ["rerun", "whole", "--state", "running"]),
    (3, ["rerun", "whole", "--trials", "0"]),
]


@pytest.mark.parametrize(("code", "words"), REFUSED, ids=[" ".join(words) for _, words in REFUSED])
def test_a_refused_command_leaves_every_file_and_mode_as_it_was(slurmsweep, moved, code, words):
    before = state(moved)
    nowhere = {"PATH": os.path.dirname(sys.executable)}  # without a Slurm

    done = slurmsweep(*words, cwd=moved, **nowhere)

    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert state(moved) == before


def test_a_paused_sweep_is_not_opened_to_a_group_by_a_submit_that_is_refused(slurmsweep, moved):
    assert slurmsweep("pause", "whole", cwd=moved).returncode == 0
    before = state(moved)

    done = slurmsweep("submit", "whole", "--shared", "--workdir", ".", cwd=moved)

    assert (done.returncode, "takes it up again" in done.stderr) == (2, True)
    assert state(moved) == before


def test_what_is_not_refused_is_changed_before_the_first_trial_starts(slurmsweep, moved):
    (moved / "train.py").write_text(
        "import os, slurmsweep\nslurmsweep.init()\nhere = os.environ['SLURMSWEEP_ATTEMPT_DIR']\n"
        "print(os.getcwd(), oct(os.stat(here).st_mode & 0o777))\n"
    )

    done = slurmsweep("run", "whole", *LOCAL, "--workdir", ".", "--shared=read", cwd=moved)

    assert done.returncode == 0, done.stderr
    [folder] = [path.parent for path in moved.glob(".slurmsweep/*/sweep.json") if '"whole"' in path.read_text()]
    assert json.loads((folder / "sweep.json").read_text())["workdir"] == str(moved)
    logs = {path.read_text().strip() for path in folder.glob("trials/*/*/*/output.log")}
    assert logs == {f"{moved} 0o750"}
    assert (folder / "sweep.json").stat().st_mode & 0o777 == 0o640


def test_a_create_whose_prior_is_refused_makes_no_sweep(slurmsweep, write_sweep, tmp_path):
    first = slurmsweep("create", str(write_sweep("pass"))).stdout.strip()
    file = write_sweep(
        "pass",
        "  lr: {min: 0, max: 1.0}",
        "run_cap: 4\nslurmsweep: {repeats: {parameter: seed, values: [0, 1]}}",
        method="random",
    )
    before = sorted((tmp_path / ".slurmsweep").iterdir())

    done = slurmsweep("create", str(file), "--prior", first)

    assert (done.returncode, "cannot take trials over" in done.stderr) == (2, True), done.stderr
    assert sorted((tmp_path / ".slurmsweep").iterdir()) == before


def test_what_the_scheduler_refuses_is_told_by_no_later_command(make_store, tmp_path):
    store = make_store(3)
    (tmp_path / "train.py").write_text("pass")
    backend = FakeBackend(refusal="invalid partition specified")

    with pytest.raises(SubmissionRefusedError):
        Sweep(on_backend(store, backend)).submit(notify="true")

    assert list(Path(store.layout.notify).iterdir()) == []


@pytest.fixture
def supervised(make_store):
    """Return a sweep with a supervisor and jobs that wait, its backend, and its supervisor's files."""
    store, backend = make_store(3), FakeBackend()
    (Path(store.manifest.workdir) / "train.py").write_text("pass")
    session = on_backend(store, backend)
    Sweep(session).submit()
    files = SupervisorFiles(store.layout, store.access)
    files.ask_for(SupervisorSettings(options={"time": "10"}))
    return session, backend, files


def test_set_changes_what_is_submitted_later_only_where_the_scheduler_took_it(supervised):
    session, backend, files = supervised
    taken, backend.change = backend.change, lambda job, tasks, words: ["invalid partition specified"]
    refused = change_waiting(session, {"partition": "nosuch"}, None)
    after_refusal = files.settings().options
    backend.change = taken
    done = change_waiting(session, {"time": "45"}, None)

    assert [one.problems for one in (*refused, *done)] == [("invalid partition specified",), ()]
    assert (after_refusal, files.settings().options) == ({"time": "10"}, {"time": "45"})


def test_set_changes_nothing_where_the_scheduler_cannot_be_asked(supervised):
    session, backend, files = supervised
    backend.silent = 1

    with pytest.raises(SchedulerUnavailableError):
        change_waiting(session, {"time": "45"}, None)

    assert files.settings().options == {"time": "10"}


def test_a_project_that_is_moved_away_while_it_runs_is_the_same_error_as_one_that_was_moved(tmp_path):
    project, elsewhere, ended = tmp_path / "project", tmp_path / "elsewhere", tmp_path / "ended"
    project.mkdir()
    elsewhere.mkdir()
    (project / "train.py").write_text(
        "import os, sys, time\nprint('at work', flush=True)\ndeadline = time.monotonic() + 120\n"
        "while not os.path.exists(sys.argv[1]) and time.monotonic() < deadline: time.sleep(0.05)\n"
    )
    command = ["${env}", "python", "${program}", str(ended)]
    document = {"program": "train.py", "method": "grid", "parameters": {"x": {"values": [1, 2, 3]}}, "command": command}
    (project / "sweep.json").write_text(json.dumps(document))
    words = [sys.executable, "-m", "slurmsweep", "run", "sweep.json", *LOCAL]
    environ = os.environ | {"WANDB_DIR": str(elsewhere)}
    run = subprocess.Popen(words, cwd=project, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not any(log.read_text() for log in elsewhere.glob(".slurmsweep/*/trials/*/*/*/output.log")):
        assert time.monotonic() < deadline, run.poll()
        time.sleep(0.05)
    project.rename(tmp_path / "now")
    ended.touch()

    _, said = run.communicate(timeout=180)

    assert (run.returncode, "--workdir FOLDER" in said) == (2, True), said
    [folder] = elsewhere.glob(".slurmsweep/sweep-*")
    counts = {state.value: n for state, n in SweepStore.open(str(folder)).replay().counts().items() if n}
    assert counts == {"finished": 1}
