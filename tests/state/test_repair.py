"""A journal rebuilt from the folders says what the lost one said, but for what only it knew."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from slurmsweep.launch.reconcile import give_back, reconcile
from slurmsweep.state import durable
from slurmsweep.state.check import check
from slurmsweep.state.head import Slot
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.repair import rebuild
from slurmsweep.state.store import Claim

OWNER = Owner("elsewhere", 1, 1, "b")
FINISHED = Outcome(TrialState.FINISHED, exit_code=0, metric=0.5, ended=1.0)
FAILED = Outcome(TrialState.FAILED, "exit 3", exit_code=3, ended=1.0)


@pytest.fixture
def eventful(make_store):
    """Trial 0 finished, 1 failed and then finished, 2 failed, 3 running, 4 voided, 5 untouched."""
    store = make_store(6)
    for outcome in (FINISHED, FAILED):
        store.finish(store.claim(OWNER), outcome)
    give_back(store, lambda trial: True, why="test")
    for outcome in (FINISHED, FAILED):
        store.finish(store.claim(OWNER), outcome)
    store.claim(OWNER)
    durable.ensure_folders(store.layout.attempt(4, 1))
    reconcile(store, sleep=lambda seconds: None)
    return store


def said(store) -> dict:
    fold = store.fold()
    return {
        n: (str(trial.state), trial.newest, [(a.token, a.void, a.outcome) for a in trial.attempts.values()])
        for n, trial in sorted(fold.trials.items())
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
    assert (done.trials, done.claims, done.outcomes) == (5, 5, 4)
    assert [str(finding) for finding in check(eventful).findings] == []
    assert (done.kept is None) == (damage == "gone")
    counts = {TrialState.FINISHED: 2, TrialState.FAILED: 1, TrialState.RUNNING: 1, TrialState.PENDING: 1}
    assert eventful.fold().counts() == eventful.fold().head.counts == counts


def test_work_goes_on_with_the_rebuilt_journal(eventful):
    Path(eventful.journal.path).unlink()
    rebuild(eventful)
    give_back(eventful, lambda trial: True, why="test")

    slots = []
    while isinstance(claim := eventful.claim(OWNER), Claim):
        eventful.finish(claim, FINISHED)
        slots.append(claim.slot)

    assert sorted(slots, key=lambda s: s.trial) == [Slot(2, 2), Slot(4, 2), Slot(5, 1)]
    assert not check(eventful).findings


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
    waiter.join(30)

    assert claims[0].slot in (Slot(4, 2), Slot(5, 1))
    assert eventful.fold().trials[claims[0].slot.trial].state is TrialState.RUNNING
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
    assert "journal rebuilt: 3 claims, 3 outcomes of 3 trials recovered" in done.stderr
    assert "journal.log.old-1" in done.stderr
    assert slurmsweep("status", sweep).returncode == 0
