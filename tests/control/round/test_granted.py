"""What Slurm gives jobs is compared once with what was asked for; a difference is said and reckoned with."""

from __future__ import annotations

import pytest
from fake_backend import FakeBackend
from submitting import on_backend, send_all

from slurmsweep.backends.base import SubmitOptions
from slurmsweep.control.jobs.change import change_waiting
from slurmsweep.control.round.batch import JobBatch
from slurmsweep.control.round.granted import differences
from slurmsweep.control.round.reconcile import reconcile
from slurmsweep.control.snapshot import look
from slurmsweep.sizing.usage import Ledger
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner

ASKED = {"time": "10", "partition": "main,long", "mem": "1G"}


@pytest.fixture
def sweep(make_store):
    """A sweep with three jobs that wait, and the backend that has them."""
    store, backend = make_store(9), FakeBackend()
    send_all(store, [JobBatch(SubmitOptions(options=ASKED), 3)], backend=backend)
    return store, backend


def has(backend, **given) -> None:
    """Let the scheduler say that of all jobs."""
    name = next(iter(backend.requests.values())).name
    backend.tasks = {ref: status._replace(name=name, **given) for ref, status in backend.tasks.items()}


def reconciled(store, backend) -> list[str]:
    return reconcile(on_backend(store, backend), sleep=lambda seconds: None).words_of_jobs()


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"minutes": 10.0, "partition": "main,long"}, {}),
        ({"minutes": 10.0, "partition": "long"}, {}),
        ({}, {}),
        ({"minutes": 7.0, "partition": "main"}, {"time": "7"}),
        ({"minutes": 10.0, "partition": "debug"}, {"partition": "debug"}),
        ({"minutes": 1440.0, "partition": "debug"}, {"time": "1440", "partition": "debug"}),
    ],
)
def test_what_jobs_have_otherwise_is_found(sweep, given, changed):
    store, backend = sweep
    has(backend, **given)
    session = on_backend(store, backend)

    assert list(differences(session, look(session)).values()) == ([changed] if changed else [])


def test_a_time_in_seconds_is_rounded_up_as_slurm_does(make_store):
    store, backend = make_store(9), FakeBackend()
    send_all(store, [JobBatch(SubmitOptions(options={"time": "0:10"}), 1)], backend=backend)
    has(backend, minutes=1.0)

    assert reconciled(store, backend) == []


def test_a_difference_is_said_once_and_is_what_trials_are_reckoned_by(sweep):
    store, backend = sweep
    has(backend, minutes=3.0, partition="main")
    [job] = backend.arrays

    assert reconciled(store, backend) == [
        f"job {job}: --time is 3, and 10 was asked for: the site, a QOS or scontrol changed it"
    ]
    assert reconciled(store, backend) == []

    [submission] = store.replay().submissions.values()
    assert submission.asked == {**ASKED, "time": "3"}
    assert (submission.job, submission.template, submission.wishes) == (job, "array", ASKED)
    claim = store.claim(Owner("far", 1, 1, "b", job=job, task=0))
    store.finish(claim, Outcome(TrialState.CRASHED, "timeout", ended=1.0))
    [usage] = Ledger(store.replay(), {}, {}, backend.asked, here="").of(claim.attempt_id.trial)
    assert usage.asked_minutes == 3


def test_it_costs_no_question_to_the_scheduler(sweep):
    store, backend = sweep
    has(backend, minutes=3.0)
    backend.said.clear()

    reconciled(store, backend)

    assert backend.said == ["poll"]


def test_what_a_person_changes_afterwards_is_no_difference(sweep):
    store, backend = sweep
    has(backend, minutes=10.0)
    change_waiting(on_backend(store, backend), {"time": "45"}, None)
    has(backend, minutes=45.0)

    assert reconciled(store, backend) == []
