"""What witnesses say of an attempt without a recorded end: decided without a scheduler."""

from __future__ import annotations

import os

import pytest

from slurmsweep.agents.identity import this_process
from slurmsweep.backends.keys import is_elsewhere
from slurmsweep.backends.slurm import cluster, queue
from slurmsweep.backends.slurm.queue import Answer, JobRef, parse_sacct, parse_squeue
from slurmsweep.control.round import reconcile as reconciling
from slurmsweep.control.round.reconcile import reconcile
from slurmsweep.control.session import Session
from slurmsweep.control.snapshot import judge, look
from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import SubmitRecord
from slurmsweep.state.tail import AttemptId
from slurmsweep.state.trial import Attempt

JOB = Owner("far", 10, 1, "b", cluster="lab", job="7", task=3)
NAME = "slurmsweep-abcd1234-1f2e"


def answer(squeue="", sacct="") -> Answer:
    return Answer({**dict(parse_sacct(sacct)), **dict(parse_squeue(squeue))}, "used")


def judged(owner, told) -> tuple:
    seen = judge(Attempt(1, token="t", owner=owner), told)
    return (str(seen.outcome.state), seen.outcome.cause, seen.final) if seen.outcome else None


def test_a_job_that_lives_is_left_alone():
    assert judged(JOB, answer("7|3|9|RUNNING|0|n1|0|x\n")) is None
    assert judged(JOB, answer("7|3|9|PENDING|0||1|x\n")) is None
    assert judged(JOB, answer("7|3|9|COMPLETING|0|n1|0|x\n")) is None


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("7_3|FAILED|0:9|n1|None", ("crashed", "signal 9", True)),
        ("7_3|FAILED|3:0|n1|None", ("failed", "exit 3", True)),
        ("7_3|TIMEOUT|0:0|n1|None", ("crashed", "timeout", True)),
        ("7_3|OUT_OF_MEMORY|0:125|n1|None", ("crashed", "oom", True)),
        ("7_3|NODE_FAIL|0:0|n1|None", ("crashed", "node_fail", True)),
        ("7_3|CANCELLED by 0|0:0|n1|None", ("killed", "cancelled", True)),
        ("7_3|PREEMPTED|0:0|n1|None", ("preempted", "preempted", True)),
        ("7_3|COMPLETED|0:0|n1|None", ("crashed", "lost", True)),
    ],
)
def test_slurms_final_word_is_the_outcome(line, seen):
    assert judged(JOB, answer(sacct=line)) == seen


def test_the_exit_code_of_a_job_with_several_agents_is_nobodys_own():
    one_of_four = JOB._replace(seat=2)

    assert judged(one_of_four, answer(sacct="7_3|FAILED|3:0|n1|None\n")) == ("crashed", "lost", True)
    assert judged(one_of_four, answer(sacct="7_3|TIMEOUT|0:0|n1|None\n")) == ("crashed", "timeout", True)


def test_a_job_that_waits_will_run_as_many_trials_as_it_has_agents(make_store, monkeypatch):
    store = make_store(9)
    with store.transaction() as transaction:
        transaction.submit(SubmitRecord("a", 2, "7", agents=4))
        transaction.submit(SubmitRecord("b", 1, "8"))
    waiting = answer(f"7|0|7|PENDING|0||0|{NAME}\n7|1|9|PENDING|0||0|{NAME}\n8|0|8|PENDING|0||0|{NAME}\n")
    monkeypatch.setattr(queue, "ask", lambda jobs, wanted: waiting)

    assert look(Session(store)).queued == 9


def test_the_last_of_several_jobs_with_several_agents_may_not_be_full(make_store, monkeypatch):
    store = make_store(9)
    with store.transaction() as transaction:
        transaction.submit(SubmitRecord("a", 2, None, agents=4, trials=5))
        transaction.submit(SubmitRecord("a", 2, "7"))
    waiting = [f"7|{task}|7|PENDING|0||0|{NAME}\n" for task in range(2)]
    monkeypatch.setattr(queue, "ask", lambda jobs, wanted: answer("".join(waiting)))

    assert look(Session(store)).queued == 5

    waiting.pop(0)

    assert look(Session(store)).queued == 1


