"""Two clusters with the same job ids: each question and order names its cluster, and no other job is ever touched."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from backends import played_slurm
from submitting import on_slurm

from slurmsweep.backends.base import SubmitOptions
from slurmsweep.backends.keys import parts_of
from slurmsweep.backends.slurm import cluster, commands, queue
from slurmsweep.control.jobs import orders
from slurmsweep.control.jobs.change import change_waiting
from slurmsweep.control.jobs.wakeup import WakeupJobs
from slurmsweep.control.round.apply import apply
from slurmsweep.control.round.batch import JobBatch
from slurmsweep.control.round.decide import Plan
from slurmsweep.control.round.events import ignore
from slurmsweep.control.round.reconcile import give_back, reconcile, recover_submissions
from slurmsweep.control.snapshot import look, look_at_jobs
from slurmsweep.control.upkeep.rerun import Choice, rerun
from slurmsweep.doctor.checks import try_out_on_nodes
from slurmsweep.errors import SchedulerUnavailableError, SlurmsweepError, SubmissionUnknownError, UsageError
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import SubmitRecord
from slurmsweep.state.store import Claim
from slurmsweep.state.supervisor_files import SupervisorSettings

if TYPE_CHECKING:
    from pathlib import Path

#: Ids of innocent jobs on each cluster: the sweep's jobs on the other one get the same.
INNOCENT = {"lab": range(100, 140), "other": range(200, 240)}


@dataclass
class Clusters:
    """Two played clusters, with innocent arrays on both; a sweep's first jobs are 200 on lab and 100 on other."""

    folder: Path

    def jobs(self, name: str) -> dict[str, Any]:
        return played_slurm.read(self.folder, name)

    def touched(self) -> list[str]:
        return [
            f"{job['name']} {number} on {name}: {job['touched']}"
            for name in INNOCENT
            for number, job in self.jobs(name).items()
            if "touched" in job and not job["name"].startswith("slurmsweep-abcd1234")
        ]


@pytest.fixture
def clusters(tmp_path, monkeypatch) -> Clusters:
    folder = tmp_path / "bin"
    played_slurm.put_on_path(folder, monkeypatch)
    first = {"lab": 199, "other": 99}
    for name, numbers in INNOCENT.items():
        jobs = {str(n): {"name": "innocent", "states": {"0": "RUNNING", "1": "PENDING"}} for n in numbers}
        played_slurm.write(folder, name, jobs | {str(first[name]): {"name": "innocent", "states": {"0": "RUNNING"}}})
    run = commands.subprocess.run

    def in_this_process(argv, *, env, **options):
        if argv[0] in played_slurm.PROGRAMS and argv[0] != "sbatch":
            return played_slurm.run(folder, argv, env)
        return run(argv, env=env, **options)

    monkeypatch.setattr(commands.subprocess, "run", in_this_process)
    remembered = (cluster.site_name, cluster.asked_configuration, cluster._file)
    for function in remembered:
        function.cache_clear()
    yield Clusters(folder)
    for function in remembered:
        function.cache_clear()


def batch(count: int = 2, **options: str) -> Plan:
    return Plan(batches=(JobBatch(SubmitOptions(options=options), count),))


def submit_to(store, name: str | None = None, count: int = 2) -> str | None:
    """Submit jobs; return their key, if there was anything to submit."""
    options = {"clusters": name} if name else {}
    return next((array.job for array in apply(on_slurm(store), batch(count, **options), ignore).arrays), None)


def test_a_job_is_known_by_its_cluster_as_sbatch_named_it(clusters, make_store):
    store = make_store(9)

    assert [submit_to(store, name) for name in (None, "other", "LAB")] == ["200", "100@other", "201"]

    submissions = list(store.replay().submissions.values())
    assert [(s.job, s.cluster) for s in submissions] == [("200", "lab"), ("100", "other"), ("201", "lab")]
    assert [d.cluster for d in on_slurm(store).submissions.all()] == ["lab", "other", "lab"]
    assert sorted(look_at_jobs(on_slurm(store)).arrays()) == ["100@other", "200", "201"]


