"""What Slurm's reasons for waiting mean. The data file has every word that 22.05 to 26.05 know (job_state_reason.c)."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurmsweep.backends.base import Wait
from slurmsweep.backends.keys import JobRef
from slurmsweep.backends.slurm import cluster, queue
from slurmsweep.backends.slurm.waiting import FAILED_LAUNCHES, explain

REASONS = (Path(__file__).parents[2] / "data" / "slurm_reasons.txt").read_text().split()

RELEASE = "`slurmsweep resume {sweep}` releases them"

#: Said of jobs that are over, never of one that waits.
OF_ENDED_JOBS = {"InactiveLimit", "NonZeroExitCode", "OutOfMemory", "RaisedSignal", "TimeLimit"}


def test_every_reason_of_every_version_has_words_and_a_remedy_that_can_be_given():
    assert {reason for reason in REASONS if explain(reason) is None} == OF_ENDED_JOBS
    known = [wait for reason in REASONS if (wait := explain(reason))]
    assert len(known) > 200
    assert [wait for wait in known if not wait.why or "{}" in wait.why or wait.why.endswith(".")] == []
    commands = [part for wait in known for part in wait.help.split("`")[1::2] if part.startswith("slurmsweep")]
    assert {tuple(command.split()[:3]) for command in commands} == {
        ("slurmsweep", "set", "{sweep}"),
        ("slurmsweep", "resume", "{sweep}"),
        ("slurmsweep", "cancel", "{sweep}"),
    }


@pytest.mark.parametrize(
    ("reason", "why", "is_stuck"),
    [
        ("QOSMaxCpuPerJobLimit", "they ask for more CPUs than the QOS gives a job", True),
        ("AssocMaxWallDurationPerJobLimit", "they ask for more time than the account gives a job", True),
        ("QOSMaxMemoryPerNode", "they ask for more memory than the QOS gives a job on a node", True),
        ("AssocMaxGRESMinutesPerJob", "they ask for more minutes of GPUs or other generic resources", True),
        ("QOSMinCpuNotSatisfied", "they ask for less CPUs than the QOS wants of a job", True),
        ("QOSMaxJobsPerUserLimit", "as many of your jobs in the QOS run as are allowed", False),
        ("AssocGrpJobsLimit", "as many of all jobs of the account run as are allowed", False),
        ("MaxSubmitJobsPerAccount", "as many of the jobs of your account in the QOS are there as are allowed", False),
        ("QOSMaxGRESPerUser", "your jobs in the QOS have all the GPUs or other generic resources that", False),
        ("MaxCpuPerAccount", "the jobs of your account in the QOS have all the CPUs that they may have", False),
        ("AssocGrpCPURunMinutesLimit", "all jobs of the account that run may have no more minutes of CPUs", False),
        ("MaxGRESRunMinsPerUser", "your jobs in the QOS that run may have no more minutes of GPUs", False),
        ("QOSGrpWallLimit", "all jobs of the QOS have used up their time", False),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-3]", "nodes n[1-3] are down or drained", False),
        ("ReqNodeNotAvail, Reserved for maintenance", "a maintenance begins before they would end", False),
        (
            "ReqNodeNotAvail, May be reserved for other job",
            "the nodes that fit are drained, or reserved for other",
            False,
        ),
        ("ReqNodeNotAvail, new in some version", "the nodes that they could use are down, drained or reserved", False),
        (
            "Nodes required for job are DOWN, DRAINED, REBOOTING or reserved for jobs in higher priority partitions",
            "too few nodes of the partition are up and free of reservations",
            False,
        ),
        ("Reservation maint was deleted", "reservation maint was deleted, and they are held", True),
        ("job requeued in special exit state", "they were requeued and are held", True),
        ("launch failed requeued held", "a node failed to start them, and they are held", True),
        ("launch failure limit exceeded requeued held", "nodes failed to start them several times", True),
        ("uid 1000 not in group permitted to use this partition (x). groups allowed: y", "the partition does", True),
    ],
)
def test_limits_and_sentences_are_understood_by_their_form(reason, why, is_stuck):
    wait = explain(reason)

    assert wait is not None
    assert (wait.why[: len(why)], wait.is_stuck) == (why, is_stuck)


def test_what_slurm_may_say_one_day_is_not_guessed():
    assert (explain("QOSMaxFlopsPerJobLimit"), explain("Tuesday"), explain("")) == (None, None, None)


LINES = """\
7|0|8|PENDING|0:0||0|slurmsweep-abcd1234-1f|PartitionTimeLimit|1-00:00:00|0:00|N/A|urgent|N/A|
7|1|9|PENDING|0:0||0|slurmsweep-abcd1234-1f|Priority|10:00|0:00|N/A|main|2026-11-29T14:00:00|
7|2|10|RUNNING|0:0|n1|0|slurmsweep-abcd1234-1f|None|10:00|0:35|N/A|main|2026-11-29T12:00:00|
7|3|11|PENDING|0:0||1|slurmsweep-abcd1234-1f|user env retrieval failed requeued held|10:00|0:00|N/A|main|N/A|(null)|
7|4|12|PENDING|0:0||0|slurmsweep-abcd1234-1f|None|10:00|0:00|N/A|main|N/A|(null)|
7|5|13|PENDING|0:0||0|slurmsweep-abcd1234-1f|None|10:00|0:00|N/A|main|N/A|afterok:5_*(unfulfilled)|
"""


def test_squeues_line_tells_why_a_job_waits_and_when_it_may_start():
    said = dict(queue.parse_squeue(LINES))

    assert {ref.task: (status.wait, status.starts) for ref, status in said.items()} == {
        0: (explain("PartitionTimeLimit"), ""),
        1: (explain("Priority"), "2026-11-29T14:00:00"),
        2: (None, ""),
        3: (Wait("a node could not get your login environment, and they are held", RELEASE, True), ""),
        4: (Wait("Slurm has not looked at them yet"), ""),
        5: (Wait("they wait for another job", is_first_word=True), ""),
    }
    assert queue.failed_launches(said) == [JobRef("7", 3)]


CONF = """\
ClusterName=lab
PartitionName=DEFAULT MaxTime=2:00:00
PartitionName=long,main Nodes=n[1-4] \\
    State=UP
