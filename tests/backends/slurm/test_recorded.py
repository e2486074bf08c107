"""What each version of Slurm answers, understood alike: every folder of tests/data/slurm that scripts/record-slurm made.

The functions that ask Slurm ask the recordings here, so that a new version's folder is tested by being there.
"""

from __future__ import annotations

import json
import os
import subprocess
from types import SimpleNamespace

import pytest
from cluster.record import DATA, ENDS, REFUSED, TAKEN, read

from slurmsweep.backends.base import JobRequest, JobSource, JobStatus
from slurmsweep.backends.keys import JobRef
from slurmsweep.backends.slurm import (
    accounting,
    changes,
    cluster,
    commands,
    executor,
    limits,
    queue,
    site,
    wakeup,
)
from slurmsweep.backends.slurm.backend import SlurmBackend
from slurmsweep.backends.slurm.refusals import explain
from slurmsweep.errors import JobLimitError, SubmissionRefusedError

VERSIONS = sorted(path.parent.name for path in DATA.glob("*/situations.json"))


class Recordings:
    """Slurm's programs, which say what they said then; a program that is asked more often says nothing.

    Attributes:
        jobs: id by situation.
    """

    def __init__(self, version: str) -> None:
        self._folder = DATA / version
        self.jobs = json.loads((self._folder / "situations.json").read_text())
        self._left: list[subprocess.CompletedProcess[str]] = []

    def load(self, *names: str) -> list[subprocess.CompletedProcess[str]]:
        """Let these be the next answers."""
        paths = [self._folder / f"{name.replace(' ', '-')}.txt" for name in names]
        self._left = [call for path in paths for call in read(path)]
        return list(self._left)

    def run(self, argv, **_how) -> subprocess.CompletedProcess[str]:
        program = next(word for word in argv if word in PROGRAMS)
        found = next((said for said in self._left if program in said.args), None)
        assert found, f"{argv} was not recorded"
        self._left.remove(found)
        return found


PROGRAMS = ("squeue", "sacct", "scontrol", "scancel", "sbatch", "sinfo", "sdiag", "sacctmgr")


