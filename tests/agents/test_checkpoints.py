"""The folder for checkpoints is the script's own, and what a script makes beside its attempts costs no trial."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Claim, Owner
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from slurmsweep.state.store import SweepStore

ME = Owner("here", 1, 1, "b")
FAILED = Outcome(TrialState.FAILED, "exit 3", exit_code=3)

#: Looks into the folder, does what is formatted in, and saves a checkpoint; the first attempt fails.
SCRIPT = """
import os, shutil, sys
folder, attempt = os.environ["SLURMSWEEP_CHECKPOINT_DIR"], int(os.environ["SLURMSWEEP_ATTEMPT"])
print(attempt, sorted(os.listdir(folder)), flush=True)
{}
sys.exit(7 if attempt == 1 else 0)
"""
SAVE = "open(os.path.join(folder, f'model-{attempt}.pt'), 'w').close()"


@pytest.fixture
def two_attempts(slurmsweep, write_sweep):
    """Run a script twice; return the sweep, and what each attempt found in the folder for checkpoints."""

    def run(does: str) -> tuple[str, list[str]]:
        file = write_sweep(SCRIPT.format(does), "  x: {value: 1}")
        sweep = json.loads(slurmsweep("run", str(file), "--backend", "local", "--json").stdout)["id"]
        assert slurmsweep("resubmit", sweep, "--backend", "local").returncode == 0
        [trial] = json.loads(slurmsweep("trials", sweep, "--json").stdout)
        assert (trial["state"], trial["attempt"]) == ("finished", 2)
        assert slurmsweep("check", sweep).returncode == 0
        said = [slurmsweep("logs", sweep, "0", "--attempt", str(attempt)).stdout.splitlines()[0] for attempt in (1, 2)]
        return sweep, said

    return run


@pytest.mark.parametrize(
    ("does", "second"),
    [
        (SAVE, ["model-1.pt"]),
        ("for epoch in (1, 2, 3): os.makedirs(os.path.join(folder, str(epoch)), exist_ok=True)", ["1", "2", "3"]),
        ("open(os.path.join(folder, '2'), 'w').close()", ["2"]),
        (f"shutil.rmtree(folder); os.makedirs(folder); {SAVE}", ["model-1.pt"]),
        ("shutil.rmtree(folder)", []),
        (f"os.system('rm -rf {{folder}}/*'.format(folder=folder)); {SAVE}", ["model-1.pt"]),
        (f"[os.remove(entry.path) for entry in os.scandir(folder)]; {SAVE}", ["model-1.pt"]),
    ],
)
def test_the_folder_is_empty_at_first_kept_over_attempts_and_the_scripts_own(two_attempts, does, second):
    _, said = two_attempts(does)

    assert said == ["1 []", f"2 {second}"]


@pytest.mark.parametrize(
    "does",
    [
        "[os.makedirs(os.path.join(os.environ['WANDB_DIR'], str(n)), exist_ok=True) for n in range(1, 9)]",
        "open(os.path.join(os.environ['WANDB_DIR'], '2'), 'w').close() if attempt == 1 else None",
    ],
)
def test_numbers_beside_the_attempts_are_passed(slurmsweep, write_sweep, does):
    file = write_sweep(SCRIPT.format(does), "  x: {values: [1, 2]}")
    sweep = json.loads(slurmsweep("run", str(file), "--backend", "local", "--json").stdout)["id"]

    assert slurmsweep("resubmit", sweep, "--backend", "local").returncode == 0

    trials = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    expected = 9 if "range" in does else 3
    assert [(trial["state"], trial["attempt"]) for trial in trials] == [("finished", expected)] * 2
    assert slurmsweep("check", sweep).returncode == 0
    counts = json.loads(slurmsweep("status", sweep, "--json").stdout)["counts"]
    assert {state: n for state, n in counts.items() if n} == {"finished": 2}


def test_an_older_sweep_keeps_its_checkpoints_in_the_trials_folder_and_runs_on(slurmsweep, write_sweep, tmp_path):
    """Its first attempt left checkpoints named 2 and 3 there, as a sweep of format 1."""
    epochs = "[os.makedirs(os.path.join(folder, str(n)), exist_ok=True) for n in (2, 3)]"
    sweep = slurmsweep("create", str(write_sweep(SCRIPT.format(epochs), "  x: {value: 1}"))).stdout.strip()
    file = tmp_path / "wandb" / f"sweep-{sweep}" / "sweep.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 1}))
    assert slurmsweep("run", sweep, "--backend", "local").returncode == 1

    assert slurmsweep("resubmit", sweep, "--backend", "local").returncode == 0

    [trial] = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    assert (trial["state"], trial["attempt"]) == ("finished", 4)
    folder = json.loads(slurmsweep("show", sweep, "0", "--json").stdout)["checkpoint_folder"]
    assert Path(folder) == file.resolve().parent / "trials" / "0" / "0"
    assert "'2', '3'" in slurmsweep("logs", sweep, "0").stdout
    assert slurmsweep("check", sweep).returncode == 0


def test_a_version_that_does_not_know_the_folder_refuses_the_sweep(make_store):
    store = make_store(1)

    assert json.loads(Path(store.layout.manifest).read_text())["version"] == 2


def failed_once(store: SweepStore) -> AttemptId:
    claim = store.claim(ME)
    store.finish(claim, FAILED)
    with store.transaction(store.reading()) as transaction:
        transaction.retry([AttemptId(0, 2)], "resubmit")
    return AttemptId(0, 2)


def test_an_attempt_that_another_agent_owns_is_not_passed(make_store):
    store = make_store(1)
    attempt_id = failed_once(store)
    os.mkdir(store.layout.attempt(attempt_id))
    Path(store.layout.owner(attempt_id)).write_text(json.dumps({"token": "t", "owner": ME.to_json()}))

    assert not isinstance(store.claim(ME), Claim)
    assert not os.path.exists(store.layout.attempt(AttemptId(0, 3)))


#: An agent that is stopped after the folder of its attempt and before its owner file, and then goes on.
STOPPED = """
import os, signal, sys
from slurmsweep.state import files
from slurmsweep.state.owner import Owner
from slurmsweep.state.owner import Claim
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId
store = SweepStore.open(sys.argv[1])
make = files.write_whole_unless_folder
def stop_first(*args):
    os.kill(os.getpid(), signal.SIGSTOP)
    return make(*args)
files.write_whole_unless_folder = stop_first
made = store.make_attempt(Claim(AttemptId(0, 2), "token", Owner("there", 2, 2, "b")))
print("runs" if made else "does not run")
"""


def test_an_agent_that_slept_between_folder_and_owner_does_not_run_what_was_passed(make_store):
    store = make_store(1)
    attempt_id = failed_once(store)
    sleeper = subprocess.Popen([sys.executable, "-c", STOPPED, store.layout.folder], stdout=subprocess.PIPE, text=True)
    assert os.WIFSTOPPED(os.waitpid(sleeper.pid, os.WUNTRACED)[1])
    assert os.path.isdir(store.layout.attempt(attempt_id))

    claim = store.claim(ME)

    assert claim.attempt_id == AttemptId(0, 3)
    os.kill(sleeper.pid, signal.SIGCONT)
    assert sleeper.communicate()[0] == "does not run\n"
    assert store.replay().counts() == {TrialState.RUNNING: 1}
    assert store.replay().head.counts == {TrialState.RUNNING: 1}
