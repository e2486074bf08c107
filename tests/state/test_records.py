"""Every kind of record: the bytes that every version so far has written, and back from them."""

from __future__ import annotations

import hashlib

import pytest

from slurmsweep.state import transaction as transactions
from slurmsweep.state.journal import MAX_RECORD, decode
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import (
    ClaimRecord,
    EndRecord,
    OrderRecord,
    RetryRecord,
    SubmitRecord,
    VoidRecord,
)
from slurmsweep.state.repair import _NewJournal
from slurmsweep.state.replay import SweepView
from slurmsweep.state.tail import AttemptId, Head
from slurmsweep.state.transaction import Transaction

OWNER = Owner("n1.cluster", 4711, 99, "boot-id", "4026531836", "n1", "lab", "123", 4, 1, 2)
OUTCOME = Outcome(
    TrialState.FAILED, "exit 3", 3, 0.25, 61.5, 60.25, 512.0, 1700000099.5, {"b": 2.0, "a": 1.5},
    no_metric="c was never logged",
)  # fmt: skip
HEAD = Head(7, 3, {TrialState.RUNNING: 2, TrialState.FAILED: 1}, (AttemptId(1, 2),), exhausted=512)
NAME, TOKEN = "slurmsweep-abcd1234-1", "0123456789abcdef"
OWNED = (
    b'"o":{"boot":"boot-id","cluster":"lab","host":"n1.cluster","job":"123","node":"n1","pid":4711,'
    b'"pid_space":"4026531836","restart":1,"seat":2,"start":99,"task":4}'
)
ENDED = (
    b'"out":{"by":"agent","cause":"exit 3","cpu_seconds":60.25,"ended":1700000099.5,"exit_code":3,"max_rss_mb":512.0,'
    b'"metric":0.25,"metrics":{"a":1.5,"b":2.0},"no_metric":"c was never logged","seconds":61.5,"state":"failed"}'
)
AS_IT_WAS = b'"h":{"c":{"failed":1,"running":2},"e":512,"n":3,"q":[[1,2]],"s":8}'


@pytest.fixture(autouse=True)
def _at_a_certain_time(monkeypatch):
    monkeypatch.setattr(transactions.time, "time", lambda: 1700000000.12345)


def lines(queue, **states: TrialState) -> bytes:
    """Return what a transaction writes after a record with that head, given a view in which ``t<number>`` is in a state."""
    journal = _NewJournal("abcd1234")
    journal.last = {"h": HEAD.to_json()}
    before = len(journal.data)
    view = SweepView() if states else None
    for name, state in states.items():
        attempt = view.attempt(AttemptId(int(name[1:]), 1))
        attempt.outcome = None if state is TrialState.RUNNING else Outcome(state)
    transaction = Transaction(journal, view)
    queue(transaction)
    transaction.commit()
    return bytes(journal.data[before:])


