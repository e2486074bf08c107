"""``check`` names everything that is not as it should be, and finds nothing in a sound sweep."""

from __future__ import annotations

import shutil

from slurmsweep.state import files as durable
from slurmsweep.state.check import check
from slurmsweep.state.journal import encode
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.tail import AttemptId

OWNER = Owner("node", 1, 1, "boot")
FINISHED = Outcome(TrialState.FINISHED, exit_code=0, ended=1.0)


def run_trial(store) -> AttemptId:
    claim = store.claim(OWNER)
    store.finish(claim, FINISHED)
    return claim.attempt_id


def problems(store) -> list[str]:
    return [f"{finding.subject}: {finding.problem}" for finding in check(store).findings]


def write_line(store, data: bytes) -> None:
    with open(store.journal.path, "ab") as file:
        file.write(data)


def test_a_sound_sweep_has_nothing_to_report(make_store):
    store = make_store(3)
    run_trial(store)
    store.claim(OWNER)

    report = check(store)

    assert (report.findings, report.trials, report.attempts) == ((), 2, 2)


def test_a_damaged_line_is_named_with_its_number(make_store):
    store = make_store(3)
    run_trial(store)
    write_line(store, b"rubbish\n")

    assert problems(store) == ["journal line 4: not a whole record"]


def test_a_folder_without_a_claim_is_found(make_store):
    store = make_store(3)
    durable.ensure_folders(store.layout.attempt((2, 1)))

    assert problems(store) == ["trial 2 attempt 1: its folder is there, but the journal has no claim of it"]


def test_a_trial_that_the_journal_went_past_is_found(make_store):
    store = make_store(3)
    write_line(store, encode({"op": "note", "h": {"s": 1, "n": 1}}))

    assert problems(store) == ["trial 0 attempt 1: the journal went past it and no agent claimed it"]


def test_a_removed_folder_is_found(make_store):
    store = make_store(3)
    attempt_id = run_trial(store)
    shutil.rmtree(store.layout.trial(attempt_id.trial))

    assert problems(store) == ["trial 0 attempt 1: the journal knows it, but its folder is gone"]


def test_an_outcome_that_the_journal_does_not_have_is_found(make_store):
    store = make_store(3)
    claim = store.claim(OWNER)
    durable.replace(store.layout.outcome((0, 1)), b'{"state": "finished", "token": "x"}')

    assert problems(store) == ["trial 0 attempt 1: its folder says finished, the journal does not"]
    assert claim.attempt_id == AttemptId(0, 1)


def test_a_double_claim_is_found(make_store):
    store = make_store(3)
    run_trial(store)
    write_line(store, encode({"op": "claim", "t": 0, "a": 1, "k": "other", "o": OWNER.to_json()}))

    assert problems(store) == ["trial 0 attempt 1: claimed 2 times"]


def test_a_trial_that_finished_twice_is_found(make_store):
    store = make_store(3)
    run_trial(store)
    durable.make_folder(store.layout.attempt((0, 2)))
    durable.replace(store.layout.outcome((0, 2)), b'{"state": "finished", "token": "x"}')
    write_line(store, encode({"op": "claim", "t": 0, "a": 2, "k": "x", "o": OWNER.to_json()}))
    write_line(store, encode({"op": "end", "t": 0, "a": 2, "k": "x", "out": FINISHED.to_json()}))

    assert problems(store) == ["trial 0: finished more than once: attempts [1, 2]"]


def test_a_trial_beyond_the_grid_is_found(make_store):
    store = make_store(1)
    durable.ensure_folders(store.layout.attempt((7, 1)))
    write_line(store, encode({"op": "claim", "t": 7, "a": 1, "k": "x", "o": OWNER.to_json()}))

    assert problems(store) == ["trial 7: the last trial of the sweep is 0"]
