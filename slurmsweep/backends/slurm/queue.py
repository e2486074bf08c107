"""Asks Slurm about jobs and tells it to cancel them: the only caller of squeue, sacct and scancel.

"It did not answer" raises and is never taken for "there is no such job".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.backends.base import JobRef
from slurmsweep.backends.slurm.cluster import site_name
from slurmsweep.backends.slurm.commands import answer, available, call, first_line, installed
from slurmsweep.backends.slurm.jobstates import base_word, meaning, outcome
from slurmsweep.backends.slurm.resources import minutes
from slurmsweep.errors import SchedulerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from slurmsweep.state.lifecycle import TrialState

__all__ = [
    "Answer",
    "JobRef",
    "JobStatus",
    "ask",
    "available",
    "cancel",
    "find_by_name",
    "hold",
    "parse_sacct",
    "parse_squeue",
    "release",
]

#: Array job, index, plain id, state, exit code, node, restarts ... One character between fields that no field has.
_SQUEUE_FORMAT = (
    "ArrayJobID:|,ArrayTaskID:|,JobID:|,State:|,exit_code:|,NodeList:|,RestartCnt:|,Name:200|,Reason:|,TimeLimit:|,"
    "TimeUsed:|,Cluster:|"
)
_SACCT_FIELDS = "JobID,State,ExitCode,NodeList,Reason,TimelimitRaw,ElapsedRaw,Cluster"

#: What scontrol says of jobs that run or are over, and beside it (22.05).
_NOTHING_WAITS = ("No error", "already finished", "Invalid job id specified", "slurm_suspend error")

#: Job ids in one call: command lines have an end.
_IDS_PER_CALL = 1000


class JobStatus(NamedTuple):
    """What Slurm says of one job.

    Attributes:
        word: Slurm's, without what it adds (``CANCELLED`` of ``CANCELLED by 1000``).
        alive: it runs, waits, or is being ended.
        waits: it has not started, or was put back to start again.
        state: of its trial once it is over; None while it is alive.
        cause: beside the state.
        exit_code: of the batch script; None while it is alive.
        node: where it runs or ran; empty before.
        source: squeue or sacct.
        reason: why it waits, in Slurm's words; squeue alone tells.
    """

    word: str
    alive: bool
    state: TrialState | None
    cause: str
    exit_code: int | None
    node: str
    source: str
    waits: bool = False
    reason: str = ""


class Answer(NamedTuple):
    """What Slurm says of some jobs.

    Attributes:
        tasks: one report a job; those nobody knows any more are absent.
        accounting: what became of sacct: ``used``, ``not needed``, ``off``, or the words it failed with.
        cluster: whose answer it is, by Slurm's name of itself; empty where it is not known, or does not matter.
    """

    tasks: Mapping[JobRef, JobStatus]
    accounting: str
    cluster: str = ""

    @property
    def failed(self) -> bool:
        """Whether accounting should have been able to tell, and did not: nothing follows from its silence."""
        return self.accounting not in ("used", "not needed", "off")

    def lags(self, ref: JobRef) -> bool:
        """Whether accounting knows the array of an element, and not yet its elements: then its silence says nothing.

        For some seconds one of them stands there as a job of its own, under the array's id.
        """
        return ref.task is not None and ref not in self.tasks and JobRef(ref.job) in self.tasks


def ask(jobs: Iterable[str], wanted: Collection[JobRef] = ()) -> Answer:
    """Ask about arrays or plain jobs by id: one squeue call, and at most one sacct call.

    squeue knows everything that lives, and what ended within MinJobAge. sacct (where there is accounting) knows what
    ended before; it lags by seconds, so squeue's word stands where both have one.

    Args:
        jobs: ids of arrays or plain jobs.
        wanted: jobs whose end is asked for: what squeue does not know of them, sacct is asked.

    Raises:
        SchedulerUnavailableError: squeue did not answer.
    """
    live = dict(parse_squeue(_squeue(sorted({*jobs, *(ref.job for ref in wanted)}))))
    over = [ref for ref in wanted if ref not in live or not live[ref].alive]
    cluster = site_name() if over else ""
    forgotten = sorted({ref.job for ref in over if ref not in live})
    if not forgotten:
        return Answer(live, "not needed", cluster)
    text, accounting = _sacct(forgotten)
    return Answer({**dict(parse_sacct(text)), **live}, accounting, cluster)


def find_by_name(name: str) -> list[str]:
    """Ids of jobs of that name, from squeue, else from sacct where there is accounting.

    Raises:
        SchedulerUnavailableError: squeue did not answer.
    """
    text = answer("squeue", "-h", "-a", "-t", "all", f"--name={name}", "-O", "ArrayJobID:|,Name:200")
    found = {line.split("|")[0].strip() for line in text.splitlines() if "|" in line}
    if not found and installed("sacct"):
        done = call("sacct", "-X", "-n", "-P", "-S", "now-7days", f"--name={name}", "-o", "JobID")
        found = {line.split("_")[0].strip() for line in done.stdout.splitlines() if line.strip()}
    return sorted(found)


def hold(jobs: Sequence[str]) -> None:
    """Keep the elements of arrays that have not started from starting. Those that run go on.

    Raises:
        SchedulerUnavailableError: scontrol failed; the message has its words.
    """
    _scontrol("hold", jobs)


def release(jobs: Sequence[str]) -> None:
    """Let what was held start. Raises as :func:`hold`."""
    _scontrol("release", jobs)


def _scontrol(verb: str, jobs: Sequence[str]) -> None:
    """An array that has nothing waiting any more is no error: its last elements started, or ended, in between."""
    if not jobs:
        return
    done = call("scontrol", verb, ",".join(jobs))
    said = [line for line in done.stderr.splitlines() if not any(word in line for word in _NOTHING_WAITS)]
    if done.returncode != 0 and any(line.strip() for line in said):
        raise SchedulerUnavailableError(f"scontrol {verb}: {first_line(chr(10).join(said))}")


def cancel(targets: Sequence[str], *, only_waiting: bool = False) -> None:
    """Cancel jobs: ``123`` (all of an array) or ``123_4``. One that is over already is no error.

    Args:
        targets: none is no error.
        only_waiting: leave alone what runs.

    Raises:
        SchedulerUnavailableError: scancel failed; the message has its words.
    """
    if not targets:
        return
    done = call("scancel", *(["--state=PENDING"] if only_waiting else []), *targets)
    if done.returncode != 0 and "Invalid job id" not in done.stderr:
        raise SchedulerUnavailableError(f"scancel: {first_line(done.stderr)}")


def _squeue(ids: Sequence[str]) -> str:
    """What squeue says of jobs of any state.

    A forgotten id among others is passed over; a single forgotten id is refused with exit code 1 (22.05), which says
    that there is no such job and not that squeue failed.
    """
    text = []
    for start in range(0, len(ids), _IDS_PER_CALL):
        some = ids[start : start + _IDS_PER_CALL]
        done = call("squeue", "-h", "-a", "-r", "-t", "all", "-j", ",".join(some), "-O", _SQUEUE_FORMAT)
        if done.returncode != 0 and "Invalid job id specified" not in done.stderr:
            raise SchedulerUnavailableError(f"squeue: {first_line(done.stderr) or f'exit code {done.returncode}'}")
        text.append(done.stdout)
    return "".join(text)


def _sacct(ids: Sequence[str]) -> tuple[str, str]:
    """What sacct says, and what became of it. Accounting that is off or down is an answer: nothing is known from it."""
    if not installed("sacct"):
        return "", "off"
    done = call("sacct", "-X", "-n", "-P", "-j", ",".join(ids), "-o", _SACCT_FIELDS)
    if done.returncode == 0:
        return done.stdout, "used"
    if "disabled" in done.stderr:
        return "", "off"
    return "", first_line(done.stderr) or f"exit code {done.returncode}"


def parse_squeue(text: str) -> Iterator[tuple[JobRef, JobStatus]]:
    """Lines of squeue in our format.

    ``19|7|26|FAILED|0:9|n1|0|slurmsweep-ab12cd34-1f`` (an element), ``30|N/A|30|RUNNING|0:0|n2|0|name`` (a plain job).
    """
    for line in text.splitlines():
        fields = [part.strip() for part in line.split("|")]
        if len(fields) < 8:
            continue
        array, index, job, word, status, node = fields[:6]
        reason, limit, used = [*fields[8:], "", "", ""][:3]
        ref = JobRef(array, int(index)) if index.isdecimal() else JobRef(job)
        yield ref, _report(word, status, node, "squeue", _left(limit, used))._replace(reason=reason)


def parse_sacct(text: str) -> Iterator[tuple[JobRef, JobStatus]]:
    """Lines of ``sacct -X -P``.

    ``19_7|FAILED|9:0|n1|None``, ``12|CANCELLED by 0|0:0|n2|None``, and ``1206_[0-9]|CANCELLED by 0|0:0|None
    assigned|None`` for elements that never started, which are spelt out.
    """
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) < 4:
            continue
        name, word, status, node = fields[:4]
        limit, used = [*fields[5:], "", ""][:2]
        left = int(limit) * 60 - int(used) if limit.isdecimal() and used.isdecimal() else None
        report = _report(word, status, "" if node == "None assigned" else node, "sacct", left)
        for ref in _refs(name):
            yield ref, report


def _refs(name: str) -> Iterator[JobRef]:
    """The jobs behind ``12``, ``19_7`` or ``19_[0-3,5%2]``."""
    job, underscore, index = name.partition("_")
    if not underscore:
        yield JobRef(job)
        return
    for part in index.strip("[]").split("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdecimal():
            stop = re.match(r"\d+", last)
            yield from (JobRef(job, n) for n in range(int(first), int(stop[0] if stop else first) + 1))


def _report(word: str, status: str, node: str, source: str, left: float | None) -> JobStatus:
    said = meaning(word)
    if said.alive:
        return JobStatus(base_word(word), True, None, "", None, node, source, said.waits)
    code, signal = _exit_status(status)
    state, cause = outcome(word, code, signal, left)
    return JobStatus(base_word(word), False, state, cause, code, node, source)


def _left(limit: str, used: str) -> float | None:
    """Seconds between ``10:00`` that a job may run and ``0:35`` that it ran; None where one of them is no time."""
    try:
        most, so_far = minutes(limit), minutes(used)
    except ValueError:
        return None
    return None if most is None or so_far is None else (most - so_far) * 60


def _exit_status(text: str) -> tuple[int, int]:
    """Exit code and signal of ``3:0`` (sacct) or of a raw wait status (squeue: 768 is exit code 3)."""
    code, colon, signal = text.partition(":")
    if colon:
        return int(code or 0), int(signal or 0)
    status = int(code) if code.isdecimal() else 0
    return status >> 8, status & 0x7F
