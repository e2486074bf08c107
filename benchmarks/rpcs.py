"""What a sweep of trivial trials costs Slurm's controller and the login node, beside three ways without slurmsweep.

    SLURM_CONF=... python benchmarks/rpcs.py [TRIALS]

In one run, one after the other, on a cluster without other users (tests/cluster/up starts one): ``sbatch --array``
of ``python3 -c pass``; ``slurmsweep run`` until its table is printed, one trial a job and eight a job (``--template
packed``); submitit's ``map_array`` until all results are there; a loop of ``sbatch``. A trial is W&B's default command,
``/usr/bin/env python train.py --x=N``, of an empty script. Every Python is the one that runs this, and everything is
compiled before, as pip leaves it. Counts are slurmctld's own (sdiag), so root or an operator must run it. Where nothing
waits by itself, the end is looked for by sacct, which asks slurmdbd and not slurmctld.
"""

from __future__ import annotations

import compileall
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import slurmsweep

if TYPE_CHECKING:
    from collections.abc import Callable

#: What slurmds say by themselves, with or without jobs, and what sdiag asks.
HOUSEKEEPING = ("MESSAGE_NODE_REGISTRATION_STATUS", "REQUEST_PING", "ACCOUNTING_", "REQUEST_STATS_INFO")

SWEEP = "program: train.py\nmethod: grid\nparameters: {{x: {{min: 1, max: {}}}}}\n"
SUBMITIT = """
import sys, submitit
executor = submitit.SlurmExecutor(folder="log")
executor.update_parameters(time=5, cpus_per_task=1, array_parallelism=10000)
for job in executor.map_array(abs, range(int(sys.argv[1]))):
    job.result()
"""
LOOP = 'for i in $(seq "$1"); do sbatch --parsable -J rpcs-loop -t 5 -o /dev/null --wrap "python3 -c pass"; done'


@dataclass(frozen=True)
class Cost:
    """Of one way: RPCs by kind, seconds until all was done, CPU seconds of the processes that submitted and waited."""

    rpcs: Counter[str]
    wall: float
    cpu: float


def rpcs() -> Counter[str]:
    text = subprocess.run(["sdiag"], check=True, capture_output=True, text=True).stdout
    text = text.partition("by message type")[2].partition("by user")[0]
    return Counter({kind: int(n) for kind, n in re.findall(r"^\s+(\w+)\s+\(\s*\d+\) count:(\d+)", text, re.MULTILINE)})


def cost(work: Callable[[Path], list[str]], trials: int) -> Cost:
    """Run it in a folder of its own; where it gives job ids, wait for those."""
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as name:
        before, start, used = rpcs(), time.monotonic(), cpu_of_children()
        jobs = work(Path(name))
        login = cpu_of_children() - used
        while jobs and completed(jobs) < trials:
            time.sleep(0.5)  # sacct takes CPU from the jobs, where all runs on one machine
        wall = time.monotonic() - start
        time.sleep(3)  # the last jobs' completions
        spent = rpcs() - before
    return Cost(Counter({k: n for k, n in spent.items() if not k.startswith(HOUSEKEEPING)}), wall, login)


def cpu_of_children() -> float:
    """CPU seconds of all ended children, and theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def completed(jobs: list[str]) -> int:
    command = ["sacct", "-X", "-n", "-P", "-o", "State", "-j", ",".join(jobs)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split().count("COMPLETED")


def call(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed: {done.stderr}")
    return done.stdout


def sweep(folder: Path, trials: int, *options: str) -> list[str]:
    (folder / "train.py").write_text("pass\n")
    (folder / "sweep.yaml").write_text(SWEEP.format(trials))
    command = [sys.executable, "-m", "slurmsweep", "run", "sweep.yaml", "--backend", "slurm", "--time", "5"]
    call([*command, *options], folder)
    return []


def packed(folder: Path, trials: int) -> list[str]:
    os.environ["SLURMSWEEP_AGENTS"] = "8"
    return sweep(folder, trials, "--template", "packed", "--cpus-per-task", "8")


def array(folder: Path, trials: int) -> list[str]:
    command = ["sbatch", "--parsable", f"--array=0-{trials - 1}", "-t", "5", "-o", "/dev/null", "--wrap"]
    return [call([*command, "python3 -c pass"], folder).strip()]


def submitit(folder: Path, trials: int) -> list[str]:
    (folder / "map.py").write_text(SUBMITIT)
    call([sys.executable, "map.py", str(trials)], folder)
    return []


def loop(folder: Path, trials: int) -> list[str]:
    return call(["bash", "-c", LOOP, "loop", str(trials)], folder).split()


WAYS = {
    "sbatch --array": array,
    "slurmsweep run": sweep,
    "slurmsweep run, packed": packed,
    "submitit map_array": submitit,
    "loop of sbatch": loop,
}


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    compileall.compile_dir(os.path.dirname(slurmsweep.__file__), quiet=1)
    costs = {name: cost(lambda folder, way=way: way(folder, trials), trials) for name, way in WAYS.items()}
    plain = costs["sbatch --array"]
    print(f"{trials} trivial trials; in brackets: times sbatch --array\n")
    for name, spent in costs.items():
        total = spent.rpcs.total()
        print(
            f"{name:22} {total:5} RPCs ({total / plain.rpcs.total():.2f})   {spent.wall:6.1f} s "
            f"({spent.wall / plain.wall:.2f})   login node {1000 * spent.cpu:4.0f} ms CPU"
        )
    for name, spent in costs.items():
        print(f"\n{name}: " + ", ".join(f"{n} {kind}" for kind, n in spent.rpcs.most_common()))


if __name__ == "__main__":
    main()
