"""What a field of a document cannot hold is an error that names the field, and says what would be right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slurmsweep.errors import StateUnreadableError
from slurmsweep.state import files
from slurmsweep.state.check import check
from slurmsweep.state.fields import WrongFieldError, parsed
from slurmsweep.state.journal import encode
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import ClaimRecord, EndRecord, SubmitRecord
from slurmsweep.state.repair import rebuild
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import Head

OWNER = Owner("node", 1, 1, "boot")
FINISHED = Outcome(TrialState.FINISHED, exit_code=0, metric=0.5, ended=1.0)
CLAIM = {"op": "claim", "t": 0, "a": 1, "k": "x", "o": OWNER.to_json()}
END = {"op": "end", "t": 0, "a": 1, "k": "x", "out": FINISHED.to_json()}


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        (ClaimRecord, CLAIM | {"t": None}, "t: null is not a whole number from 0 to 9223372036854775807"),
        (ClaimRecord, CLAIM | {"t": True}, "t: true is not a whole number"),
        (ClaimRecord, CLAIM | {"a": 10**400}, "a: a larger number is not a whole number from 1 to 1000000"),
        (ClaimRecord, CLAIM | {"o": [1]}, "o: a list is not a mapping"),
        (ClaimRecord, CLAIM | {"o": {"pid": "7"}}, 'o.pid: "7" is not a whole number'),
        (ClaimRecord, {k: v for k, v in CLAIM.items() if k != "k"}, "k: is missing"),
        (ClaimRecord, CLAIM | {"p": 3}, "p: 3 is not a mapping"),
        (EndRecord, END | {"out": {"state": "running"}}, "out.state: running is not how an attempt ends"),
        (EndRecord, END | {"out": {"state": "gone"}}, 'out.state: "gone" is not one of pending, running, finished'),
        (
            EndRecord,
            END | {"out": END["out"] | {"metric": float("inf")}},
            "out.metric: Infinity is not a finite number",
        ),
        (EndRecord, END | {"out": END["out"] | {"ended": 1e300}}, "out.ended: 1e+300 is not a number from 0"),
        (SubmitRecord, {"name": "n", "tasks": 1, "job": None, "asked": {"time": 5}}, "asked.time: 5 is not text"),
        (Head, {"s": 1, "n": 10**9}, "n: 1000000000 trials are more than 1 records can claim"),
        (Head, {"s": 1, "q": [[0, 1], [0]]}, "q.1: a list is not a list of 2"),
    ],
)
def test_a_wrong_field_is_named_with_what_would_be_right(kind, data, said):
    with pytest.raises(WrongFieldError) as error:
        kind.from_json(data)

    assert str(error.value).startswith(said)


def test_fields_of_a_newer_version_are_left_out():
    newer = END | {"later": [1], "out": END["out"] | {"later": {}}}

    assert EndRecord.from_json(newer) == EndRecord.from_json(END)


@pytest.mark.parametrize("text", [b'{"a": NaN}', b"[" * 100_000, b"\xff", b"1" * 10_000, b"{"])
def test_text_that_is_no_strict_json_is_one_kind_of_error(text):
    with pytest.raises(WrongFieldError):
        parsed(text)


def wrong(store, record):
    with open(store.journal.path, "ab") as file:
        file.write(encode(record))


def half_run(make_store) -> SweepStore:
    store = make_store(3)
    store.finish(store.claim(OWNER), FINISHED)
    store.claim(OWNER)
    return store


def test_a_record_with_a_wrong_field_is_named_by_its_line_and_changes_nothing(make_store):
    store = half_run(make_store)
    before = store.replay().trials
    wrong(store, END | {"t": 1, "out": {"state": "finished", "exit_code": "0"}})
    wrong(store, CLAIM | {"t": 9})

    assert dict(store.reading().refresh().trials) == dict(before)
    assert next(str(finding).partition(" (")[0] for finding in check(store).findings) == (
        'journal line 5: end record: out.exit_code: "0" is not a whole number from -2147483648 to 2147483647'
    )
    assert store.claim(OWNER).attempt_id == (2, 1)


def test_a_wrong_head_costs_the_head_and_not_its_record(make_store):
    store = half_run(make_store)
    wrong(store, END | {"t": 1, "k": None, "h": {"s": "many", "n": 2}})

    assert store.replay().trials[1].state is TrialState.FINISHED
    assert (
        next(f.problem for f in check(store).findings)
        == 'end record: h.s: "many" is not a whole number from 0 to 9223372036854775807'
    )
    assert store.claim(OWNER).attempt_id == (2, 1)


def test_a_repair_leaves_wrong_records_out_and_takes_what_they_meant_from_the_folders(make_store):
    store = half_run(make_store)
    lines = Path(store.journal.path).read_bytes().splitlines(keepends=True)
    lines[2] = encode(json.loads(lines[2][9:]) | {"out": None})
    Path(store.journal.path).write_bytes(b"".join(lines))
    assert store.replay().trials[0].state is TrialState.RUNNING

    rebuild(store)

    assert store.replay().trials[0].state is TrialState.FINISHED
    assert check(store).findings == ()


def test_a_trial_whose_outcome_is_damaged_is_left_alone_and_the_others_are_shown(make_store, slurmsweep, monkeypatch):
    store = make_store(3)
    claim = store.claim(Owner("node", 1, 1, "boot", job=None))
    durable = store.layout.outcome(claim.attempt_id)
    files.replace(durable, b'{"state": "finished", "metric": "good"}')

    done = slurmsweep("status", "abcd1234", "--json")
    again = slurmsweep("reconcile", "abcd1234")

    assert json.loads(done.stdout)["counts"]["running"] == 1
    assert 'outcome.json is damaged: metric: "good" is not a finite number' in again.stderr
    assert slurmsweep("check", "abcd1234").returncode == 1
    assert store.claim(OWNER).attempt_id == (1, 1)


def test_of_several_sweeps_one_that_cannot_be_read_costs_its_own_line(make_store, slurmsweep):
    for number in range(10):
        store = make_store(3, sweep_id=f"abcd000{number}")
    document = json.loads(Path(store.layout.manifest).read_text())
    files.replace(store.layout.manifest, json.dumps(document | {"id": 7}).encode())

    done = slurmsweep("ls", "--json")

    rows = json.loads(done.stdout)
    assert (done.returncode, len(rows)) == (5, 10)
    assert [row["id"] for row in rows if row["error"]] == ["abcd0009"]
    assert done.stderr.count("\n") == 1
    assert "sweep abcd0009: " in done.stderr
    assert "sweep.json is damaged: id: 7 is not text" in done.stderr


def test_a_document_of_a_submission_that_is_damaged_is_named_by_the_check(make_store):
    store = make_store(3)
    files.ensure_folder(store.layout.submissions)
    files.replace(f"{store.layout.submissions}/n.json", b'{"name": "n", "sweep": "s", "tasks": -1}')

    assert "submissions/n.json is damaged: width: is missing" in check(store).findings[0].problem


def test_a_frozen_configuration_that_was_changed_is_an_error_of_the_state(make_store):
    store = make_store(3)
    document = json.loads(Path(store.layout.manifest).read_text())
    document["config"]["method"] = "gird"
    files.replace(store.layout.manifest, json.dumps(document).encode())

    with pytest.raises(StateUnreadableError, match=r"sweep\.json is damaged: config: method: 'gird' is not a method"):
        SweepStore.open(store.layout.folder)