def test_a_job_nobody_knows_any_more_must_be_missed_twice():
    assert judged(JOB, answer()) == ("crashed", "lost", False)


def test_an_agent_elsewhere_outside_slurm_counts_as_running():
    seen = judge(Attempt(1, token="t", owner=Owner("far", 10, 1, "b")), answer())

    assert seen.outcome is None
    assert (seen.witnessed, seen.note) == (False, "only far can tell: ask there")


def test_this_very_process_lives_and_a_recycled_pid_does_not():
    me = this_process({})
    reborn = Owner(me.host, me.pid, me.start + 1, me.boot, me.pid_space)

    assert judged(me, answer()) is None
    assert judged(reborn, answer()) == ("crashed", "lost", True)


def test_another_boot_is_the_end_of_everything_before_it():
    me = this_process({})

    assert judged(Owner(me.host, me.pid, me.start, "other boot", me.pid_space), answer()) == ("crashed", "lost", True)


def test_another_container_cannot_be_judged_by_its_pids():
    me = this_process({})

    assert judged(Owner(me.host, me.pid, me.start, me.boot, "pid:[1]"), answer()) is None


def test_a_dead_agent_of_a_job_that_still_runs_is_lost_but_not_finally():
    dead = Owner(os.uname().nodename, 2**22 + 1, 1, this_process({}).boot, this_process({}).pid_space, job="7", task=3)

    assert judged(dead, answer("7|3|9|RUNNING|0|n1|0|x\n")) == ("crashed", "lost", False)
    assert judged(dead, answer("7|3|9|PENDING|0||1|x\n")) is None


def test_what_is_not_final_is_looked_at_twice_before_it_is_recorded(make_store, monkeypatch):
    store = make_store(1)
    store.claim(JOB)
    answers = [answer(), answer("7|3|9|RUNNING|0|n1|0|x\n")]
    monkeypatch.setattr(queue, "ask", lambda jobs, wanted: answers.pop(0))

    assert reconcile(Session(store), sleep=lambda seconds: None).ended == ()
    assert store.replay().trials[0].state is TrialState.RUNNING

    monkeypatch.setattr(queue, "ask", lambda jobs, wanted: answer())
    assert len(reconcile(Session(store), sleep=lambda seconds: None).ended) == 1
    assert store.replay().trials[0].state is TrialState.CRASHED


def test_no_answer_records_nothing(make_store, monkeypatch):
    store = make_store(1)
    store.claim(JOB)
    before = os.path.getsize(store.journal.path)

    def no_answer(jobs, wanted):
        raise SchedulerUnavailableError("squeue: Unable to contact slurm controller (connect failure)")

    monkeypatch.setattr(queue, "ask", no_answer)

    with pytest.raises(SchedulerUnavailableError):
        reconciling.reconcile(Session(store))
    assert os.path.getsize(store.journal.path) == before


def test_an_end_that_was_recorded_meanwhile_stands(make_store, monkeypatch):
    from slurmsweep.state.outcome import Outcome

    store = make_store(1)
    claim = store.claim(JOB)

    def ask(jobs, wanted):
        if store.replay().trials[0].current.outcome is None:
            store.finish(claim, Outcome(TrialState.FINISHED, exit_code=0, ended=1.0))
        return answer(sacct="7_3|NODE_FAIL|0:0|n1|None")

    monkeypatch.setattr(queue, "ask", ask)
    reconcile(Session(store), sleep=lambda seconds: None)

    assert store.replay().trials[0].state is TrialState.FINISHED


def test_a_trial_that_ends_while_slurm_is_asked_is_not_taken_for_lost(make_store, monkeypatch):
    from slurmsweep.state.outcome import Outcome

    store = make_store(1)
    claim = store.claim(JOB)

    def ask(jobs, wanted):
        store.finish(claim, Outcome(TrialState.FINISHED, exit_code=0, ended=1.0))
        return answer(sacct="7_3|COMPLETED|0:0|n1|None")

    monkeypatch.setattr(queue, "ask", ask)

    assert [outcome.state for outcome in look(Session(store)).ended.values()] == [TrialState.FINISHED]


