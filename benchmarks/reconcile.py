"""What commands of the login node cost on a sweep of 100,000 trials that ended, of one checkout beside another.

    python benchmarks/reconcile.py [TRIALS] [--beside CHECKOUT] [--repeats N] [--only COMMAND]

Prints CPU seconds of each command, how many of them its process held the journal's lock, and how many bytes of the
journal it read, in all and under the lock; with ``--beside`` the same of another checkout, measured in turn with the
same interpreter, and the ratios. Each command gets a copy of the sweep of its own. Slurm is a handful of scripts that
know no job and take every array. CPU is the process's own, start of Python included; bytes are counted by strace. All
of it takes some ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from made_sweeps import owner_in_array, records_of

HERE = Path(__file__).parents[1]
OPEN_TRIALS = 200
COMMANDS = {
    "reconcile": (["reconcile"], False),
    "reconcile, after status": (["reconcile"], True),
    "status": (["status"], False),
    "status, after status": (["status"], True),
    "submit --count 10": (["submit", "--count", "10"], False),
    "submit --count 10, after status": (["submit", "--count", "10"], True),
    "resubmit --dry-run": (["resubmit", "--backend", "slurm", "--dry-run"], False),
    "agent --count 1": (["agent", "--count", "1"], False),
}
SLURM = {
    "squeue": "exit 0",
    "scancel": "exit 0",
    "sacct": "echo Slurm accounting storage is disabled >&2; exit 1",
    "sinfo": "echo 'n1|main*|1-00:00:00|16000'",
    "sbatch": "echo Submitted batch job 900001",
}
#: Runs a command line, and writes how much CPU time it took, and how much of that while the journal was locked.
TIMED = """
import fcntl, json, os, sys, time
since, held, flock, close = {}, [0.0], fcntl.flock, os.close
def is_journal(descriptor):
    return os.readlink(f"/proc/self/fd/{descriptor}").endswith("journal.log")
def locking(descriptor, operation):
    flock(descriptor, operation)
    if operation & fcntl.LOCK_UN:
        let_go(descriptor)
    elif is_journal(descriptor):
        since[descriptor] = time.process_time()
def let_go(descriptor):
    if descriptor in since:
        held[0] += time.process_time() - since.pop(descriptor)
def closing(descriptor):
    close(descriptor)
    let_go(descriptor)
fcntl.flock, os.close = locking, closing
from slurmsweep.cli.main import main
code = main(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump([time.process_time(), held[0]], file)
sys.exit(code)
"""


@dataclass(frozen=True)
class Cost:
    """Of one command: CPU seconds, those under the journal's lock, bytes of journal read, those under the lock."""

    cpu: float
    cpu_locked: float
    read: int
    read_locked: int


class Bench:
    """A checkout, and a folder for sweeps. All checkouts get the interpreter that runs this.

    Of two virtual environments with the same packages one may start a fifth slower than the other.
    """

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.python = sys.executable
        programs = folder / "bin"
        path = os.pathsep.join([str(programs), os.path.dirname(self.python), os.environ["PATH"]])
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "SLURM"))}
        settings = {"PATH": path, "PYTHONPATH": str(checkout), "SLURM_CONF": str(folder / "slurm.conf")}
        self.environ, self.folder = clean | settings, folder

    def call(self, *argv: str, cwd: Path) -> str:
        """Return the standard output of a program; ends the benchmark where that fails."""
        done = subprocess.run(argv, cwd=cwd, env=self.environ, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(argv[-5:])}: {done.returncode}\n{done.stderr[-2000:]}")
        return done.stdout

    def cost(self, sweep: Path, words: list[str], *, again: bool, counts: bool) -> Cost:
        """One command on a copy of the sweep; with ``counts`` a second time, for the bytes."""
        self._once(sweep, words, again=again, before=[self.python, "-c", TIMED, str(self.folder / "cost")])
        spent, locked = json.loads((self.folder / "cost").read_text())
        if not counts:
            return Cost(spent, locked, 0, 0)
        trace = ["strace", "-f", "-y", "-o", str(self.folder / "trace"), "-e", "trace=read,pread64,flock,close"]
        self._once(sweep, words, again=again, before=[*trace, self.python, "-m", "slurmsweep"])
        return Cost(spent, locked, *bytes_of_journal((self.folder / "trace").read_text(errors="replace")))

    def _once(self, sweep: Path, words: list[str], *, again: bool, before: list[str]) -> None:
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(sweep, copy)
        [folder] = (copy / "wandb").iterdir()
        if again:
            self.call(self.python, "-m", "slurmsweep", "status", str(folder), cwd=copy)
        self.call(*before, *words, str(folder), cwd=copy)


