"""A command reads the journal once, whatever it does, and next to nothing of it while it holds the lock."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from submitting import on_slurm

from slurmsweep.backends.base import SubmitOptions
from slurmsweep.backends.slurm import executor, limits, queue
from slurmsweep.backends.slurm.limits import Room
from slurmsweep.control.round.apply import apply
from slurmsweep.control.round.decide import Policy, decide
from slurmsweep.control.round.events import ignore
from slurmsweep.control.round.observe import observe
from slurmsweep.control.round.reconcile import reconcile
from slurmsweep.control.round.retry_policy import RetryPolicy
from slurmsweep.control.upkeep.rerun import Choice, rerun
from slurmsweep.state.journal import Journal
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.lock import LockedFile
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner

ME = Owner("here", 1, 1, "b")

#: Bytes: the records that a command itself writes, read back once, and the tail that taking the lock reads.
_OWN_RECORDS = 16 * 1024


@pytest.fixture
def store(make_store):
    """Ten open trials; of the others two in three finished and one in three crashed."""
    store = make_store(150)
    for number in range(140):
        ended = (
            Outcome(TrialState.FINISHED, ended=1.0) if number % 3 else Outcome(TrialState.CRASHED, "lost", ended=1.0)
        )
        store.finish(store.claim(ME), ended)
    return store


@pytest.fixture
def read(monkeypatch):
    """Bytes of journal that were read: in all, and while the lock was held."""
    counted = {"in all": 0, "locked": 0}
    held = []
    blocks, hold = Journal.blocks, LockedFile.held

    def counting(self, file, offset=0, *end):
        for lines in blocks(self, file, offset, *end):
            size = sum(len(line) + 1 for line in lines)
            counted["in all"] += size
            counted["locked"] += size if held else 0
            yield lines

    @contextmanager
    def holding(self, *args, **kwargs):
        with hold(self, *args, **kwargs) as got:
            held.append(True)
            try:
                yield got
            finally:
                held.pop()

    monkeypatch.setattr(Journal, "blocks", counting)
    monkeypatch.setattr(LockedFile, "held", holding)
    return counted


@pytest.fixture(autouse=True)
def _some_slurm(monkeypatch):
    monkeypatch.setattr(executor, "submit", lambda request: "7")
    monkeypatch.setattr(limits, "max_array_size", lambda cluster="": 1000)
    monkeypatch.setattr(limits, "room", lambda options: Room())
    monkeypatch.setattr(queue, "find_by_name", lambda name, cluster: [])


def resubmit(session):
    policy = Policy(SubmitOptions(), retry=RetryPolicy(plain=True), reopen=True)
    assert apply(session, decide(observe(session, policy, ignore), policy), ignore).trials == 57


@pytest.mark.parametrize(
    "use",
    [reconcile, resubmit, lambda session: rerun(session, Choice(states=frozenset({TrialState.FINISHED})))],
    ids=["reconcile", "resubmit", "delete"],
)
def test_a_command_reads_the_journal_once_and_not_under_the_lock(store, read, use):
    with open(store.layout.journal, "rb") as file:
        size = len(file.read())
    assert size > 2 * _OWN_RECORDS

    use(on_slurm(store))

    assert size <= read["in all"] <= size + _OWN_RECORDS
    assert read["locked"] <= _OWN_RECORDS
