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
from slurmsweep.supervisor.delivery import MARGIN, Delivery
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


class Kept:
    """One delivery, the orders that its queue got, and what was said; a test lets time pass."""

    def __init__(self, queue, hidden=120):
        self.queue, self.said, self.time = queue, [], 0.0
        self.delivery = Delivery(Message("", "r1", 1), queue, hidden, 0.0, self.said.append, lambda: self.time)

    def keep(self, moment):
        self.time = moment
        self.delivery.keep()


@pytest.fixture
def kept():
    """Return a queue, what is said, a message's delivery, and a function that lets time pass and keeps the message."""
    made = Kept(Remembered())
    return made.queue, made.said, made.delivery, made.keep


def test_a_message_is_ours_up_to_the_end_of_its_time_without_a_word(kept):
    queue, _, delivery, keep = kept
    assert (delivery.due, delivery.until) == (40.0, 120.0)
    keep(41.0)
    assert (delivery.due, delivery.until) == (81.0, 161.0)
    queue.silent = True
    keep(81.0)
    assert (delivery.due, delivery.until) == (86.0, 161.0)
    queue.silent = False
    keep(160.9)
    assert delivery.is_ours
    keep(280.9)
    assert not delivery.is_ours


@pytest.mark.parametrize(("hidden", "longest", "last"), [(120, 43_200, 43_200 - MARGIN - 121), (2, 60, 27)])
def test_a_message_is_let_go_before_the_queue_gives_it_away(hidden, longest, last):
    queue = Remembered()
    queue.longest = longest
    made = Kept(queue, hidden)
    for moment in range(last + 1):
        made.keep(float(moment))
    assert made.delivery.is_ours
    made.keep(last + 1.0)
    assert (queue.told[-1], made.delivery.is_ours) == ("delete r1", False)


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
