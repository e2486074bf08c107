"""What the live view gathers: when the queue is asked, which histories are read, what it tells of time. A fake clock."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from threading import Event

import pytest
from fake_backend import FakeBackend
from submitting import on_backend

from slurmsweep.backends.base import JobStatus, Wait
from slurmsweep.backends.keys import JobRef
from slurmsweep.cli import watching
from slurmsweep.control.jobs.supervisor_status import SupervisorStatus
from slurmsweep.control.views import live_view
from slurmsweep.control.views.live_view import LiveView
from slurmsweep.errors import NotFoundError
from slurmsweep.report.live import compose, plain
from slurmsweep.report.live_choice import LiveChoice, Sort
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import SubmitRecord
from slurmsweep.state.store import SweepStore
from slurmsweep.state.supervisor_files import SupervisorFiles, SupervisorSettings
from slurmsweep.sweepfile.config import check

TRIALS = 40
WAITS = JobStatus("PENDING", True, None, "", None, "", "squeue", waits=True)


class Watched:
    """A sweep of forty trials whose array was submitted with an hour each, its scheduler, and a view with a clock."""

    def __init__(self, folder: Path) -> None:
        data = {"method": "grid", "program": "t.py", "metric": {"name": "loss"}}
        config = check(data | {"parameters": {"x": {"min": 0, "max": TRIALS - 1}}}, "t").config
        self.store = SweepStore.create(str(folder), Manifest("abcd1234", config, TRIALS, str(folder), "t", 0.0, "0"))
        with self.store.transaction() as transaction:
            transaction.submit(SubmitRecord("slurmsweep-abcd1234-1", TRIALS, "7", {"time": "60"}))
        self.backend = FakeBackend()
        self.backend.tasks = {JobRef("7", task): WAITS for task in range(TRIALS)}
        self.now = 1_000_000.0
        self.view = LiveView(on_backend(self.store, self.backend), "abcd1234", clock=lambda: self.now)
        self.choice = LiveChoice()

    def start(self, trials: int) -> list:
        claims = []
        for _ in range(trials):
            task = len(self.store.reading().refresh().trials)
            claim = self.store.claim(Owner("elsewhere", 1, 1, "boot", node=f"n{task % 3}", job="7", task=task))
            self.backend.tasks[JobRef("7", task)] = JobStatus(
                "RUNNING", True, None, "", None, "n1", "squeue", minutes=60.0 if task % 2 else 30.0
            )
            claims.append(claim)
        return claims

    def end(self, claim, ago: float, **outcome) -> None:
        self.store.finish(
            claim, Outcome(**{"state": TrialState.FINISHED, "ended": self.now - ago, "seconds": 1.0} | outcome)
        )

    def look(self, after: float = 0.0, height: int = 5):
        self.now += after
        return self.view.gather(self.choice, 80, height)

    @property
    def questions(self) -> int:
        return self.backend.said.count("poll")


@pytest.fixture
def watched(tmp_path, monkeypatch):
    watched = Watched(tmp_path)
    # claims have the time of the test's clock
    monkeypatch.setattr(time, "time", lambda: watched.now)
    return watched


def test_the_queue_is_asked_once_a_period_and_less_often_while_nothing_happens(watched):
    watched.start(3)
    seconds = []
    for second in range(0, 601, 2):
        before = watched.questions
        watched.look(2 if second else 0)
        if watched.questions != before:
            seconds.append(second)

    # 15 s after what was new, then twice as long each time, up to a minute; the looks are two seconds apart
    assert seconds == [0, 16, 46, 106, 166, 226, 286, 346, 406, 466, 526, 586]

    claim = watched.start(1)[0]
    watched.end(claim, 0.0)
    before = watched.questions
    for _ in range(45):
        watched.look(2)
    assert 2 <= watched.questions - before <= 4  # one that was due, and the next ones sooner


def test_the_screen_says_how_old_the_queues_answer_is(watched):
    watched.start(2)
    assert watched.look().queue[:3] == ({"running": 2, "pending": 38}, 0.0, 15.0)
    assert watched.look(4).queue[:3] == ({"running": 2, "pending": 38}, 4.0, 11.0)


def test_the_screen_says_why_the_first_job_waits(watched):
    watched.start(2)
    name = "slurmsweep-abcd1234-1"
    why = {"reason": "Priority", "wait": Wait("jobs of higher priority come first"), "name": name}
    watched.backend.tasks |= {JobRef("7", task): WAITS._replace(**why) for task in range(2, TRIALS)}

    assert watched.look().queue.waits == "jobs of higher priority come first (Priority)"


def test_a_scheduler_that_does_not_answer_is_said_and_asked_again_later(watched):
    watched.start(2)
    watched.look()
    watched.backend.silent = 1
    state = watched.look(16)
    assert "shown as the journal last knew them" in state.notes[0]
    assert (state.counts["running"], state.queue.next_in) == (2, 60.0)
    assert watched.look(61).notes == ()


def test_a_trial_that_was_claimed_after_the_answer_is_not_taken_for_lost(watched):
    watched.start(1)
    watched.look()
    watched.start(1)
    del watched.backend.tasks[JobRef("7", 1)]
    assert watched.look(2).counts == {"running": 2, "pending": 38}
    assert watched.look(14).counts == {"running": 1, "crashed": 1, "pending": 38}


def test_histories_are_read_of_the_trials_on_the_screen_only(watched, monkeypatch):
    for claim in watched.start(20):
        Path(watched.store.layout.history(claim.attempt_id)).write_text('{"_step": 0, "loss": 0.5}\n')
    read = []
    real = live_view._Values.read
    monkeypatch.setattr(
        live_view._Values, "read", lambda values, row: read.append(row.trial.number) or real(values, row)
    )

    state = watched.look(height=4)

    assert len(read) == len(state.running) == 4
    assert len(state.order) == 20
    assert {row.trial.metric for row in state.running} == {0.5}
    assert {row.curve for row in state.running} == {(0.5,)}


def test_what_a_trial_logs_is_followed_and_nan_is_shown(watched):
    history = Path(watched.store.layout.history(watched.start(1)[0].attempt_id))
    history.write_text('{"_step": 0, "loss": 0.5}\n')
    assert watched.look().running[0].trial.metric == 0.5
    with history.open("a") as file:
        file.write('{"_step": 1, "loss": NaN}\n')
    [row] = watched.look(2).running
    assert row.trial.metric != row.trial.metric
    assert row.curve == (0.5,)


def test_those_nearest_to_their_limit_come_first_and_other_orders_are_chosen(watched):
    watched.start(4)
    state = watched.look(900)
    assert state.order == (0, 2, 1, 3)  # half an hour, and an hour
    assert [row.share for row in state.running] == [0.5, 0.5, 0.25, 0.25]
    watched.choice = LiveChoice(sort=Sort.NUMBER)
    assert watched.look().order == (0, 1, 2, 3)
    watched.choice = LiveChoice(sort=Sort.NODE)
    assert watched.look().order == (0, 3, 1, 2)
    watched.choice = LiveChoice(where="x>=2")
    assert watched.look().order == (2, 3)
    watched.choice = LiveChoice(where="n1")
    assert watched.look().order == (1,)
    watched.choice = LiveChoice(where="y>1")
    assert watched.look().notes[0].startswith("filter: trials of this sweep have no 'y'")


def test_time_left_is_a_range_of_the_last_hours_rate_and_none_before_five_have_ended(watched):
    claims = watched.start(24)
    watched.now += 2 * 3600
    for claim in claims[:4]:
        watched.end(claim, 60.0)
    assert watched.look().left is None
    for claim in claims[4:20]:
        watched.end(claim, 120.0)
    state = watched.look(31)
    assert state.rate == pytest.approx(20.0)
    low, high = state.left  # 20 trials are left, at 20 an hour
    assert low == pytest.approx(3600 / (1 + 1.28 / 20**0.5))
    assert high == pytest.approx(3600 / (1 - 1.28 / 20**0.5))


def test_where_few_ended_in_the_last_hour_more_hours_count(watched):
    claims = watched.start(10)
    watched.now += 8 * 3600
    for claim in claims[:5]:
        watched.end(claim, 3 * 3600.0)
    assert watched.look().rate == pytest.approx(5 / 4)


def test_best_so_far_and_failures_are_told(watched):
    for number, claim in enumerate(watched.start(6)):
        Path(watched.store.layout.log(claim.attempt_id)).write_text("ValueError: too large\n")
        ended = {"state": TrialState.FAILED, "cause": "exit 1", "exit_code": 1} if number > 3 else {}
        # trial 3 ends first, trial 0 last
        watched.end(claim, 100.0 + number, metric=[5.0, 7.0, 3.0, 4.0, None, None][number], **ended)
    state = watched.look()
    assert state.best_so_far == (4.0, 3.0, 3.0, 3.0)
    assert (state.best[0].number, state.best[0].metric) == (2, 3.0)
    [group] = state.failures
    assert (group.trials, group.error, group.nodes) == ((4, 5), "ValueError: too large", ("n1", "n2"))
    assert state.again == ("not run again by itself",)


def test_of_a_sweep_with_a_supervisor_the_retry_policy_says_what_runs_again(watched):
    SupervisorFiles(watched.store.layout, watched.store.access).ask_for(SupervisorSettings(rules={"max_attempts": 2}))
    for number, claim in enumerate(watched.start(7)):
        Path(watched.store.layout.log(claim.attempt_id)).write_text("ValueError: too large\n")
        ends = {
            3: {"state": TrialState.CRASHED, "cause": "node_fail"},
            4: {"state": TrialState.KILLED, "cause": "cancelled"},
        }
        failed = {"state": TrialState.FAILED, "cause": "exit 1", "exit_code": 1}
        watched.end(claim, 100.0, **ends.get(number, failed if number < 3 else {"metric": 1.0}))
    state = watched.look()

    assert [(group.trials, again) for group, again in zip(state.failures, state.again, strict=True)] == [
        ((0, 1, 2), "not run again: fail alike"),
        ((3,), "run again"),
        ((4,), "not run again"),
    ]
    line = next(line for line in plain(compose(state, watched.choice, 140, 40)).split("\n") if "node_fail" in line)
    assert line == "   1 x node_fail  (trial 3 on n0; run again)"


def test_while_the_clusters_name_is_looked_for_the_view_goes_on(watched, monkeypatch):
    """It hangs where no file names the cluster and the controller does not answer."""
    answers = Event()
    monkeypatch.setattr(watched.backend, "cluster", lambda *_: answers.wait(120) and "here")
    watched.start(2)
    watched.view = LiveView(
        on_backend(watched.store, watched.backend), "abcd1234", in_background=True, clock=lambda: watched.now
    )

    assert watched.look().order == (0, 1)
    assert watched.look(60).queue.age is None
    assert watched.questions == 0
    answers.set()
    deadline = time.monotonic() + 60
    while not watched.questions and time.monotonic() < deadline:
        watched.look(1)
    assert watched.questions == 1


@pytest.mark.parametrize("order", [None, SweepState.PAUSED])
def test_without_a_terminal_a_sweep_at_rest_is_told_and_is_the_end(watched, capsys, order):
    [claim] = watched.start(1)
    watched.end(claim, 1.0, metric=2.0)
    watched.backend.tasks = {}
    if order:
        with watched.store.transaction() as transaction:
            transaction.order(order)
    looks = []

    def sleep(_seconds):
        looks.append(watched.now)
        watched.now += 5

    state = watching.in_lines(watched.view, sleep)

    assert (state.is_over, state.rests, len(looks)) == (False, True, 3)
    standing, command = ("paused", "resume") if order else ("idle", "run")
    first, *_, told, following = capsys.readouterr().out.splitlines()
    assert first == f"sweep abcd1234 {standing}; 1 finished, 39 pending; best loss 2 in trial 0"
    assert told == "nothing runs and nothing waits"
    assert following.startswith(f"next: `slurmsweep {command} abcd1234")


@pytest.mark.parametrize("waits", [("8",), None])
def test_a_sweep_whose_supervisor_waits_or_may_wait_is_not_at_rest(watched, monkeypatch, waits):
    [claim] = watched.start(1)
    watched.end(claim, 1.0)
    watched.backend.tasks = {}
    told = [SupervisorStatus(1, False, waits, "", None), SupervisorStatus(1, False, (), "", None)]
    monkeypatch.setattr(live_view, "supervisor_status", lambda session: told.pop(0))

    at_rest = [watched.view.is_at_rest(watched.look(after)) for after in (0, 15, 30, 29, 1)]

    assert at_rest == [False, False, False, False, True]


def test_the_end_of_a_sweep_is_the_end_of_the_view_and_its_exit_code(watched):
    claims = watched.start(TRIALS)
    for claim in claims[1:]:
        watched.end(claim, 1.0)
    assert not watched.look().is_over
    watched.end(claims[0], 0.0, state=TrialState.FAILED, cause="exit 3", exit_code=3)
    state = watched.look(2)
    assert (state.is_over, state.exit_code, state.standing) == (True, 1, "finished")


def test_a_removed_sweep_is_said(watched):
    watched.look()
    shutil.rmtree(watched.store.layout.folder)
    with pytest.raises(NotFoundError, match="was removed"):
        watched.look(2)
