"""Slurm refuses, or does not answer: what becomes of trials that were to be run again with the jobs it was asked for."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from slurmsweep.errors import (
    JobLimitError,
    SchedulerUnavailableError,
    StateUnwritableError,
    SubmissionRefusedError,
    SubmissionUnknownError,
)
from slurmsweep.launch import submit as submitting
from slurmsweep.launch.submit import Errand, Wishes, recover_submissions, send_all
from slurmsweep.mend.minding import submit_minded
from slurmsweep.slurm import limits, queue
from slurmsweep.slurm.limits import Room
from slurmsweep.state import foldcache
from slurmsweep.state.check import check
from slurmsweep.state.fold import Fold, Reading
from slurmsweep.state.head import Slot
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.mending import Mending, Settings
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.store import Claim

ME = Owner("here", 1, 1, "b")

#: Trial 0 finished, 1 crashed and 2 failed, both to be run again; 3 was never begun.
AGAIN = (Slot(1, 2), Slot(2, 2))
ERRANDS = {
    "for whatever is open": Errand(Wishes(), 3, again=AGAIN),
    "for certain trials": Errand(Wishes(), 2, slots=AGAIN, again=AGAIN),
}


@pytest.fixture(autouse=True)
def _some_slurm(monkeypatch):
    monkeypatch.setattr(limits, "max_array_size", lambda: 1000)
    monkeypatch.setattr(limits, "room", lambda options: Room())
    monkeypatch.setattr(limits, "free_in_cluster", lambda: 0)
    monkeypatch.setattr(queue, "find_by_name", lambda name: [])
    monkeypatch.setattr(queue, "cancel", lambda jobs: None)


@pytest.fixture
def store(make_store):
    store = make_store(4)
    ends = [(TrialState.FINISHED, ""), (TrialState.CRASHED, "timeout"), (TrialState.FAILED, "exit 3")]
    for state, cause in ends:
        store.finish(store.claim(ME), Outcome(state, cause, ended=1.0))
    return store


def answer(monkeypatch, what):
    """What sbatch answers from now on: an id, or an error to raise."""

    def submit(request):
        if isinstance(what, BaseException):
            raise what
        return what

    monkeypatch.setattr(submitting.executor, "submit", submit)


def told(store) -> tuple:
    """All that a person, an agent, or the next command sees of the sweep."""
    fold = store.fold()
    trials = {n: (str(t.state), t.cause, t.newest) for n, t in fold.trials.items()}
    head = {state: n for state, n in fold.head.counts.items() if n}
    return trials, fold.word, fold.head.word, fold.waiting(), head == fold.counts(), check(store).findings


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
        send_all(store, [ERRANDS[errand]], takes_up=True)

    assert told(store) == before
    assert before[4:] == (True, ())
    with store.transaction() as transaction:
        transaction.order(SweepState.RUNNING)
    found = [store.claim(ME), store.claim(ME)]
    assert found[0].slot == Slot(3, 1)  # and no agent runs again what nobody gave back
    assert not isinstance(found[1], Claim)


@pytest.mark.parametrize("errand", ERRANDS)
def test_what_slurm_takes_is_run_again_and_the_sweep_runs(store, monkeypatch, errand):
    with store.transaction() as transaction:
        transaction.order(SweepState.FINISHED)
    answer(monkeypatch, "7")

    handed = send_all(store, [ERRANDS[errand]], takes_up=True)

    assert [array.job for array in handed.arrays] == ["7"]
    assert (store.fold().word, store.fold().waiting()) == (None, list(AGAIN))
    assert told(store)[4:] == (True, ())
    for slot in AGAIN:
        assert store.claim_slot(ME, slot).slot == slot


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
        send_all(store, [ERRANDS[errand]], takes_up=True)
    assert (store.fold().word, store.fold().waiting()) == (None, list(AGAIN))

    monkeypatch.setattr(queue, "find_by_name", lambda name: ["7"] if is_there else [])
    recover_submissions(store, sleep=lambda seconds: None)

    assert [s.job for s in store.fold().submissions.values()] == (["7"] if is_there else [""])
    if is_there:
        assert store.fold().waiting() == list(AGAIN)
    else:
        assert told(store) == before


KILLED = """
import os, signal, sys
from slurmsweep.launch import submit
from slurmsweep.slurm import limits
from slurmsweep.state.head import Slot
from slurmsweep.state.store import SweepStore
limits.max_array_size, limits.room = lambda: 1000, lambda options: limits.Room()
submit.executor.submit = lambda request: os.kill(os.getpid(), signal.SIGKILL)
again = (Slot(1, 2), Slot(2, 2))
submit.send_all(SweepStore.open(sys.argv[1]), [submit.Errand(submit.Wishes(), 2, again, again)], takes_up=True)
"""


def test_who_is_killed_before_sbatch_is_asked_leaves_what_the_next_command_puts_right(store):
    before = told(store)
    done = subprocess.run([sys.executable, "-c", KILLED, store.layout.folder], check=False)
    assert done.returncode == -signal.SIGKILL
    assert store.fold().waiting() == list(AGAIN)

    recover_submissions(store, sleep=lambda seconds: None)

    assert told(store) == before


def test_who_took_a_trial_before_the_refusal_runs_it(store, monkeypatch):
    def submit(request):
        assert store.claim_slot(ME, Slot(1, 2))
        raise SubmissionRefusedError("Invalid qos specification")

    monkeypatch.setattr(submitting.executor, "submit", submit)

    with pytest.raises(SubmissionRefusedError):
        send_all(store, [ERRANDS["for certain trials"]])

    assert {n: str(t.state) for n, t in store.fold().trials.items()} == {0: "finished", 1: "running", 2: "failed"}
    assert told(store)[4:] == (True, ())


def test_an_order_given_before_the_refusal_stands(store, monkeypatch):
    with store.transaction() as transaction:
        transaction.order(SweepState.PAUSED)

    def submit(request):
        with store.transaction() as transaction:
            transaction.order(SweepState.CANCELED)
        raise SubmissionRefusedError("Invalid qos specification")

    monkeypatch.setattr(submitting.executor, "submit", submit)

    with pytest.raises(SubmissionRefusedError):
        send_all(store, [ERRANDS["for certain trials"]], takes_up=True)

    assert store.fold().word is SweepState.CANCELED


def test_what_a_limit_leaves_no_room_for_stays_what_it_was(store, monkeypatch):
    def submit(request):
        if request.tasks > 1:
            raise JobLimitError("AssocMaxSubmitJobLimit")
        monkeypatch.setattr(submitting.executor, "submit", lambda request: pytest.fail("asked once more"))
        monkeypatch.setattr(limits, "room", lambda options: Room(0, "full"))
        return "7"

    monkeypatch.setattr(submitting.executor, "submit", submit)

    handed = send_all(store, [ERRANDS["for certain trials"], Errand(Wishes(), 1)])

    assert ([array.trials for array in handed.arrays], handed.kept_back) == ([1], 2)
    assert (store.fold().waiting(), str(store.fold().trials[2].state)) == ([Slot(1, 2)], "failed")


def test_two_that_run_the_same_trials_again_submit_them_once(store, monkeypatch):
    answer(monkeypatch, "7")
    send_all(store, [ERRANDS["for certain trials"]])

    again = send_all(store, [ERRANDS["for certain trials"], ERRANDS["for whatever is open"]])

    assert [array.trials for array in again.arrays] == [1]  # trial 3, which nobody has begun


def test_a_refused_sweep_does_not_mend_itself_and_keeps_its_report(store, monkeypatch):
    files = Mending(store.layout, store.access)
    files.ask_for(Settings(every=7))
    files.write_report("the end", {})
    monkeypatch.setattr("slurmsweep.mend.alarms.alarms.find", lambda names: [])
    monkeypatch.setattr("slurmsweep.mend.alarms.alarms.submit", lambda *args: "5")
    answer(monkeypatch, SubmissionRefusedError("Invalid qos specification"))

    with pytest.raises(SubmissionRefusedError):
        submit_minded(store, Settings(every=9), [ERRANDS["for certain trials"]])

    assert files.settings() == Settings(every=7)
    assert files.has_report()


def test_what_no_round_would_run_again_is_given_back_for_good_where_there_is_no_room(store, monkeypatch):
    store.finish(store.claim(ME), Outcome(TrialState.KILLED, "cancelled", ended=1.0))
    monkeypatch.setattr("slurmsweep.mend.alarms.alarms.find", lambda names: [])
    monkeypatch.setattr("slurmsweep.mend.alarms.alarms.submit", lambda *args: "5")
    answer(monkeypatch, JobLimitError("AssocMaxSubmitJobLimit"))
    again = (Slot(1, 2), Slot(3, 2))

    handed, _ = submit_minded(store, Settings(), [Errand(Wishes(), 2, again, again)])

    assert handed.kept_back == 2
    assert store.fold().waiting() == [Slot(3, 2)]  # a person wants it; trial 1 a round runs again, with more time


def test_a_kept_fold_knows_what_hangs_on_an_answer(store, monkeypatch):
    before = {n: str(t.state) for n, t in store.fold().trials.items()}
    answer(monkeypatch, SubmissionUnknownError("Socket timed out on send/recv operation"))
    with pytest.raises(SubmissionUnknownError):
        send_all(store, [ERRANDS["for certain trials"]])
    foldcache._save(store, Reading(Fold()).read_on(store.journal))

    kept = foldcache._load(store)

    assert kept.fold.waiting() == list(AGAIN)
    recover_submissions(store, sleep=lambda seconds: None)
    after = kept.read_on(store.journal).fold
    assert (after.waiting(), {n: str(t.state) for n, t in after.trials.items()}) == ([], before)
