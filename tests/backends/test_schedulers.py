"""Jobs of a sweep in several places: each place is asked about its own, by what the keys of the jobs say."""

from __future__ import annotations

import pytest
from fake_backend import FakeBackend

from slurmsweep.backends import registry, schedulers
from slurmsweep.backends.base import Ability, Account, Answer, JobRestarts, JobStatus
from slurmsweep.backends.keys import JobRef, by_id, is_elsewhere, job_key, parts_of
from slurmsweep.backends.schedulers import Schedulers
from slurmsweep.backends.slurm.backend import SlurmBackend
from slurmsweep.control.snapshot import Snapshot
from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.owner import service_of
from slurmsweep.state.replay import SweepView

BATCH = "1c7f0a9e-1111-4222-8333-444455556666@batch:eu-west-1"
ECS = "0123456789abcdef0123456789abcdef@ecs:eu-west-1/mine"


class Service(FakeBackend):
    """A place that notes what it is asked."""

    def __init__(self, word: str, asked: list, *, fails: bool = False) -> None:
        super().__init__()
        self.word, self.asked, self.fails = word, asked, fails
        self.abilities = frozenset(Ability) if word == "slurm" else frozenset({Ability.OUTLIVE})

    def poll(self, jobs, wanted=()):
        self.asked.append((self.word, "poll", sorted(jobs), sorted(wanted)))
        if self.fails:
            raise SchedulerUnavailableError(f"{self.word} is silent")
        alive = {JobRef(job, 0): status("RUNNING", self.word) for job in jobs}
        return Answer(alive, "used" if self.word == "slurm" else "not needed")

    def cancel(self, targets, *, only_waiting=False):
        self.asked.append((self.word, "cancel", sorted(targets), only_waiting))
        if self.fails:
            raise SchedulerUnavailableError(f"{self.word} is silent")

    def find(self, name, cluster=""):
        self.asked.append((self.word, "find", name, cluster))
        return ""

    def accounts(self, jobs):
        return {JobRef(job): Account(None, None, 1, 1.0, None, None) for job in jobs}, "used"

    def restarts(self, jobs):
        return JobRestarts({"oom": len(jobs)}, "used")


def status(word: str, name: str = "", state: TrialState | None = None) -> JobStatus:
    return JobStatus(word, state is None, state, "", None, "", "test", name=name)


@pytest.fixture
def asked(monkeypatch) -> list:
    """Put a place of the test in the place of Slurm; what all places were asked."""
    said: list = []
    places = {"slurm": Service("slurm", said)}
    for name in ("poll", "cancel", "find", "accounts", "restarts"):
        method = getattr(places["slurm"], name)
        monkeypatch.setattr(SlurmBackend, name, lambda self, *a, _method=method, **k: _method(*a, **k))
    return said


@pytest.fixture
def places(asked) -> Schedulers:
    """Return the backend that asks Slurm, Batch and ECS."""
    return Schedulers(lambda word: Service(word, asked))


@pytest.fixture
def with_silent_batch(asked) -> Schedulers:
    """Return the same where Batch does not answer."""
    return Schedulers(lambda word: Service(word, asked, fails=word == "batch"))


@pytest.mark.parametrize(
    ("cluster", "service"),
    [("batch:eu-west-1", "batch"), ("ecs:eu-west-1/mine", "ecs"), ("Tau", ""), ("", ""), (None, "")],
)
def test_a_cluster_with_a_colon_is_a_service(cluster, service):
    assert service_of(cluster) == service


def test_a_key_of_a_service_always_names_it_and_keeps_its_case():
    assert job_key("12", "tau", "Tau") == "12"
    assert job_key("12", "Other", "tau") == "12@other"
    assert job_key("1c7f", "ecs:eu-west-1/Mine", "tau") == "1c7f@ecs:eu-west-1/Mine"
    assert parts_of(ECS) == ("0123456789abcdef0123456789abcdef", "ecs:eu-west-1/mine")
    assert is_elsewhere("batch:eu-west-1", "")
    assert str(JobRef(BATCH, 3)) == BATCH.replace("@", "_3@")
    assert sorted([BATCH, "10", "9"], key=by_id) == ["9", "10", BATCH]


def test_each_place_is_asked_about_its_own_jobs_and_the_answers_are_one(asked, places):
    wanted = {JobRef("7", 1), JobRef(BATCH, 2)}
    answer = places.poll(["7", BATCH, ECS, "8@other"], wanted)
    assert asked == [
        ("slurm", "poll", ["7", "8@other"], [JobRef("7", 1)]),
        ("batch", "poll", [BATCH], [JobRef(BATCH, 2)]),
        ("ecs", "poll", [ECS], []),
    ]
    assert set(answer.tasks) == {JobRef(key, 0) for key in ("7", "8@other", BATCH, ECS)}
    assert answer.accounting == "used"


