"""Ask Slurm about jobs, and hold, release and cancel them.

"Slurm did not answer" raises and is never taken for "there is no such job".
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from slurmsweep.backends.base import Answer, JobStatus
from slurmsweep.backends.keys import JobRef, by_cluster, job_key, key_on, parts_of
from slurmsweep.backends.slurm.cluster import longest_time, site_name
from slurmsweep.backends.slurm.commands import answer, call, first_line, listed, on, sacct, sacct_of
from slurmsweep.backends.slurm.jobstates import base_word, meaning, outcome
from slurmsweep.backends.slurm.resources import minutes
from slurmsweep.backends.slurm.waiting import FAILED_LAUNCHES, beyond, explain
from slurmsweep.errors import SchedulerUnavailableError, SubmissionUnknownError
from slurmsweep.state.lifecycle import TrialState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

#: Array job, index, plain id, state, exit code, node, restarts ... One character between fields that no field has but
#: ``Reason``, which may be a sentence with names of a site's in it.
_SQUEUE_FORMAT = (
    "ArrayJobID:|,ArrayTaskID:|,JobID:|,State:|,exit_code:|,NodeList:|,RestartCnt:|,Name:200|,Reason:|,TimeLimit:|,"
    "TimeUsed:|,Cluster:|,Partition:|,StartTime:|,Dependency:|"
)
_FIELDS, _REASON = _SQUEUE_FORMAT.count("|"), 8
_SACCT_FIELDS = "JobID,State,ExitCode,NodeList,Reason,TimelimitRaw,ElapsedRaw,Cluster,JobName"

#: What sbatch says of a job that it took, with and without --parsable; the cluster where it was chosen.
_TAKEN = re.compile(r"^(?:Submitted batch job )?(\d+)(?:(?:;| on cluster )(\S+))?\s*$", re.MULTILINE)

#: What scontrol says of jobs that run or are over, and beside it (22.05).
_NOTHING_WAITS = ("No error", "already finished", "Invalid job id specified", "slurm_suspend error")

#: sacct up to 25.05 prints an exit code of 128 and more without the 128. Of these codes it cannot be told which one was
#: meant: 128, 255, and those of a shell whose command died of a signal that Slurm, the kernel or the C library sends.
_FOLDED = frozenset(
    {0, signal.SIGILL, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGKILL, signal.SIGUSR1, signal.SIGSEGV}
    | {signal.SIGUSR2, signal.SIGPIPE, signal.SIGALRM, signal.SIGTERM, signal.SIGXCPU, signal.SIGXFSZ, 255 - 128}
)

#: ``0-3``, ``7`` and ``1-23:2`` (each second one) in a list of elements.
_ELEMENTS = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")

#: Ends a list of elements that was cut: what it does not name is not known (SLURM_BITSTR_LEN, 64 characters).
_CUT = "..."


def ask(jobs: Iterable[str], wanted: Collection[JobRef] = ()) -> Answer:
    """Ask about arrays or plain jobs by key: for a thousand of a cluster one squeue call, and at most one sacct call.

    squeue knows everything that lives, and what ended within MinJobAge. sacct (where there is accounting) knows what
    ended before, and is asked for ``wanted`` jobs that squeue does not know. It lags by seconds, so squeue's word
    stands where both have one.

    Raises:
        SchedulerUnavailableError: squeue did not answer for this cluster.
    """
    live: dict[JobRef, JobStatus] = {}
    silent = []
    for cluster, ids in by_cluster({*jobs, *(ref.job for ref in wanted)}).items():
        try:
            live |= {ref.on(cluster): status for ref, status in parse_squeue(_squeue(ids, cluster))}
        except SchedulerUnavailableError:  # noqa: PERF203 - a few clusters
            if not cluster:
                raise
            silent.append(cluster)
    live |= dict(_bounded(live))
    forgotten = {ref.job for ref in wanted if ref not in live and parts_of(ref.job)[1] not in silent}
    ended: dict[JobRef, JobStatus] = {}
    cut: set[str] = set()
    accounting = "not needed"
    for cluster, ids in by_cluster(forgotten).items():
        text, said = sacct_of(ids, cluster, ["-X"], _SACCT_FIELDS)
        ended |= {ref.on(cluster): status for ref, status in parse_sacct(text)}
        cut |= {key_on(job, cluster) for job in arrays_cut(text)}
        accounting = said if accounting in ("not needed", "used", "off") else accounting
    return Answer({**ended, **live}, accounting, silent=tuple(silent), cut=frozenset(cut))


def _bounded(live: Mapping[JobRef, JobStatus]) -> Iterator[tuple[JobRef, JobStatus]]:
    """Yield jobs of this cluster that wait and ask for more time than their partition gives, with what that means."""
    waiting = [(ref, status) for ref, status in live.items() if status.waits and not parts_of(ref.job)[1]]
    limits = {name: _minutes(longest_time(name)) for name in {status.partition for _, status in waiting}}
    for ref, status in waiting:
        most = limits[status.partition]
        if most is not None and status.minutes is not None and status.minutes > most:
            yield ref, status._replace(wait=beyond(status, most))


def find_by_name(name: str, cluster: str) -> list[str]:
    """Return the keys of jobs with that name, from squeue (which must answer), else from sacct if there is one."""
    text = answer("squeue", *on(cluster), "-h", "-a", "-t", "all", f"--name={name}", "-O", "ArrayJobID:|,Name:200")
    found = {line.split("|")[0].strip() for line in text.splitlines() if "|" in line}
    if not found:
        text, _ = sacct(*on(cluster), "-X", "-S", "now-7days", f"--name={name}", "-o", "JobID")
        found = {line.split("_")[0].strip() for line in text.splitlines() if line.strip()}
    return sorted(key_on(job, cluster) for job in found)


def order(verb: str, jobs: Sequence[str]) -> None:
    """Hold or release the elements of arrays that have not started. Those that run go on.

    Raises:
        SchedulerUnavailableError: scontrol failed; the message has its words.
    """
    for cluster, some in [(cluster, some) for cluster, ids in by_cluster(jobs).items() for some in listed(ids)]:
        done = call("scontrol", *on(cluster), verb, some)
        # an array of which nothing waits any more is no error: its last jobs started, or ended, in between
        problems = [line for line in done.stderr.splitlines() if not any(word in line for word in _NOTHING_WAITS)]
        problem = first_line("\n".join(problems))
        if done.returncode != 0 and problem:
            raise SchedulerUnavailableError(f"scontrol {verb}: {problem}")


def submitted(text: str) -> str:
    """Return the key of the job that sbatch said it took: ``5000``, ``5000;other`` or a sentence with both.

    Raises:
        SubmissionUnknownError: sbatch said neither, so that a job may be there whose id is not known.
    """
    found = [*_TAKEN.finditer(text)]
    if not found:
        raise SubmissionUnknownError(f"sbatch named no job: {first_line(text) or 'it said nothing'}")
    job, cluster = found[-1][1], found[-1][2] or ""
    return job_key(job, cluster, site_name() if cluster else "")


def failed_launches(tasks: Mapping[JobRef, JobStatus]) -> list[JobRef]:
    """Return the jobs that Slurm holds because a node failed to start them: they wait for ever unless released."""
    # scontrol writes it with underscores
    return [ref for ref, s in tasks.items() if s.waits and s.reason.replace("_", " ").strip("()") in FAILED_LAUNCHES]


def cancel(targets: Sequence[str], *, only_waiting: bool = False) -> None:
    """Cancel arrays and jobs, if any; one that is over already is no error. Raises SchedulerUnavailableError."""
    state = ["--state=PENDING"] if only_waiting else []
    for cluster, ids in by_cluster(targets).items():
        answer("scancel", *on(cluster), *state, *ids, harmless="Invalid job id")


def _squeue(ids: Sequence[str], cluster: str) -> str:
    """Return what squeue says of jobs of any state.

    squeue passes over a forgotten id among others. A single forgotten id it refuses with exit code 1 (22.05), which
    means that there is no such job and not that squeue failed.
    """
    text = []
    for some in listed(ids):
        program = ("squeue", *on(cluster), "-h", "-a", "-r", "-t", "all", "-j", some, "-O", _SQUEUE_FORMAT)
        text.append(answer(*program, harmless="Invalid job id specified"))
        if text[-1] and not text[-1].endswith("\n"):  # jobs that were not named would count as gone
            raise SchedulerUnavailableError("squeue's answer ends in the middle of a line")
    return "".join(text)


def parse_squeue(text: str) -> Iterator[tuple[JobRef, JobStatus]]:
    """Yield each job and its status from lines of squeue in our format.

    ``19|7|26|FAILED|0:9|n1|0|slurmsweep-ab12cd34-1f`` (an element), ``30|N/A|30|RUNNING|0:0|n2|0|name`` (a plain job).
    """
    for line in text.splitlines():
        fields = [part.strip() for part in line.split("|")]
        if len(fields) < 8:
            continue
        if (further := len(fields) - 1 - _FIELDS) > 0:  # a reason that has the character between fields in it
            end = _REASON + further + 1
            fields[_REASON:end] = ["|".join(fields[_REASON:end])]
        array, index, job, word, status, node, _, name = fields[:8]
        reason, limit, used, _, partition, starts, dependency = [*fields[8:], *[""] * 7][:7]
        ref = JobRef(array, int(index)) if index.isdecimal() else JobRef(job)
        most, so_far = _minutes(limit), _minutes(used)
        left = None if most is None or so_far is None else (most - so_far) * 60
        known = _status(word, status, node, "squeue", left)
        known = known._replace(reason=reason, name=name, minutes=most, partition=partition)
        if known.waits:
            if reason == "None" and dependency not in ("", "(null)"):  # Slurm says it when it looks at the job
                reason = "Dependency"
            known = known._replace(reason=reason, wait=explain(reason), starts=starts if starts[:1].isdecimal() else "")
        yield ref, known


def parse_sacct(text: str) -> Iterator[tuple[JobRef, JobStatus]]:
    """Yield each job and its status from lines of ``sacct -X -P``.

    ``19_7|FAILED|3:0|n1|None``, ``12|CANCELLED by 0|0:0|n2|None``. Elements that never started stand in one line,
    ``1206_[0-9]|CANCELLED by 0|0:0|None assigned|None``; each is yielded, before those that have a line of their own.
    """
    rows = [fields for line in text.splitlines() if len(fields := line.split("|")) >= 4]
    for fields in sorted(rows, key=lambda fields: "[" not in fields[0]):
        name, word, status, node = fields[:4]
        limit, used = [*fields[5:], "", ""][:2]
        left = int(limit) * 60 - int(used) if limit.isdecimal() and used.isdecimal() else None
        known = _status(word, status, "" if node == "None assigned" else node, "sacct", left)
        known = known._replace(name="|".join(fields[8:]))
        for ref in _refs(name):
            yield ref, known


def arrays_cut(text: str) -> set[str]:
    """Return the arrays of whose elements sacct does not name all: ``5077_[1,4,9-12,51-...]``."""
    names = (line.partition("|")[0] for line in text.splitlines())
    return {name.partition("_")[0] for name in names if "[" in name and _CUT in name}


def _refs(name: str) -> Iterator[JobRef]:
    """Yield the jobs that ``12``, ``19_7``, ``19_[0-3,5%2]`` or ``19_[1-23:2]`` names.

    Of a list that was cut those are yielded that are certain.
    """
    job, underscore, index = name.partition("_")
    if not underscore:
        yield JobRef(job)
        return
    for part in index.strip("[]").split("%")[0].split(","):
        if found := _ELEMENTS.fullmatch(part):
            first, last, step = (int(number) if number else None for number in found.groups())
            yield from (JobRef(job, n) for n in range(first or 0, (last or first or 0) + 1, step or 1))


def _status(word: str, status: str, node: str, source: str, left: float | None) -> JobStatus:
    said, short = meaning(word), base_word(word)
    if said.alive:
        return JobStatus(short, True, None, "", None, node, source, said.waits)
    code, ended_by = _exit_status(status)
    state, cause = outcome(word, code, ended_by, left)
    if source == "sacct" and state is TrialState.FAILED and code in _FOLDED:
        return JobStatus(short, False, state, f"exit {code} or {code + 128}", None, node, source)
    return JobStatus(short, False, state, cause, code, node, source)


def _minutes(text: str) -> float | None:
    """Return the minutes of ``10:00``; None for no limit, and where it is no time."""
    try:
        return minutes(text)
    except ValueError:
        return None


def _exit_status(text: str) -> tuple[int, int]:
    """Return exit code and signal of ``3:0`` (sacct) or of a raw wait status (squeue: 768 is exit code 3)."""
    code, colon, signal = text.partition(":")
    if colon:
        return int(code) if code.isdecimal() else 0, int(signal) if signal.isdecimal() else 0
    status = int(code) if code.isdecimal() else 0
    return status >> 8, status & 0x7F
