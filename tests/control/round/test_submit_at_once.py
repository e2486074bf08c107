"""Commands that submit jobs for new trials at the same moment: as many jobs as there are trials, and no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from backends import played_slurm
from cluster.waiting import wait_until
from fake_backend import FakeBackend
from submitting import on_backend

from slurmsweep import search
from slurmsweep.backends.base import SubmitOptions
from slurmsweep.control.round.apply import apply, words_of_others
from slurmsweep.control.round.batch import JobBatch, PlanBasis
from slurmsweep.control.round.decide import Plan, Policy, decide
from slurmsweep.control.round.events import ignore
from slurmsweep.control.round.observe import observe
from slurmsweep.control.round.reconcile import record_job, recover_submissions
from slurmsweep.control.round.retry_policy import RetryPolicy
from slurmsweep.errors import JobLimitError, StateUnreadableError, SubmissionRefusedError
from slurmsweep.sizing.walltime import AutoSizing
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Claim, Owner
from slurmsweep.state.records import BandsReached, SubmitRecord
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.config import check

ME = Owner("here", 1, 1, "b")
GRID = {"method": "grid", "parameters": {"x": {"values": list(range(20))}}}
METRIC = {"metric": {"name": "loss"}}
RANDOM = {"method": "random", "parameters": {"x": {"min": 0.0, "max": 1.0}}}
SWEEPS = {
    "grid": GRID,
    "random with run_cap": {**RANDOM, "run_cap": 20},
    "bayes with run_cap": {**RANDOM, **METRIC, "method": "bayes", "run_cap": 20},
    "repeats": {**RANDOM, **METRIC, "run_cap": 10, "slurmsweep": {"repeats": {"parameter": "seed", "values": [1, 2]}}},
    "rungs": {**GRID, **METRIC, "slurmsweep": {"rungs": {"steps": [1, 3, 9]}}},
}


@pytest.fixture
def backend():
    return FakeBackend()


@pytest.fixture
def sweep(tmp_path):
    """Make a sweep of a document."""

    def make(document) -> SweepStore:
        config = check({"program": "x.py", **document}, "t").config
        trials = search.run_count(config)
        return SweepStore.create(str(tmp_path), Manifest("abcd1234", config, trials, str(tmp_path), "t", 0.0, "0"))

    return make


def looked(store, backend, policy=None):
    """Return what a command does that has looked at the sweep now, to be called later."""
    policy = policy or Policy(SubmitOptions(options={"time": "90"}))
    session = on_backend(store, backend)
    plan = decide(observe(session, policy, ignore), policy)
    return lambda: apply(session, plan, ignore)


def jobs(backend) -> int:
    return sum(request.tasks for request in backend.requests.values())


@pytest.mark.parametrize("kind", SWEEPS)
def test_of_two_commands_that_looked_before_either_asked_one_makes_the_jobs(sweep, backend, kind):
    store = sweep(SWEEPS[kind])
    first, second = looked(store, backend), looked(store, backend)

    assert first().trials == 20
    late = second()

    assert (late.trials, late.left_to_others, late.kept_back) == (0, 20, 0)
    assert words_of_others(late) == (
        "20 trials were left out: another command has asked for jobs for as many since this one looked at the sweep"
    )
    assert jobs(backend) == 20
    assert looked(store, backend)().trials == 0  # the jobs that wait are counted from now on


@pytest.mark.parametrize(("counts", "asked"), [((6, 6), [6, 6]), ((12, 12), [12, 8]), ((20, 5), [20, 0])])
def test_a_number_that_is_given_is_kept_to_as_far_as_trials_are_open(sweep, backend, counts, asked):
    store = sweep(GRID)
    commands = [looked(store, backend, Policy(count=count)) for count in counts]

    assert [command().trials for command in commands] == asked


def test_a_number_and_all_the_rest(sweep, backend):
    store = sweep(GRID)
    some, rest = looked(store, backend, Policy(count=6)), looked(store, backend)

    assert (some().trials, rest().trials) == (6, 14)


def test_of_a_search_without_an_end_both_numbers_are_wanted(sweep, backend):
    store = sweep(RANDOM)
    commands = [looked(store, backend, Policy(count=6)) for _ in range(2)]

    assert [command().trials for command in commands] == [6, 6]


def test_of_a_search_without_an_end_a_goal_bounds_what_supervisors_submit(sweep, backend):
    store = sweep(RANDOM)
    commands = [looked(store, backend, Policy(goal=6)) for _ in range(2)]

    assert [command().trials for command in commands] == [6, 0]


@pytest.mark.parametrize("count", [None, 4])
def test_jobs_for_certain_new_trials_are_made_once(sweep, backend, count):
    """Where time is learnt each job is for one certain trial, and both commands chose the same ones."""
    store = sweep(GRID)
    commands = [looked(store, backend, Policy(count=count, sizing=AutoSizing())) for _ in range(2)]

    first, second = (command() for command in commands)

    named = [a for request in backend.requests.values() for a in request.attempt_ids]
    assert first.trials > 0
    assert (second.trials, second.left_to_others) == (0, first.trials)
    assert len(named) == len(set(named)) == first.trials


def test_a_job_for_a_certain_trial_that_an_agent_has_claimed_since_is_not_made(sweep, backend):
    store, policy = sweep(GRID), Policy(count=4, sizing=AutoSizing())
    session = on_backend(store, backend)
    plan = decide(observe(session, policy, ignore), policy)
    planned = {a for batch in plan.batches for a in batch.attempt_ids}
    claimed = store.claim(ME).attempt_id

    apply(session, plan, ignore)

    assert claimed in planned
    assert len(planned) > 1
    assert {a for request in backend.requests.values() for a in request.attempt_ids} == planned - {claimed}


def test_trials_that_run_again_and_new_ones_get_a_job_each(sweep, backend):
    store = sweep(GRID)
    for _ in range(3):
        store.finish(store.claim(ME), Outcome(TrialState.CRASHED, "timeout", ended=1.0))
    again = Policy(retry=RetryPolicy(plain=True), reopen=True)
    commands = [looked(store, backend, again), looked(store, backend), looked(store, backend, again)]

    results = [command() for command in commands]

    assert [result.trials for result in results] == [20, 0, 0]
    assert jobs(backend) == 20


def test_trials_that_go_on_to_their_next_rung_beside_new_ones(sweep, backend):
    store = sweep(SWEEPS["rungs"])
    for number in range(9):
        values = ((1, float(number)),)
        ended = Outcome(TrialState.FINISHED, "rung 1", exit_code=0, metric=float(number), ended=1.0)
        store.finish(store.claim(ME), ended, BandsReached(values, values))
    commands = [looked(store, backend) for _ in range(2)]

    results = [command() for command in commands]

    assert [result.trials for result in results] == [3 + 11, 0]
    assert jobs(backend) == 3 + 11


def test_jobs_that_run_several_trials_are_counted_by_these(sweep, backend):
    backend.agents = 4
    store = sweep(GRID)
    commands = [looked(store, backend, Policy(count=8)), looked(store, backend)]

    results = [command() for command in commands]

    assert [(result.trials, jobs) for result, jobs in zip(results, (2, 3), strict=True)] == [(8, 2), (12, 3)]
    assert [request.tasks for request in backend.requests.values()] == [2, 3]


def test_the_last_of_several_packed_jobs_may_not_be_full(sweep, backend):
    backend.agents = 4
    store = sweep(GRID)
    commands = [looked(store, backend, Policy(count=5)), looked(store, backend)]

    results = [command() for command in commands]

    assert [result.trials for result in results] == [5, 15]
    assert looked(store, backend)().trials == 0  # and they are counted alike in the queue


def test_packed_jobs_that_wait_keep_no_trial_from_the_next_command(sweep, backend):
    backend.agents = 4
    store = sweep(GRID)

    assert looked(store, backend, Policy(count=5))().trials == 5
    assert looked(store, backend)().trials == 15


@pytest.mark.parametrize(("count", "left_out"), [(5, {1, 2, 3, 4}), (9, {1, 2, 3, 4, 5, 6, 7, 8})])
def test_jobs_for_certain_trials_leave_out_the_first_ones_whatever_array_these_are_in(sweep, backend, count, left_out):
    """Jobs of others that are for no certain trial take the first ones there are."""
    store = sweep(GRID)
    first, session = looked(store, backend, Policy(count=count)), on_backend(store, backend)
    store.claim(ME)
    batches = [JobBatch(SubmitOptions(), 5, tuple(AttemptId(n, 1) for n in range(odd, 10, 2))) for odd in (1, 0)]
    plan = Plan(batches=tuple(batches), basis=PlanBasis(frozenset()))
    first()

    result = apply(session, plan, ignore)

    named = [a.trial for request in backend.requests.values() for a in request.attempt_ids]
    assert named == [n for n in (1, 3, 5, 7, 9, 2, 4, 6, 8) if n not in left_out]
    assert result.left_to_others == len(left_out) + 1  # one of the jobs ran the trial that was claimed


def test_several_arrays_of_both_are_as_many_jobs_as_trials(sweep, backend):
    backend.largest = 7
    store = sweep(GRID)
    first, second = looked(store, backend, Policy(count=9)), looked(store, backend)

    assert (first().trials, second().trials) == (9, 11)
    assert [request.tasks for request in backend.requests.values()] == [7, 2, 5, 6]


def test_what_is_announced_between_two_arrays_of_one_command_counts(sweep, backend):
    backend.largest = 8
    store = sweep(GRID)
    first, second = looked(store, backend), looked(store, backend, Policy(count=5))
    send, seen = backend.send, []

    def send_and_let_the_other(request):
        seen.append(request)
        if len(seen) == 1:
            assert second().trials == 5
        return send(request)

    backend.send = send_and_let_the_other

    assert first().trials == 15
    assert jobs(backend) == 20


def test_jobs_that_were_refused_leave_the_trials_to_others(sweep, backend):
    store = sweep(GRID)
    first, second = looked(store, backend), looked(store, backend)
    backend.refusal = "Invalid partition name"
    with pytest.raises(SubmissionRefusedError):
        first()
    backend.refusal = ""

    assert second().trials == 20


def test_a_smaller_array_after_one_that_found_no_room_is_bounded_as_the_first(sweep, backend):
    store = sweep(GRID)
    first, second = looked(store, backend, Policy(count=5)), looked(store, backend)
    first()

    def in_halves(request, part, *, was_refused=False):
        backend.room = 10
        with pytest.raises(JobLimitError):
            part(0, request.trials)  # 15 jobs, as 5 have been made
        backend.room = 100
        done = [part(0, 10), part(10, 10)]
        return replace(FakeBackend().submit(request, lambda *_: None), arrays=tuple(filter(None, done)))

    backend.submit = in_halves

    assert second().trials == 15
    assert jobs(backend) == 20


def test_jobs_that_ended_before_they_were_looked_for_do_not_bound_the_next_command(sweep, backend):
    store = sweep(GRID)
    first, second = looked(store, backend), looked(store, backend)
    first()
    second()
    backend.end(backend.arrays[0], "FAILED")

    assert looked(store, backend)().trials == 20


KILLED = """
import os, signal, sys
from fake_backend import FakeBackend
from slurmsweep.control.round.apply import apply
from slurmsweep.control.round.decide import Policy, decide
from slurmsweep.control.round.events import ignore
from slurmsweep.control.round.observe import observe
from slurmsweep.state.store import SweepStore
from submitting import on_backend
backend = FakeBackend()
backend.send = lambda request: os.kill(os.getpid(), signal.SIGKILL)
session = on_backend(SweepStore.open(sys.argv[1]), backend)
apply(session, decide(observe(session, Policy(), ignore), Policy()), ignore)
"""


def killed_before_it_asks(store) -> None:
    """Let a process announce jobs for all open trials, and be killed before it asks the scheduler for them."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, store.layout.folder],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


