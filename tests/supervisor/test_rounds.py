"""Rounds of mending with a Slurm that is played: what is submitted, which alarms wait, when it is over.

The real one is in tests/cluster/test_mend.py; here it is the order of things, and trouble a cluster cannot be brought to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from supervising import submit_minded

from slurmsweep.agents import notices
from slurmsweep.api.sweep import Sweep
from slurmsweep.backends.base import Answer, JobRestarts, JobStatus, SubmitOptions, WakeupJob, When
from slurmsweep.backends.keys import JobRef
from slurmsweep.backends.slurm import accounting, commands, executor, limits, queue, site, wakeup
from slurmsweep.backends.slurm.accounting import parse_restarts
from slurmsweep.backends.slurm.limits import Room
from slurmsweep.backends.slurm.waiting import explain
from slurmsweep.control.jobs.change import change_waiting
from slurmsweep.control.jobs.supervisor_status import supervisor_status
from slurmsweep.control.launch import supervised
from slurmsweep.control.round import observe as observing
from slurmsweep.control.round import reconcile as reconciling
from slurmsweep.control.round.apply import apply
from slurmsweep.control.round.batch import JobBatch
from slurmsweep.control.round.decide import decide
from slurmsweep.control.session import Session
from slurmsweep.errors import JobLimitError, SchedulerUnavailableError, SubmissionRefusedError, UsageError
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import SubmitRecord
from slurmsweep.state.supervisor_files import SupervisorFiles, SupervisorSettings
from slurmsweep.supervisor import rounds

ME = "900"


@dataclass
class PlayedSlurm:
    """Arrays and alarms by id, in the order they were submitted; arrays are alive until :meth:`end`."""

    alive: dict[JobRef, JobStatus] = field(default_factory=dict)
    alarms: dict[str, tuple[str, When]] = field(default_factory=dict)
    room: int = 10_000
    silent: int = 0
    closed: bool = False
    arrays: list[tuple[str, int]] = field(default_factory=list)
    ids: int = 100

    def submit(self, request):
        if request.tasks > self.room:
            raise JobLimitError("AssocMaxSubmitJobLimit")
        self.room -= request.tasks
        self.ids += 1
        job = str(self.ids)
        self.arrays.append((job, request.tasks))
        self.alive |= {
            JobRef(job, n): JobStatus("PENDING", True, None, "", None, "", "squeue", waits=True)
            for n in range(request.tasks)
        }
        return job

    def ask(self, jobs, _wanted=()):
        if self.silent:
            self.silent -= 1
            raise SchedulerUnavailableError("squeue: Unable to contact slurm controller")
        return Answer({ref: report for ref, report in self.alive.items() if ref.job in set(jobs)}, "not needed")

    def end(self, job: str) -> None:
        self.alive = {ref: report for ref, report in self.alive.items() if ref.job != job}

    def submit_alarm(self, name, _body, _options, when):
        if self.closed:
            raise SubmissionRefusedError("Access/permission denied")
        self.ids += 1
        self.alarms[str(self.ids)] = (name, when)
        return str(self.ids)

    def find(self, names, cluster=""):
        del cluster
        return [
            WakeupJob(job, name, waits=job != ME) for job, (name, _) in sorted(self.alarms.items()) if name in names
        ]

    def change_job(self, job, words):
        if job not in self.alarms:
            return False
        values = dict(word.split("=", 1) for word in words)
        ended = tuple(part.partition(":")[2] for part in values["Dependency"].split("?") if part)
        seconds = int(values["StartTime"].removeprefix("now").removeprefix("+") or 0)
        self.alarms[job] = (self.alarms[job][0], When(ended, seconds))
        return True

    def cancel(self, jobs, **_):
        for job in jobs:
            self.alarms.pop(job, None)

    def waiting(self) -> dict[str, When]:
        """Alarms by the last part of their names."""
        return {name.rpartition("-")[2]: when for job, (name, when) in self.alarms.items() if job != ME}


@pytest.fixture
def slurm(monkeypatch):
    played = PlayedSlurm()
    monkeypatch.setattr(executor, "submit", played.submit)
    monkeypatch.setattr(queue, "ask", played.ask)
    monkeypatch.setattr(commands, "available", lambda: True)
    monkeypatch.setattr(queue, "cancel", played.cancel)
    monkeypatch.setattr(site, "answer", lambda *argv: "n1|main*|1-00:00:00|16000\nn2|main*|1-00:00:00|16000\n")
    monkeypatch.setattr(limits, "max_array_size", lambda cluster="": 1000)
    monkeypatch.setattr(limits, "room", lambda options: Room())
    monkeypatch.setattr(wakeup, "submit", played.submit_alarm)
    monkeypatch.setattr(wakeup, "find", played.find)
    monkeypatch.setattr(wakeup, "change_job", played.change_job)
    monkeypatch.setattr(accounting, "count_restarts", lambda jobs: JobRestarts({"NODE_FAIL": 2}, "used"))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return played


def as_supervisor(monkeypatch, slurm, name="mend"):
    monkeypatch.setenv("SLURM_JOB_ID", ME)
    slurm.alarms[ME] = (f"slurmsweep-abcd1234-{name}", When())


def run_trials(store, job, states):
    """Return the agents of an array, one after the other."""
    for task, state in enumerate(states):
        claim = store.claim(Owner("n1", 1, 1, "b", node="n1", job=job, task=task))
        cause = "" if state is TrialState.FINISHED else "exit 3"
        store.finish(claim, Outcome(state, cause, exit_code=int(bool(cause)) * 3))


def begin(store, settings):
    supervised.begin(Session(store), settings)


def held(store, slurm, **kwargs):
    said: list[str] = []
    last = rounds.mend(
        Session(store), SupervisorFiles(store.layout, store.access).settings(), said.append, sleep=said.append
    )
    return last, said


def test_both_alarms_have_their_places_before_the_first_array_does(slurm, make_store):
    store = make_store(4)

    handed, _ = submit_minded(store, SupervisorSettings(every=30), [JobBatch(SubmitOptions(), 4)])

    [array] = handed.arrays
    assert all(int(alarm) < int(array.job) for alarm in slurm.alarms)
    assert slurm.waiting() == {"clock": When(seconds=1800), "mend": When((array.job,))}


def test_a_refused_submission_leaves_no_supervisor_behind(slurm, make_store, monkeypatch):
    store = make_store(4)

    def refuse(request):
        raise SubmissionRefusedError("Invalid qos specification")

    monkeypatch.setattr(executor, "submit", refuse)

    with pytest.raises(SubmissionRefusedError, match="qos"):
        submit_minded(store, SupervisorSettings(), [JobBatch(SubmitOptions(), 4)])

    assert slurm.waiting() == {}


def test_what_finds_no_room_at_all_is_left_to_the_supervisor(slurm, make_store):
    store = make_store(4)
    slurm.room = 0

    handed, _ = submit_minded(store, SupervisorSettings(), [JobBatch(SubmitOptions(), 4)])

    assert (handed.kept_back, handed.trials) == (4, 0)
    assert slurm.waiting() == {"clock": When(seconds=600)}


def test_a_round_runs_failed_trials_again_and_the_next_one_waits_for_them(slurm, make_store, monkeypatch):
    store = make_store(3)
    submit_minded(store, SupervisorSettings(), [JobBatch(SubmitOptions(), 3)])
    run_trials(store, slurm.arrays[0][0], [TrialState.FINISHED, TrialState.FAILED, TrialState.FINISHED])
    slurm.end(slurm.arrays[0][0])
    as_supervisor(monkeypatch, slurm)

    last, said = held(store, slurm)

    assert [tasks for _, tasks in slurm.arrays] == [3, 1]
    assert not last.is_over
    assert slurm.waiting() == {"clock": When(seconds=3600), "mend": When((slurm.arrays[1][0],))}
    assert any("trials 1" in line for line in said)


def test_what_a_limit_kept_back_is_submitted_by_the_supervisor(slurm, make_store):
    store = make_store(10)
    slurm.room = 4
    submit_minded(store, SupervisorSettings(), [JobBatch(SubmitOptions(), 10)])
    assert sum(tasks for _, tasks in slurm.arrays) == 4
    slurm.room = 5

    _, said = held(store, slurm)

    assert sum(tasks for _, tasks in slurm.arrays) == 9
    assert slurm.waiting()["clock"] == When(seconds=600)
    assert set(slurm.waiting()["mend"].ended) == {job for job, _ in slurm.arrays}
    assert any("1 trial waits without a job" in line for line in said)
    slurm.room = 5
    held(store, slurm)
    assert sum(tasks for _, tasks in slurm.arrays) == 10


def test_a_round_that_left_its_trials_to_a_person_looks_again_soon_and_submits_them_where_that_came_to_nothing(
    slurm, make_store, monkeypatch
):
    store = make_store(4)
    begin(store, SupervisorSettings())

    def apply_after_a_person(session, plan, tell):
        with store.transaction() as transaction:  # whose command is killed before it asks Slurm
            transaction.submit(SubmitRecord("slurmsweep-abcd1234-1", 4, None))
        return apply(session, plan, tell)

    with monkeypatch.context() as patched:
        patched.setattr(rounds, "apply", apply_after_a_person)
        last, said = held(store, slurm)

    assert slurm.arrays == []
    assert not last.is_over
    assert slurm.waiting()["clock"] == When(seconds=600)
    assert any("4 trials were left out: another command has asked for jobs" in line for line in said)
    monkeypatch.setattr(queue, "find_by_name", lambda name, cluster="": [])
    monkeypatch.setattr(reconciling, "_SECOND_SEARCH", 0.0)
    held(store, slurm)
    assert [tasks for _, tasks in slurm.arrays] == [4]


def test_at_the_end_there_is_a_report_and_no_supervisor(slurm, make_store, monkeypatch):
    store = make_store(2)
    submit_minded(store, SupervisorSettings(), [JobBatch(SubmitOptions(), 2)])
    run_trials(store, slurm.arrays[0][0], [TrialState.FINISHED] * 2)
    slurm.end(slurm.arrays[0][0])
    as_supervisor(monkeypatch, slurm)

    last, _ = held(store, slurm)

    assert last.is_over
    assert slurm.waiting() == {}
    document = json.loads(Path(store.layout.report_json).read_text())
    assert (document["counts"], document["slurm_says"]) == ({"finished": 2}, {"NODE_FAIL": 2})
    assert "2 finished" in Path(store.layout.report_text).read_text()
    assert supervisor_status(Session(store)).is_over


def test_a_paused_sweep_is_left_alone_and_looked_at_again(slurm, make_store, monkeypatch):
    store = make_store(2)
    begin(store, SupervisorSettings())
    with store.transaction() as transaction:
        transaction.order(SweepState.PAUSED)
    as_supervisor(monkeypatch, slurm)

    last, _ = held(store, slurm)

    assert (slurm.arrays, last.is_over) == ([], False)
    assert slurm.waiting() == {"clock": When(seconds=3600)}


@pytest.mark.parametrize(("word", "said"), [(SweepState.FINISHED, "stopped"), (SweepState.CANCELED, "canceled")])
def test_a_stopped_sweep_is_reported_and_nothing_submitted(slurm, make_store, word, said):
    store = make_store(2)
    begin(store, SupervisorSettings())
    with store.transaction() as transaction:
        transaction.order(word)

    last, _ = held(store, slurm)

    assert (slurm.arrays, last.is_over, slurm.waiting()) == ([], True, {})
    assert said in Path(store.layout.report_text).read_text()


def test_while_a_supervisor_works_the_next_one_waits_for_its_end(slurm, make_store, monkeypatch):
    """So that one that is killed is followed by another."""
    store = make_store(2)
    begin(store, SupervisorSettings())
    as_supervisor(monkeypatch, slurm)
    seen = []
    monkeypatch.setattr(observing, "recover_submissions", lambda session: seen.append(slurm.waiting()))

    held(store, slurm)

    assert seen == [{"clock": When(seconds=3600), "mend": When((ME,), 30)}]


def test_what_a_node_could_not_start_is_released(slurm, make_store, monkeypatch):
    store = make_store(2)
    submit_minded(store, SupervisorSettings(), [JobBatch(SubmitOptions(), 2)])
    ref = JobRef(slurm.arrays[0][0], 1)
    held_by_slurm = JobStatus("PENDING", True, None, "", None, "", "squeue", True, "launch failed requeued held")
    slurm.alive[ref] = held_by_slurm
    released = []
    monkeypatch.setattr(queue, "order", lambda verb, jobs: verb == "release" and released.append(jobs))

    _, said = held(store, slurm)

    assert released == [(str(ref),)]
    assert f"released after a failed launch: jobs {ref}" in said


def test_a_round_says_once_what_never_starts(slurm, make_store, monkeypatch):
    store = make_store(2)
    submit_minded(store, SupervisorSettings(), [JobBatch(SubmitOptions(), 2)])
    as_supervisor(monkeypatch, slurm)
    for ref, status in slurm.alive.items():
        stuck = explain("PartitionTimeLimit") if ref.task == 1 else explain("Priority")
        slurm.alive[ref] = status._replace(reason="PartitionTimeLimit" if ref.task else "Priority", wait=stuck)

    said = [line for _ in range(2) for line in held(store, slurm)[1] if "never start" in line]

    assert len(said) == 1
    assert said[0].startswith(f"1 job ({slurm.arrays[0][0]}_1) never starts as it is: they ask for more time")
    assert "`slurmsweep set abcd1234 --time MINUTES`" in said[0]


def test_a_round_asks_for_the_jobs_once(slurm, make_store, monkeypatch):
    store = make_store(3)
    submit_minded(store, SupervisorSettings(), [JobBatch(SubmitOptions(), 3)])
    run_trials(store, slurm.arrays[0][0], [TrialState.FINISHED, TrialState.FAILED])
    slurm.alive = {ref: report for ref, report in slurm.alive.items() if ref.task == 2}
    as_supervisor(monkeypatch, slurm)
    asked = {"jobs": 0, "names": 0, "changed": 0}

    def counting(name, ask):
        def count(*args):
            asked[name] += 1
            return ask(*args)

        return count

    monkeypatch.setattr(queue, "ask", counting("jobs", slurm.ask))
    monkeypatch.setattr(wakeup, "find", counting("names", slurm.find))
    monkeypatch.setattr(wakeup, "change_job", counting("changed", slurm.change_job))

    held(store, slurm)

    assert len(slurm.arrays) == 2
    assert asked == {"jobs": 1, "names": 1, "changed": 3}  # the clock once, the other one twice


def test_two_chains_of_supervisors_become_one(slurm, make_store):
    store = make_store(2)
    begin(store, SupervisorSettings())
    slurm.alarms["50"] = ("slurmsweep-abcd1234-mend", When(("1",)))
    slurm.alarms["51"] = ("slurmsweep-abcd1234-mend", When(("2",)))

    held(store, slurm)

    assert [name for name, _ in slurm.alarms.values()].count("slurmsweep-abcd1234-mend") == 1


def test_who_comes_while_another_is_at_it_does_nothing(slurm, make_store, monkeypatch):
    store = make_store(2)
    begin(store, SupervisorSettings())
    before = dict(slurm.alarms)
    SupervisorFiles(store.layout, store.access).take_round(Owner("far", 1, 1, "b", job="77"), lambda owner: True)
    slurm.alive[JobRef("77")] = JobStatus("RUNNING", True, None, "", None, "n1", "squeue")

    last, said = held(store, slurm)

    assert last is None
    assert "77 on far is at it" in said[0]
    assert (slurm.alarms, slurm.arrays) == (before, [])


def test_a_controller_that_restarts_is_waited_for(slurm, make_store):
    store = make_store(2)
    begin(store, SupervisorSettings())
    store.claim(Owner("far", 1, 1, "b", job="5", task=0))
    slurm.silent = 2

    last, said = held(store, slurm)

    # each line is said before it is waited
    silence = "; trying again in"
    assert [line if isinstance(line, int) else silence in line for line in said[:4]] == [True, 5, True, 15]
    assert [tasks for _, tasks in slurm.arrays] != []
    assert last.trouble == ""


def test_trouble_is_left_to_the_clock_and_shown(slurm, make_store, monkeypatch):
    store = make_store(2)
    begin(store, SupervisorSettings())
    as_supervisor(monkeypatch, slurm)

    def refuse(request):
        raise SubmissionRefusedError("Invalid account")

    monkeypatch.setattr(executor, "submit", refuse)

    with pytest.raises(SubmissionRefusedError):
        held(store, slurm)

    assert slurm.waiting() == {"clock": When(seconds=3600)}
    assert supervisor_status(Session(store)).trouble == "Invalid account"


def test_a_node_that_may_not_submit_is_said_so(slurm, make_store):
    store = make_store(2)
    begin(store, SupervisorSettings())
    slurm.alarms.clear()
    slurm.closed = True

    with pytest.raises(SubmissionRefusedError, match="AllocNodes"):
        held(store, slurm)


def test_jobs_that_never_get_to_a_trial_are_not_submitted_for_ever(slurm, make_store):
    store = make_store(3)
    submit_minded(store, SupervisorSettings(), [JobBatch(SubmitOptions(), 3)])
    for _ in range(4):
        for job, _tasks in slurm.arrays:
            slurm.end(job)
        last, _ = held(store, slurm)
        if last.is_over:
            break

    assert [tasks for _, tasks in slurm.arrays] == [3, 3]
    assert last.is_over
    assert "without claiming one" in Path(store.layout.report_text).read_text()


def test_what_is_set_holds_for_what_the_supervisor_submits_later(slurm, make_store, monkeypatch):
    store = make_store(2)
    begin(store, SupervisorSettings(options={"time": "10", "p": "main"}, width=4))
    asked = []
    monkeypatch.setattr(executor, "submit", lambda request: asked.append(request) or slurm.submit(request))

    assert change_waiting(Session(store), {"time": "45", "partition": "long"}, 0) == []
    held(store, slurm)

    assert (asked[0].options["time"], asked[0].options["partition"], asked[0].width) == ("45", "long", None)


def test_nobody_left_is_shown(slurm, make_store):
    store = make_store(2)
    begin(store, SupervisorSettings())
    assert supervisor_status(Session(store)).supervisors == ("101", "102")

    slurm.alarms.clear()

    assert supervisor_status(Session(store)).supervisors == ()
    assert not supervisor_status(Session(store)).is_over


@pytest.mark.parametrize("words", [["rm", "--yes"], ["clean", "--yes"], ["rm", "--yes", "--force"]])
def test_a_sweep_whose_supervisor_waits_is_not_removed(slurm, make_store, slurmsweep, words):
    store = make_store(2)
    begin(store, SupervisorSettings())

    done = slurmsweep(words[0], "abcd1234", *words[1:])

    why = "is alive: its supervisor waits in Slurm (job 101, 102); `slurmsweep cancel abcd1234` ends it"
    assert (done.returncode, why in done.stderr) == (2, True)
    with pytest.raises(UsageError, match="its supervisor waits"):
        Sweep(Session(store)).remove(force=True)
    slurm.alarms.clear()
    Sweep(Session(store)).remove()
    assert not Path(store.layout.folder).exists()


def test_where_slurm_cannot_be_asked_only_force_removes(slurm, make_store, slurmsweep):
    store = make_store(2)
    submit_minded(store, SupervisorSettings(), [JobBatch(SubmitOptions(), 1)])
    slurm.alarms.clear()
    slurm.silent = 1
    done = slurmsweep("rm", "abcd1234", "--yes")
    slurm.silent = 1
    forced = slurmsweep("rm", "abcd1234", "--yes", "--force")

    unknown = "whether it has jobs: squeue: Unable to contact slurm controller"
    assert (done.returncode, f"It cannot be told {unknown}" in done.stderr) == (4, True)
    assert (forced.returncode, f"it is not known {unknown}" in forced.stderr) == (0, True)
    assert not Path(store.layout.folder).exists()


def test_what_did_not_complete_is_counted_by_slurms_word():
    text = "19_0|NODE_FAIL\n19_0|COMPLETED\n19_1|PREEMPTED\n19_2|CANCELLED by 0\n19_3|RUNNING\n19_4|PREEMPTED\n"

    assert parse_restarts(text) == {"PREEMPTED": 2, "NODE_FAIL": 1, "CANCELLED": 1}
    assert parse_restarts("19_7|OF_A_NEWER_SLURM\n") == {"OF_A_NEWER_SLURM": 1}


def test_a_trial_is_given_up_after_some_attempts_and_the_report_says_so(slurm, make_store):
    store = make_store(1)
    submit_minded(store, SupervisorSettings(rules={"max_attempts": 2}), [JobBatch(SubmitOptions(), 1)])
    for _ in range(2):
        job, _tasks = slurm.arrays[-1]
        run_trials(store, job, [TrialState.FAILED])
        slurm.end(job)
        last, _ = held(store, slurm)

    assert ([tasks for _, tasks in slurm.arrays], last.is_over) == ([1, 1], True)
    assert "trials 0 (given up after 2 attempts)" in Path(store.layout.report_text).read_text()


def test_what_a_person_ended_stays_ended(slurm, make_store):
    store = make_store(1)
    submit_minded(store, SupervisorSettings(), [JobBatch(SubmitOptions(), 1)])
    claim = store.claim(Owner("n1", 1, 1, "b", job=slurm.arrays[0][0], task=0))
    store.finish(claim, Outcome(TrialState.KILLED, "cancelled", by="reconcile"))
    slurm.end(slurm.arrays[0][0])

    last, _ = held(store, slurm)

    assert (len(slurm.arrays), last.is_over) == (1, True)


def test_an_order_given_while_a_round_is_held_is_not_undone(slurm, make_store, monkeypatch):
    store = make_store(2)
    submit_minded(store, SupervisorSettings(), [JobBatch(SubmitOptions(), 1)])
    run_trials(store, slurm.arrays[0][0], [TrialState.FAILED])
    slurm.end(slurm.arrays[0][0])

    def stop(situation, policy):
        with store.transaction() as transaction:
            transaction.order(SweepState.FINISHED)
        return decide(situation, policy)

    monkeypatch.setattr(rounds, "decide", stop)

    held(store, slurm)

    assert store.replay().word is SweepState.FINISHED
    assert len(slurm.arrays) == 1


def test_a_pause_ordered_while_a_round_is_held_does_not_end_the_mending(slurm, make_store, monkeypatch):
    store = make_store(2)
    submit_minded(store, SupervisorSettings(), [JobBatch(SubmitOptions(), 1)])
    run_trials(store, slurm.arrays[0][0], [TrialState.FAILED])
    slurm.end(slurm.arrays[0][0])
    as_supervisor(monkeypatch, slurm)

    def pause(situation, policy):
        with store.transaction() as transaction:
            transaction.order(SweepState.PAUSED)
        return decide(situation, policy)

    monkeypatch.setattr(rounds, "decide", pause)

    last, said = held(store, slurm)

    assert (len(slurm.arrays), last.is_over) == (1, False)
    assert slurm.waiting() == {"clock": When(seconds=3600)}
    assert "the sweep is paused: looked at again by the clock" in said
    assert not Path(store.layout.report_text).exists()


def test_a_round_that_leaves_the_rest_because_nothing_is_learnt_tells_that_the_sweep_stopped(
    slurm, make_store, tmp_path
):
    store = make_store(10)
    begin(
        store,
        SupervisorSettings(rules={"max_attempts": 1}, learn={"time": True, "canaries": 3}, options={"time": "10"}),
    )
    notices.ask(store, f"bash -c 'cat >> {tmp_path}/told'", 3)
    run_trials(store, "5", [TrialState.FAILED] * 3)

    last, _ = held(store, slurm)

    [told] = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert (last.is_over, told["event"], told["counts"]) == (True, "stopped", {"failed": 3})
    assert told["detail"] == "no trial finished of the 3 that ended, so nothing can be learnt from them"


def test_rounds_tell_the_first_failure_and_the_end_once(slurm, make_store, tmp_path):
    store = make_store(2)
    begin(store, SupervisorSettings(rules={"max_attempts": 1}))
    notices.ask(store, f"bash -c 'cat >> {tmp_path}/told'", 0)
    run_trials(store, "5", [TrialState.FAILED])

    held(store, slurm)
    run_trials(store, "6", [TrialState.FINISHED])
    slurm.alive.clear()
    last, said = held(store, slurm)
    held(store, slurm)

    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert [(one["event"], one["counts"]) for one in told] == [
        ("failed", {"failed": 1}),
        ("ended", {"failed": 1, "finished": 1}),
    ]
    assert last.is_over
    assert [line for line in said if line.startswith("notified: ")] == [f"notified: {told[1]['text']}"]
