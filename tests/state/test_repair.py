"""A journal rebuilt from the folders says what the lost one said, but for what only it knew."""

from __future__ import annotations

import errno
import io
import os
import threading
from pathlib import Path

import pytest

from slurmsweep.control.round.reconcile import give_back, reconcile
from slurmsweep.control.session import Session
from slurmsweep.errors import StateUnreadableError
from slurmsweep.state import files as durable
from slurmsweep.state.check import check
from slurmsweep.state.journal import encode
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Claim, Owner
from slurmsweep.state.records import SubmitRecord
from slurmsweep.state.repair import rebuild
from slurmsweep.state.tail import AttemptId

OWNER = Owner("elsewhere", 1, 1, "b")
FINISHED = Outcome(TrialState.FINISHED, exit_code=0, metric=0.5, ended=1.0)
FAILED = Outcome(TrialState.FAILED, "exit 3", exit_code=3, ended=1.0)


@pytest.fixture
def eventful(make_store):
    """Trial 0 finished, 1 failed and then finished, 2 failed, 3 running, 4 voided, 5 untouched."""
    store = make_store(6)
    for outcome in (FINISHED, FAILED):
        store.finish(store.claim(OWNER), outcome)
    give_back(Session(store), lambda trial: True, why="test")
    for outcome in (FINISHED, FAILED):
        store.finish(store.claim(OWNER), outcome)
    store.claim(OWNER)
    durable.ensure_folders(store.layout.attempt((4, 1)))
    reconcile(Session(store), sleep=lambda seconds: None)
    return store


def said(store) -> dict:
    view = store.replay()
    return {
        n: (str(trial.state), trial.newest, [(a.token, a.void, a.outcome) for a in trial.attempts.values()])
        for n, trial in sorted(view.trials.items())
    }


@pytest.mark.parametrize("damage", ["gone", "empty", "junk", "cut"])
def test_the_rebuilt_journal_says_the_same(eventful, damage):
    before = said(eventful)
    path = Path(eventful.journal.path)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "junk": b"\xff" * 9000, "cut": content[: len(content) // 2]}[damage])

    done = rebuild(eventful)

    assert said(eventful) == before
    recovered = {"gone": (0, 5, 4, 1), "empty": (0, 5, 4, 1), "junk": (0, 5, 4, 1), "cut": (5, 3, 2, 1)}
    assert (done.records, done.claims, done.outcomes, done.voided) == recovered[damage]
    assert [str(finding) for finding in check(eventful).findings] == []
    assert (done.kept is None) == (damage == "gone")
    counts = {TrialState.FINISHED: 2, TrialState.FAILED: 1, TrialState.RUNNING: 1, TrialState.PENDING: 1}
    assert eventful.replay().counts() == eventful.replay().head.counts == counts


def test_orders_arrays_and_retries_of_readable_records_are_kept(eventful):
    give_back(Session(eventful), lambda trial: trial.number == 2, why="test")
    with eventful.transaction() as transaction:
        transaction.submit(SubmitRecord("slurmsweep-abcd1234-1", 6, "7"))
        transaction.order(SweepState.CANCELED)
    path = Path(eventful.journal.path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"junk\n", *lines[2:]]))

    rebuild(eventful)

    view = eventful.replay()
    assert view.submissions["slurmsweep-abcd1234-1"].job == "7"
    assert view.word is view.head.word is SweepState.CANCELED
    assert AttemptId(2, 2) in view.waiting()
    assert not check(eventful).findings


@pytest.mark.parametrize("field", [{"sweep": "zzzz9999"}, {"version": 99}])
def test_the_journal_of_another_sweep_or_version_is_left_alone(eventful, field):
    path = Path(eventful.journal.path)
    first = {"op": "journal", "format": "slurmsweep journal", "version": 1, "sweep": "abcd1234"} | field
    path.write_bytes(encode(first) + b"junk\n")

    with pytest.raises(StateUnreadableError, match=r"zzzz9999|newer slurmsweep"):
        rebuild(eventful)

    assert path.read_bytes() == encode(first) + b"junk\n"


