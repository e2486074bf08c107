"""What a message may ask of a machine, and how long it is the machine's alone."""

from __future__ import annotations

import json
import os

import pytest

from slurmsweep.backends.queues import Message, WorkQueue
from slurmsweep.errors import (
    NotFoundError,
    SchedulerUnavailableError,
    SlurmsweepError,
    StateUnreadableError,
    UsageError,
)
from slurmsweep.supervisor.lease import MARGIN, Delivery, Lease
from slurmsweep.supervisor.messages import Allowed, Work, read, work_of


@pytest.mark.parametrize(
    ("body", "sweep"),
    [
        ('{"sweep": "/shared/x", "submission": "slurmsweep-a-1", "n": 3}', "/shared/x"),
        ('{"sweep": "team/proj/k3v9q2xa"}', "team/proj/k3v9q2xa"),
        ("team/proj/k3v9q2xa", "team/proj/k3v9q2xa"),
        ("  k3v9q2xa\n", "k3v9q2xa"),
        ('"k3v9q2xa"', "k3v9q2xa"),
    ],
)
def test_a_message_names_a_sweep_as_ours_do_or_as_bare_text(body, sweep):
    assert read(body) == sweep


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "{",
        "[]",
        "null " * 2,
        "42",
        '["/shared/x"]',
        '{"sweep": 7}',
        '{"sweep": null}',
        '{"sweep": ["/shared/x"]}',
        '{"sweep": ""}',
        '{"submission": "x"}',
        '{"sweep": "/shared/x", "n": true}',
        '{"sweep": "/shared/x", "n": "1; rm -rf /"}',
        '{"sweep": "/shared/x", "command": "rm -rf /"}',
        '{"sweep": "/shared/x", "options": {"time": "9:00:00"}}',
        '{"sweep": "/shared/x", "sweep": "/shared/y"}',
        json.dumps({"sweep": "/shared/\x1b[2Jx"}),
        json.dumps({"sweep": "/shared/x\nSLURMSWEEP=1"}),
        "/shared/\x00x",
        "x" * 1_000_000,
        '{"sweep": ' + "[" * 4000,
        '{"sweep": "/shared/x"} trailing',
    ],
)
def test_another_message_is_refused_and_little_of_it_shown(body):
    with pytest.raises(SlurmsweepError) as caught:
        work_of(read(body), Allowed(("/shared",), "team"))

    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


def test_sweeps_below_the_root_are_worked_for_by_path_and_by_id(make_store, tmp_path):
    store = make_store(3)
    allowed = Allowed((str(tmp_path),))

    assert work_of(store.layout.folder, allowed).argument == store.layout.folder
    assert work_of("abcd1234", allowed).argument == store.layout.folder
    with pytest.raises(NotFoundError, match="no sweep zzzz0000"):
        work_of("zzzz0000", allowed)


