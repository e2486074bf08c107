"""What an agent adds to a trial: beside the bare script in one run, as a ratio and as counts.

    python benchmarks/agent_overhead.py [REPEATS]

Counts system calls by strace where that is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

SCRIPT = "print('trained')\n"
SWEEP = "program: train.py\nmethod: grid\nparameters: {x: {min: 1, max: 1000}}\n"
AGENT = [sys.executable, "-m", "slurmsweep", "agent", "--count", "1"]


def seconds_of(command: list[str], folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def make_sweep(folder: Path) -> str:
    (folder / "train.py").write_text(SCRIPT)
    (folder / "sweep.yaml").write_text(SWEEP)
    command = [sys.executable, "-m", "slurmsweep", "create", "sweep.yaml"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def file_calls(command: list[str], folder: Path, sweep: str) -> Counter[str]:
    """System calls of the agent itself that name a file of the sweep, or its journal's descriptor."""
    trace = folder / "trace"
    strace = ["strace", "-y", "-o", str(trace), "-e", "trace=file,desc,fsync", *command]
    subprocess.run(strace, cwd=folder, check=True, capture_output=True)
    calls: Counter[str] = Counter()
    for line in trace.read_text(errors="replace").splitlines():
        if f"sweep-{sweep}" in line and (name := re.match(r"(\w+)\(", line)):
            calls[name[1]] += 1
    return calls


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sweep = make_sweep(folder)
        bare, agent = [], []
        for _ in range(repeats):  # in turn, so that both meet the same load
            bare.append(seconds_of([sys.executable, "train.py", "--x=1"], folder))
            agent.append(seconds_of([*AGENT, sweep], folder))
        ratio = statistics.median(agent) / statistics.median(bare)
        print(f"agent around a trivial script / the bare script: {ratio:.1f} times (median of {repeats} each)")
        modules = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "slurmsweep", "agent", sweep],
            cwd=folder,
            check=True,
            capture_output=True,
        ).stderr.count(b"import time:")
        empty = subprocess.run([sys.executable, "-X", "importtime", "-c", ""], check=True, capture_output=True)
        print(f"modules imported by the agent: {modules}, by python alone: {empty.stderr.count(b'import time:')}")
        if shutil.which("strace"):
            calls = file_calls([*AGENT, sweep], folder, sweep)
            kinds = ", ".join(f"{count} {kind}" for kind, count in calls.most_common())
            print(f"system calls of the agent on files of the sweep, claim to outcome: {sum(calls.values())} ({kinds})")


if __name__ == "__main__":
    main()
