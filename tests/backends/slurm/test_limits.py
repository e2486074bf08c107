"""How many jobs fit: what Slurm says of its limits, and what is done where it only refuses."""

from __future__ import annotations

import pytest
from submitting import send, submit

from slurmsweep.backends.base import SubmitOptions, Submitted
from slurmsweep.backends.slurm import cluster, executor, limits, queue
from slurmsweep.backends.slurm.limits import Room, parse_room
from slurmsweep.backends.slurm.refusals import explain
from slurmsweep.control.round.batch import JobBatch
from slurmsweep.control.round.reconcile import recover_submissions
from slurmsweep.control.session import Session
from slurmsweep.errors import JobLimitError, SubmissionRefusedError
from slurmsweep.state.records import SubmitRecord
from slurmsweep.state.tail import AttemptId

#: ``scontrol -o show assoc_mgr users=ann flags=assoc,qos`` of Slurm 22.05, without the fields on TRES.
ASSOC_MGR = """\
Current Association Manager state
Association Records
ClusterName=lab Account=root UserName= Partition= Priority=0 ID=1 ParentAccount= Lft=1 DefAssoc=No GrpJobs=N(2) GrpJobsAccrue=N(0) GrpSubmitJobs=100(97) GrpWall=N(0.00) MaxJobs= MaxJobsAccrue= MaxSubmitJobs= MaxWallPJ=
ClusterName=lab Account=vision UserName= Partition= Priority=0 ID=3 ParentAccount=root(1) Lft=2 DefAssoc=No GrpJobs=N(0) GrpJobsAccrue=N(0) GrpSubmitJobs=N(0) GrpWall=N(0.00) MaxJobs= MaxJobsAccrue= MaxSubmitJobs=
ClusterName=lab Account=vision UserName=ann(1000) Partition= Priority=0 ID=2 ParentAccount= Lft=6 DefAssoc=Yes GrpJobs=N(2) GrpJobsAccrue=N(0) GrpSubmitJobs=N(7) GrpWall=N(0.00) MaxJobs= MaxJobsAccrue= MaxSubmitJobs=50(7) MaxWallPJ=
ClusterName=lab Account=speech UserName= Partition= Priority=0 ID=5 ParentAccount= Lft=2 DefAssoc=No GrpSubmitJobs=N(0) MaxSubmitJobs=
ClusterName=lab Account=speech UserName=ann(1000) Partition= Priority=0 ID=4 ParentAccount= Lft=3 DefAssoc=No GrpJobs=N(0) GrpSubmitJobs=N(0) MaxJobs= MaxSubmitJobs=
QOS Records
QOS=normal(1) UsageRaw=0.000000 GrpJobs=N(2) GrpSubmitJobs=N(3) Account Limits= vision={MaxJobsPA=N(2) MaxSubmitJobsPA=N(3)} User Limits= 1000={MaxJobsPU=N(2) MaxJobsAccruePU=N(0) MaxSubmitJobsPU=N(3)}
QOS=tight(2) UsageRaw=0.000000 GrpJobs=N(0) GrpSubmitJobs=40(4) Account Limits= vision={MaxJobsPA=N(0) MaxSubmitJobsPA=30(4)} User Limits= 0={MaxSubmitJobsPU=6(1)} 1000={MaxJobsPU=N(0) MaxSubmitJobsPU=6(4)}
QOS=unused(3) UsageRaw=0.000000 GrpJobs=N(0) GrpSubmitJobs=N(0) Account Limits=No Accounts User Limits=No Users
"""


@pytest.mark.parametrize(
    ("account", "qos", "jobs", "word"),
    [
        (None, None, 3, "GrpSubmitJobs limits all jobs of account root to 100, and 97 are there"),
        ("vision", "tight", 2, "MaxSubmitJobsPU limits your jobs in QOS tight to 6, and 4 are there"),
        ("speech", None, None, ""),
        ("speech", "tight", 2, "MaxSubmitJobsPU limits your jobs in QOS tight to 6, and 4 are there"),
        ("speech", "unused", None, ""),
        ("nobody", None, None, ""),
    ],
)
def test_the_smallest_room_of_association_accounts_and_qos_counts(account, qos, jobs, word):
    assert parse_room(ASSOC_MGR, account, qos, 1000) == Room(jobs, word)