def test_a_place_without_jobs_is_not_asked(asked, places):
    places.poll([BATCH])
    assert [place for place, *_ in asked if place != "slurm"] == ["batch"]


def test_a_place_that_is_silent_is_never_taken_for_one_without_jobs(asked, with_silent_batch):
    with pytest.raises(SchedulerUnavailableError, match="batch is silent"):
        with_silent_batch.poll(["7", BATCH])


def test_orders_go_to_every_place_though_one_fails(asked, with_silent_batch):
    with pytest.raises(SchedulerUnavailableError, match="batch is silent"):
        with_silent_batch.cancel(["7", BATCH, ECS], only_waiting=True)
    assert [(place, targets, waiting) for place, _, targets, waiting in asked] == [
        ("slurm", ["7"], True),
        ("batch", [BATCH], True),
        ("ecs", [ECS], True),
    ]


def test_an_unanswered_submission_is_looked_for_where_it_went(asked, places):
    places.find("slurmsweep-a", "batch:eu-west-1")
    places.find("slurmsweep-b", "tau")
    assert asked == [("batch", "find", "slurmsweep-a", "batch:eu-west-1"), ("slurm", "find", "slurmsweep-b", "tau")]


def test_what_jobs_used_is_asked_of_each_place(asked, places):
    known, said = places.accounts(["7", BATCH])
    assert ({ref.job for ref in known}, said) == ({"7", BATCH}, "used")
    assert places.restarts(["7", BATCH, ECS]).ends == {"oom": 3}


def test_jobs_of_services_are_not_held_nor_changed(asked, places):
    assert places.holdable(["7", BATCH]) == ("7",)
    assert places.change(BATCH, [0], ["TimeLimit=5"]) == [
        "batch changes no job that waits: `cancel` it, and submit again"
    ]


def test_the_places_of_keys_are_told_apart():
    assert schedulers.by_place(["7", f"{BATCH}", "8@tau", ECS]) == {"": ["7", "8@tau"], "batch": [BATCH], "ecs": [ECS]}


def test_a_service_that_this_version_does_not_know_is_named():
    with pytest.raises(SchedulerUnavailableError, match="knows no service 'lambda'"):
        registry.scheduler().poll(["1@lambda:eu-west-1"])


def test_a_job_of_another_name_is_left_alone_on_every_place():
    """A number, or an id, alone is no proof that a job is of the sweep."""
    tasks = {
        JobRef("7", 0): status("RUNNING", "slurmsweep-abcd1234-0011"),
        JobRef("8", 0): status("RUNNING", "another-program"),
        JobRef(BATCH, 0): status("RUNNABLE", "slurmsweep-abcd1234-2233"),
        JobRef(ECS): status("RUNNING", "nightly-report"),
    }
    snapshot = Snapshot(SweepView(), {}, Answer(tasks, "used"), "slurmsweep-abcd1234")
    assert snapshot.arrays() == ("7", BATCH)
    assert snapshot.foreign == (f"{ECS} (nightly-report)", "8 (another-program)")


def test_jobs_that_ended_without_a_trial_are_told_by_their_reason_and_number():
    refused = status("FAILED", "slurmsweep-abcd1234-2233", TrialState.CRASHED)._replace(reason="CannotPull")
    tasks = {JobRef(BATCH, task): refused for task in range(3)} | {
        JobRef(BATCH, 3): refused._replace(name="nightly-report"),
        JobRef(BATCH, 4): refused._replace(state=TrialState.KILLED, cause="cancelled"),
        JobRef(BATCH, 5): status("SUCCEEDED", "slurmsweep-abcd1234-2233", TrialState.FINISHED),
    }
    view = SweepView()
    snapshot = Snapshot(view, {}, Answer(tasks, "used"), "slurmsweep-abcd1234")
    assert snapshot.ended_in_vain == ()  # of no submission of this sweep
    from slurmsweep.state.replay import Submission

    view.submissions["slurmsweep-abcd1234-2233"] = Submission("slurmsweep-abcd1234-2233", 6)
    snapshot = Snapshot(view, {}, Answer(tasks, "used"), "slurmsweep-abcd1234")
    assert [group.words for group in snapshot.ended_in_vain] == [
        f"3 jobs ({BATCH.replace('@', '_0@')} ...) ended without a trial: test says FAILED: CannotPull"
    ]
