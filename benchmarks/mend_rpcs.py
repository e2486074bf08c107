"""What rounds of mending ask of slurmctld, by its own count (sdiag): ``SLURM_CONF=... python benchmarks/mend_rpcs.py``.

Three rounds of a sweep of twelve trials: nothing to do while all wait; one that runs three failed trials again; the
last.
The cluster should do nothing else meanwhile. Jobs of the sweep ask for nothing, so all questions are the rounds' own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

SCRIPT = "import os, sys\nsys.exit(int(sys.argv[1][4:]) <= 3 and os.environ['SLURMSWEEP_ATTEMPT'] == '1')\n"
SWEEP = "program: train.py\nmethod: grid\nparameters:\n  x: {min: 1, max: 12}\n"

#: Slurm's own, by which jobs end and nodes say that they live.
_OWN = ("REQUEST_COMPLETE", "REQUEST_NODE", "REQUEST_STATS")


def counted() -> Counter[str]:
    """RPCs so far, by kind."""
    text = subprocess.run(["sdiag"], capture_output=True, text=True, check=True).stdout
    by_kind = text.partition("by message type")[2].partition("by user")[0]
    found = re.findall(r"(REQUEST_\w+)\s+\(\s*\d+\) count:(\d+)", by_kind)
    return Counter({kind: int(n) for kind, n in found if not kind.startswith(_OWN)})


def slurmsweep(*argv: str) -> str:
    """Return the command line as a user runs it."""
    done = subprocess.run([sys.executable, "-m", "slurmsweep", *argv], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def wait_for(sweep: str, **counts: int) -> None:
    """Until as many trials have ended."""
    while True:
        now = json.loads(slurmsweep("status", sweep, "--json"))["counts"]
        if all(now[state] == n for state, n in counts.items()):
            return
        time.sleep(1)


def let_go(sweep: str) -> None:
    """Let the held array start; the supervisor that waits for its end does not come in between."""
    subprocess.run(["scancel", f"--name=slurmsweep-{sweep}-mend"], check=True)
    waiting = subprocess.run(["squeue", "-h", "-t", "PD", "-o", "%F %j"], capture_output=True, text=True, check=True)
    arrays = {line.split()[0] for line in waiting.stdout.splitlines() if sweep in line and "clock" not in line}
    subprocess.run(["scontrol", "release", ",".join(arrays)], check=True)


def round_of(sweep: str, what: str) -> Counter[str]:
    """One round, counted and printed."""
    before = counted()
    slurmsweep("mend", sweep)
    spent = counted() - before
    kinds = ", ".join(f"{n} {kind.removeprefix('REQUEST_').lower()}" for kind, n in sorted(spent.items()))
    print(f"{what}: {spent.total()} RPCs ({kinds})")
    return spent


def rounds() -> list[Counter[str]]:
    """Return the three rounds, in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="mend-rpcs-") as folder:
        os.chdir(folder)
        Path("train.py").write_text(SCRIPT)
        Path("sweep.yaml").write_text(SWEEP)
        sweep = slurmsweep("create", "sweep.yaml").strip()
        slurmsweep("submit", sweep, "--mend", "--time", "5", "--sbatch", "hold")
        found = [round_of(sweep, "a quiet round")]
        let_go(sweep)
        wait_for(sweep, finished=9, failed=3)
        found.append(round_of(sweep, "a round that runs three trials again"))
        let_go(sweep)
        wait_for(sweep, finished=12)
        found.append(round_of(sweep, "the last round"))
        os.chdir("/")
    return found


if __name__ == "__main__":
    rounds()