def test_the_users_own_limit_counts_where_it_is_the_smallest():
    roomy = ASSOC_MGR.replace("100(97)", "N(97)")

    assert parse_room(roomy, None, None, 1000).jobs == 43


#: The same of Slurm 24.11 and 26.05: users by name, a lineage, a comment that holds anything, an association for each
#: partition, priorities of QOS, and the fields on TRES.
NEWER = """\
Current Association Manager state
Association Records
ClusterName=lab Account=root UserName= Partition= Priority=0 ID=1 SharesRaw/Norm/Level/Factor=1/0.00/1/0.00 UsageRaw/Norm/Efctv=0.00/0.00/0.00 ParentAccount= Lineage=/ DefAssoc=No GrpJobs=N(2) GrpJobsAccrue=N(0) GrpSubmitJobs=N(97) GrpWall=N(0.00) GrpTRES=cpu=N(2),mem=N(200),gres/gpu=N(0) GrpTRESMins=cpu=N(0) GrpTRESRunMins=cpu=N(9) MaxJobs= MaxJobsAccrue= MaxSubmitJobs= MaxWallPJ= MaxTRESPJ= MaxTRESPN= MaxTRESMinsPJ= MinPrioThresh= Comment=
ClusterName=lab Account=vision UserName= Partition= Priority=0 ID=3 ParentAccount=root(1) Lineage=/vision/ DefAssoc=No GrpJobs=N(0) GrpSubmitJobs=90(80) MaxJobs= MaxSubmitJobs= Comment=GrpSubmitJobs=1(1)
ClusterName=lab Account=vision UserName=ann(1000) Partition= Priority=0 ID=2 ParentAccount= Lineage=/vision/0-ann/ DefAssoc=Yes GrpJobs=N(2) GrpSubmitJobs=N(7) MaxJobs=5(2) MaxJobsAccrue= MaxSubmitJobs=50(42) MaxWallPJ= Comment=she may MaxSubmitJobs=9(9)
ClusterName=lab Account=vision UserName=ann(1000) Partition=gpu Priority=0 ID=9 ParentAccount= Lineage=/vision/0-ann/gpu/ DefAssoc=No GrpSubmitJobs=6(1) MaxJobs= MaxSubmitJobs=10(4) Comment=
ClusterName=lab Account=vision UserName=bob(1001) Partition= Priority=0 ID=8 ParentAccount= Lineage=/vision/0-bob/ DefAssoc=Yes GrpSubmitJobs=N(0) MaxSubmitJobs=3(3) Comment=
QOS Records
QOS=normal(1) UsageRaw=0.000000 GrpJobs=N(2) GrpJobsAccrue=N(0) GrpSubmitJobs=N(3) GrpWall=N(0.00) MinPrioThresh= MinTRESPJ= PreemptMode=OFF Priority=0 Account Limits=No Accounts User Limits=No Users
QOS=tight(2) UsageRaw=0.000000 GrpJobs=N(0) GrpSubmitJobs=N(4) GrpTRES=cpu=N(0) PreemptMode=OFF Priority=5 Account Limits= vision={MaxJobsPA=N(0) MaxJobsAccruePA=N(0) MaxSubmitJobsPA=30(4) MaxTRESPA=cpu=N(4) MaxTRESRunMinsPA=cpu=N(4)} User Limits= root(0)={MaxSubmitJobsPU=10(1) MaxTRESPU=cpu=N(1)} ann(1000)={MaxJobsPU=N(0) MaxJobsAccruePU=N(0) MaxSubmitJobsPU=10(10) MaxTRESPU=cpu=N(4) MaxTRESRunMinsPU=cpu=N(4)}
QOS=wide(3) UsageRaw=0.000000 GrpJobs=N(0) GrpSubmitJobs=500(200) PreemptMode=OFF Priority=9 Account Limits= speech={MaxSubmitJobsPA=60(7)} User Limits= bob(1001)={MaxSubmitJobsPU=400(3)}
QOS=pooled(4) UsageRaw=0.000000 GrpJobs=N(0) GrpSubmitJobs=N(0) PreemptMode=OFF Priority=1 Account Limits= vision={MaxSubmitJobsPA=30(9)} User Limits= ann(1000)={MaxSubmitJobsPU=N(9)} 1000(77)={MaxSubmitJobsPU=N(0)}
QOS=shut(5) UsageRaw=0.000000 GrpSubmitJobs=0(0) Priority=1 Account Limits=No Accounts User Limits=No Users
"""


