"""The cache of a fold: used where it fits the journal, ignored where it does not, and never needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slurmsweep.control.round.reconcile import give_back
from slurmsweep.control.session import Session
from slurmsweep.state import view_cache as foldcache
from slurmsweep.state.chosen import Basis, ChosenPoint, ChosenPoints
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import SubmitRecord
from slurmsweep.state.repair import rebuild
from slurmsweep.state.tail import AttemptId
from slurmsweep.state.view_cache import Follower

OWNER = Owner("elsewhere", 1, 1, "b", job="7", task=3)
FINISHED = Outcome(TrialState.FINISHED, exit_code=0, metric=0.5, ended=1.0)
FAILED = Outcome(TrialState.FAILED, "exit 3", exit_code=3, ended=1.0)


@pytest.fixture(autouse=True)
def _keep_small_ones_too(monkeypatch):
    monkeypatch.setattr(foldcache, "_WORTH_KEEPING", 1)


@pytest.fixture
def eventful(make_store):
    """Finished, failed, finished again, voided, running and waiting trials, a submission and an order."""
    store = make_store(20)
    for outcome in (FINISHED, FAILED, FAILED, FINISHED):
        store.finish(store.claim(OWNER), outcome)
    give_back(Session(store), lambda trial: trial.number == 1, why="test")
    store.finish(store.claim(OWNER), FINISHED)
    store.give_up(store.claim(OWNER))
    store.claim(OWNER)
    with store.transaction() as transaction:
        transaction.submit(SubmitRecord("slurmsweep-abcd1234-1", 20, "7"))
        transaction.submit(SubmitRecord("slurmsweep-abcd1234-2", 5, None, agents=4, trials=17))
        transaction.submit(SubmitRecord("slurmsweep-abcd1234-3", 1, "8", {"time": "5"}, compared=True))
        transaction.order(SweepState.PAUSED)
    return store


def said(view) -> tuple:
    of_trials = dict(view.trials), list(view.chosen.items())
    return *of_trials, view.submissions, view.head, view.word, view.sealed, view.damaged, view.word_sequence


def lines_read(store, monkeypatch) -> int:
    """How many lines of the journal one look reads."""
    count = 0
    blocks = store.journal.blocks

    def counting(*where):
        nonlocal count
        for lines in blocks(*where):
            count += len(lines)
            yield lines

    with monkeypatch.context() as patch:
        patch.setattr(store.journal, "blocks", counting)
        foldcache.read(store)
    return count


def test_the_cache_says_what_the_journal_says(eventful, monkeypatch):
    foldcache.read(eventful)

    assert lines_read(eventful, monkeypatch) == 0
    assert said(foldcache.read(eventful)) == said(eventful.replay())


POINTS = [
    ChosenPoint({"x": 0.1, "opt": {"name": "größe\n", "lr": {"$float": "inf"}}}, Basis(7, 3, 0)),
    ChosenPoint({"x": 2**70}),
    ChosenPoint({}, Basis(0, 0, 0)),
]


def test_points_are_in_the_cache_in_the_order_of_their_claims(make_store, monkeypatch):
    store = make_store(20)
    for number, chosen in zip((5, 2, 9), POINTS, strict=True):
        with store.transaction() as transaction:
            transaction.claim(AttemptId(number, 1), f"{number:016x}", OWNER, chosen)
        end = FINISHED._replace(lowest=-0.5, highest=None if number == 9 else 3.0)
        with store.transaction() as transaction:
            transaction.end(AttemptId(number, 1), f"{number:016x}", end)
    foldcache.read(store)

    assert lines_read(store, monkeypatch) == 0
    kept = foldcache.read(store)
    assert said(kept) == said(store.replay())
    assert list(kept.chosen.items()) == list(zip((5, 2, 9), POINTS, strict=True))
    assert [kept.trials[n].current.outcome.highest for n in kept.chosen] == [3.0, 3.0, None]
    assert list(kept.trials.stories()) == []


@pytest.mark.parametrize(
    "data", [b"5", b"5 {}\n", b'x {"p":{}}\n', b'5 {"p":[]}\n', b'5 {"p":{},"b":[1]}\n', b"\xff \xff\n"]
)
def test_points_of_a_cache_with_other_content_are_refused(data):
    with pytest.raises((ValueError, KeyError, TypeError)):
        ChosenPoints.load(data)


def test_the_first_point_of_a_trial_stands():
    points = ChosenPoints()
    for chosen in POINTS:
        points.take(4, chosen)

    assert dict(points) == {4: POINTS[0]}
    assert (4 in points, 5 in points, len(points), points.get(5)) == (True, False, 1, None)


def test_only_what_is_new_is_read(eventful, monkeypatch):
    foldcache.read(eventful)
    with eventful.transaction() as transaction:
        transaction.order(SweepState.RUNNING)
    claim = eventful.claim(OWNER)
    eventful.finish(claim, FINISHED)

    assert lines_read(eventful, monkeypatch) == 3
    assert said(foldcache.read(eventful)) == said(eventful.replay())


@pytest.mark.parametrize("cut", [0, 1, 40, 400, -1])
def test_a_damaged_cache_is_as_good_as_none(eventful, monkeypatch, cut):
    foldcache.read(eventful)
    path = Path(eventful.layout.cache)
    path.write_bytes(path.read_bytes()[:cut])

    assert lines_read(eventful, monkeypatch) > 10
    assert said(foldcache.read(eventful)) == said(eventful.replay())


def test_the_cache_of_a_journal_that_was_replaced_is_not_used(eventful):
    foldcache.read(eventful)
    rebuild(eventful)

    assert said(foldcache.read(eventful)) == said(eventful.replay())


def test_the_cache_of_a_longer_journal_is_not_used(eventful):
    """A journal that was cut, by a file server that lost its end."""
    foldcache.read(eventful)
    with open(eventful.journal.path, "rb+") as file:
        file.truncate(os.path.getsize(eventful.journal.path) // 2)

    assert said(foldcache.read(eventful)) == said(eventful.replay())


def test_claims_do_not_look_at_it(eventful):
    Path(eventful.layout.cache).write_bytes(b"\0" * 100)
    with eventful.transaction() as transaction:
        transaction.order(SweepState.RUNNING)

    assert eventful.claim(OWNER).attempt_id == AttemptId(5, 1)


def test_a_folder_that_cannot_be_written_does_without(eventful, monkeypatch):
    os.mkdir(eventful.layout.cache)

    assert said(foldcache.read(eventful)) == said(eventful.replay())


def test_a_small_sweep_has_no_cache(make_store, monkeypatch):
    monkeypatch.setattr(foldcache, "_WORTH_KEEPING", 1 << 20)
    store = make_store(20)
    store.finish(store.claim(OWNER), FINISHED)

    Follower(store).refresh()

    assert not os.path.exists(store.layout.cache)