def test_a_command_that_was_killed_after_its_announcement_keeps_the_trials_for_no_longer_than_one_command(
    sweep, backend
):
    store = sweep(GRID)
    beside = looked(store, backend)
    killed_before_it_asks(store)
    assert [(s.tasks, s.job) for s in store.replay().submissions.values()] == [(20, None)]

    late = beside()  # it cannot know that the other one is dead

    assert (late.trials, late.left_to_others) == (0, 20)
    assert looked(store, backend)().trials == 20  # the next one asks for the dead one's jobs by their name
    assert isinstance(store.claim(ME), Claim)


SLOW = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "(print('asking', flush=True), sys.stdin.read())")


def slow(store) -> subprocess.Popen[str]:
    """Start a process that has announced jobs for all open trials and waits for its scheduler's answer."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, store.layout.folder],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "asking\n"
    return process


def test_a_command_on_this_machine_whose_scheduler_is_slow_to_answer_is_waited_for(sweep, backend):
    store = sweep(GRID)
    other, looks = slow(store), []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 4:  # what it asked for is there now
            [name] = store.replay().submissions
            record_job(on_backend(store, backend), name, 20, "77")

    recover_submissions(on_backend(store, backend), sleep)

    assert looks == [3.0] * 4
    assert [(s.tasks, s.job) for s in store.replay().submissions.values()] == [(20, "77")]
    other.kill()
    other.communicate()


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "stuck"])
def test_a_command_on_this_machine_is_waited_for_while_it_lives_and_not_for_ever(sweep, backend, is_killed):
    store = sweep(GRID)
    other, looks = slow(store), []

    def sleep(seconds):
        looks.append(seconds)
        if is_killed and len(looks) == 2:
            other.kill()
            other.wait()

    recover_submissions(on_backend(store, backend), sleep)

    assert len(looks) == (2 if is_killed else 21)
    assert [s.job for s in store.replay().submissions.values()] == [""]
    assert looked(store, backend)().trials == 20
    other.kill()
    other.communicate()


def test_a_damaged_document_keeps_no_command_from_going_on(sweep, backend):
    store = sweep(GRID)
    killed_before_it_asks(store)
    [name] = store.replay().submissions
    (Path(store.layout.folder) / "submissions").mkdir(exist_ok=True)
    (Path(store.layout.folder) / "submissions" / f"{name}.json").write_text('{"by": ')

    with pytest.raises(StateUnreadableError, match="remove it if squeue knows none of that name"):
        looked(store, backend)

    assert looked(store, backend)().trials == 20


def test_an_announcement_to_a_cluster_that_cannot_be_asked_from_here_keeps_no_trial(sweep, backend):
    store = sweep(GRID)
    backend.site = "here"
    with store.transaction() as transaction:
        transaction.submit(SubmitRecord("slurmsweep-abcd1234-1", 20, None, cluster="there"))
    find = backend.find

    def found(name, cluster=""):
        if cluster == "there":
            backend.silent = 1
        return find(name, cluster)

    backend.find = found

    assert looked(store, backend)().trials == 20
    assert looked(store, backend)().trials == 0


AT_ONCE = """
import sys, time
from pathlib import Path
from slurmsweep.control.round.apply import apply
from slurmsweep.control.round.decide import Policy, decide
from slurmsweep.control.round.events import ignore
from slurmsweep.control.round.observe import observe
from slurmsweep.control.session import Session
folder, me, go, count = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]) or None
session, policy = Session.open_to_run(folder), Policy(count=count)
plan = decide(observe(session, policy, ignore), policy)
me.touch()
deadline = time.monotonic() + 300
while not go.exists():
    assert time.monotonic() < deadline
    time.sleep(0.01)
print(apply(session, plan, ignore).trials)
"""


@pytest.mark.parametrize("count", [0, 7], ids=["all", "seven each"])
def test_eight_processes_at_once_make_one_job_a_trial(sweep, tmp_path, monkeypatch, count):
    """Each has looked before the first one announces its jobs; their Slurm is played, its lock and the sweep's are not."""
    store = sweep({"method": "grid", "parameters": {"x": {"values": list(range(30))}}})
    played_slurm.put_on_path(tmp_path / "bin", monkeypatch)
    go, ready = tmp_path / "go", [tmp_path / f"ready-{n}" for n in range(8)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", AT_ONCE, store.layout.folder, str(me), str(go), str(count)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in ready
    ]
    try:
        wait_until(lambda: all(me.exists() for me in ready), "eight plans")
        go.touch()
        asked = [int(process.communicate(timeout=300)[0]) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()

    elements = [len(job["states"]) for job in played_slurm.read(tmp_path / "bin", "lab").values()]
    assert sum(asked) == sum(elements) == 30
    if count:
        assert sorted(asked) == [0, 0, 0, 2, 7, 7, 7, 7]
    assert all(submission.job for submission in store.replay().submissions.values())