@pytest.mark.parametrize("variable", ["SLURM_CLUSTERS", "SBATCH_CLUSTERS"])
def test_a_cluster_that_the_shell_chose_is_where_jobs_go_and_where_they_are_asked_for(
    clusters, make_store, monkeypatch, variable
):
    store = make_store(9)
    monkeypatch.setenv(variable, "other")

    assert submit_to(store) == "100@other"

    assert look_at_jobs(on_slurm(store)).arrays() == ("100@other",)
    orders.cancel(on_slurm(store))
    assert set(clusters.jobs("other")["100"]["states"].values()) == {"CANCELLED"}
    assert clusters.touched() == []


@pytest.mark.parametrize("names", ["one,other", "all", "ALL"])
def test_several_clusters_are_refused(clusters, make_store, names):
    store = make_store(9)
    with pytest.raises(UsageError, match=f"the command line: clusters={names}: name one cluster"):
        submit_to(store, names)
    assert store.replay().submissions == {}


def test_several_clusters_in_the_environment_are_refused_by_name(clusters, make_store, monkeypatch):
    monkeypatch.setenv("SLURM_CLUSTERS", "one,other")

    with pytest.raises(UsageError, match="variables of your environment: clusters=one,other: name one cluster"):
        submit_to(make_store(9))


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("5000\n", "5000"),
        ("5000;lab\n", "5000"),
        ("5000;Other\n", "5000@other"),
        ("Submitted batch job 5000\n", "5000"),
        ("Submitted batch job 5000 on cluster other\n", "5000@other"),
        ("-> quota of /scratch: 5000 files\nSubmitted batch job 7\n", "7"),
    ],
)
def test_sbatchs_answer_says_which_job_it_is(clusters, said, key):
    assert queue.submitted(said) == key


def test_an_answer_without_a_job_leaves_the_submission_open(clusters):
    with pytest.raises(SubmissionUnknownError, match="sbatch named no job: hello"):
        queue.submitted("hello\n")


def test_answers_of_two_clusters_are_not_mixed_up(clusters, make_store):
    store = make_store(9)
    for name, job in (("lab", submit_to(store)), ("other", submit_to(store, "other"))):
        jobs, number = clusters.jobs(name), parts_of(job)[0]
        jobs[number]["states"] = {"0": "TIMEOUT" if name == "lab" else "RUNNING", "1": "PENDING"}
        played_slurm.write(clusters.folder, name, jobs)
        # two agents whose jobs have the number of the other's cluster's innocent jobs
        store.claim(Owner("far", 1, 1, "b", cluster=name, job=number, task=0))

    seen = look(on_slurm(store)).seen

    assert [(s.outcome and s.outcome.cause, s.note) for s in seen.values()] == [
        ("timeout", "squeue says TIMEOUT"),
        (None, "squeue says RUNNING"),
    ]


def test_a_number_without_the_sweeps_name_is_left_alone_and_said(clusters, make_store):
    """An earlier version recorded the wrong cluster."""
    store = make_store(9)
    with store.transaction() as transaction:
        transaction.submit(SubmitRecord("slurmsweep-abcd1234-1", 2, "100", cluster="lab"))

    ordered = [orders.pause(on_slurm(store)), orders.resume(on_slurm(store)), orders.cancel(on_slurm(store))]
    changes = change_waiting(on_slurm(store), {"time": "5"}, 1)

    assert [(one.jobs, one.foreign) for one in ordered] == [((), ("100 (innocent)",))] * 3
    assert [(change.job, change.problems) for change in changes] == [
        ("100 (innocent)", ("left alone: its name is not this sweep's",))
    ]
    assert clusters.touched() == []
    assert look(on_slurm(store)).queued == 0


def test_a_cluster_that_cannot_be_asked_here_is_said_and_nothing_is_concluded(clusters, make_store, monkeypatch):
    store = make_store(9)
    submit_to(store, "other")
    store.claim(Owner("far", 1, 1, "b", cluster="other", job="100", task=0))
    asked = queue._squeue

    def refused(ids, name):
        if name:
            raise queue.SchedulerUnavailableError("squeue: error: 'other' can't be reached now")
        return asked(ids, name)

    monkeypatch.setattr(queue, "_squeue", refused)

    [seen] = look(on_slurm(store)).seen.values()
    assert (seen.outcome, seen.witnessed) == (None, False)
    assert orders.pause(on_slurm(store)).clusters == ("other",)