def test_queued_jobs_are_those_that_claimed_nothing(make_store, monkeypatch):
    store = make_store(5)
    with store.transaction() as transaction:
        transaction.submit(SubmitRecord("name", 3, "7"))
    store.claim(JOB)
    lines = f"7|3|9|RUNNING|0|n1|0|{NAME}\n7|4|9|PENDING|0||0|{NAME}\n7|5|9|PENDING|0||0|{NAME}\n"
    monkeypatch.setattr(queue, "ask", lambda jobs, wanted: answer(lines))

    snapshot = look(Session(store))

    assert snapshot.queued == 2
    assert snapshot.jobs == {"running": 1, "pending": 2}
    assert JobRef("7", 3) not in snapshot.ended


@pytest.mark.parametrize("silent", [(), ("other",)])
def test_of_another_clusters_job_that_cluster_is_asked_whatever_its_id_is_here(make_store, monkeypatch, silent):
    store = make_store(3)
    store.claim(Owner("far", 1, 1, "b", cluster="other", job="30"))
    store.claim(Owner("far", 2, 1, "b", cluster="lab", job="31"))
    with store.transaction() as transaction:
        transaction.submit(SubmitRecord("a", 1, "30", cluster="other"))
        transaction.submit(SubmitRecord("b", 1, "31", cluster="lab"))
    asked = []

    def ask(jobs, wanted):
        asked.append((set(jobs), set(wanted)))
        return answer("30|N/A|30|COMPLETED|0|n2|0|x\n31|N/A|31|RUNNING|0|n2|0|x")._replace(silent=silent)

    monkeypatch.setattr(queue, "ask", ask)
    monkeypatch.setattr(cluster, "site_name", lambda: "lab")

    seen = look(Session(store)).seen

    assert asked == [({"30@other", "31"}, {JobRef("30@other"), JobRef("31")})]
    assert seen[AttemptId(0, 1)].witnessed is not bool(silent)
    if silent:
        assert "cluster other, and this is lab" in seen[AttemptId(0, 1)].note
    else:
        assert seen[AttemptId(0, 1)].note == "Slurm does not know job 30 any more"
    assert seen[AttemptId(1, 1)].witnessed


CONTROLLERS_WORD = "Configuration data\nClusterName             = asked\n"


@pytest.fixture
def a_cluster(tmp_path, monkeypatch):
    """With such a slurm.conf and environment, and a controller that answers."""

    def make(conf, environ) -> None:
        (tmp_path / "slurm.conf").write_text(conf)
        monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(cluster, "answer", lambda *argv: CONTROLLERS_WORD)
        forget()

    def forget() -> None:
        cluster.site_name.cache_clear()
        cluster.asked_configuration.cache_clear()

    yield make
    forget()


@pytest.mark.parametrize(
    ("conf", "environ", "expected"),
    [
        ("# ClusterName=old\nClusterName = Big # ours\nSlurmctldHost=c\n", {}, "big"),
        ("SlurmctldHost=c\n", {}, "asked"),
        ("ClusterName=big\n", {"SLURM_CLUSTERS": "small"}, "big"),
        ("ClusterName=big\n", {"SLURM_CLUSTER_NAME": "inside"}, "inside"),
    ],
)
def test_the_clusters_name_is_read_where_slurms_programs_read_it(a_cluster, conf, environ, expected):
    a_cluster(conf, environ)

    assert cluster.site_name() == expected


@pytest.mark.parametrize(
    ("conf", "environ", "asked"),
    [
        ("ClusterName=big\nMaxArraySize=7\n", {}, False),
        ("ClusterName=big\nInclude /etc/slurm/more.conf\n", {}, True),
        ("ClusterName=big\n", {"SLURM_CLUSTERS": "small"}, False),
        ("MaxArraySize=7\n", {}, True),  # whatever file that is, it is no cluster's
    ],
)
def test_the_configuration_is_read_where_slurms_programs_read_it(a_cluster, conf, environ, asked):
    a_cluster(conf, environ)

    assert cluster.configuration() == (CONTROLLERS_WORD if asked else conf)


@pytest.mark.parametrize(
    ("recorded", "here", "elsewhere"),
    [("a", "b", True), ("A", "a", False), ("", "b", False), (None, "b", False), ("a", "", False)],
)
def test_unknown_names_are_taken_for_this_clusters(recorded, here, elsewhere):
    assert is_elsewhere(recorded, here) is elsewhere
