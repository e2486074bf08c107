"""Each state that a process can leave behind between two steps; also where it only sleeps there, and wakes up later."""

from __future__ import annotations

import functools
import json
import os
import shutil

import pytest
from faults import tracer
from faults.promise import FINISHED, OWNER, TALLY, finished, go_on, one_trial, prove, run_to_the_end

from slurmsweep.state import files as durable
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.owner import Claim


@pytest.fixture(autouse=True)
def _count():
    TALLY.faults += 1


def test_a_folder_without_a_record(make_store):
    store = make_store(3)
    durable.ensure_folders(store.layout.attempt((0, 1)))

    run_to_the_end(store)

    prove(store, [], "folder without record")
    assert store.replay().trials[0].newest == 2


def test_an_owner_without_a_record(make_store):
    store = make_store(3)
    durable.ensure_folders(store.layout.attempt((0, 1)))
    document = {"token": "0" * 16, "owner": OWNER.to_json()}
    durable.write_new(store.layout.owner((0, 1)), json.dumps(document).encode())

    go_on(store)

    assert store.replay().trials[0].state is TrialState.RUNNING  # only that owner's machine, or Slurm, can tell


def test_a_record_without_an_outcome(make_store):
    """Its process is gone: it was killed while the trial ran."""
    store = make_store(3)

    def claim_and_die(say):
        from slurmsweep.agents.identity import this_process

        say(f"claimed {store.claim(this_process({})).attempt_id.trial}")

    tracer.trace(claim_and_die)
    run_to_the_end(store)

    prove(store, [], "record without outcome")
    assert store.replay().trials[0].newest == 2


def test_an_outcome_without_a_record(make_store):
    """It was killed, or found the disk full, just before the end record: what the folder says stands."""
    store = make_store(3)
    claim = store.claim(OWNER)
    store.write_outcome(claim, FINISHED)

    run_to_the_end(store)

    prove(store, [claim.attempt_id.trial], "outcome without record")


def test_a_folder_that_was_removed_by_hand(make_store):
    """Nothing is made up: check says that it is gone."""
    from slurmsweep.state.check import check

    store = make_store(2)
    store.finish(store.claim(OWNER), FINISHED)
    shutil.rmtree(store.layout.attempt((0, 1)))

    assert "its folder is gone" in str(check(store).findings[0])


@pytest.mark.skipif(not tracer.SUPPORTED, reason="tests/faults/tracer.py knows Linux on x86-64 only")
@pytest.mark.parametrize("place", ["attempt", "owner"])
def test_a_maker_that_slept_there_and_woke_up_later(make_store, place):
    """Stopped with its folder made, or with its owner file made, for as long as others needed to finish everything."""
    store = make_store(4)
    path = getattr(store.layout, place)((0, 1))
    sleeper = tracer.stop_after(functools.partial(two_trials, store), functools.partial(os.path.exists, path))
    released = store.journal.path  # the sleeper holds the lock: what others do is only possible where it does not work
    os.rename(released, released + ".locked")
    shutil.copyfile(released + ".locked", released)

    run_to_the_end(store)
    tracer.wake(sleeper)

    assert os.waitstatus_to_exitcode(sleeper.status) == 0
    run_to_the_end(store)
    prove(store, finished(sleeper.said), f"slept after {place}")


def two_trials(store, say) -> None:
    one_trial(store, say)
    one_trial(store, say)


def test_nothing_waits_for_ever(make_store):
    """After all of these, the next claim is answered."""
    store = make_store(1)
    store.finish(store.claim(OWNER), FINISHED)

    assert not isinstance(store.claim(OWNER), Claim)
