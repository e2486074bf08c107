"""Claims: each trial once, whatever dies in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slurmsweep.control.round.reconcile import give_back, reconcile
from slurmsweep.control.session import Session
from slurmsweep.errors import NotFoundError, StateUnwritableError
from slurmsweep.state import files as durable
from slurmsweep.state.check import check
from slurmsweep.state.journal import encode
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Claim, NothingLeft, Owner
from slurmsweep.state.paths import find
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import QUEUE_LIMIT, AttemptId
from slurmsweep.state.view_cache import Follower

OWNER = Owner("node", 1, 1, "boot")
FINISHED = Outcome(TrialState.FINISHED, exit_code=0, ended=1.0)
FAILED = Outcome(TrialState.FAILED, "exit 3", exit_code=3, ended=1.0)

CLAIM_ALL = """
import sys
from pathlib import Path
from slurmsweep.agents.identity import this_process
from slurmsweep.state.owner import Claim
from slurmsweep.state.store import SweepStore
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.lifecycle import TrialState
store = SweepStore.open(sys.argv[1])
while isinstance(claim := store.claim(this_process({})), Claim):
    print(claim.attempt_id.trial, flush=True)
    store.finish(claim, Outcome(TrialState.FINISHED, exit_code=0))
"""


def run_trial(store, outcome=FINISHED) -> AttemptId:
    claim = store.claim(OWNER)
    assert isinstance(claim, Claim)
    store.finish(claim, outcome)
    return claim.attempt_id


def states(store) -> dict:
    return {number: str(trial.state) for number, trial in store.replay().trials.items()}


def test_trials_are_claimed_in_order_and_then_nothing_is_left(make_store):
    store = make_store(3)

    assert [run_trial(store).trial for _ in range(3)] == [0, 1, 2]
    assert store.claim(OWNER) == NothingLeft("every trial has been claimed")
    assert not check(store).findings


def test_eight_processes_claim_every_trial_exactly_once(make_store):
    store = make_store(200)
    workers = [
        subprocess.Popen([sys.executable, "-c", CLAIM_ALL, store.layout.folder], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    claimed = [int(word) for worker in workers for word in worker.communicate()[0].split()]

    assert [worker.returncode for worker in workers] == [0] * 8
    assert sorted(claimed) == list(range(200))
    assert not check(store).findings


def test_with_the_lock_switched_off_still_no_trial_is_run_twice(make_store):
    store = make_store(120)
    unlocked = "import filelock; filelock.lock_descriptor = lambda fd, blocking: True\n" + CLAIM_ALL
    workers = [
        subprocess.Popen([sys.executable, "-c", unlocked, store.layout.folder], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    claimed = [int(word) for worker in workers for word in worker.communicate()[0].split()]

    assert sorted(claimed) == list(range(120))


def test_a_trial_given_back_is_claimed_before_new_ones_as_the_next_attempt(make_store):
    store = make_store(3)
    run_trial(store, FAILED)
    run_trial(store)

    assert give_back(Session(store), lambda trial: True, why="test") == [AttemptId(0, 2)]
    assert states(store) == {0: "pending", 1: "finished"}
    assert run_trial(store) == AttemptId(0, 2)
    assert run_trial(store) == AttemptId(2, 1)
    assert not check(store).findings


def test_finished_trials_are_never_given_back(make_store):
    store = make_store(2)
    run_trial(store)

    assert give_back(Session(store), lambda trial: True, why="test") == []


def test_more_retries_than_the_head_holds_are_all_claimed(make_store):
    many = QUEUE_LIMIT + 30
    store = make_store(many)
    for _ in range(many):
        run_trial(store, FAILED)
    assert len(give_back(Session(store), lambda trial: True, why="test")) == many

    again = [run_trial(store) for _ in range(many)]

    assert sorted(attempt_id.trial for attempt_id in again) == list(range(many))
    assert {attempt_id.attempt for attempt_id in again} == {2}
    assert isinstance(store.claim(OWNER), NothingLeft)


def test_a_stale_head_costs_a_look_and_no_double_run(make_store):
    store = make_store(5)
    before = Path(store.journal.path).read_bytes()
    run_trial(store)
    with open(store.journal.path, "wb") as file:
        file.write(before)  # the file as a client with an old cache sees it

    assert store.claim(OWNER).attempt_id == AttemptId(1, 1)


def test_a_paused_sweep_gives_nothing_out(make_store):
    store = make_store(2)
    with store.transaction() as transaction:
        transaction.order(SweepState.PAUSED)

    assert store.claim(OWNER) == NothingLeft("the sweep is paused", is_ordered=True)


def test_killed_between_folder_and_record_the_trial_is_run_as_the_next_attempt(make_store):
    store = make_store(2)
    script = (
        "import os, signal, sys\n"
        "from slurmsweep.state.store import SweepStore\n"
        "from slurmsweep.state.owner import Owner\n"
        "from slurmsweep.state import files as durable\n"
        "durable.write_whole_unless_folder = lambda path, data, access: os.kill(os.getpid(), signal.SIGKILL)\n"
        "SweepStore.open(sys.argv[1]).claim(Owner('h', 1, 1, 'b'))"
    )
    killed = subprocess.run([sys.executable, "-c", script, store.layout.folder], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert os.path.isdir(store.layout.attempt((0, 1)))

    assert run_trial(store) == AttemptId(1, 1)
    assert [finding.subject for finding in check(store).findings] == ["trial 0 attempt 1"]
    assert reconcile(Session(store)).voided == (AttemptId(0, 1),)
    assert run_trial(store) == AttemptId(0, 2)
    assert not check(store).findings


def test_a_maker_that_was_voided_while_it_slept_takes_another_trial(make_store, monkeypatch):
    store = make_store(2)
    make_folder = durable.make_folder

    def make_and_sleep(path, access):
        make_folder(path, access)
        if path == store.layout.attempt((0, 1)):
            monkeypatch.setattr(durable, "make_folder", make_folder)
            assert store.void(AttemptId(0, 1))  # another process, while this one is stopped

    monkeypatch.setattr(durable, "make_folder", make_and_sleep)

    assert run_trial(store) == AttemptId(1, 1)
    reconcile(Session(store))
    assert run_trial(store) == AttemptId(0, 2)
    assert not check(store).findings


def test_an_attempt_with_an_owner_cannot_be_voided(make_store):
    store = make_store(2)
    claim = store.claim(OWNER)

    assert not store.void(claim.attempt_id)
    assert store.read_owner(claim.attempt_id) == (claim.token, OWNER)


def test_voiding_twice_is_as_good_as_once(make_store):
    store = make_store(2)
    durable.ensure_folders(store.layout.attempt((0, 1)))

    assert store.void(AttemptId(0, 1))
    assert store.void(AttemptId(0, 1))
    assert store.read_owner(AttemptId(0, 1)) is None


def test_killed_between_owner_and_record_the_claim_is_recorded_for_it(make_store):
    store = make_store(2)
    claim = store.claim(OWNER)
    lines = Path(store.journal.path).read_bytes().splitlines(keepends=True)
    Path(store.journal.path).write_bytes(b"".join(lines[:-1]) + encode({"op": "note", "h": {"s": 1, "n": 1}}))

    assert reconcile(Session(store)).voided == ()

    assert store.replay().trials[0].attempts[1].token == claim.token
    assert not check(store).findings


def test_an_attempt_given_up_is_claimed_again_as_the_next(make_store):
    store = make_store(1)
    store.give_up(store.claim(OWNER))

    assert states(store) == {0: "pending"}
    assert run_trial(store) == AttemptId(0, 2)


def test_a_requeued_job_goes_on_with_its_own_trial(make_store):
    store = make_store(5)
    mine = Owner("n1", 10, 1, "b", cluster="lab", job="7", task=3)
    first = store.claim(mine)
    store.claim(OWNER)

    again = store.continue_after_requeue(Owner("n2", 11, 1, "b", cluster="lab", job="7", task=3, restart=1))

    assert again.attempt_id == AttemptId(first.attempt_id.trial, 2)
    assert states(store) == {0: "running", 1: "running"}
    assert store.replay().trials[0].attempts[1].outcome.state is TrialState.PREEMPTED


def test_a_requeued_job_goes_on_although_its_trial_was_recorded_as_terminated(make_store):
    store = make_store(5)
    claim = store.claim(Owner("n1", 10, 1, "b", cluster="lab", job="7", task=3))
    store.finish(claim, Outcome(TrialState.KILLED, "terminated", exit_code=143, ended=1.0))

    again = store.continue_after_requeue(Owner("n2", 11, 1, "b", cluster="lab", job="7", task=3, restart=1))

    assert again.attempt_id == AttemptId(0, 2)
    assert store.replay().head.counts == {TrialState.RUNNING: 1}


def test_a_requeued_job_whose_trial_was_given_to_another_leaves_it_alone(make_store):
    store = make_store(5)
    store.finish(store.claim(Owner("n1", 10, 1, "b", job="7", task=3)), FAILED)
    give_back(Session(store), lambda trial: True, why="test")
    assert store.claim(OWNER).attempt_id == AttemptId(0, 2)

    assert store.continue_after_requeue(Owner("n2", 11, 1, "b", job="7", task=3, restart=1)) is None


def test_a_requeued_job_of_a_canceled_sweep_does_not_go_on(make_store):
    store = make_store(5)
    store.claim(Owner("n1", 10, 1, "b", job="7", task=3))
    with store.transaction() as transaction:
        transaction.order(SweepState.CANCELED)

    assert store.continue_after_requeue(Owner("n2", 11, 1, "b", job="7", task=3, restart=1)) is None


def test_a_requeued_job_whose_trial_finished_takes_a_new_one(make_store):
    store = make_store(5)
    claim = store.claim(Owner("n1", 10, 1, "b", cluster="lab", job="7", task=3))
    store.finish(claim, FINISHED)

    assert store.continue_after_requeue(Owner("n2", 11, 1, "b", cluster="lab", job="7", task=3, restart=1)) is None


@pytest.mark.parametrize("outcome", [FINISHED, FAILED])
def test_a_requeued_job_knows_what_its_agent_wrote_before_its_node_died(make_store, monkeypatch, outcome):
    store, mine = make_store(5), Owner("n1", 10, 1, "b", cluster="lab", job="7", task=3)
    claim = store.claim(mine)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SweepStore, "transaction", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        store.finish(claim, outcome)
    assert states(store) == {0: "running"}

    again = store.continue_after_requeue(mine._replace(host="n2", pid=11, restart=1))

    assert store.replay().trials[0].attempts[1].outcome == outcome
    if outcome is FINISHED:
        assert (again, states(store)) == (None, {0: "finished"})
    else:
        assert (again.attempt_id, states(store)) == (AttemptId(0, 2), {0: "running"})
    assert store.replay().head.counts == {outcome.state if again is None else TrialState.RUNNING: 1}
    assert check(store).findings == ()


def test_an_outcome_in_the_folder_reaches_the_journal_by_reconcile(make_store, monkeypatch):
    store = make_store(1)
    claim = store.claim(OWNER)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SweepStore, "transaction", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        store.finish(claim, FINISHED)
    assert states(store) == {0: "running"}

    reconcile(Session(store))

    assert states(store) == {0: "finished"}
    assert not check(store).findings


def test_a_failed_write_gives_the_folder_back(make_store, monkeypatch):
    store = make_store(1)

    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_all", full)
        with pytest.raises(StateUnwritableError, match="free some space"):
            store.claim(OWNER)

    assert run_trial(store) == AttemptId(0, 1)
    assert not check(store).findings


def test_a_search_without_an_end_always_has_another_trial(make_store):
    store = make_store(None)

    assert [run_trial(store).trial for _ in range(4)] == [0, 1, 2, 3]


def test_shards_keep_folders_small(make_store):
    store = make_store(3000)
    with open(store.journal.path, "ab") as file:
        file.write(encode({"op": "note", "h": {"s": 1, "n": 2999}}))

    run_trial(store)

    assert os.path.isdir(os.path.join(store.layout.folder, "trials", "2", "2999", "1"))


def test_a_follower_reads_only_what_was_added(make_store):
    store = make_store(3)
    follower = Follower(store)
    assert follower.refresh().counts() == {}

    run_trial(store)
    assert follower.refresh().counts() == {TrialState.FINISHED: 1}
    run_trial(store, FAILED)
    assert follower.refresh().counts() == {TrialState.FINISHED: 1, TrialState.FAILED: 1}


@pytest.mark.parametrize("name", ["nothere1", "../abcd", "/nowhere/sweep-x", "ABCD1234", ""])
def test_an_unknown_sweep_is_named_in_the_error(make_store, tmp_path, name):
    make_store(1)

    with pytest.raises(NotFoundError) as error:
        find(name, str(tmp_path))
    assert name in str(error.value)


def test_a_near_miss_of_a_sweep_id_is_suggested(make_store, tmp_path):
    make_store(1)

    with pytest.raises(NotFoundError, match="did you mean abcd1234"):
        find("abcd1235", str(tmp_path))


def test_folders_and_files_are_for_their_owner_only(make_store):
    store = make_store(1)
    attempt_id = run_trial(store)

    modes = {
        os.stat(path).st_mode & 0o777 for path in (store.layout.folder, store.layout.attempt((attempt_id.trial, 1)))
    }
    assert modes == {0o700}
    assert {os.stat(p).st_mode & 0o777 for p in (store.layout.manifest, store.layout.journal)} == {0o600}


def test_a_reading_reads_each_byte_once(make_store):
    store = make_store(5)
    reading = store.reading()
    for _ in range(3):
        store.finish(store.claim(OWNER), FINISHED)
        reading.refresh()
        reading.refresh()

    assert reading.bytes_read == os.path.getsize(store.journal.path)
    assert dict(reading.view.trials) == dict(store.replay().trials)


@pytest.mark.parametrize("how", ["replaced", "cut"])
def test_a_reading_of_a_journal_that_was_replaced_or_cut_starts_again(make_store, how):
    store = make_store(5)
    for _ in range(3):
        store.finish(store.claim(OWNER), FINISHED)
    reading = store.reading()
    reading.refresh()
    content = Path(store.journal.path).read_bytes()
    first = content.index(b"\n", content.index(b'"op":"end"')) + 1
    if how == "replaced":
        Path(store.journal.path).rename(f"{store.journal.path}.old-1")
        Path(store.journal.path).write_bytes(content + content[first:])
    else:
        os.truncate(store.journal.path, first)

    assert dict(reading.refresh().trials) == dict(store.replay().trials)
    assert len(reading.view.trials) == (3 if how == "replaced" else 1)


def test_a_transaction_sees_what_was_written_until_it_has_the_lock(make_store):
    store = make_store(5)
    reading = store.reading()
    reading.refresh()
    claim = store.claim(OWNER)

    with store.transaction(reading) as transaction:
        assert reading.view.trials[0].state is TrialState.RUNNING
        transaction.end(claim.attempt_id, claim.token, Outcome(TrialState.FAILED, "exit 1"))
        transaction.retry([AttemptId(0, 2)], "test")
        assert reading.view.trials[0].state is TrialState.RUNNING  # records are not taken in before they are on disk

    assert store.replay().head.counts == {TrialState.PENDING: 1} == reading.refresh().counts()


def test_a_sweep_that_a_full_disk_keeps_from_being_written_leaves_nothing(write_sweep, tmp_path):
    sweep = write_sweep("pass")
    words = f"ulimit -f 0; exec {sys.executable} -m slurmsweep create {sweep}"  # no file may have a byte more
    done = subprocess.run(["bash", "-c", words], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode, "File too large" in done.stderr) == (5, True), done.stderr
    assert [*tmp_path.glob(".slurmsweep/sweep-*"), *tmp_path.glob("wandb/*")] == []