#: What is queued, and its line on disk as the version of November 2026 wrote it.
GOLDEN = {
    "claim of a new trial": (
        lambda t: t.claim(AttemptId(3, 1), TOKEN, OWNER),
        b'e43d04e2 {"a":1,"at":1700000000.123,"h":{"c":{"failed":1,"running":3},"e":512,"n":4,"q":[[1,2]],"s":8},'
        b'"k":"0123456789abcdef",' + OWNED + b',"op":"claim","t":3}\n',
    ),
    "claim of a retry by an agent outside Slurm": (
        lambda t: t.claim(AttemptId(1, 2), TOKEN, Owner("h", 1, 2, "b")),
        (
            b'90384d39 {"a":2,"at":1700000000.123,"h":{"c":{"failed":1,"running":3},"e":512,"n":3,"s":8},'
            b'"k":"0123456789abcdef","o":{"boot":"b","host":"h","pid":1,"pid_space":"","start":2},"op":"claim","t":1}\n'
        ),
    ),
    "end": (
        lambda t: t.end(AttemptId(0, 1), TOKEN, OUTCOME),
        b'61dc8eaa {"a":1,"h":{"c":{"failed":2,"running":1},"e":512,"n":3,"q":[[1,2]],"s":8},"k":"0123456789abcdef",'
        b'"op":"end",' + ENDED + b',"t":0}\n',
    ),
    "end of an attempt whose claim is unknown": (
        lambda t: t.end(AttemptId(0, 1), None, Outcome(TrialState.FINISHED)),
        (
            b'c16c4392 {"a":1,"h":{"c":{"failed":1,"finished":1,"running":1},"e":512,"n":3,"q":[[1,2]],"s":8},"k":null,'
            b'"op":"end","out":{"by":"agent","state":"finished"},"t":0}\n'
        ),
    ),
    "void": (
        lambda t: t.void(AttemptId(2, 1)),
        (
            b'11d2bbce {"a":1,"h":{"c":{"failed":1,"pending":1,"running":1},"e":512,"n":3,"q":[[1,2],[2,2]],"s":8},'
            b'"op":"void","t":2}\n'
        ),
    ),
    "retry": (
        lambda t: t.retry([AttemptId(0, 2), AttemptId(2, 3)], "resubmit"),
        (
            b'0a97a293 {"h":{"c":{"pending":2,"running":1},"e":512,"n":3,"q":[[1,2],[0,2],[2,3]],"s":8},"op":"retry",'
            b'"t":[[0,2],[2,3]],"why":"resubmit"}\n'
        ),
    ),
    "retry with a job of its own": (
        lambda t: t.retry([AttemptId(0, 2)], "requeued", assigned=True),
        (
            b'547b29eb {"h":{"c":{"pending":1,"running":2},"e":512,"n":3,"q":[[1,2]],"s":8},"op":"retry","t":[[0,2]],'
            b'"why":"requeued"}\n'
        ),
    ),
    "retry for an array": (
        lambda t: t.retry([AttemptId(0, 2)], "resubmit", array=NAME),
        (
            b'5092e264 {"for":"slurmsweep-abcd1234-1","h":{"c":{"pending":1,"running":2},"e":512,"n":3,"q":[[1,2]],"s":8},'
            b'"op":"retry","t":[[0,2]],"why":"resubmit"}\n'
        ),
    ),
    "submission announced": (
        lambda t: t.submit(
            SubmitRecord(
                NAME, 5, None, {"time": "60", "exclusive": True}, "array", {"time": "60"}, 4, SweepState.PAUSED, "lab"
            )
        ),
        b'5f93a5f9 {"agents":4,"asked":{"exclusive":true,"time":"60"},"cluster":"lab",' + AS_IT_WAS + b',"job":null,'
        b'"name":"slurmsweep-abcd1234-1","op":"submit","resumes":"paused","tasks":5,"template":"array",'
        b'"wishes":{"time":"60"}}\n',
    ),
    "submission of packed jobs of which the last is not full": (
        lambda t: t.submit(SubmitRecord(NAME, 5, None, agents=4, trials=17)),
        b'74e7b15c {"agents":4,'
        + AS_IT_WAS
        + b',"job":null,"name":"slurmsweep-abcd1234-1","op":"submit","tasks":5,"trials":17}\n',
    ),
    "submission of packed jobs that are full": (
        lambda t: t.submit(SubmitRecord(NAME, 5, None, agents=4, trials=20)),
        b'926f3bcd {"agents":4,' + AS_IT_WAS + b',"job":null,"name":"slurmsweep-abcd1234-1","op":"submit","tasks":5}\n',
    ),
    "submission taken": (
        lambda t: t.submit(SubmitRecord(NAME, 5, "77")),
        b"73fd6ef6 {" + AS_IT_WAS + b',"job":"77","name":"slurmsweep-abcd1234-1","op":"submit","tasks":5}\n',
    ),
    "submission refused": (
        lambda t: t.submit(SubmitRecord(NAME, 5, "")),
        b"0a8f1e73 {" + AS_IT_WAS + b',"job":"","name":"slurmsweep-abcd1234-1","op":"submit","tasks":5}\n',
    ),
    "submission without options": (
        lambda t: t.submit(SubmitRecord(NAME, 5, None, {}, agents=1)),
        b'6f14026d {"asked":{},' + AS_IT_WAS + b',"job":null,"name":"slurmsweep-abcd1234-1","op":"submit","tasks":5,'
        b'"template":null,"wishes":{}}\n',
    ),
    "order": (
        lambda t: t.order(SweepState.CANCELED),
        (
            b'01919894 {"h":{"c":{"failed":1,"running":2},"e":512,"n":3,"q":[[1,2]],"s":8,"w":"canceled"},"op":"sweep",'
            b'"state":"canceled"}\n'
        ),
    ),
    "order to run again": (
        lambda t: t.order(SweepState.RUNNING),
        b"39e04e6c {" + AS_IT_WAS + b',"op":"sweep","state":"running"}\n',
    ),
    "exhausted": (
        lambda t: t.exhausted(4096),
        b'ffe5eaa9 {"h":{"c":{"failed":1,"running":2},"e":4096,"n":3,"q":[[1,2]],"s":8},"op":"exhausted"}\n',
    ),
    "counted": (
        lambda t: t.correct(9, {TrialState.FINISHED: 8}),
        b'f46c5011 {"h":{"c":{"finished":8},"e":512,"n":9,"q":[[1,2]],"s":8},"op":"counted"}\n',
    ),
}
CLASSES = (ClaimRecord, EndRecord, VoidRecord, RetryRecord, SubmitRecord, OrderRecord)


