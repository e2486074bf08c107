"""Where the trials that end all fail alike, no further ones start; the sweep can go on later."""

from __future__ import annotations

import json

import pytest
from fake_backend import FakeBackend

import slurmsweep as api
from slurmsweep.backends import registry
from slurmsweep.control.jobs.max_fails import FailedAlike
from slurmsweep.control.session import Session
from slurmsweep.errors import UsageError
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner

TWELVE = "  x: {min: 0, max: 11}"
ALIKE = "raise ValueError('no data')\n"
EACH_OTHERWISE = "import os\nraise ValueError(chr(97 + int(os.environ['SLURMSWEEP_TRIAL'])) + ' word')\n"


@pytest.fixture
def counts(slurmsweep):
    """Run the sweep file here; return exit code, counts, and what was said."""

    def run(*options: str) -> tuple[int, dict[str, int], str]:
        done = slurmsweep("run", "sweep.yaml", "--backend", "local", "--json", *options)
        found = json.loads(done.stdout)["counts"]
        return done.returncode, {state: n for state, n in found.items() if n}, done.stderr

    return run


def test_five_that_fail_alike_are_enough(write_sweep, counts):
    write_sweep(ALIKE, TWELVE)
    code, found, said = counts()

    assert (code, found) == (1, {"failed": 5, "pending": 7})
    assert (
        "no further trials: the first 5 trials all failed alike (exit 1: ValueError: no data (train.py, line 1))"
        in said
    )


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ("import numpyy\n", "ModuleNotFoundError: No module named 'numpyy' (train.py, line 1)"),
        ("open('data/train.csv')\n", "No such file or directory: 'data/train.csv' (train.py, line 1)"),
        ("import argparse\nargparse.ArgumentParser().parse_args()\n", "unrecognized arguments: --x=0"),
    ],
)
def test_what_is_missing_is_named(write_sweep, counts, script, named):
    write_sweep(script, TWELVE)
    assert f"{named})" in counts()[2].replace("\n", " ")


def test_where_none_is_left_no_further_trial_is_spoken_of(write_sweep, counts):
    write_sweep(ALIKE, "  x: {values: [1, 2, 3, 4, 5]}")
    code, found, said = counts()
    assert (code, found, "no further trials" in said) == (1, {"failed": 5}, False)


@pytest.mark.parametrize("script", ["raise SystemExit(127)\n", "raise SystemExit(126)\n"])
def test_one_command_that_is_not_found_is_enough(write_sweep, counts, script):
    write_sweep(script, TWELVE)
    code, found, said = counts()

    assert (code, found) == (1, {"failed": 1, "pending": 11})
    assert "no further trials: the first trial failed (exit 12" in said


@pytest.mark.parametrize(("most", "failed"), [("2", 2), ("7", 7), ("0", 12)])
def test_the_user_names_another_number_or_none(write_sweep, counts, most, failed):
    write_sweep(ALIKE, TWELVE)

    assert counts("--max-fails", most)[1]["failed"] == failed


@pytest.mark.parametrize(
    "script",
    [
        EACH_OTHERWISE,
        "import os\nif os.environ['SLURMSWEEP_TRIAL'] != '3': raise ValueError\n",
        "import os\nraise SystemExit(1 + int(os.environ['SLURMSWEEP_TRIAL']) % 2)\n",
        "import os, signal\nif os.environ['SLURMSWEEP_TRIAL'] == '0': os.kill(os.getpid(), signal.SIGKILL)\nraise ValueError\n",
    ],
    ids=["other words", "one finishes", "other codes", "one crashes"],
)
def test_failures_of_several_kinds_do_not_stop_a_sweep(write_sweep, counts, script):
    write_sweep(script, TWELVE)

    assert "pending" not in counts()[1]


def test_trials_beside_the_last_one_end_by_themselves(write_sweep, counts):
    write_sweep(ALIKE, TWELVE)
    _, found, _ = counts("--jobs", "4")

    assert set(found) == {"failed", "pending"}
    assert 5 <= found["failed"] <= 8


def test_what_was_left_runs_when_it_is_mended(write_sweep, counts, slurmsweep, tmp_path):
    write_sweep(ALIKE, TWELVE)
    counts()
    [folder] = (tmp_path / "wandb").iterdir()
    sweep = folder.name.removeprefix("sweep-")
    assert slurmsweep("run", sweep, "--json").returncode == 1  # five more: those before do not count
    assert json.loads(slurmsweep("status", sweep, "--json").stdout)["counts"]["failed"] == 10

    (tmp_path / "train.py").write_text("print('mended')\n")
    done = slurmsweep("resubmit", sweep, "--json")
    assert (done.returncode, json.loads(done.stdout)["counts"]["finished"]) == (0, 12)
    assert slurmsweep("check", sweep).returncode == 0


def ended(store, state: str, cause: str, words: str = "") -> None:
    claim = store.claim(Owner("elsewhere", 1, 1, "b"))
    with open(store.layout.log(claim.attempt_id), "w", encoding="utf-8") as log:
        log.write(words)
    store.finish(claim, Outcome(TrialState(state), cause, ended=1.0))


def test_a_sweep_with_finished_trials_goes_on_unless_its_command_cannot_start(make_store):
    store = make_store(30)
    ended(store, "finished", "")
    session = Session.open(store.layout.folder)
    session.refresh()
    brake = FailedAlike(session)
    for _ in range(6):
        ended(store, "failed", "exit 1", "ValueError: x\n")
        session.refresh()
        assert brake.may_start()

    brake, named = FailedAlike(session), FailedAlike(session, 1)
    ended(store, "failed", "exit 127", "slurmsweep: cannot start 'x'\n")
    session.refresh()
    assert (brake.may_start(), named.may_start()) == (False, False)
    assert brake.reason == "the first trial failed (exit 127: slurmsweep: cannot start 'x')"


def test_jobs_that_wait_in_slurm_are_cancelled_where_the_user_asked_for_it(make_store, monkeypatch):
    store, backend = make_store(6), FakeBackend()
    monkeypatch.setattr(registry, "choose", lambda *_, **__: backend)
    monkeypatch.setattr(registry, "scheduler", lambda: backend)
    sweep = api.Sweep(store.layout.folder)
    with pytest.raises(UsageError, match="--max-fails is for trials that this command waits for"):
        sweep.submit(max_fails=2)
    assert backend.arrays == []

    backend.meanwhile = [lambda: ended(store, "failed", "exit 1", "ValueError: x\n") for _ in range(4)]
    told = []
    sweep.tell = told.append
    sweep.submit(max_fails=2, wait=True)

    assert backend.said.count("cancel") == 1
    assert any("the first 2 trials all failed alike" in getattr(event, "text", "") for event in told)
    assert len(backend.meanwhile) == 2  # no job was left to wait for
