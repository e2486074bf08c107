"""Retries beyond what the head holds, and "nothing left": found without reading the whole journal for each claim."""

from __future__ import annotations

import os

import pytest

from slurmsweep.control.round.reconcile import give_back
from slurmsweep.control.session import Session
from slurmsweep.state.journal import encode
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Claim, NothingLeft, Owner
from slurmsweep.state.tail import QUEUE_LIMIT, AttemptId

OWNER = Owner("elsewhere", 1, 1, "b")
FINISHED = Outcome(TrialState.FINISHED, exit_code=0, ended=1.0)
FAILED = Outcome(TrialState.FAILED, "exit 3", exit_code=3, ended=1.0)


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch):
    """Nothing is killed here: what thousands of records cost a disk is no part of the question."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def folds(monkeypatch):
    """Offsets at which lines of a journal were read from."""
    from slurmsweep.state.journal import Journal

    begun = []
    blocks = Journal.blocks

    def counting(self, file, offset=0, *end):
        begun.append(offset)
        return blocks(self, file, offset, *end)

    monkeypatch.setattr(Journal, "blocks", counting)
    return begun


def run_all(store, outcome) -> list[AttemptId]:
    attempt_ids = []
    while isinstance(claim := store.claim(OWNER), Claim):
        store.finish(claim, outcome)
        attempt_ids.append(claim.attempt_id)
    return attempt_ids


@pytest.mark.parametrize("failures", [QUEUE_LIMIT, QUEUE_LIMIT + 1, 400])
def test_more_retries_than_the_head_holds_are_claimed_without_a_fold(make_store, folds, failures):
    store = make_store(failures)
    run_all(store, FAILED)
    give_back(Session(store), lambda trial: True, why="test")
    folds.clear()

    again = []
    for _ in range(failures):
        claim = store.claim(OWNER)
        store.finish(claim, FINISHED)
        again.append(claim.attempt_id)

    assert sorted(again, key=lambda attempt_id: attempt_id.trial) == [AttemptId(n, 2) for n in range(failures)]
    assert folds == []
    assert isinstance(store.claim(OWNER), NothingLeft)


def test_retries_given_back_in_two_goes_all_wait(make_store, folds):
    store = make_store(400)
    run_all(store, FAILED)
    give_back(Session(store), lambda trial: trial.number % 2 == 0, why="even")
    for _ in range(10):
        store.finish(store.claim(OWNER), FINISHED)
    give_back(Session(store), lambda trial: trial.number % 2 == 1, why="odd")
    folds.clear()

    assert len([store.finish(store.claim(OWNER), FINISHED) for _ in range(390)]) == 390
    assert folds == []
    assert store.replay().counts() == {TrialState.FINISHED: 400}


def test_a_pointer_that_points_nowhere_costs_a_fold_and_no_trial(make_store):
    """As a writer with a stale view could leave one."""
    store = make_store(200)
    run_all(store, FAILED)
    give_back(Session(store), lambda trial: True, why="test")
    with store.journal.locked() as journal:
        head = dict(journal.last["h"], m=[17, 0])
        record = {"op": "note", "h": head}
        journal.append(encode(record), record)

    assert sorted(attempt_id.trial for attempt_id in run_all(store, FINISHED)) == list(range(200))
    assert store.replay().counts() == {TrialState.FINISHED: 200}


def test_who_finds_nothing_left_spares_the_next_the_reading(make_store, folds, monkeypatch):
    monkeypatch.setattr("slurmsweep.state.store._WORTH_A_RECORD", 1000)
    store = make_store(30)
    run_all(store, FINISHED)
    folds.clear()

    for _ in range(3):
        assert isinstance(store.claim(OWNER), NothingLeft)

    assert min(folds) > 5000
    assert len(set(folds)) == 1


def test_what_is_given_back_later_is_found_all_the_same(make_store, monkeypatch):
    """Even where the head, which is a hint, lost it."""
    monkeypatch.setattr("slurmsweep.state.store._WORTH_A_RECORD", 1000)
    store = make_store(30)
    run_all(store, FAILED)
    give_back(Session(store), lambda trial: trial.number == 7, why="test")
    with store.journal.locked() as journal:
        head = {key: value for key, value in journal.last["h"].items() if key != "q"}
        record = {"op": "note", "h": head}
        journal.append(encode(record), record)

    assert store.claim(OWNER).attempt_id == AttemptId(7, 2)
