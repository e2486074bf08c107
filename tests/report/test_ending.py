"""What happened, for the user who looks on Monday."""

from __future__ import annotations

import json

import pytest

from slurmsweep.control.round.reconcile import give_back
from slurmsweep.control.session import Session
from slurmsweep.report.ending import ending_document, ending_text
from slurmsweep.report.summary import SweepSummary
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import SubmitRecord
from slurmsweep.state.store import SweepStore


@pytest.fixture
def store(make_store):
    """Five trials: two finish at once, one at its second attempt after its node died, one crashes twice, one fails."""
    store = make_store(5)
    ends = [
        Outcome(TrialState.FINISHED, exit_code=0, ended=1000.0),
        Outcome(TrialState.FINISHED, exit_code=0, ended=1010.0),
        Outcome(TrialState.CRASHED, "node_fail", by="reconcile", ended=1020.0),
        Outcome(TrialState.CRASHED, "lost", by="reconcile", ended=1030.0),
        Outcome(TrialState.FAILED, "exit 3", exit_code=3, ended=1040.0),
    ]
    _run(store, ends)
    give_back(Session(store), lambda trial: trial.number in (2, 3), why="test")
    _run(
        store,
        [
            Outcome(TrialState.FINISHED, exit_code=0, ended=1100.0),
            Outcome(TrialState.CRASHED, "lost", by="reconcile", ended=1110.0),
        ],
    )
    with store.transaction() as transaction:
        transaction.submit(SubmitRecord("slurmsweep-abcd1234-1", 5, "70"))
        transaction.submit(SubmitRecord("slurmsweep-abcd1234-2", 2, ""))
    return store


def _run(store, ends):
    for end in ends:
        claim = store.claim(Owner("vm", 1, 1, "b", node=f"n{end.ended:.0f}"[:3], job="70", task=0))
        store.finish(claim, end)


def document_of(store, **known):
    summary = SweepSummary(store.layout, store.manifest, store.replay(), {})
    return ending_document(summary, **{"accounting": "used", "rounds": 3, **known})


def test_every_end_that_was_no_finish_is_counted_by_its_cause(store):
    document = document_of(store, slurm_says={"NODE_FAIL": 2}, notes=["excluded: n7"])

    assert document["counts"] == {"finished": 3, "crashed": 1, "failed": 1}
    assert (document["attempts"], document["run_again"]) == (7, 2)
    assert document["ends"] == [
        {"state": "crashed", "cause": "lost", "attempts": 2, "trials": [3]},
        {"state": "crashed", "cause": "node_fail", "attempts": 1, "trials": [2]},
        {"state": "failed", "cause": "exit 3", "attempts": 1, "trials": [4]},
    ]
    assert [(trial["trial"], trial["cause"]) for trial in document["unfinished"]] == [(3, "lost"), (4, "exit 3")]
    assert document["arrays"] == [{"job": "70", "tasks": 5}]
    assert json.loads(json.dumps(document)) == document


def test_the_text_says_it_in_words(store):
    text = ending_text(document_of(store, slurm_says={"NODE_FAIL": 2}, notes=["excluded: n7"]))

    assert "3 finished, 1 failed, 1 crashed" in text
    assert "7, of which 2 ran a trial again; 1 array, 3 rounds of mending" in text
    assert "2 crashed, cause unknown: trials 3" in text
    assert "1 crashed, node_fail: trials 2" in text
    assert "jobs that did not complete: 2 NODE_FAIL" in text
    assert "trial 4: failed (exit 3) at attempt 1" in text
    assert "excluded: n7" in text


def test_what_nobody_knows_is_called_unknown(store):
    text = ending_text(document_of(store))

    assert "unknown   the cause of 2 ends" in text
    assert "accounting would tell" not in text


def test_without_accounting_why_an_attempt_was_made_to_end_is_unknown_too(make_store):
    store = make_store(2)
    _run(
        store, [Outcome(TrialState.KILLED, "terminated", ended=1.0), Outcome(TrialState.CRASHED, "timeout", ended=2.0)]
    )

    document = document_of(store, accounting="off")

    assert (document["unknown"], document["unexplained"]) == (0, {"terminated": 1})
    assert "unknown   why these were made to end: 1 terminated" in ending_text(document)
    assert "accounting would tell: off" in ending_text(document)
    assert document_of(store)["unexplained"] == {}


def test_a_sweep_in_which_nothing_went_wrong_says_so(make_store):
    store = make_store(2)
    _run(store, [Outcome(TrialState.FINISHED, exit_code=0, ended=1000.0)] * 2)

    text = ending_text(document_of(store))

    assert "2 finished" in text
    assert "causes    all known" in text
    assert "went wrong" not in text


def test_what_a_cause_does_to_a_terminal_is_not_done(make_store):
    store = make_store(1)
    _run(store, [Outcome(TrialState.FAILED, "exit \x1b[31m", exit_code=1, ended=1000.0)])

    assert "\x1b" not in ending_text(document_of(store))


def test_the_first_claim_and_the_last_end_are_found_without_an_object_for_every_trial(store, monkeypatch):
    trials = store.replay().trials
    ends = [a for trial in trials.values() for a in trial.attempts.values()]
    times = [t for a in ends for t in (a.claimed, a.outcome.ended) if t]
    monkeypatch.setattr(type(trials), "_from_row", None)

    assert len(trials) > len(list(trials.stories()))
    assert trials.times() == (min(times), max(times))


def test_a_sweep_without_a_claim_has_no_first_one(make_store):
    document = document_of(make_store(2))

    assert (document["first_claim"], document["last_end"]) == (None, None)
    assert "  from " not in ending_text(document)


def test_trials_that_were_stopped_early_are_neither_unfinished_nor_something_that_went_wrong(
    slurmsweep, write_sweep, tmp_path
):
    keys = "metric: {name: loss}\nearly_terminate: {type: hyperband, min_iter: 3}"
    sweep = slurmsweep("create", str(write_sweep("pass", extra=keys))).stdout.strip()
    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))
    early = Outcome(TrialState.KILLED, "early_terminate", metric=0.5, ended=1010.0)
    _run(store, [Outcome(TrialState.FINISHED, metric=1.0, ended=1000.0), early, early._replace(metric=2.0)])

    document = document_of(store)

    assert (document["counts"], document["stopped_early"]) == ({"finished": 1, "killed": 2}, 2)
    assert (document["unfinished"], document["ends"], document["attempts"]) == ([], [], 3)
    assert document["best"]["number"] == 1
    text = ending_text(document)
    assert "trials    1 finished, 2 stopped early" in text
    assert "what went wrong" not in text
    shown = slurmsweep("status", sweep).stdout
    assert "1 finished, 2 stopped early" in shown
    assert "state   finished" in shown
    table = slurmsweep("trials", sweep).stdout
    assert table.count("stopped early") == 2
    assert json.loads(slurmsweep("best", sweep, "--json").stdout)["number"] == 1