@pytest.mark.parametrize("case", GOLDEN)
def test_a_record_is_written_as_ever(case):
    queue, line = GOLDEN[case]
    before = {"t0": TrialState.FAILED, "t2": TrialState.RUNNING} if case.startswith("retry") else {}

    assert lines(queue, **before) == line


@pytest.mark.parametrize("case", GOLDEN)
def test_a_record_that_was_read_says_what_was_written(case):
    fields = decode(GOLDEN[case][1][:-1])
    for kind in CLASSES:
        if kind.op == fields["op"]:
            assert kind.from_json(fields).to_json() == {k: v for k, v in fields.items() if k not in ("op", "h")}


def test_retries_that_have_no_room_in_the_head_are_written_as_ever():
    def give_back_73(transaction) -> None:
        for some in (range(70), range(70, 73)):
            ids = [AttemptId(number, 2) for number in some]
            transaction.retry(ids, "resubmit")

    written = lines(give_back_73, **{f"t{number}": TrialState.FAILED for number in range(73)})

    digest = "8bb4a07de23a73b4261d35780f91429134381ae7f84448cbe17133a41a423fbc"
    assert (len(written), hashlib.sha256(written).hexdigest()) == (1637, digest)


def announced(options) -> SubmitRecord:
    return SubmitRecord(NAME, 5, None, options, "array", {"time": "60"}, cluster="lab")


@pytest.mark.parametrize("value", ["x" * 4000, "ö" * 1500], ids=["ASCII", "escapes"])
def test_options_that_fit_are_in_the_record_of_the_submission_whole(value):
    line = lines(lambda t: t.submit(announced({"comment": value, "time": "60"})))

    assert len(line) < MAX_RECORD
    assert decode(line[:-1])["asked"] == {"comment": value, "time": "60"}


@pytest.mark.parametrize("value", ["x" * 12500, "ö" * 3000], ids=["ASCII", "escapes"])
def test_of_options_that_do_not_fit_the_record_has_none(value):
    view = SweepView()
    view.apply(decode(lines(lambda t: t.submit(announced({"comment": value, "time": "60"})))[:-1]))

    [known] = view.submissions.values()
    assert (known.asked, known.template, known.wishes, known.cluster) == (None, None, {}, "lab")