@pytest.mark.parametrize(
    ("account", "qos", "partition", "room"),
    [
        (None, None, None, Room(8, "MaxSubmitJobs limits your jobs in account vision to 50, and 42 are there")),
        ("Vision", None, "main", Room(8, "MaxSubmitJobs limits your jobs in account vision to 50, and 42 are there")),
        ("vision", None, "gpu", Room(5, "GrpSubmitJobs limits your jobs in account vision to 6, and 1 are there")),
        (None, "tight", None, Room(0, "MaxSubmitJobsPU limits your jobs in QOS tight to 10, and 10 are there")),
        (None, "TIGHT", None, Room(0, "MaxSubmitJobsPU limits your jobs in QOS tight to 10, and 10 are there")),
        # of several the one of the highest priority; what it says of others it grants this user and account, too
        (None, "tight,wide", None, Room(60, "MaxSubmitJobsPA limits all jobs of account vision in QOS wide to 60, and 0 are there")),
        # a limit of the QOS stands instead of the association's own: 50(42)
        (None, "pooled", None, Room(10, "GrpSubmitJobs limits all jobs of account vision to 90, and 80 are there")),
        (None, "shut", None, Room(0, "GrpSubmitJobs limits all jobs of QOS shut to 0, and 0 are there")),
        (None, "unheard", None, Room(8, "MaxSubmitJobs limits your jobs in account vision to 50, and 42 are there")),
    ],
)  # fmt: skip
def test_newer_slurms_say_the_same_in_other_words(account, qos, partition, room):
    assert parse_room(NEWER, account, qos, 1000, partition) == room


def test_another_users_association_is_not_taken_for_ones_own():
    assert (
        parse_room(NEWER, None, None, 1001).why
        == "MaxSubmitJobs limits your jobs in account vision to 3, and 3 are there"
    )


def test_an_account_has_a_limit_in_a_qos():
    text = NEWER.replace("MaxSubmitJobsPU=10(10)", "MaxSubmitJobsPU=N(4)")

    assert parse_room(text, None, "tight", 1000) == Room(
        10, "GrpSubmitJobs limits all jobs of account vision to 90, and 80 are there"
    )
    text = text.replace("90(80)", "N(80)")
    assert parse_room(text, None, "tight", 1000) == Room(
        26, "MaxSubmitJobsPA limits all jobs of account vision in QOS tight to 30, and 4 are there"
    )


@pytest.mark.parametrize(
    ("configuration", "size"),
    [
        ("MaxArraySize            = 10001\n", 10001),
        ("maxarraysize=500\n", 500),
        ("MaxArraySize=10001\nSchedulerParameters=bf_continue,max_array_tasks=300\n", 300),
        ("SchedulerParameters     = max_array_tasks=2000,defer\n", 1001),
        ("#SchedulerParameters=max_array_tasks=3\nMaxArraySize=50\n", 50),
        ("", 1001),
    ],
)
def test_the_size_of_an_array_has_two_limits(configuration, size):
    assert limits.parse_max_array_size(configuration) == size


@pytest.mark.parametrize("scontrol", [None, "echo 'scontrol: error: Access/permission denied' >&2; exit 1"])
def test_limits_that_are_kept_from_the_user_are_no_limits(tmp_path, monkeypatch, scontrol):
    """Slurm's refusal says them then."""
    if scontrol:
        (tmp_path / "scontrol").write_text(f"#!/bin/sh\n{scontrol}\n")
        (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))  # which is not there
    cluster.asked_configuration.cache_clear()

    assert (limits.max_array_size(""), limits.room({"qos": "tight"}), limits.free_in_cluster("")) == (
        1001,
        Room(),
        None,
    )

    (tmp_path / "slurm.conf").write_text("ClusterName=lab\nMaxArraySize=77\nAccountingStorageEnforce=limits,qos\n")
    cluster._file.cache_clear()
    assert (limits.max_array_size(""), limits.room({"qos": "tight"})) == (77, Room())


