"""Ask Slurm about jobs, and hold, release and cancel them.

"Slurm did not answer" raises and is never taken for "there is no such job".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slurmsweep.backends.base import Answer, JobRef, JobStatus
from slurmsweep.backends.slurm.cluster import site_name
from slurmsweep.backends.slurm.commands import answer, call, first_line, sacct
from slurmsweep.backends.slurm.jobstates import base_word, meaning, outcome
from slurmsweep.backends.slurm.resources import minutes
from slurmsweep.errors import SchedulerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

#: Array job, index, plain id, state, exit code, node, restarts ... One character between fields that no field has.
_SQUEUE_FORMAT = (
    "ArrayJobID:|,ArrayTaskID:|,JobID:|,State:|,exit_code:|,NodeList:|,RestartCnt:|,Name:200|,Reason:|,TimeLimit:|,"
    "TimeUsed:|,Cluster:|"
)
_SACCT_FIELDS = "JobID,State,ExitCode,NodeList,Reason,TimelimitRaw,ElapsedRaw,Cluster"

#: What scontrol says of jobs that run or are over, and beside it (22.05).
_NOTHING_WAITS = ("No error", "already finished", "Invalid job id specified", "slurm_suspend error")

#: Why a job waits that a node could not start (its prolog failed, a leftover of an earlier start was in the way).
_FAILED_LAUNCH = "launch failed requeued held"

#: Job ids in one call: command lines have an end.
_IDS_PER_CALL = 1000


def ask(jobs: Iterable[str], wanted: Collection[JobRef] = ()) -> Answer:
    """Ask about arrays or plain jobs by id: one squeue call, and at most one sacct call.

    squeue knows everything that lives, and what ended within MinJobAge. sacct (where there is accounting) knows what
    ended before, and is asked for ``wanted`` jobs that squeue does not know. It lags by seconds, so squeue's word
    stands where both have one.

    Raises:
        SchedulerUnavailableError: squeue did not answer.
    """
    live = dict(parse_squeue(_squeue(sorted({*jobs, *(ref.job for ref in wanted)}))))
    over = [ref for ref in wanted if ref not in live or not live[ref].alive]
    cluster = site_name() if over else ""
    forgotten = sorted({ref.job for ref in over if ref not in live})
    if not forgotten:
        return Answer(live, "not needed", cluster)
    text, accounting = sacct("-X", "-j", ",".join(forgotten), "-o", _SACCT_FIELDS)
    return Answer({**dict(parse_sacct(text)), **live}, accounting, cluster)


def find_by_name(name: str) -> list[str]:
    """Return the ids of jobs with that name, from squeue (which must answer), else from sacct if there is one."""
    text = answer("squeue", "-h", "-a", "-t", "all", f"--name={name}", "-O", "ArrayJobID:|,Name:200")
    found = {line.split("|")[0].strip() for line in text.splitlines() if "|" in line}
    if not found:
        text, _ = sacct("-X", "-S", "now-7days", f"--name={name}", "-o", "JobID")
        found = {line.split("_")[0].strip() for line in text.splitlines() if line.strip()}
    return sorted(found)


def order(verb: str, jobs: Sequence[str]) -> None:
    """Hold or release the elements of arrays that have not started. Those that run go on.

    Raises:
        SchedulerUnavailableError: scontrol failed; the message has its words.
    """
    if not jobs:
        return
    done = call("scontrol", verb, ",".join(jobs))
    # an array of which nothing waits any more is no error: its last jobs started, or ended, in between
    problems = [line for line in done.stderr.splitlines() if not any(word in line for word in _NOTHING_WAITS)]
    problem = first_line("\n".join(problems))
    if done.returncode != 0 and problem:
        raise SchedulerUnavailableError(f"scontrol {verb}: {problem}")


def failed_launches(tasks: Mapping[JobRef, JobStatus]) -> list[JobRef]:
    """Return the jobs that Slurm holds because a node failed to start them: they wait for ever unless released."""
    return [ref for ref, status in tasks.items() if status.waits and status.reason == _FAILED_LAUNCH]


def cancel(targets: Sequence[str], *, only_waiting: bool = False) -> None:
    """Cancel arrays and jobs, if any; one that is over already is no error. Raises SchedulerUnavailableError."""
    if targets:
        answer("scancel", *(["--state=PENDING"] if only_waiting else []), *targets, harmless="Invalid job id")


def _squeue(ids: Sequence[str]) -> str:
    """Return what squeue says of jobs of any state.

    squeue passes over a forgotten id among others. A single forgotten id it refuses with exit code 1 (22.05), which
    means that there is no such job and not that squeue failed.
    """
    text = []
    for start in range(0, len(ids), _IDS_PER_CALL):
        some = ids[start : start + _IDS_PER_CALL]
        program = ("squeue", "-h", "-a", "-r", "-t", "all", "-j", ",".join(some), "-O", _SQUEUE_FORMAT)
        text.append(answer(*program, harmless="Invalid job id specified"))
    return "".join(text)


def parse_squeue(text: str) -> Iterator[tuple[JobRef, JobStatus]]:
    """Yield each job and its status from lines of squeue in our format.

    ``19|7|26|FAILED|0:9|n1|0|slurmsweep-ab12cd34-1f`` (an element), ``30|N/A|30|RUNNING|0:0|n2|0|name`` (a plain job).
    """
    for line in text.splitlines():
        fields = [part.strip() for part in line.split("|")]
        if len(fields) < 8:
            continue
        array, index, job, word, status, node = fields[:6]
        reason, limit, used = [*fields[8:], "", "", ""][:3]
        ref = JobRef(array, int(index)) if index.isdecimal() else JobRef(job)
        yield ref, _status(word, status, node, "squeue", _left(limit, used))._replace(reason=reason)


def parse_sacct(text: str) -> Iterator[tuple[JobRef, JobStatus]]:
    """Yield each job and its status from lines of ``sacct -X -P``.

    ``19_7|FAILED|9:0|n1|None``, ``12|CANCELLED by 0|0:0|n2|None``. Elements that never started stand in one line,
    ``1206_[0-9]|CANCELLED by 0|0:0|None assigned|None``; each is yielded.
    """
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) < 4:
            continue
        name, word, status, node = fields[:4]
        limit, used = [*fields[5:], "", ""][:2]
        left = int(limit) * 60 - int(used) if limit.isdecimal() and used.isdecimal() else None
        known = _status(word, status, "" if node == "None assigned" else node, "sacct", left)
        for ref in _refs(name):
            yield ref, known


def _refs(name: str) -> Iterator[JobRef]:
    """Yield the jobs that ``12``, ``19_7`` or ``19_[0-3,5%2]`` names."""
    job, underscore, index = name.partition("_")
    if not underscore:
        yield JobRef(job)
        return
    for part in index.strip("[]").split("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdecimal():
            stop = re.match(r"\d+", last)
            yield from (JobRef(job, n) for n in range(int(first), int(stop[0] if stop else first) + 1))


def _status(word: str, status: str, node: str, source: str, left: float | None) -> JobStatus:
    said = meaning(word)
    if said.alive:
        return JobStatus(base_word(word), True, None, "", None, node, source, said.waits)
    code, signal = _exit_status(status)
    state, cause = outcome(word, code, signal, left)
    return JobStatus(base_word(word), False, state, cause, code, node, source)


def _left(limit: str, used: str) -> float | None:
    """Return the seconds between ``10:00`` that a job may run and ``0:35`` that it ran; None where one is no time."""
    try:
        most, so_far = minutes(limit), minutes(used)
    except ValueError:
        return None
    return None if most is None or so_far is None else (most - so_far) * 60


def _exit_status(text: str) -> tuple[int, int]:
    """Return exit code and signal of ``3:0`` (sacct) or of a raw wait status (squeue: 768 is exit code 3)."""
    code, colon, signal = text.partition(":")
    if colon:
        return int(code or 0), int(signal or 0)
    status = int(code) if code.isdecimal() else 0
    return status >> 8, status & 0x7F