def bytes_of_journal(trace: str) -> tuple[int, int]:
    """Bytes read from the journal, and those that were read while its lock was held."""
    read = locked = 0
    holding: set[tuple[str, str]] = set()
    for line in trace.splitlines():
        found = re.match(r"(\d+)\s+(\w+)\((\d+)<[^>]*journal\.log>(.*)= (\d+)", line)
        if not found:
            continue
        process, call, descriptor, words, result = found.groups()
        if call in ("read", "pread64"):
            read += int(result)
            locked += int(result) if holding else 0
        elif call == "flock" and "LOCK_EX" in words:
            holding.add((process, descriptor))
        else:
            holding.discard((process, descriptor))
    return read, locked


def make(bench: Bench, trials: int) -> Path:
    """Make a sweep whose trials ended, but the last few, by records as agents of arrays of a thousand write them."""
    root = bench.folder / "made"
    root.mkdir()
    (root / "train.py").write_text("pass\n")
    (root / "sweep.yaml").write_text(
        "program: train.py\nmethod: grid\nmetric: {name: loss, goal: minimize}\n"
        f"parameters: {{x: {{min: 1, max: {trials + OPEN_TRIALS}}}}}\n"
    )
    bench.call(bench.python, "-m", "slurmsweep", "create", "sweep.yaml", cwd=root)
    [journal] = (root / "wandb").glob("*/journal.log")
    out = {"state": "finished", "exit_code": 0, "by": "agent"}
    out |= {"seconds": 61.5, "cpu_seconds": 60.25, "max_rss_mb": 101.5, "ended": 1764000002.5}
    with records_of(journal) as records:
        for number in range(trials):
            agent = owner_in_array(number)
            if agent.task == 0:
                tasks = min(1000, trials - number)
                records.write("submit", name=f"slurmsweep-bench-{agent.job}", tasks=tasks, job=agent.job, cluster="c")
            records.claim(number, agent, 1764000000.5)
            records.end(number, {**out, "metric": number / trials})
    return root


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("trials", nargs="?", type=int, default=100_000)
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", metavar="WORD", help="commands that begin with it, such as reconcile")
    args = parser.parse_args()
    counts = shutil.which("strace") is not None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bin").mkdir()
        (folder / "slurm.conf").write_text("ClusterName=c\n")
        for program, answer in SLURM.items():
            (folder / "bin" / program).write_text(f"#!/bin/sh\n{answer}\n")
            (folder / "bin" / program).chmod(0o755)
        benches = [Bench(HERE, folder)] + ([Bench(args.beside.absolute(), folder)] if args.beside else [])
        sweep = make(benches[-1], args.trials)
        [journal] = (sweep / "wandb").glob("*/journal.log")
        print(f"{args.trials:,} trials that ended, {journal.stat().st_size / 2**20:.0f} MiB of journal")
        for title, (words, again) in COMMANDS.items():
            if not title.startswith(args.only):
                continue
            costs: list[list[Cost]] = [[] for _ in benches]
            for turn in range(args.repeats):
                for bench, found in list(zip(benches, costs, strict=True))[:: -1 if turn % 2 else 1]:
                    found.append(bench.cost(sweep, words, again=again, counts=counts and turn == 0))
            show(title, costs)


def show(title: str, costs: list[list[Cost]]) -> None:
    """Return a line a checkout, and the ratios of this one to the other."""
    figures = [
        (
            statistics.median(cost.cpu for cost in each),
            statistics.median(cost.cpu_locked for cost in each),
            each[0].read / 2**20,
            each[0].read_locked / 2**20,
        )
        for each in costs
    ]
    print(f"\n{title:32} {'CPU s':>9} {'locked':>9} {'MiB read':>9} {'locked':>9}")
    for name, row in zip(("this checkout", "the other"), figures, strict=False):
        print(f"  {name:30} " + " ".join(f"{value:9.3f}" for value in row))
    if len(figures) > 1:
        ratios = [f"{ours / theirs:9.2f}" if theirs else f"{'-':>9}" for ours, theirs in zip(*figures, strict=True)]
        print(f"  {'ratio':30} " + " ".join(ratios))


if __name__ == "__main__":
    main()
