"""A scheduler refuses, or does not answer: what becomes of trials that were to be run again with the jobs asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import submitting
from fake_backend import FakeBackend
from supervising import submit_minded

from slurmsweep.backends.base import SubmitOptions
from slurmsweep.control.round.batch import JobBatch
from slurmsweep.control.round.reconcile import recover_submissions
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
from slurmsweep.state.owner import Claim, Owner
from slurmsweep.state.supervisor_files import SupervisorFiles, SupervisorSettings
from slurmsweep.state.tail import AttemptId

ME = Owner("here", 1, 1, "b")

#: Trial 0 finished, 1 crashed and 2 failed, both to be run again; 3 was never begun.
AGAIN = (AttemptId(1, 2), AttemptId(2, 2))
ERRANDS = {
    "for whatever is open": JobBatch(SubmitOptions(), 3, again=AGAIN),
    "for certain trials": JobBatch(SubmitOptions(), 2, attempt_ids=AGAIN, again=AGAIN),
}


@pytest.fixture
def backend():
    return FakeBackend()


@pytest.fixture
def store(make_store):
    store = make_store(4)
    ends = [(TrialState.FINISHED, ""), (TrialState.CRASHED, "timeout"), (TrialState.FAILED, "exit 3")]
    for state, cause in ends:
        store.finish(store.claim(ME), Outcome(state, cause, ended=1.0))
    return store


def answer(backend, what):
    """Let the backend answer every submission from now on: with an id, or with an error to raise."""

    def send(request):
        if isinstance(what, BaseException):
            raise what
        return what

    backend.send = send


def send_all(store, backend, batches, *, reopen=False):
    return submitting.send_all(store, batches, reopen=reopen, backend=backend)


def recover(store, backend):
    recover_submissions(submitting.on_backend(store, backend), sleep=lambda seconds: None)


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
def test_a_refusal_leaves_the_sweep_as_it_was(store, backend, refusal, word, errand):
    with store.transaction() as transaction:
        transaction.order(word)
    before = told(store)
    answer(backend, refusal)

    with pytest.raises(type(refusal)):
        send_all(store, backend, [ERRANDS[errand]], reopen=True)

    assert told(store) == before
    assert before[4:] == (True, ())
    with store.transaction() as transaction:
        transaction.order(SweepState.RUNNING)
    found = [store.claim(ME), store.claim(ME)]
    assert found[0].attempt_id == AttemptId(3, 1)  # and no agent runs again what was not given back
    assert not isinstance(found[1], Claim)


@pytest.mark.parametrize("errand", ERRANDS)
def test_what_slurm_takes_is_run_again_and_the_sweep_runs(store, backend, errand):
    with store.transaction() as transaction:
        transaction.order(SweepState.FINISHED)
    answer(backend, "7")

    handed = send_all(store, backend, [ERRANDS[errand]], reopen=True)

    assert [array.job for array in handed.arrays] == ["7"]
    assert (store.replay().word, store.replay().waiting()) == (None, list(AGAIN))
    assert told(store)[4:] == (True, ())
    for attempt_id in AGAIN:
        assert store.claim_attempt(ME, attempt_id).attempt_id == attempt_id


def test_of_a_sweep_that_is_not_taken_up_nothing_is_given_back(store, backend):
    with store.transaction() as transaction:
        transaction.order(SweepState.PAUSED)
    before = told(store)
    answer(backend, "7")

    assert send_all(store, backend, [ERRANDS["for certain trials"]]).arrays == ()

    assert told(store) == before


@pytest.mark.parametrize("errand", ERRANDS)
@pytest.mark.parametrize("is_there", [True, False])
def test_without_an_answer_they_wait_until_slurm_is_asked_again(store, backend, errand, is_there):
    with store.transaction() as transaction:
        transaction.order(SweepState.PAUSED)
    before = told(store)
    answer(backend, SubmissionUnknownError("Socket timed out on send/recv operation"))
    with pytest.raises(SubmissionUnknownError):
        send_all(store, backend, [ERRANDS[errand]], reopen=True)
    assert (store.replay().word, store.replay().waiting()) == (None, list(AGAIN))

    backend.find = lambda name, cluster: "7" if is_there else ""
    recover(store, backend)

    assert [s.job for s in store.replay().submissions.values()] == (["7"] if is_there else [""])
    if is_there:
        assert store.replay().waiting() == list(AGAIN)
    else:
        assert told(store) == before


KILLED = """
import os, signal, sys
from fake_backend import FakeBackend
from slurmsweep.backends.base import SubmitOptions
from slurmsweep.control.round.batch import JobBatch
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId
from submitting import send_all
backend = FakeBackend()
backend.send = lambda request: os.kill(os.getpid(), signal.SIGKILL)
again = (AttemptId(1, 2), AttemptId(2, 2))
send_all(SweepStore.open(sys.argv[1]), [JobBatch(SubmitOptions(), 2, again, again)], reopen=True, backend=backend)
"""


def test_who_is_killed_before_sbatch_is_asked_leaves_what_the_next_command_puts_right(store, backend):
    before = told(store)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, store.layout.folder],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert store.replay().waiting() == list(AGAIN)

    recover(store, backend)

    assert told(store) == before


def test_who_took_a_trial_before_the_refusal_runs_it(store, backend):
    def send(request):
        assert store.claim_attempt(ME, AttemptId(1, 2))
        raise SubmissionRefusedError("Invalid qos specification")

    backend.send = send

    with pytest.raises(SubmissionRefusedError):
        send_all(store, backend, [ERRANDS["for certain trials"]])

    assert {n: str(t.state) for n, t in store.replay().trials.items()} == {0: "finished", 1: "running", 2: "failed"}
    assert told(store)[4:] == (True, ())


def test_an_order_given_before_the_refusal_stands(store, backend):
    with store.transaction() as transaction:
        transaction.order(SweepState.PAUSED)

    def send(request):
        with store.transaction() as transaction:
            transaction.order(SweepState.CANCELED)
        raise SubmissionRefusedError("Invalid qos specification")

    backend.send = send

    with pytest.raises(SubmissionRefusedError):
        send_all(store, backend, [ERRANDS["for certain trials"]], reopen=True)

    assert store.replay().word is SweepState.CANCELED


def test_what_a_limit_leaves_no_room_for_stays_what_it_was(store, backend):
    backend.room = 1

    handed = send_all(store, backend, [ERRANDS["for certain trials"], JobBatch(SubmitOptions(), 1)])

    assert backend.said == ["send"]  # and was not asked once more
    assert ([array.trials for array in handed.arrays], handed.kept_back) == ([1], 2)
    assert (store.replay().waiting(), str(store.replay().trials[2].state)) == ([AttemptId(1, 2)], "failed")


def test_two_that_run_the_same_trials_again_submit_them_once(store, backend):
    answer(backend, "7")
    send_all(store, backend, [ERRANDS["for certain trials"]])

    again = send_all(store, backend, [ERRANDS["for certain trials"], ERRANDS["for whatever is open"]])

    assert [array.trials for array in again.arrays] == [1]  # trial 3, which has not begun


def test_a_refused_sweep_does_not_mend_itself_and_keeps_its_report(store, backend):
    files = SupervisorFiles(store.layout, store.access)
    files.ask_for(SupervisorSettings(every=7))
    files.write_report("the end", {})
    answer(backend, SubmissionRefusedError("Invalid qos specification"))

    with pytest.raises(SubmissionRefusedError):
        submit_minded(store, SupervisorSettings(every=9), [ERRANDS["for certain trials"]], backend)

    assert files.settings() == SupervisorSettings(every=7)
    assert files.has_report()


def test_what_no_round_would_run_again_is_given_back_for_good_where_there_is_no_room(store, backend):
    store.finish(store.claim(ME), Outcome(TrialState.KILLED, "cancelled", ended=1.0))
    answer(backend, JobLimitError("AssocMaxSubmitJobLimit"))
    again = (AttemptId(1, 2), AttemptId(3, 2))

    handed, _ = submit_minded(store, SupervisorSettings(), [JobBatch(SubmitOptions(), 2, again, again)], backend)

    assert handed.kept_back == 2
    assert store.replay().waiting() == [
        AttemptId(3, 2)
    ]  # a person wants it; trial 1 a round runs again, with more time


def test_a_kept_fold_knows_what_hangs_on_an_answer(store, backend):
    before = {n: str(t.state) for n, t in store.replay().trials.items()}
    answer(backend, SubmissionUnknownError("Socket timed out on send/recv operation"))
    with pytest.raises(SubmissionUnknownError):
        send_all(store, backend, [ERRANDS["for certain trials"]])
    reading = store.reading()
    reading.refresh()
    foldcache._save(store, reading)

    kept = foldcache._load(store)

    assert kept.view.waiting() == list(AGAIN)
    recover(store, backend)
    after = kept.refresh()
    assert (after.waiting(), {n: str(t.state) for n, t in after.trials.items()}) == ([], before)