PartitionName=urgent Nodes=n1 maxtime=60 State=UP
PartitionName=free Nodes=n1 MaxTime=UNLIMITED
"""


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A slurm.conf with partitions, and a squeue that says what the file ``said`` has."""
    (tmp_path / "slurm.conf").write_text(CONF)
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    cluster._file.cache_clear()
    cluster.site_name.cache_clear()
    yield monkeypatch
    cluster._file.cache_clear()
    cluster.site_name.cache_clear()


@pytest.mark.parametrize(
    ("partition", "longest"),
    [("urgent", "60"), ("MAIN", "2:00:00"), ("long", "2:00:00"), ("free", "UNLIMITED"), ("x", ""), ("main,urgent", "")],
)
@pytest.mark.usefixtures("conf")
def test_the_longest_time_of_a_partition_is_read_from_slurms_own_file(partition, longest):
    assert cluster.longest_time(partition) == longest


@pytest.mark.parametrize(
    ("reason", "partition", "limit", "why", "is_first_word"),
    [
        (
            "PartitionTimeLimit",
            "urgent",
            "1:30:00",
            "they ask for 90 minutes, and partition urgent gives a job 60",
            False,
        ),
        ("PartitionConfig", "urgent", "1:30:00", "they ask for 90 minutes, and partition urgent gives a job 60", False),
        ("None", "urgent", "1:30:00", "Slurm has not looked at them yet", True),
        ("None", "urgent", "1:00:00", "Slurm has not looked at them yet", False),
        ("Priority", "urgent", "1:30:00", "jobs of higher priority come first", False),
        ("PartitionTimeLimit", "free", "9-00:00:00", "they ask for more time than the partition gives a job", False),
        (
            "PartitionTimeLimit",
            "main,urgent",
            "9:00:00",
            "they ask for more time than the partition gives a job",
            False,
        ),
    ],
)
def test_more_time_than_the_partition_gives_is_said_in_minutes(conf, reason, partition, limit, why, is_first_word):
    line = f"7|0|8|PENDING|0:0||0|slurmsweep-abcd1234-1f|{reason}|{limit}|0:00|N/A|{partition}|N/A|(null)|\n"
    conf.setattr(queue, "answer", lambda *_, **__: line)

    wait = queue.ask(["7"]).tasks[JobRef("7", 0)].wait

    assert (wait.why, wait.is_first_word) == (why, is_first_word)
    if "60" in why:
        assert wait.help.startswith("`slurmsweep set {sweep} --time 60` asks for less")


def test_a_failed_launch_is_one_for_the_words_too():
    assert all(explain(reason).is_stuck for reason in FAILED_LAUNCHES)
