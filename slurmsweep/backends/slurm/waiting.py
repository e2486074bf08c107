"""What Slurm's reasons for waiting mean, and what would help: of a job that waits, squeue's field ``Reason``.

The words are those of Slurm 22.05 to 26.05 (``src/common/job_state_reason.c``, before 24.05 ``slurm_protocol_defs.c``).
Where the controller wrote a sentence instead (its ``state_desc``), the beginning of the sentence counts.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from slurmsweep.backends.base import Wait

if TYPE_CHECKING:
    from slurmsweep.backends.base import JobStatus

#: A node could not start a job: its prolog failed, or a leftover of an earlier start was in the way; the same so often
#: that Slurm gave up (23.02, MaxBatchRequeue); --get-user-env failed (25.05).
FAILED_LAUNCHES = (
    "launch failed requeued held",
    "launch failure limit exceeded requeued held",
    "JobHoldMaxRequeue",
    "user env retrieval failed requeued held",
)

_LESS_TIME = "with less time they may fit into a gap: `slurmsweep set {sweep} --time MINUTES`"
_PARTITION = "`slurmsweep set {sweep} --partition NAME` chooses another one"
_RELEASE = "`slurmsweep resume {sweep}` releases them"
_ADMIN = "ask the administrators"
_RESERVATION = (
    "`slurmsweep set {sweep} --sbatch reservation=NAME` names another one, `slurmsweep resume {sweep}` releases"
)

_WORDS = {
    "None": Wait("Slurm has not looked at them yet"),
    "Priority": Wait("jobs of higher priority come first", _LESS_TIME),
    "Resources": Wait("they are next, and what they ask for is in use", _LESS_TIME),
    "JobArrayTaskLimit": Wait(
        "as many jobs of the array run as its width lets", "`slurmsweep set {sweep} --width N` lets more run"
    ),
    "Dependency": Wait("they wait for another job", is_first_word=True),
    "DependencyNeverSatisfied": Wait(
        "the job that they wait for did not end as they need it",
        "`slurmsweep set {sweep} --sbatch dependency=0` lets them start without",
        is_stuck=True,
    ),
    "BeginTime": Wait(
        "their time to begin has not come; after a requeue that is a matter of minutes",
        "where you gave --begin, `slurmsweep set {sweep} --sbatch begin=now` starts them earlier",
    ),
    "JobHeldUser": Wait("you hold them, or `pause` does", _RELEASE),
    "JobHeldAdmin": Wait("an administrator holds them", f"{_ADMIN}; where `pause` did it, {_RELEASE}"),
    "JobHoldMaxRequeue": Wait("they were requeued as often as Slurm lets, and are held", _RELEASE, is_stuck=True),
    "Cleaning": Wait("Slurm still cleans up after their last start"),
    "Prolog": Wait("a node is being prepared for them"),
    "SchedDefer": Wait("Slurm puts its decisions off while it is busy"),
    "PartitionTimeLimit": Wait(
        "they ask for more time than the partition gives a job",
        "`slurmsweep set {sweep} --time MINUTES` asks for less (`sinfo -o '%P %l'` shows the limits), "
        "`--partition NAME` for another one",
        is_stuck=True,
    ),
    "PartitionNodeLimit": Wait(
        "they ask for more nodes than the partition gives a job, or than it has",
        f"{_PARTITION}; to ask for fewer nodes, `slurmsweep cancel {{sweep}}` and submit with --sbatch nodes=N",
        is_stuck=True,
    ),
    "PartitionConfig": Wait(
        "the partition does not take such jobs (their time, nodes, account or QOS)",
        f"{_PARTITION}, `--time MINUTES` asks for less time",
        is_stuck=True,
        is_first_word=True,
    ),
    "PartitionDown": Wait("the partition is down: it takes jobs and starts none", f"wait, or {_PARTITION}"),
    "PartitionInactive": Wait("the partition is inactive: it takes and starts no jobs", f"wait, or {_PARTITION}"),
    "ReqNodeNotAvail": Wait("the nodes that they could use are down, drained or reserved", f"wait, or {_PARTITION}"),
    "NodeDown": Wait("a node that they need is down", f"wait, or {_PARTITION}"),
    "FrontEndDown": Wait("no front end of the cluster is up"),
    "BadConstraints": Wait(
        "no node has what they ask for",
        "`slurmsweep set {sweep} --constraint X` (or --mem, --cpus-per-task, --gres, --partition) asks for what there "
        f"is; {_RELEASE}",
        is_stuck=True,
    ),
    "Constraints": Wait("no node fits at this time what they ask for", f"wait, or {_PARTITION}"),
    "MaxMemPerLimit": Wait(
        "they ask for more memory than the partition gives a CPU or a node",
        "`slurmsweep set {sweep} --mem SIZE` asks for less",
        is_stuck=True,
    ),
    "Reservation": Wait("their reservation has not begun, is full, or is over", _RESERVATION),
    "ReservationDeleted": Wait("their reservation was deleted, and they are held", _RESERVATION, is_stuck=True),
    "ReservationInvalid": Wait("their reservation is not valid for them", _RESERVATION, is_stuck=True),
    "Licenses": Wait("the licenses that they ask for are in use"),
    "InvalidAccount": Wait(
        "their account is not valid", "`slurmsweep set {sweep} --account NAME` charges another one", is_stuck=True
    ),
    "InvalidQOS": Wait(
        "their QOS is not valid", "`slurmsweep set {sweep} --qos NAME` takes another one", is_stuck=True
    ),
    "AccountNotAllowed": Wait(
        "the partition does not take jobs of their account or user group",
        f"{_PARTITION}, `--account NAME` charges another account",
        is_stuck=True,
    ),
    "QOSNotAllowed": Wait(
        "the partition, or their account, does not take their QOS",
        f"{_PARTITION}, `--qos NAME` takes another QOS",
        is_stuck=True,
    ),
    "QOSUsageThreshold": Wait("what was used of the QOS is above its threshold"),
    "AccountingPolicy": Wait("a limit of their account or QOS is reached"),
    "AssociationJobLimit": Wait("as many jobs of the account run as it lets"),
    "AssociationResourceLimit": Wait("the jobs of the account have as much as it lets them have"),
    "AssociationTimeLimit": Wait("the time of the account is used up"),
    "QOSJobLimit": Wait("as many jobs of the QOS run as it lets"),
    "QOSResourceLimit": Wait("the jobs of the QOS have as much as it lets them have"),
    "QOSTimeLimit": Wait("the time of the QOS is used up"),
    "BurstBufferResources": Wait("the burst buffer has no room for them"),
    "BurstBufferStageIn": Wait("their files are copied into the burst buffer"),
    "BurstBufferOperation": Wait("the burst buffer failed them, and they are held", _ADMIN, is_stuck=True),
    "PowerNotAvail": Wait("there is too little power to start them"),
    "PowerReserved": Wait("the power is reserved for other jobs"),
    "MaxPoweredUpNodes": Wait("as many nodes are switched on as may be"),
    "MpiPortsBusy": Wait("the ports for MPI steps are in use"),
    "NvidiaImexChannels": Wait("the channels between GPUs of several nodes are in use"),
    "BlockMaxError": Wait("the nodes have too many errors"),
    "BlockFreeAction": Wait("nodes are being freed"),
    "FedJobLock": Wait("another cluster of the federation considers them"),
    "DeadLine": Wait("they can no longer end before their deadline", is_stuck=True),
    "JobLaunchFailure": Wait("their last start failed", _RELEASE),
    "SystemFailure": Wait("Slurm itself failed to start them", _ADMIN, is_stuck=True),
}

#: Sentences of the controller by how they begin; a group is shown.
_SENTENCES = (
    (
        re.compile(r"ReqNodeNotAvail, UnavailableNodes:(\S+)"),
        Wait("nodes {} are down or drained", f"wait, or {_PARTITION}"),
    ),
    (
        re.compile(r"ReqNodeNotAvail, Reserved for maintenance"),
        Wait(
            "a maintenance begins before they would end",
            "`slurmsweep set {sweep} --time MINUTES` with less time lets them end before it; else wait for its end",
        ),
    ),
    (
        re.compile(r"ReqNodeNotAvail, May be reserved"),
        Wait("the nodes that fit are drained, or reserved for other jobs", _LESS_TIME),
    ),
    (re.compile(r"ReqNodeNotAvail\b"), _WORDS["ReqNodeNotAvail"]),
    (
        re.compile(r"Nodes required for job are DOWN"),
        Wait("too few nodes of the partition are up and free of reservations", f"wait, or {_PARTITION}"),
    ),
    (
        re.compile(r"Reservation (\S+) was deleted"),
        Wait("reservation {} was deleted, and they are held", _RESERVATION, True),
    ),
    (re.compile(r"Reservation (\S+) is invalid"), Wait("reservation {} is not valid for them", _RESERVATION, True)),
    (re.compile(r"uid \d+ not in group permitted"), _WORDS["AccountNotAllowed"]),
    (re.compile(r"Job's QOS not"), _WORDS["QOSNotAllowed"]),
    (re.compile(r"Job's account not"), _WORDS["AccountNotAllowed"]),
    (
        re.compile(r"License request"),
        Wait(
            "there are no such licenses any more, and they are held",
            "`slurmsweep set {sweep} --sbatch licenses=X`",
            True,
        ),
    ),
    (re.compile(r"launch failed"), Wait("a node failed to start them, and they are held", _RELEASE, True)),
    (
        re.compile(r"launch failure limit exceeded"),
        Wait("nodes failed to start them several times, and they are held", f"{_ADMIN}; {_RELEASE}", True),
    ),
    (
        re.compile(r"user env retrieval failed"),
        Wait("a node could not get your login environment, and they are held", _RELEASE, True),
    ),
    (re.compile(r"job requeued in (held|special exit) state"), Wait("they were requeued and are held", _RELEASE, True)),
    (re.compile(r"burst_buffer|Burst buffer"), _WORDS["BurstBufferOperation"]),
)

#: ``QOSMaxCpuPerJobLimit``, ``AssocGrpGRESRunMinutes``, ``MaxMemoryRunMinsPerUser``: limits are named by one rule.
_LIMIT = re.compile(
    r"(QOS|Assoc|)(Grp|Max|Min)"
    r"(CPU|Cpu|Memory|Mem|Node|GRES|License|BB|Energy|Billing|Unknown|SubmitJobs?|Jobs?|WallDuration|Wall)"
    r"(Minutes|RunMinutes|RunMins|)(PerJob|PerNode|PerUser|PerAccount|)(?:Limit|NotSatisfied|)"
)

#: What is limited, in words, and the option of `set` that asks for another amount of it.
_LIMITED = {
    "CPU": ("CPUs", "--cpus-per-task N"),
    "MEM": ("memory", "--mem SIZE"),
    "MEMORY": ("memory", "--mem SIZE"),
    "NODE": ("nodes", ""),
    "GRES": ("GPUs or other generic resources", "--gres X"),
    "LICENSE": ("licenses", "--sbatch licenses=X"),
    "BB": ("burst buffer", ""),
    "ENERGY": ("energy", ""),
    "BILLING": ("billing units", ""),
    "UNKNOWN": ("a resource", ""),
    "WALL": ("time", "--time MINUTES"),
    "WALLDURATION": ("time", "--time MINUTES"),
}


@lru_cache(maxsize=256)
def explain(reason: str) -> Wait | None:
    """Return what a reason means; None where it is not known, or none is said."""
    if reason in _WORDS:
        return _WORDS[reason]
    limit = _LIMIT.fullmatch(reason)
    if limit:
        return _of_limit(*limit.groups())
    for begin, wait in _SENTENCES:
        found = begin.match(reason)
        if found:
            return wait._replace(why=wait.why.format(*found.groups()))
    return None


def beyond(status: JobStatus, most: float) -> Wait | None:
    """Return what the reason of a job means that asks for more time than the ``most`` minutes of its partition.

    Where Slurm has not looked at it yet, its next word is awaited: a QOS may lift the partition's limit.
    """
    if status.reason == "None":
        return _WORDS["None"]._replace(is_first_word=True)
    if status.reason not in ("PartitionTimeLimit", "PartitionConfig"):
        return status.wait
    return Wait(
        f"they ask for {status.minutes:g} minutes, and partition {status.partition} gives a job {most:g}",
        f"`slurmsweep set {{sweep}} --time {most:g}` asks for less, `--partition NAME` for another one",
        is_stuck=True,
    )


def _of_limit(scope: str, kind: str, what: str, form: str, per: str) -> Wait:
    """Return what one of the limits of a QOS or an association means."""
    whose, other = ("the account", "--account NAME") if scope == "Assoc" else ("the QOS", "--qos NAME")
    another = f"`slurmsweep set {{sweep}} {other}` takes another one"
    jobs = "all jobs of" if kind == "Grp" else "the jobs of your account in" if per == "PerAccount" else "your jobs in"
    if "Job" in what:
        verb = "are there" if "Submit" in what else "run"
        return Wait(f"as many of {jobs} {whose} {verb} as are allowed", f"wait, or {another}")
    amount, option = _LIMITED[what.upper()]
    if form:  # CPUs, memory ... multiplied by time
        amount, option = f"minutes of {amount}", "--time MINUTES"
    change = f"`slurmsweep set {{sweep}} {option}` asks for " if option else ""
    if kind == "Min":
        more = f"{change}more; " if change else ""
        return Wait(f"they ask for less {amount} than {whose} wants of a job", f"{more}{another}", is_stuck=True)
    less = f"{change}less; " if change else ""
    if kind == "Max" and (per in ("PerJob", "PerNode") or what == "WallDuration"):
        where = " on a node" if per == "PerNode" else ""
        return Wait(f"they ask for more {amount} than {whose} gives a job{where}", f"{less}{another}", is_stuck=True)
    if form.startswith("Run"):
        return Wait(f"{jobs} {whose} that run may have no more {amount}", f"wait; {less}{another}")
    if form or what == "Wall":
        return Wait(f"{jobs} {whose} have used up their {amount}", f"wait until there is more, or {another}")
    return Wait(f"{jobs} {whose} have all the {amount} that they may have", f"wait until some end, or {another}")