def test_the_doctors_job_is_cancelled_where_it_is(clusters, tmp_path, monkeypatch):
    monkeypatch.setenv("SBATCH_CLUSTERS", "other")

    with pytest.raises(SchedulerUnavailableError, match="job 100@other on 2 nodes"):
        try_out_on_nodes(str(tmp_path), 2, {}, patience=0.1)

    assert set(clusters.jobs("other")["100"]["states"].values()) == {"CANCELLED"}
    assert clusters.touched() == ["sbatch 100 on other: ['scancel 100']"]


class Orders:
    """Commands for one sweep on two clusters, in any order; what it cannot do now is no error of the test."""

    def __init__(self, store, dice: random.Random, monkeypatch) -> None:
        self.store, self.dice, self._monkeypatch = store, dice, monkeypatch

    def one(self) -> str:
        """Give one order; return its name."""
        names = [name for name in dir(self) if name.startswith("do_")]
        name = self.dice.choice(names)
        for variable in ("SLURM_CLUSTERS", "SBATCH_CLUSTERS"):
            self._monkeypatch.delenv(variable, raising=False)
            if self.dice.random() < 0.2:
                self._monkeypatch.setenv(variable, self.dice.choice(["lab", "other"]))
        with suppress(SlurmsweepError):
            getattr(self, name)(on_slurm(self.store))
        return name

    def do_submit(self, _session) -> None:
        submit_to(self.store, self.dice.choice([None, "lab", "other"]), self.dice.randint(1, 3))

    def do_claim(self, _session) -> None:
        """An agent starts in a job of the sweep, and may end."""
        jobs = [s for s in self.store.replay().submissions.values() if s.job]
        if jobs:
            job = self.dice.choice(jobs)
            owner = Owner("far", 1, 1, "b", cluster=job.cluster, job=job.job, task=self.dice.randrange(3))
            claim = self.store.claim(owner)
            if isinstance(claim, Claim) and self.dice.random() < 0.5:
                self.store.finish(claim, Outcome(TrialState.KILLED, "terminated", exit_code=143, ended=1.0))

    def do_record_what_is_wrong(self, _session) -> None:
        """An earlier version took the id of one cluster for that of the other."""
        name = self.dice.choice(["lab", "other"])
        number = str(self.dice.choice(INNOCENT[name]))
        with self.store.transaction() as transaction:
            named = f"slurmsweep-abcd1234-{self.dice.randrange(10**6)}"
            transaction.submit(SubmitRecord(named, 2, number, cluster=self.dice.choice([name, ""])))

    def do_lose_the_answer(self, _session) -> None:
        with self.store.transaction() as transaction:
            named = f"slurmsweep-abcd1234-{self.dice.randrange(10**6)}"
            transaction.submit(SubmitRecord(named, 2, None, cluster=self.dice.choice(["lab", "other"])))

    def do_pause(self, session) -> None:
        orders.pause(session)

    def do_resume(self, session) -> None:
        orders.resume(session)

    def do_stop(self, session) -> None:
        orders.stop(session)

    def do_cancel(self, session) -> None:
        orders.cancel(session)

    def do_set(self, session) -> None:
        change_waiting(session, {"time": "5", "partition": "main"}, 1, running=True)

    def do_reconcile(self, session) -> None:
        reconcile(session, sleep=lambda seconds: None)

    def do_recover(self, session) -> None:
        recover_submissions(session, sleep=lambda seconds: None)

    def do_resubmit(self, session) -> None:
        reconcile(session, sleep=lambda seconds: None)
        give_back(session, lambda trial: True, why="test")
        submit_to(self.store, self.dice.choice([None, "other"]))

    def do_delete(self, session) -> None:
        rerun(session, Choice(states=frozenset({TrialState.KILLED, TrialState.CRASHED})))

    def do_mend(self, session) -> None:
        watch = WakeupJobs(session, SupervisorSettings(options=self.dice.choice([{}, {"clusters": "other"}])))
        watch.wake_after(look_at_jobs(session).arrays())
        if self.dice.random() < 0.5:
            watch.stop()


@pytest.mark.parametrize("seed", range(4))
def test_no_order_touches_a_job_of_another_sweep(clusters, make_store, monkeypatch, seed):
    given = Orders(make_store(30), random.Random(seed), monkeypatch)

    names = [given.one() for _ in range(50)]

    assert clusters.touched() == [], names
    ours = [job for name in INNOCENT for job in clusters.jobs(name).values() if job["name"].startswith("slurmsweep-")]
    assert any("touched" in job for job in ours)  # the orders reached some
