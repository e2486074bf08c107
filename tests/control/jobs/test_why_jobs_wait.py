"""Why a sweep's jobs wait, in one line a reason: what never starts as it is comes first."""

from __future__ import annotations

import pytest
from fake_backend import FakeBackend
from submitting import on_backend, send_all

from slurmsweep.backends.base import SubmitOptions
from slurmsweep.backends.keys import JobRef
from slurmsweep.backends.slurm.waiting import explain
from slurmsweep.control.jobs.wait import wait_for_jobs
from slurmsweep.control.jobs.waiting_reasons import look_after_submission, waiting_reasons
from slurmsweep.control.round.batch import JobBatch
from slurmsweep.control.round.events import Noticed
from slurmsweep.control.snapshot import look
from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.report.waiting import waiting_words


@pytest.fixture
def sweep(make_store):
    """A sweep with two arrays of three jobs that wait, and the backend that has them."""
    store, backend = make_store(9), FakeBackend()
    send_all(store, [JobBatch(SubmitOptions(), 3), JobBatch(SubmitOptions(), 3)], backend=backend)
    return store, backend


def let(backend, job: str, tasks: list[int], reason: str, starts: str = "") -> None:
    """Let jobs of an array wait for that reason."""
    for task in tasks:
        status = backend.tasks[JobRef(job, task)]
        backend.tasks[JobRef(job, task)] = status._replace(reason=reason, wait=explain(reason), starts=starts)


def words(store, backend) -> list[str]:
    return waiting_words(waiting_reasons(look(on_backend(store, backend))), "S")


def test_jobs_that_wait_alike_are_one_line_and_what_never_starts_is_first(sweep):
    store, backend = sweep
    first, second = backend.arrays
    let(backend, second, [0, 1, 2], "PartitionTimeLimit")
    let(backend, first, [0], "Resources", "2999-01-02T03:04:05")

    assert words(store, backend) == [
        (
            f"3 jobs ({second}_0 ...) never start as they are: they ask for more time than the partition gives a job "
            "(PartitionTimeLimit); `slurmsweep set S --time MINUTES` asks for less (`sinfo -o '%P %l'` shows the limits), "
            "`--partition NAME` for another one"
        ),
        (
            f"1 job ({first}_0) waits: they are next, and what they ask for is in use (Resources); the first is expected to "
            "start at 2999-01-02 03:04:05; with less time they may fit into a gap: `slurmsweep set S --time MINUTES`"
        ),
        (
            f"2 jobs ({first}_1 ...) wait: jobs of higher priority come first (Priority); with less time they may fit into "
            "a gap: `slurmsweep set S --time MINUTES`"
        ),
    ]


def test_a_reason_without_words_is_said_as_slurm_says_it(sweep):
    store, backend = sweep
    for job in backend.arrays:
        let(backend, job, [0, 1, 2], "Tuesday", "2001-01-01T00:00:00")  # a start that has passed is none

    assert words(store, backend) == [f"6 jobs ({backend.arrays[0]}_0 ...) wait: Tuesday"]


def test_of_many_reasons_the_first_are_said_and_the_rest_counted(sweep):
    store, backend = sweep
    names = iter(["One", "Two", "Three", "Four", "Five", "Six"])
    for job in backend.arrays:
        for task in range(3):
            let(backend, job, [task], next(names))

    assert [line.partition(": ")[2] for line in words(store, backend)] == [
        "One", "Two", "Three", "Four", "`slurmsweep status S --json` has each",
    ]  # fmt: skip


def test_a_job_that_runs_or_is_not_the_sweeps_is_not_asked_why(sweep):
    store, backend = sweep
    first, second = backend.arrays
    backend.start(first)
    for task in range(3):
        ref = JobRef(second, task)
        backend.tasks[ref] = backend.tasks[ref]._replace(name="innocent")

    assert words(store, backend) == []


def test_the_document_names_the_sweep_in_its_command(sweep):
    store, backend = sweep
    for job in backend.arrays:
        let(backend, job, [0, 1, 2], "JobHeldUser")

    [reason] = waiting_reasons(look(on_backend(store, backend)))

    assert reason.to_json("abcd1234") == {
        "reason": "JobHeldUser",
        "why": "you hold them, or `pause` does",
        "help": "`slurmsweep resume abcd1234` releases them",
        "is_stuck": False,
        "jobs": 6,
        "first": f"{backend.arrays[0]}_0",
        "starts": None,
    }


STUCK = "never start as they are: no node has what they ask for (BadConstraints)"


def test_after_a_submission_what_never_starts_is_said_and_what_is_otherwise_than_asked(make_store):
    store, backend, told = make_store(9), FakeBackend(), []
    send_all(store, [JobBatch(SubmitOptions(options={"time": "10"}), 3)], backend=backend)
    [job], name = backend.arrays, next(iter(backend.requests.values())).name
    let(backend, job, [0, 1], "BadConstraints")
    backend.tasks = {ref: s._replace(name=name, minutes=5.0) for ref, s in backend.tasks.items()}
    backend.said.clear()

    look_after_submission(on_backend(store, backend), [job], told.append)

    assert backend.said == ["poll"]
    assert [event.text.partition("; ")[0] for event in told] == [
        f"2 jobs ({job}_0 ...) {STUCK}",
        f"job {job}: --time is 5, and 10 was asked for: the site, a QOS or scontrol changed it",
    ]
    assert [submission.compared for submission in store.replay().submissions.values()] == [True]


def test_where_the_schedulers_first_word_says_little_it_is_asked_again(sweep):
    store, backend = sweep
    first, second = backend.arrays
    told, slept = [], []
    let(backend, first, [0, 1, 2], "Dependency")
    backend.said.clear()

    def later(seconds: float) -> None:
        slept.append(seconds)
        let(backend, first, [0, 1, 2], "DependencyNeverSatisfied")

    look_after_submission(on_backend(store, backend), [first, second], told.append, later)

    assert (backend.said, slept) == (["poll", "poll"], [5.0])
    assert ["(DependencyNeverSatisfied)" in event.text for event in told] == [True]


def test_a_scheduler_that_does_not_answer_after_a_submission_is_asked_by_the_next_command(sweep):
    store, backend = sweep
    backend.silent = 1

    look_after_submission(on_backend(store, backend), backend.arrays, pytest.fail)

    with pytest.raises(SchedulerUnavailableError):
        backend.silent = 1
        look(on_backend(store, backend))


def test_while_a_command_waits_each_reason_is_said_once_when_it_is_known(sweep):
    store, backend = sweep
    first, second = backend.arrays
    told: list[object] = []
    backend.meanwhile = [
        lambda: let(backend, first, [0], "BadConstraints"),
        lambda: told.append("now"),
        lambda: let(backend, second, [0, 1], "BadConstraints"),
        lambda: let(backend, second, [2], "DependencyNeverSatisfied"),
        lambda: [backend.end(job, "CANCELLED") for job in backend.arrays],
    ]

    wait_for_jobs(on_backend(store, backend), backend.arrays, 6, 0, told.append)

    said = [event if event == "now" else event.text for event in told if event == "now" or isinstance(event, Noticed)]
    assert [line.partition(" (")[0] for line in said] == ["1 job", "now", "1 job"]
    assert ["BadConstraints" in said[0], "DependencyNeverSatisfied" in said[2]] == [True, True]
