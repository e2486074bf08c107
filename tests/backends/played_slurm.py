"""Slurm's programs over a JSON file of jobs, for tests of what is asked of them and understood of their answers.

Put on the PATH under their names by :func:`put_on_path`, or run in the tests' process by :func:`run`. ``lab.json``, and
``other.json`` of a second cluster, has by id: name, by index the state of each element, and what was done to the job.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROGRAMS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo")


def put_on_path(folder: Path, monkeypatch) -> None:
    """Make the programs the first on the PATH, on a cluster without jobs and accounting."""
    folder.mkdir()
    (folder / "slurm.conf").write_text("ClusterName=lab\nMaxArraySize=40\n")
    for name in PROGRAMS:
        # a module that is run by its path loads nothing of the surroundings
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} -I {__file__} {folder} {name} "$@"\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))


def main(folder: Path, program: str, argv: list[str], environ: Mapping[str, str]) -> int:
    """Ask, and change, the cluster that the words choose, else the variables, else the script."""
    cluster = environ.get("SLURM_CLUSTERS", "")
    if program == "sbatch":
        text = Path(argv[-1]).read_text() if not argv[-1].startswith("--") else sys.stdin.read()
        sys.stdin = io.StringIO(text)
        chosen = re.search(r"^#SBATCH --clusters=(.*)$", text, re.MULTILINE)
        cluster = environ.get("SBATCH_CLUSTERS") or cluster or (chosen[1] if chosen else "")
    if "-M" in argv:
        cluster = argv.pop(argv.index("-M") + 1)
        argv.remove("-M")
    cluster = next((word.partition("=")[2] for word in argv if word.startswith("--clusters=")), cluster)
    cluster = cluster.lower()
    with open(folder / "lock", "w", encoding="utf-8") as file:  # commands may ask at the same moment
        fcntl.flock(file, fcntl.LOCK_EX)
        jobs = read(folder, cluster or "lab")
        code = globals()[f"_{program}"](jobs, argv)
        if program == "sbatch" and cluster and "--test-only" not in argv:
            print(f"Submitted batch job {next(reversed(jobs))} on cluster {cluster}")
        write(folder, cluster or "lab", jobs)
    return code


def read(folder: Path, cluster: str) -> dict[str, Any]:
    file = folder / f"{cluster}.json"
    return json.loads(file.read_text()) if file.exists() else {}


def write(folder: Path, cluster: str, jobs: dict[str, Any]) -> None:
    (folder / f"{cluster}.json").write_text(json.dumps(jobs))


def run(folder: Path, argv: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Do what one of the programs does, in this process."""
    said, complaints = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(complaints):
        code = main(folder, argv[0], list(argv[1:]), environ)
    return subprocess.CompletedProcess(argv, code, said.getvalue(), complaints.getvalue())


def _sbatch(jobs, argv) -> int:
    text = sys.stdin.read()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", text, re.MULTILINE))
    options |= dict(word[2:].split("=", 1) for word in argv if "=" in word)
    if "--test-only" in argv:
        print("sbatch: Job 1 to start at 2026-11-23T19:40:12 using 1 processors on nodes n1", file=sys.stderr)
        return 0
    job = str(int(next(reversed(jobs), "40")) + 1)
    last = re.match(r"0-(\d+)", options.get("array", ""))
    indexes = range(int(last[1]) + 1) if last else ["N/A"]
    jobs[job] = {"name": options.get("job-name", "sbatch"), "states": {str(index): "PENDING" for index in indexes}}
    if "clusters" not in options:
        print(job if "--parsable" in argv else f"Submitted batch job {job}")
    return 0


def _squeue(jobs, argv) -> int:
    options = dict(word[2:].split("=", 1) for word in argv if word.startswith("--"))
    wanted = argv[argv.index("-j") + 1].split(",") if "-j" in argv else list(jobs)
    names = options.get("name", "").split(",")
    if "-j" in argv and len(wanted) == 1 and wanted[0] not in jobs:
        print("slurm_load_jobs error: Invalid job id specified", file=sys.stderr)
        return 1
    for job in [job for job in wanted if job in jobs and (names == [""] or jobs[job]["name"] in names)]:
        for index, state in jobs[job]["states"].items():
            named = {"ArrayJobID": job, "ArrayTaskID": index, "JobID": job, "State": state, "Name": jobs[job]["name"]}
            fields = [part.partition(":")[0] for part in argv[argv.index("-O") + 1].split(",")]
            print("|".join(named.get(name, "") for name in fields))
    return 0


def _sacct(_jobs, _argv) -> int:
    print("Slurm accounting storage is disabled", file=sys.stderr)
    return 1


def _scancel(jobs, argv) -> int:
    for target in [word for word in argv if not word.startswith("--")]:
        job, _, index = target.partition("_")
        states = jobs[job]["states"] if job in jobs else {}
        _touch(jobs, job, "scancel", *argv)
        for name in states:
            if index in ("", name) and states[name] in ("PENDING", "RUNNING"):
                states[name] = "CANCELLED"
    return 0


def _scontrol(jobs, argv) -> int:
    for job in re.findall(r"(?:^|,|jobid=)(\d+)", argv[1]):
        _touch(jobs, job, *argv)
    if argv[0] == "update":
        job = re.match(r"jobid=(\d+)", argv[1])[1]
        return int(job not in jobs)
    return 0


def _touch(jobs, job, *words) -> None:
    if job in jobs:
        jobs[job].setdefault("touched", []).append(" ".join(words))


def _sinfo(_jobs, _argv) -> int:
    print("n1|main*|1-00:00:00|16000\nn2|main*|1-00:00:00|32000\nn2|long|infinite|32000")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:], os.environ))
