"""Slurm refuses, or does not answer: what becomes of trials that were to be run again with the jobs it was asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from submitting import send_all
from supervising import submit_minded

from slurmsweep.backends.base import SubmitOptions
from slurmsweep.backends.slurm import executor, limits, queue, wakeup
from slurmsweep.backends.slurm.limits import Room
from slurmsweep.control.batch import JobBatch
from slurmsweep.control.reconcile import recover_submissions
from slurmsweep.control.session import Session
from slurmsweep.errors import (
    JobLimitError,
    SchedulerUnavailableError,
    StateUnwritableError,
    SubmissionRefusedError,
    SubmissionUnknownError,
)
from slurmsweep.state import view_cache as foldcache
from slurmsweep.state.check import check
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.store import Claim
from slurmsweep.state.supervisor_files import SupervisorFiles, SupervisorSettings
from slurmsweep.state.tail import AttemptId

ME = Owner("here", 1, 1, "b")

#: Trial 0 finished, 1 crashed and 2 failed, both to be run again; 3 was never begun.
AGAIN = (AttemptId(1, 2), AttemptId(2, 2))
ERRANDS = {
    "for whatever is open": JobBatch(SubmitOptions(), 3, again=AGAIN),
    "for certain trials": JobBatch(SubmitOptions(), 2, attempt_ids=AGAIN, again=AGAIN),
}


@pytest.fixture(autouse=True)
def _some_slurm(monkeypatch):
    monkeypatch.setattr(limits, "max_array_size", lambda: 1000)
    monkeypatch.setattr(limits, "room", lambda options: Room())
    monkeypatch.setattr(limits, "free_in_cluster", lambda: 0)
    monkeypatch.setattr(queue, "find_by_name", lambda name: [])
    monkeypatch.setattr(queue, "cancel", lambda jobs, **_: None)


@pytest.fixture
def store(make_store):
    store = make_store(4)
    ends = [(TrialState.FINISHED, ""), (TrialState.CRASHED, "timeout"), (TrialState.FAILED, "exit 3")]
    for state, cause in ends:
        store.finish(store.claim(ME), Outcome(state, cause, ended=1.0))
    return store


def answer(monkeypatch, what):
    """Return what sbatch answers from now on: an id, or an error to raise."""

    def submit(request):
        if isinstance(what, BaseException):
            raise what
        return what

    monkeypatch.setattr(executor, "submit", submit)


def told(store) -> tuple:
    """All that a person, an agent, or the next command sees of the sweep."""
    view = store.replay()
    trials = {n: (str(t.state), t.cause, t.newest) for n, t in view.trials.items()}
    head = {state: n for state, n in view.head.counts.items() if n}
    return trials, view.word, view.head.word, view.waiting(), head == view.counts(), check(store).findings


@pytest.mark.parametrize(
    "refusal",
    [
        SubmissionRefusedError("Invalid partition name"),
        JobLimitError("QOSMaxSubmitJobPerUserLimit"),
        JobLimitError("Resource temporarily unavailable", cluster_is_full=True),
        SchedulerUnavailableError("Unable to contact slurm controller"),
        StateUnwritableError("no space left on device"),
    ],
    ids=str,
)
@pytest.mark.parametrize("word", [SweepState.RUNNING, SweepState.PAUSED, SweepState.FINISHED])
@pytest.mark.parametrize("errand", ERRANDS)
def test_a_refusal_leaves_the_sweep_as_it_was(store, monkeypatch, refusal, word, errand):
    with store.transaction() as transaction:
        transaction.order(word)
    before = told(store)
    answer(monkeypatch, refusal)

    with pytest.raises(type(refusal)):
        send_all(store, [ERRANDS[errand]], reopen=True)

    assert told(store) == before
    assert before[4:] == (True, ())
    with store.transaction() as transaction:
        transaction.order(SweepState.RUNNING)
    found = [store.claim(ME), store.claim(ME)]
    assert found[0].attempt_id == AttemptId(3, 1)  # and no agent runs again what nobody gave back
    assert not isinstance(found[1], Claim)


@pytest.mark.parametrize("errand", ERRANDS)
def test_what_slurm_takes_is_run_again_and_the_sweep_runs(store, monkeypatch, errand):
    with store.transaction() as transaction:
        transaction.order(SweepState.FINISHED)
    answer(monkeypatch, "7")

    handed = send_all(store, [ERRANDS[errand]], reopen=True)

    assert [array.job for array in handed.arrays] == ["7"]
    assert (store.replay().word, store.replay().waiting()) == (None, list(AGAIN))
    assert told(store)[4:] == (True, ())
    for attempt_id in AGAIN:
        assert store.claim_attempt(ME, attempt_id).attempt_id == attempt_id


def test_of_a_sweep_that_is_not_taken_up_nothing_is_given_back(store, monkeypatch):
    with store.transaction() as transaction:
        transaction.order(SweepState.PAUSED)
    before = told(store)
    answer(monkeypatch, "7")

    assert send_all(store, [ERRANDS["for certain trials"]]).arrays == ()

    assert told(store) == before


@pytest.mark.parametrize("errand", ERRANDS)
@pytest.mark.parametrize("is_there", [True, False])
def test_without_an_answer_they_wait_until_slurm_is_asked_again(store, monkeypatch, errand, is_there):
    with store.transaction() as transaction:
        transaction.order(SweepState.PAUSED)
    before = told(store)
    answer(monkeypatch, SubmissionUnknownError("Socket timed out on send/recv operation"))
    with pytest.raises(SubmissionUnknownError):
        send_all(store, [ERRANDS[errand]], reopen=True)
    assert (store.replay().word, store.replay().waiting()) == (None, list(AGAIN))

    monkeypatch.setattr(queue, "find_by_name", lambda name: ["7"] if is_there else [])
    recover_submissions(Session(store), sleep=lambda seconds: None)

    assert [s.job for s in store.replay().submissions.values()] == (["7"] if is_there else [""])
    if is_there:
        assert store.replay().waiting() == list(AGAIN)
    else:
        assert told(store) == before


KILLED = """
import os, signal, sys
from slurmsweep.backends.base import SubmitOptions
from slurmsweep.backends.slurm import executor, limits
from slurmsweep.control.batch import JobBatch
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId
from submitting import send_all
limits.max_array_size, limits.room = lambda: 1000, lambda options: limits.Room()
executor.submit = lambda request: os.kill(os.getpid(), signal.SIGKILL)
again = (AttemptId(1, 2), AttemptId(2, 2))
send_all(SweepStore.open(sys.argv[1]), [JobBatch(SubmitOptions(), 2, again, again)], reopen=True)
"""


def test_who_is_killed_before_sbatch_is_asked_leaves_what_the_next_command_puts_right(store):
    before = told(store)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, store.layout.folder],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert store.replay().waiting() == list(AGAIN)

    recover_submissions(Session(store), sleep=lambda seconds: None)

    assert told(store) == before


def test_who_took_a_trial_before_the_refusal_runs_it(store, monkeypatch):
    def submit(request):
        assert store.claim_attempt(ME, AttemptId(1, 2))
        raise SubmissionRefusedError("Invalid qos specification")

    monkeypatch.setattr(executor, "submit", submit)

    with pytest.raises(SubmissionRefusedError):
        send_all(store, [ERRANDS["for certain trials"]])

    assert {n: str(t.state) for n, t in store.replay().trials.items()} == {0: "finished", 1: "running", 2: "failed"}
    assert told(store)[4:] == (True, ())


def test_an_order_given_before_the_refusal_stands(store, monkeypatch):
    with store.transaction() as transaction:
        transaction.order(SweepState.PAUSED)

    def submit(request):
        with store.transaction() as transaction:
            transaction.order(SweepState.CANCELED)
        raise SubmissionRefusedError("Invalid qos specification")

    monkeypatch.setattr(executor, "submit", submit)

    with pytest.raises(SubmissionRefusedError):
        send_all(store, [ERRANDS["for certain trials"]], reopen=True)

    assert store.replay().word is SweepState.CANCELED


def test_what_a_limit_leaves_no_room_for_stays_what_it_was(store, monkeypatch):
    def submit(request):
        if request.tasks > 1:
            raise JobLimitError("AssocMaxSubmitJobLimit")
        monkeypatch.setattr(executor, "submit", lambda request: pytest.fail("asked once more"))
        monkeypatch.setattr(limits, "room", lambda options: Room(0, "full"))
        return "7"

    monkeypatch.setattr(executor, "submit", submit)

    handed = send_all(store, [ERRANDS["for certain trials"], JobBatch(SubmitOptions(), 1)])

    assert ([array.trials for array in handed.arrays], handed.kept_back) == ([1], 2)
    assert (store.replay().waiting(), str(store.replay().trials[2].state)) == ([AttemptId(1, 2)], "failed")


def test_two_that_run_the_same_trials_again_submit_them_once(store, monkeypatch):
    answer(monkeypatch, "7")
    send_all(store, [ERRANDS["for certain trials"]])

    again = send_all(store, [ERRANDS["for certain trials"], ERRANDS["for whatever is open"]])

    assert [array.trials for array in again.arrays] == [1]  # trial 3, which nobody has begun


def test_a_refused_sweep_does_not_mend_itself_and_keeps_its_report(store, monkeypatch):
    files = SupervisorFiles(store.layout, store.access)
    files.ask_for(SupervisorSettings(every=7))
    files.write_report("the end", {})
    monkeypatch.setattr(wakeup, "find", lambda names: [])
    monkeypatch.setattr(wakeup, "submit", lambda *args: "5")
    answer(monkeypatch, SubmissionRefusedError("Invalid qos specification"))

    with pytest.raises(SubmissionRefusedError):
        submit_minded(store, SupervisorSettings(every=9), [ERRANDS["for certain trials"]])

    assert files.settings() == SupervisorSettings(every=7)
    assert files.has_report()


def test_what_no_round_would_run_again_is_given_back_for_good_where_there_is_no_room(store, monkeypatch):
    store.finish(store.claim(ME), Outcome(TrialState.KILLED, "cancelled", ended=1.0))
    monkeypatch.setattr(wakeup, "find", lambda names: [])
    monkeypatch.setattr(wakeup, "submit", lambda *args: "5")
    answer(monkeypatch, JobLimitError("AssocMaxSubmitJobLimit"))
    again = (AttemptId(1, 2), AttemptId(3, 2))

    handed, _ = submit_minded(store, SupervisorSettings(), [JobBatch(SubmitOptions(), 2, again, again)])

    assert handed.kept_back == 2
    assert store.replay().waiting() == [
        AttemptId(3, 2)
    ]  # a person wants it; trial 1 a round runs again, with more time


def test_a_kept_fold_knows_what_hangs_on_an_answer(store, monkeypatch):
    before = {n: str(t.state) for n, t in store.replay().trials.items()}
    answer(monkeypatch, SubmissionUnknownError("Socket timed out on send/recv operation"))
    with pytest.raises(SubmissionUnknownError):
        send_all(store, [ERRANDS["for certain trials"]])
    reading = store.reading()
    reading.refresh()
    foldcache._save(store, reading)

    kept = foldcache._load(store)

    assert kept.view.waiting() == list(AGAIN)
    recover_submissions(Session(store), sleep=lambda seconds: None)
    after = kept.refresh()
    assert (after.waiting(), {n: str(t.state) for n, t in after.trials.items()}) == ([], before)