class FakeSlurm:
    """Takes arrays whole while there is room, and refuses in Slurm's words: a stand-in for a limit that no user can read."""

    def __init__(self, room: int, refusal: str) -> None:
        self.room, self.refusal = room, refusal
        self.taken: list[int] = []
        self.attempt_ids: list[AttemptId] = []
        self.asked = self.questions = 0

    def submit(self, request):
        self.asked += 1
        if request.tasks > self.room:
            raise explain(self.refusal)
        self.room -= request.tasks
        self.taken.append(request.tasks)
        self.attempt_ids += request.attempt_ids
        return str(100 + len(self.taken))


QOS_LIMIT = (
    "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates "
    "accounting/QOS policy (job submit limit, user's size and/or time limits)"
)
FULL = (
    "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n"
    "sbatch: error: Batch job submission failed: Resource temporarily unavailable"
)


@pytest.fixture
def slurm_with(monkeypatch):
    def make(room: int, refusal: str = QOS_LIMIT, *, known: Room | None = None, free: int | None = None):
        fake = FakeSlurm(room, refusal)

        def asked_for_limits() -> None:
            fake.questions += 1

        monkeypatch.setattr(executor, "submit", fake.submit)
        monkeypatch.setattr(limits, "max_array_size", lambda cluster="": 40)
        monkeypatch.setattr(limits, "room", lambda options: asked_for_limits() or known or Room())
        monkeypatch.setattr(limits, "free_in_cluster", lambda cluster="": free)
        return fake

    return make


@pytest.mark.parametrize("room", [1, 2, 39, 40, 41, 63, 99])
def test_what_fits_under_an_unknown_limit_is_found_to_the_job(slurm_with, make_store, room):
    slurm, store = slurm_with(room), make_store(100)

    handed = submit(store, 100, SubmitOptions())

    assert (handed.trials, handed.kept_back, slurm.room) == (room, 100 - room, 0)
    assert "QOSMaxSubmitJobPerUserLimit" in handed.why
    assert slurm.asked <= 10
    arrays = {s.job for s in store.replay().submissions.values() if s.job}
    assert arrays == {array.job for array in handed.arrays}


def test_all_that_fits_is_no_refusal(slurm_with, make_store):
    slurm = slurm_with(100)

    handed = submit(make_store(100), 100, SubmitOptions())

    assert (slurm.taken, handed.kept_back, handed.why) == ([40, 40, 20], 0, "")


def test_a_known_limit_costs_no_refusal(slurm_with, make_store):
    slurm = slurm_with(50, known=Room(50, "MaxSubmitJobs limits your jobs to 50"))

    handed = submit(make_store(100), 100, SubmitOptions())

    assert (slurm.taken, slurm.asked, handed.kept_back) == ([40, 10], 2, 50)
    assert handed.why == "MaxSubmitJobs limits your jobs to 50"


def test_what_slurm_takes_at_once_costs_no_question(slurm_with, make_store):
    slurm = slurm_with(40, known=Room(20, "never asked for"))

    handed = submit(make_store(40), 40, SubmitOptions())

    assert (slurm.taken, slurm.questions, handed.kept_back) == ([40], 0, 0)


def test_a_refusal_is_understood_by_one_question_and_is_remembered(slurm_with, make_store):
    slurm, store = slurm_with(15, known=Room(15, "MaxSubmitJobs limits your jobs to 15")), make_store(40)

    handed = submit(store, 40, SubmitOptions())

    assert (slurm.taken, slurm.asked, slurm.questions) == ([15], 2, 1)
    assert (handed.kept_back, handed.why) == (25, "MaxSubmitJobs limits your jobs to 15")
    slurm.room = 15
    submit(store, 25, SubmitOptions())
    assert (slurm.taken, slurm.asked, slurm.questions) == ([15, 15], 3, 2)


