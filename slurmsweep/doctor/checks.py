"""Judge whether a folder is fit for sweeps, and a cluster for slurmsweep: look, and try what can be tried.

What is asked and tried is apart from what is thought of it: the ``judge_*`` functions are pure.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slurmsweep.backends.keys import parts_of
from slurmsweep.backends.slurm import commands, inherited, queue
from slurmsweep.doctor.probe import ROUNDS
from slurmsweep.errors import SchedulerUnavailableError, StateUnwritableError
from slurmsweep.state import filesystem
from slurmsweep.state.filesystem import Fitness

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slurmsweep.backends.slurm.site import Site

_GIB = 1 << 30
#: Free bytes and files below which hardly any sweep fits, and below which one of a thousand trials may not fit.
_BYTES = (_GIB // 4, 10 * _GIB)
_FILES = (5_000, 100_000)

#: Seconds: an older view of the filesystem is a surprise, even for NFS (nfs(5), acregmin 3, acdirmin 30).
_SLOW_VIEW = 5.0

#: Seconds by which the clocks of two nodes may differ.
_CLOCK_APART = 5.0

#: One process a node; its number is that of Slurm's task.
_NODE_SCRIPT = """\
#!/bin/bash
exec srun bash -c '"$1" -m slurmsweep.doctor.probe "$2" "$SLURM_PROCID" "$3"' probe {python} {folder} {count}
"""

#: Options of the user's environment that say where a job may run, and who pays.
_OF_SITES = ("account", "partition", "qos", "reservation", "clusters", "constraint")

#: Seconds to wait for processes on this machine to finish their part.
_LOCAL_PATIENCE = 120.0


@dataclass(frozen=True)
class CheckResult:
    """One line of the doctor's report.

    Attributes:
        fitness: good, warn or bad.
        subject: what was looked at.
        why: what was seen.
        advice: what to do; empty where nothing needs doing.
    """

    fitness: Fitness
    subject: str
    why: str
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the document of one line."""
        return {"fitness": self.fitness.value, "subject": self.subject, "why": self.why, "advice": self.advice}