@pytest.fixture(params=VERSIONS)
def said(request, monkeypatch):
    recordings = Recordings(request.param)
    stands_in = SimpleNamespace(run=recordings.run, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(commands, "subprocess", stands_in)
    monkeypatch.setattr(commands, "installed", lambda program: True)
    monkeypatch.setattr(site, "installed", lambda program: True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("SLURM_CONF", "/nowhere")
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "lab")
    for once in (cluster.asked_configuration, cluster.site_name):
        once.cache_clear()
    yield recordings
    for once in (cluster.asked_configuration, cluster.site_name):
        once.cache_clear()


#: State and cause of each element of "ends"; of the exit code 143 sacct says 15 before 25.11.
ENDED = dict(
    zip(
        [*ENDS, *TAKEN],
        [
            ("finished", ""),
            ("failed", "exit 3"),
            ("failed", "exit 143"),
            ("crashed", "signal 9"),
            ("crashed", "signal 11"),
            ("crashed", "timeout"),
            ("crashed", "oom"),
            ("killed", "cancelled"),
            ("preempted", "preempted"),
            ("preempted", "preempted"),
        ],
        strict=True,
    )
)


def ends(tasks: dict[JobRef, JobStatus], job: str) -> dict[str, tuple[str, str]]:
    return {name: (str(tasks[JobRef(job, n)].state), tasks[JobRef(job, n)].cause) for n, name in enumerate(ENDED)}


def test_three_versions_are_recorded():
    assert {"22.05", "24.11", "26.05"} <= set(VERSIONS)


def test_squeue_tells_how_jobs_ended_and_which_are_alive(said):
    said.load("squeue")

    tasks = queue.ask(said.jobs.values()).tasks

    assert ends(tasks, said.jobs["ends"]) == ENDED
    [running] = [status for ref, status in tasks.items() if ref.job == said.jobs["running"]]
    assert (running.word, running.alive, running.waits, running.node) == ("RUNNING", True, False, "n3")
    assert (running.minutes, running.partition, running.name) == (30, "main", "slurmsweep-alice-running")
    back = [tasks[JobRef(said.jobs["put back"], n)] for n in range(3)]
    assert all(status.alive for status in back)
    assert (back[1].waits, back[1].reason) == (True, "job requeued in held state")
    assert {tasks[JobRef(said.jobs["limits"], n)].cause for n in range(6)} == {"cancelled"}


def test_squeue_tells_what_is_suspended(said):
    said.load("squeue suspended")

    status = queue.ask([said.jobs["ends"]]).tasks[JobRef(said.jobs["ends"], len(ENDED) - 1)]

    assert (status.word, status.alive, status.waits) == ("SUSPENDED", True, False)


def test_squeue_tells_why_jobs_wait(said):
    said.load("squeue waiting")

    tasks = queue.ask(said.jobs.values()).tasks

    assert all(status.waits for status in tasks.values())
    held = {ref.task: status for ref, status in tasks.items() if ref.job == said.jobs["held"]}
    assert sorted(held) == [0, 1, 2, 3, 4, 5]
    assert {(status.reason, status.partition, status.minutes) for status in held.values()} == {
        ("JobHeldUser", "urgent", 30)
    }
    assert tasks[JobRef(said.jobs["dependency"], 0)].reason in ("Dependency", "None")  # not yet looked at
    assert JobRef(said.jobs["supervisor"].removesuffix("@lab")) in tasks


def test_sacct_tells_how_jobs_ended(said):
    [done] = said.load("sacct")

    tasks = dict(queue.parse_sacct(done.stdout))

    found = ends(tasks, said.jobs["ends"])
    assert found.pop("exit 143")[0] == "failed"
    assert found == {name: end for name, end in ENDED.items() if name != "exit 143"}
    assert tasks[JobRef(said.jobs["running"], 0)].alive
    assert tasks[JobRef(said.jobs["put back"], 1)].waits


@pytest.mark.parametrize(
    ("name", "tasks", "ran"),
    [
        ("every second", 24, set(range(0, 24, 2))),
        ("many parts", 60, {n for n in range(60) if n % 7 in (0, 3)}),
    ],
)
def test_sacct_tells_which_elements_never_started(said, name, tasks, ran):
    [done] = said.load(f"sacct {name}")

    found = {ref.task: str(status.state) for ref, status in queue.parse_sacct(done.stdout)}

    expected = {n: "failed" if n in ran else "killed" for n in range(tasks)}
    named = {n for n in expected if n in found} if "..." in done.stdout else set(expected)  # a list that was cut
    assert found == {n: expected[n] for n in named}
    assert ran <= named


def test_accounting_tells_what_jobs_asked_for_and_used(said):
    said.load("accounts")

    found, became = accounting.accounts(said.jobs.values())

    assert became == "used"
    some = [found[JobRef(said.jobs["ends"], n)] for n in range(len(ENDED))]
    assert {(one.mem, one.cpus) for one in some} == {(100, 1)}
    assert {one.minutes for name, one in zip(ENDED, some, strict=True) if name != "time limit"} == {30}
    assert some[-1].elapsed > 5
    assert 0 < some[-1].max_rss < 100
    assert JobRef(said.jobs["limits"]) not in found


def test_accounting_tells_how_starts_ended(said):
    said.load("restarts")

    found = accounting.count_restarts(said.jobs.values())

    ended = {word: n for word, n in found.ends.items() if word != "CANCELLED"}
    assert ended == {"FAILED": 4, "PREEMPTED": 2, "TIMEOUT": 1, "OUT_OF_MEMORY": 1}


def test_jobs_are_found_by_their_name(said):
    said.load("found by name")
    assert queue.find_by_name("slurmsweep-alice-ends", "") == [said.jobs["ends"]]

    said.load("supervisors")
    [supervisor] = wakeup.find(["slurmsweep-alice-mend"], "")
    assert (supervisor.job, supervisor.name, supervisor.waits) == (
        said.jobs["supervisor"],
        "slurmsweep-alice-mend",
        True,
    )


def test_what_slurm_does_not_know_is_no_error(said):
    said.load("sacct of an unknown job")

    answer = queue.ask(["99999"], [JobRef("99999", 0)])

    assert (answer.tasks, answer.accounting) == ({}, "used")


def test_the_room_in_a_qos_and_in_an_account_is_read(said, monkeypatch):
    monkeypatch.setattr(limits, "configuration", lambda where: "AccountingStorageEnforce=limits,qos")
    said.load("room before any job")
    before = limits.room({"qos": "tight"})
    said.load("room")
    room = limits.room({"qos": "tight"})
    said.load("room")
    account = limits.room({})

    assert before.jobs is not None
    assert before.why.startswith("GrpSubmitJobs limits all jobs of account group to 90")
    assert room == limits.Room(4, "MaxSubmitJobsPU limits your jobs in QOS tight to 10, and 6 are there")
    assert account.why.startswith("GrpSubmitJobs limits all jobs of account group to 90, and ")
    assert before.jobs - account.jobs in (5, 6)  # the first job of all may have ended in between


def test_a_cluster_describes_itself(said):
    done = said.load("site", "survey")
    config = done[0].stdout

    found = site.look_around()

    assert (found.silent, found.accounting, found.missing) == ("", "on", ())
    assert (found.max_array_size, found.max_job_count, found.submit_limit) == (2001, 20000, None)
    assert cluster.parse_cluster_name(config) == "lab"
    assert limits._ENFORCED.search(config)
    assert found.version[:5] in VERSIONS


def test_partitions_and_nodes_are_read(said):
    said.load("survey")

    partitions, nodes = site.survey("")

    assert nodes == 4
    assert partitions == [site.Partition("main", 1440, 16000, True), site.Partition("urgent", 60, 16000)]


def test_how_full_the_cluster_is(said):
    said.load("sdiag")

    assert 19_900 < limits.free_in_cluster("") < 20_000


#: What a message names; empty where no advice is due.
NAMED = {
    "partition": "--partition",
    "account": "--account",
    "qos": "--qos",
    "time": "--time",
    "limit": "--time",
    "cpus": "--cpus-per-task",
    "memory": "--mem",
    "nodes": "--sbatch nodes",
    "feature": "--constraint",
    "gres": "--gres",
    "gpus": "--gres",
    "node": "--exclude",
    "array": "--count",
    "option": "--sbatch",
    "reservation": "reservation",
    "licenses": "license",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_the_option_and_what_is_taken_has_an_id(said, name):
    [done] = said.load(f"refusal {name}")

    if done.returncode:
        error = explain(done.stderr)
        assert isinstance(error, SubmissionRefusedError)
        assert not isinstance(error, JobLimitError)
        assert NAMED.get(name, "") in str(error)
        assert "sbatch: error" not in str(error)
    else:
        assert name not in NAMED
        assert queue.submitted(done.stdout).isdecimal()


@pytest.mark.parametrize(("name", "is_full"), [("by a QOS", False), ("by an account", False), ("full", True)])
def test_a_limit_on_the_number_of_jobs_is_known_by_its_words(said, name, is_full):
    [done] = said.load(f"refusal {name}")

    error = explain(done.stderr)

    assert isinstance(error, JobLimitError)
    assert error.cluster_is_full is is_full


def test_a_dry_start_tells_when_or_why_not(said):
    source = JobSource("slurmsweep-alice", "/home/alice/sweep", "/home/alice", "/home/alice")
    request = JobRequest("slurmsweep-alice-tested", 1, 1, None, None, {}, "", "exit 0", source)

    said.load("test-only")
    start, refusal = executor.earliest_start(request)
    assert (start[:2], refusal) == ("20", None)

    said.load("test-only refused")
    start, refusal = executor.earliest_start(request)
    assert start is None
    assert "--partition" in refusal


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("width", ""),
        ("time", ""),
        ("both", ""),
        ("of what is over", ""),
        ("partition", "--partition"),
        ("nice", "operator"),
        ("account", "--account"),
    ],
)
def test_a_change_is_made_or_its_refusal_explained(said, name, problem):
    said.load(f"change {name}")
    words = {"width": ["ArrayTaskThrottle=3"], "both": ["ArrayTaskThrottle=2", "TimeLimit=8"]}

    problems = changes.change(said.jobs["held"], range(3), words.get(name, ["TimeLimit=7"]))

    assert bool(problems) is bool(problem)
    assert all(problem in text for text in problems)


def test_orders_to_what_is_over_are_no_errors(said):
    for verb in ("hold", "release"):
        said.load(f"{verb} of what is over")
        queue.order(verb, [said.jobs["ends"]])
    said.load("cancel of what is over")
    queue.cancel([said.jobs["limits"], "99999"])


def test_what_a_site_keeps_from_its_users_bounds_nothing(said, monkeypatch):
    monkeypatch.setattr(limits, "configuration", lambda where: "AccountingStorageEnforce=limits,qos")
    said.load("private survey")
    capacity = SlurmBackend().capacity({})
    said.load("private squeue")
    tasks = queue.ask([said.jobs["held"]]).tasks
    said.load("private room")
    room = limits.room({"qos": "tight"})
    said.load("private site", "private survey")
    found = site.look_around()

    assert (capacity.minutes, capacity.mib, capacity.nodes) == (None, None, 0)
    assert sorted(ref.task for ref in tasks) == [0, 1, 2, 3, 4, 5]
    assert room == limits.Room()
    assert (found.silent, found.accounting) == ("", "on")