def test_a_question_that_says_there_is_room_does_not_undo_the_refusal(slurm_with, make_store):
    slurm = slurm_with(15, known=Room(100, "another limit"))

    handed = submit(make_store(40), 40, SubmitOptions())

    assert (sum(slurm.taken), handed.kept_back) == (15, 25)
    assert "QOSMaxSubmitJobPerUserLimit" in handed.why


@pytest.mark.parametrize("known", [None, Room(0, "MaxSubmitJobs limits your jobs to 50, and 50 are there")])
def test_no_room_at_all_is_a_refusal_and_the_sweep_stays_as_it_was(slurm_with, make_store, known):
    slurm_with(0, known=known)
    store = make_store(100)

    with pytest.raises(JobLimitError, match="submit"):
        submit(store, 100, SubmitOptions())

    assert not any(s.job for s in store.replay().submissions.values())


def test_attempts_that_are_kept_back_are_the_last_ones(slurm_with, make_store):
    slurm = slurm_with(45)
    attempt_ids = [AttemptId(n, 1) for n in range(60)]

    handed = send(make_store(60), JobBatch(SubmitOptions(), len(attempt_ids), tuple(attempt_ids)))

    assert slurm.attempt_ids == attempt_ids[:45]
    assert handed.kept_back == 15


def test_a_full_cluster_is_asked_once_more_and_for_much_less(slurm_with, make_store):
    slurm = slurm_with(20, FULL, free=30)

    handed = submit(make_store(100), 100, SubmitOptions())

    assert (slurm.taken, slurm.asked, handed.kept_back) == ([15], 2, 85)
    assert "MaxJobCount" in handed.why


@pytest.mark.parametrize("free", [None, 0])
def test_a_full_cluster_of_which_nothing_is_known_is_asked_once(slurm_with, make_store, free):
    slurm = slurm_with(20, FULL, free=free)

    with pytest.raises(JobLimitError, match="MaxJobCount") as refused:
        submit(make_store(100), 100, SubmitOptions())

    assert (slurm.asked, refused.value.cluster_is_full) == (1, True)


def test_other_refusals_are_not_tried_smaller(slurm_with, make_store):
    slurm = slurm_with(0, "sbatch: error: Batch job submission failed: Invalid qos specification")

    with pytest.raises(SubmissionRefusedError, match="--qos"):
        submit(make_store(100), 100, SubmitOptions())

    assert slurm.asked == 1


def test_a_submission_that_slurm_does_not_know_at_two_looks_was_never_taken(make_store, monkeypatch):
    store = make_store(3)
    with store.transaction() as transaction:
        transaction.submit(SubmitRecord("slurmsweep-abcd1234-1", 3, None))
        transaction.submit(SubmitRecord("slurmsweep-abcd1234-2", 3, None))
    looks = []

    def find(name, cluster=""):
        looks.append(name)
        return ["77"] if name.endswith("2") and len(looks) > 2 else []

    monkeypatch.setattr(queue, "find_by_name", find)

    recover_submissions(Session(store), sleep=looks.append)

    assert {s.name[-1]: s.job for s in store.replay().submissions.values()} == {"1": "", "2": "77"}
    assert looks == [
        "slurmsweep-abcd1234-1",
        "slurmsweep-abcd1234-2",
        3.0,
        "slurmsweep-abcd1234-1",
        "slurmsweep-abcd1234-2",
    ]
    recover_submissions(Session(store), sleep=looks.append)
    assert len(looks) == 5


def test_packed_jobs_run_the_trials_they_are_for_and_not_as_many_as_there_are_seats(
    slurm_with, make_store, monkeypatch
):
    slurm_with(100)
    monkeypatch.setenv("SLURMSWEEP_AGENTS", "4")

    handed = submit(make_store(10), 10, SubmitOptions(template="packed"))

    assert handed.arrays == (Submitted("101", 3, 10, 4),)
    assert handed.trials == 10