def test_no_path_leads_out_of_the_root(make_store, tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    store = make_store(3, root=outside)
    (root / "link").symlink_to(outside)
    (tmp_path / "rooted").symlink_to(outside)
    allowed = Allowed((str(root),))
    name = os.path.basename(store.layout.folder)
    inside = str(root / "link" / ".slurmsweep" / name)

    for folder in (store.layout.folder, inside, f"{root}/../outside/.slurmsweep/{name}", f"{root}//x", str(root)):
        with pytest.raises(UsageError):
            work_of(folder, allowed)
    with pytest.raises(UsageError, match="not below"):  # `root` begins the other name, too
        work_of(str(tmp_path / "rooted" / ".slurmsweep" / name), allowed)


def test_a_folder_that_is_no_sweep_or_another_users_is_refused(make_store, tmp_path):
    allowed = Allowed((str(tmp_path),))
    (tmp_path / "plain").mkdir()
    with pytest.raises(NotFoundError):
        work_of(str(tmp_path / "plain"), allowed)

    store = make_store(3)
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(store.layout.folder, 4242, 4242)
    with pytest.raises(StateUnreadableError):
        work_of(store.layout.folder, allowed)


@pytest.mark.parametrize(
    ("name", "entity", "project", "is_run"),
    [
        ("team/proj/k3v9q2xa", "team", "", True),
        ("team/proj/k3v9q2xa", "team", "proj", True),
        ("team/proj/k3v9q2xa", "team", "other", False),
        ("team/proj/k3v9q2xa", "", "", False),
        ("stranger/proj/k3v9q2xa", "team", "", False),
        ("team/../k3v9q2xa", "team", "", False),
        ("team/--count/k3v9q2xa", "team", "", False),
        ("-team/proj/k3v9q2xa", "-team", "", False),
        ("team/proj/k3v9q2xa;id", "team", "", False),
        ("team/proj", "team", "", False),
        ("k3v9q2xa", "team", "proj", True),
        ("k3v9q2xa", "team", "", False),
    ],
)
def test_sweeps_of_wandb_are_run_of_the_named_entity_and_project_only(name, entity, project, is_run):
    allowed = Allowed(("/nowhere",), entity, project)
    if is_run:
        assert work_of(name, allowed) == Work(f"team/proj/{name.rpartition('/')[2]}", None)
    else:
        with pytest.raises(SlurmsweepError):
            work_of(name, allowed)


def test_a_lease_is_renewed_at_a_third_and_lapses_without_a_word():
    lease = Lease(hidden=120, longest=43_200, began=1000.0)

    assert (lease.due, lease.until) == (1040.0, 1120.0)
    assert not lease.lapsed(1119.9)
    assert lease.lapsed(1120.0)
    lease.extended(1041.0)
    assert (lease.due, lease.until) == (1081.0, 1161.0)
    lease.failed(1081.0)
    assert (lease.due, lease.until) == (1086.0, 1161.0)


def test_a_message_is_let_go_before_the_queue_gives_it_away():
    lease = Lease(hidden=120, longest=43_200, began=0.0)

    assert not lease.must_end(43_200 - MARGIN - 121)
    assert lease.must_end(43_200 - MARGIN - 120)
    assert not Lease(hidden=2, longest=60, began=0.0).must_end(27)
    assert Lease(hidden=2, longest=60, began=0.0).must_end(28)


class Remembered(WorkQueue):
    """A queue that remembers what it was told, and does not answer where a test says so."""

    name, longest = "sweeps", 43_200

    def __init__(self):
        self.told, self.silent, self.has_forgotten = [], False, False

    def receive(self, seconds, hidden):
        raise AssertionError((seconds, hidden))

    def hide(self, message, seconds):
        return self._take(f"hide {message.receipt} {seconds}")

    def delete(self, message):
        return self._take(f"delete {message.receipt}")

    def keeps_refused(self):
        return None

    def _take(self, order):
        if self.silent:
            raise SchedulerUnavailableError("Amazon SQS, ChangeMessageVisibility: no answer")
        self.told.append(order)
        return not self.has_forgotten


@pytest.fixture
def kept():
    """Return a queue, what is said, a message's lease, and a function that lets time pass and keeps the message."""
    queue, said, clock, lease = Remembered(), [], [0.0], Lease(120, 43_200, 0.0)
    delivery = Delivery(Message("", "r1", 1), queue, lease, said.append, lambda: clock[0])

    def keep(moment):
        clock[0] = moment
        delivery.keep()

    return queue, said, lease, keep


def test_a_message_is_kept_every_third_of_its_time_and_deleted_before_twelve_hours(kept):
    queue, said, lease, keep = kept

    for moment in range(0, 43_200, 5):
        keep(float(moment))

    assert queue.told[:2] == ["hide r1 120", "hide r1 120"]
    assert set(queue.told[:-1]) == {"hide r1 120"}
    assert queue.told[-1] == "delete r1"
    assert len(queue.told) == (43_200 - MARGIN - 120) // 40
    assert [line for line in said if "for more than 12 h" in line and "`slurmsweep resubmit`" in line] == said
    assert not lease.is_ours


def test_a_queue_that_does_not_answer_is_asked_again_until_the_message_may_be_anothers(kept):
    queue, said, lease, keep = kept
    queue.silent = True
    for moment in (40.0, 42.0, 45.0, 119.0):
        keep(moment)
    assert len(said) == 3  # at 40, 45 and 119: five seconds lie between two tries at least
    assert lease.is_ours

    queue.silent = False
    keep(125.0)

    assert (queue.told, lease.is_ours) == ([], False)
    assert "another machine may have it" in said[-1]


def test_a_receipt_that_the_queue_does_not_take_any_more_is_used_no_more(kept):
    queue, said, lease, keep = kept
    queue.has_forgotten = True
    keep(40.0)
    keep(80.0)

    assert (queue.told, lease.is_ours) == (["hide r1 120"], False)
    assert said == ["the queue says that the message is not ours any more"]