def look_at_folder(folder: str, *, cluster: bool) -> list[CheckResult]:
    """Judge an existing folder by the mount table and its filesystem; ``cluster``: several nodes will use it."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        mount = filesystem.mount_of(os.path.realpath(folder), file.read())
    findings = []
    if mount:
        said = filesystem.opinion(mount, cluster=cluster)
        findings.append(CheckResult(said.fitness, "filesystem", said.why, said.advice))
    if os.stat(folder).st_mode & 0o002:
        why = f"{folder} is writable by all users: others could put their own sweep there"
        findings.append(CheckResult(Fitness.WARN, "permissions", why, f"chmod o-w {folder}"))
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if_tight = "checkpoints and logs may fill it: see `plan` for what a sweep needs"
    why = f"{free / _GIB:.1f} GiB free (quotas are not asked)"
    findings.append(_judge_room("space", why, free, _BYTES, ("free some", if_tight)))
    if status.f_files == 0:
        return [*findings, CheckResult(Fitness.GOOD, "files", "this filesystem names no limit of files")]
    why = f"{status.f_favail:,} more files fit; a finished trial has at most six"
    advice = ("remove some", "see `plan` for how many a sweep makes")
    return [*findings, _judge_room("files", why, status.f_favail, _FILES, advice)]


def _judge_room(subject: str, why: str, free: int, enough: tuple[int, int], advice: tuple[str, str]) -> CheckResult:
    """Judge how much is free by what hardly any sweep does with and what a sweep of a thousand trials does with."""
    hardly_any, usual = enough
    if free < hardly_any:
        return CheckResult(Fitness.BAD, subject, why, f"{advice[0]}, or choose another folder by WANDB_DIR")
    if free < usual:
        return CheckResult(Fitness.WARN, subject, why, advice[1])
    return CheckResult(Fitness.GOOD, subject, why)


def judge_site(seen: Site) -> list[CheckResult]:
    """Judge a cluster by what its own programs say."""
    if "sbatch" in seen.missing:
        why = "there is no sbatch here: sweeps run on this machine alone"
        return [CheckResult(Fitness.WARN, "slurm", why, "for a cluster, run this on its login node")]
    if seen.silent:
        advice = "ask the administrators: is slurmctld up, is slurm.conf here?"
        return [CheckResult(Fitness.BAD, "slurm", seen.silent, advice)]
    if seen.missing:
        why = f"not installed: {', '.join(seen.missing)}"
        slurm = CheckResult(Fitness.BAD, "slurm", why, "install Slurm's client programs")
    else:
        slurm = CheckResult(Fitness.GOOD, "slurm", f"version {seen.version}, the controller answers")
    advice = "run `status` or `resubmit` soon after jobs end: Slurm forgets them after MinJobAge"
    accounting = CheckResult(Fitness.WARN, "accounting", seen.accounting, advice)
    if seen.accounting == "on":
        accounting = CheckResult(Fitness.GOOD, "accounting", "on: why a job ended can be asked later")
    advice = (
        "--time auto, --mem auto and resubmit ask for what trials need, however much; name a --partition that has it"
    )
    bounds = [CheckResult(Fitness.WARN, "bounds", f"not known: {seen.bounds}", advice)] if seen.bounds else []
    return [slurm, accounting, _judge_limits(seen), *bounds]


def _judge_limits(seen: Site) -> CheckResult:
    jobs = f", {seen.max_job_count:,} jobs of all users" if seen.max_job_count else ""
    why = f"arrays of up to {seen.max_array_size:,} jobs{jobs}"
    if seen.submit_limit is None:
        return CheckResult(Fitness.GOOD, "limits", f"{why}; no limit of submitted jobs is set for you")
    why = f"{why}; you may have {seen.submit_limit:,} jobs submitted"
    return CheckResult(Fitness.WARN, "limits", why, f"submit at most so many at a time: --count {seen.submit_limit}")


def try_out_here(folder: str) -> list[dict[str, Any]]:
    """Let two processes of this machine try the folder; return what each saw.

    Raises:
        StateUnwritableError: the folder could not be written.
        OSError: a process did not end in time, or could not leave what it saw.
    """
    with _probe_folder(folder) as place:
        command = [sys.executable, "-m", "slurmsweep.doctor.probe", place]
        processes = [subprocess.Popen([*command, str(number), "2"]) for number in range(2)]
        try:
            for process in processes:
                process.wait(_LOCAL_PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"what tries it has not ended after {_LOCAL_PATIENCE:g} s") from error
        finally:
            for process in processes:
                process.kill()
                with suppress(subprocess.TimeoutExpired):  # a filesystem may hold even a killed process
                    process.wait(1.0)
        seen = _collect(place, len(processes))
        if len(seen) < len(processes):
            raise OSError("what tried it could not leave its result there")
        return seen


def try_out_on_nodes(folder: str, nodes: int, options: Mapping[str, str], patience: float) -> list[dict[str, Any]]:
    """Let one process on each of ``nodes`` nodes try the folder, in a job of their own; return what each saw.

    Args:
        folder: to try; the nodes must see it.
        nodes: number of nodes.
        options: of sbatch, such as the partition.
        patience: seconds to wait for the job to start and end; then it is cancelled.

    Raises:
        SchedulerUnavailableError: Slurm refused the job, or it did not run in time.
        StateUnwritableError: the folder could not be written.
    """
    asked = {name: value for name, value in inherited.wishes(os.environ).items() if name in _OF_SITES} | dict(options)
    with _probe_folder(folder) as place:
        script = _NODE_SCRIPT.format(python=shlex.quote(sys.executable), folder=shlex.quote(place), count=nodes)
        layout = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--time=5", f"--output={place}/out"]
        flags = [*layout, *(f"--{name}={value}" for name, value in asked.items())]
        done = commands.call(*commands.as_outside_of_jobs(), "sbatch", "--parsable", *flags, text=script)
        if done.returncode:
            raise SchedulerUnavailableError(f"sbatch: {commands.first_line(done.stderr)}")
        job = queue.submitted(done.stdout)
        try:
            return _wait_for_nodes(place, nodes, job, patience)
        finally:
            with suppress(SchedulerUnavailableError):
                queue.cancel([job])


def _wait_for_nodes(place: str, nodes: int, job: str, patience: float) -> list[dict[str, Any]]:
    """Return what each process saw, as soon as all have left it; raises as :func:`try_out_on_nodes`."""
    deadline = time.monotonic() + patience
    number, cluster = parts_of(job)
    question = ("squeue", *commands.on(cluster), "-h", "-j", number, "-O", "State:20,Reason:60")
    while len(seen := _collect(place, nodes)) < nodes:
        state = commands.answer(*question, harmless="Invalid job id").split()
        if not state and len(seen := _collect(place, nodes)) < nodes:  # nor did it leave the rest before it ended
            said = commands.first_line(_read(f"{place}/out")) or "it printed nothing: do the nodes see the folder?"
            raise SchedulerUnavailableError(f"job {job} on {nodes} nodes ended without a result: {said}")
        if time.monotonic() > deadline:
            said = " ".join(state).lower()
            raise SchedulerUnavailableError(f"job {job} on {nodes} nodes is {said} after {patience:.0f} s")
        time.sleep(1.0)
    return seen


def judge_trial(seen: list[dict[str, Any]]) -> list[CheckResult]:
    """Judge a folder by what the processes saw that tried it."""
    broken = [f"{one['host']}: {one['error']}" for one in seen if "error" in one]
    if broken:
        advice = "they must see each other's files within seconds: is it the same filesystem on all of them?"
        return [CheckResult(Fitness.BAD, "tried", "; ".join(broken), advice)]
    hosts = sorted({one["host"] for one in seen})
    where = " and ".join(hosts) if len(hosts) > 1 else f"{len(seen)} processes on {hosts[0]}"
    return [
        _judge_mkdir(seen, where),
        _judge_lock(seen, where),
        *_judge_delays(seen[0], where),
        *_judge_clock(seen[0], hosts),
        *_judge_programs(seen),
    ]


def _judge_mkdir(seen: list[dict[str, Any]], where: str) -> CheckResult:
    made = sum(one["made"] for one in seen)
    shares = "+".join(str(one["made"]) for one in seen)
    why = f"{ROUNDS} folders, {shares} made by {where}"
    if made == ROUNDS:
        return CheckResult(Fitness.GOOD, "mkdir", f"{why}: each has one maker")
    advice = "trials would be run twice here: do not use it"
    return CheckResult(Fitness.BAD, "mkdir", f"{why}: not each has one maker", advice)


def _judge_lock(seen: list[dict[str, Any]], where: str) -> CheckResult:
    errors = {one["lock_error"] for one in seen} - {None}
    intruders = sum(one["intruders"] for one in seen)
    if errors:
        why = f"files cannot be locked: {errors.pop()}"
        return CheckResult(Fitness.BAD, "lock", why, "choose another folder by WANDB_DIR")
    if intruders:
        why = f"held by two at once {intruders} times, by {where}"
        advice = "no trial is run twice (folders decide), but records may be lost until `check --repair`"
        return CheckResult(Fitness.BAD, "lock", why, advice)
    return CheckResult(Fitness.GOOD, "lock", f"never held by two at once, by {where}")


def _judge_delays(first: dict[str, Any], where: str) -> list[CheckResult]:
    if first.get("name_delay") is None:
        return []
    name, byte = first["name_delay"], first["byte_delay"]
    why = f"a new file is seen after {_ms(name)}, an appended byte after {_ms(byte)}, by {where}"
    if max(name, byte) > _SLOW_VIEW:
        return [CheckResult(Fitness.WARN, "delay", why, "`status` may be that late; claims wait for nothing of it")]
    return [CheckResult(Fitness.GOOD, "delay", why)]


def _judge_clock(first: dict[str, Any], hosts: list[str]) -> list[CheckResult]:
    if first.get("clock") is None or len(hosts) < 2:
        return []
    apart = abs(first["clock"])
    why = f"the nodes' clocks are {apart:.3f} s apart"
    if apart > _CLOCK_APART:
        return [CheckResult(Fitness.WARN, "clock", why, "times in tables mislead; nothing is decided by them")]
    return [CheckResult(Fitness.GOOD, "clock", why)]


def _judge_programs(seen: list[dict[str, Any]]) -> list[CheckResult]:
    first: dict[str, dict[str, Any]] = {}
    for one in seen:
        first.setdefault(one["host"], one)
    findings = []
    for host, one in sorted(first.items()):
        findings.append(CheckResult(Fitness.GOOD, f"python on {host}", one["python"]))
        if one["wandb"]:
            findings.append(CheckResult(Fitness.GOOD, f"wandb on {host}", one["wandb"]))
        else:
            why = "the python on PATH has no wandb"
            advice = "scripts that import wandb will fail; those that import slurmsweep, or neither, do not need it"
            findings.append(CheckResult(Fitness.WARN, f"wandb on {host}", why, advice))
    return findings


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


@contextmanager
def _probe_folder(folder: str) -> Iterator[str]:
    """Make a folder in the one to try, and remove it in the end. Raises StateUnwritableError."""
    try:
        place = tempfile.mkdtemp(prefix=".slurmsweep-doctor-", dir=folder)
    except OSError as error:
        why = f"cannot write {folder}: {error.strerror}; choose another folder by WANDB_DIR"
        raise StateUnwritableError(why) from error
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _collect(place: str, count: int) -> list[dict[str, Any]]:
    """Return what processes have left so far, by their numbers."""
    texts = [_read(f"{place}/seen-{number}.json") for number in range(count)]
    return [json.loads(text) for text in texts if text]


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
