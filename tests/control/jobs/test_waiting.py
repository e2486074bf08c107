"""How a command waits for jobs: by the journal, and by Slurm only where the journal is silent. The clock is a fake one."""

from __future__ import annotations

import pytest
from fake_clock import Clock
from submitting import on_slurm

from slurmsweep.backends import following
from slurmsweep.backends.base import Answer
from slurmsweep.backends.slurm import backend, queue
from slurmsweep.control.jobs.wait import wait_for_jobs
from slurmsweep.control.round.events import ignore
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner


@pytest.fixture
def asked(monkeypatch):
    """When Slurm was asked; it has nothing left of the jobs."""
    times = []

    def ask(_jobs, _wanted=()):
        times.append(following.time.monotonic())
        return Answer({}, "not needed")

    monkeypatch.setattr(queue, "ask", ask)
    return times


def wait(store, monkeypatch, busy, count):
    def end_one(task):
        store.finish(store.claim(Owner("host", 1, 1, "boot", job="7", task=task)), Outcome(TrialState.FINISHED))

    monkeypatch.setattr(following, "time", Clock(busy, end_one))
    session = on_slurm(store)
    wait_for_jobs(session, ["7"], count, 0, ignore)
    return session.view.counts().get(TrialState.FINISHED, 0)


def test_while_trials_end_slurm_is_not_asked(make_store, monkeypatch, asked):
    assert (wait(make_store(40), monkeypatch, busy=40, count=40), asked) == (40, [])


def test_jobs_that_vanished_are_missed_15_seconds_after_the_last_end(make_store, monkeypatch, asked):
    assert (wait(make_store(40), monkeypatch, busy=20, count=40), asked) == (20, [20 + backend.SQUEUE_PERIOD])