def test_a_journal_that_the_file_server_does_not_give_is_left_alone(eventful, monkeypatch):
    class OutOfOrder(io.BytesIO):
        def __next__(self):
            raise OSError(errno.EIO, "Input/output error")

    def opened(descriptor, _mode):
        os.close(descriptor)
        return OutOfOrder()

    content = Path(eventful.journal.path).read_bytes()
    monkeypatch.setattr(os, "fdopen", opened)

    with pytest.raises(StateUnreadableError, match="Input/output error"):
        rebuild(eventful)

    assert Path(eventful.journal.path).read_bytes() == content


def test_a_journal_whose_name_cannot_be_looked_at_stays_in_its_place(eventful, monkeypatch):
    def out_of_order(_status, _path):
        raise OSError(errno.ESTALE, "Stale file handle")

    content = Path(eventful.journal.path).read_bytes()
    monkeypatch.setattr("slurmsweep.state.repair.has_name", out_of_order)

    with pytest.raises(StateUnreadableError, match="Stale file handle"):
        rebuild(eventful)

    assert Path(eventful.journal.path).read_bytes() == content


def test_work_goes_on_with_the_rebuilt_journal(eventful):
    Path(eventful.journal.path).unlink()
    rebuild(eventful)
    give_back(Session(eventful), lambda trial: True, why="test")

    attempt_ids = []
    while isinstance(claim := eventful.claim(OWNER), Claim):
        eventful.finish(claim, FINISHED)
        attempt_ids.append(claim.attempt_id)

    assert sorted(attempt_ids, key=lambda s: s.trial) == [AttemptId(2, 2), AttemptId(4, 2), AttemptId(5, 1)]
    assert not check(eventful).findings


def test_a_claim_that_the_journal_has_is_not_voided_where_its_owner_file_lost_its_content(eventful):
    """A power cut may empty the file: the agent runs all the same."""
    owner = Path(eventful.layout.owner((3, 1)))
    owner.write_bytes(b"")

    rebuild(eventful)

    assert eventful.replay().trials[3].state is TrialState.RUNNING
    assert owner.is_file()


def test_a_claim_that_only_an_emptied_owner_file_tells_of_is_given_to_no_other_agent(eventful):
    Path(eventful.layout.owner((3, 1))).write_bytes(b"")
    Path(eventful.journal.path).unlink()

    rebuild(eventful)
    give_back(Session(eventful), lambda trial: True, why="test")

    attempt_ids = []
    while isinstance(claim := eventful.claim(OWNER), Claim):
        attempt_ids.append(claim.attempt_id)
    assert sorted(attempt_ids) == [AttemptId(2, 2), AttemptId(4, 2), AttemptId(5, 1)]


def test_the_old_journal_is_kept_each_time(eventful):
    kept = [rebuild(eventful).kept for _ in range(2)]

    assert [Path(path).name for path in kept] == ["journal.log.old-1", "journal.log.old-2"]
    assert all(Path(path).stat().st_size for path in kept)


def test_who_waits_for_the_lock_meanwhile_goes_on_with_the_new_file(eventful, monkeypatch):
    claims = []
    waiter = threading.Thread(target=lambda: claims.append(eventful.claim(OWNER)))
    move = durable.move

    def move_slowly(old, new):
        if not waiter.ident:
            waiter.start()
            waiter.join(0.3)  # it waits: the lock of the old file is held
        move(old, new)

    monkeypatch.setattr(durable, "move", move_slowly)
    rebuild(eventful)
    waiter.join(120)

    assert claims[0].attempt_id in (AttemptId(4, 2), AttemptId(5, 1))
    assert eventful.replay().trials[claims[0].attempt_id.trial].state is TrialState.RUNNING
    assert not check(eventful).findings


def test_check_repair_mends_and_says_what_it_did(slurmsweep, write_sweep, tmp_path):
    assert slurmsweep("run", str(write_sweep("pass")), "--backend", "local").returncode == 0
    [folder] = (tmp_path / "wandb").iterdir()
    sweep = folder.name.removeprefix("sweep-")
    assert slurmsweep("check", sweep, "--repair").stderr == ""
    journal = folder / "journal.log"
    journal.write_bytes(journal.read_bytes().replace(b"finished", b"finishes", 2))
    assert slurmsweep("check", sweep).returncode == 1

    done = slurmsweep("check", sweep, "--repair")

    assert done.returncode == 0, done.stdout
    assert "journal rebuilt: 5 records kept; from the trials' folders 0 claims and 1 outcome," in done.stderr
    assert "journal.log.old-1" in done.stderr
    assert slurmsweep("status", sweep).returncode == 0
