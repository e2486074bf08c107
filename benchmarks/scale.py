"""A sweep of a million trials, half of them done, beside one of a thousand, in one run: what each operation costs.

    python benchmarks/scale.py [TRIALS]

The records of the trials that are done are written straight into the journal, as agents would have; only those that
failed have folders, because nothing that is measured looks at the others. Each command is a process of its own; bytes
read are the system's count.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from made_sweeps import new_sweep, owner_in_array, records_of

if TYPE_CHECKING:
    from slurmsweep.state.store import SweepStore

#: Every so many of the trials that are done failed: a thousand of half a million.
FAILED_EVERY = 500

CLAIM_AND_FINISH = """
import sys
from slurmsweep.agents.identity import this_process
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.store import SweepStore
store = SweepStore.open_to_run(sys.argv[1])
store.finish(store.claim(this_process({})), Outcome(TrialState.FINISHED, exit_code=0))
"""

GIVE_BACK = """
import sys
from slurmsweep.control.round.reconcile import give_back
from slurmsweep.control.session import Session
print(len(give_back(Session.open_to_run(sys.argv[1]), lambda trial: True, why="benchmark")))
"""


@dataclass(frozen=True)
class Cost:
    """Of one process: wall and CPU seconds, peak memory in MiB, bytes read by system calls, what it printed."""

    seconds: float
    cpu: float
    mib: float
    read: int
    said: str


def make(root: Path, trials: int) -> SweepStore:
    parameters = {"x": {"min": 0, "max": trials - 1}}
    document = {"method": "grid", "program": "t.py", "parameters": parameters, "metric": {"name": "loss"}}
    return new_sweep(root, document, trials)


def do_half(store: SweepStore, trials: int) -> None:
    """Write records of the first half of the trials, claimed and ended by many jobs on a few nodes."""
    with records_of(store.journal.path) as records:
        for number in range(trials // 2):
            fails = number % FAILED_EVERY == FAILED_EVERY // 2
            if fails:
                os.makedirs(store.layout.attempt((number, 1)))
            records.claim(number, owner_in_array(number), 1.5)
            out = {"state": "failed", "exit_code": 1, "cause": "exit 1"} if fails else {"state": "finished"}
            out |= {"metric": number / trials, "seconds": 61.5, "ended": 2.5, "by": "agent"}
            records.end(number, {"exit_code": 0, **out})
    os.sync()  # or the first claim's fsync would do it


def cost_of(argv: list[str], cwd: Path) -> Cost:
    """Run a process; rusage and /proc/<pid>/io are read while it is a zombie."""
    start = time.perf_counter()
    process = subprocess.Popen(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
    said = process.stdout.read() if process.stdout else ""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    read = int(Path(f"/proc/{process.pid}/io").read_text().split("rchar:")[1].split()[0])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{argv} ended with {process.returncode}")
    seconds = time.perf_counter() - start
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, read, said)


def costs(root: Path, trials: int) -> dict[str, Cost]:
    root.mkdir()
    start = time.perf_counter()
    store = make(root, trials)
    created = Cost(time.perf_counter() - start, 0.0, 0.0, 0, "")
    do_half(store, trials)
    folder = store.layout.folder
    ours = [sys.executable, "-m", "slurmsweep"]
    found = {
        "create": created,
        "claim and finish": cost_of([sys.executable, "-c", CLAIM_AND_FINISH, folder], root),
        "status, the first time": cost_of([*ours, "status", folder], root),
        "status, nothing changed": cost_of([*ours, "status", folder], root),
        "trials --limit 20": cost_of([*ours, "trials", folder, "--limit", "20"], root),
        "best --top 5": cost_of([*ours, "best", folder, "--top", "5"], root),
        "give back all that failed": cost_of([sys.executable, "-c", GIVE_BACK, folder], root),
        "claim and finish, a retry": cost_of([sys.executable, "-c", CLAIM_AND_FINISH, folder], root),
    }
    counts = json.loads(cost_of([*ours, "status", folder, "--json"], root).said)["counts"]
    given = int(found["give back all that failed"].said)
    assert counts["finished"] == trials // 2 - given + 2, counts
    return found


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        small, large = costs(Path(name) / "small", 1000), costs(Path(name) / "large", trials)
        size = (Path(name) / "large/wandb/sweep-abcd1234/journal.log").stat().st_size
    print(f"{trials:,} trials, half of them done ({size / 2**20:.0f} MiB of journal), beside 1,000 trials, half done")
    for title, cost in large.items():
        before = small[title]
        print(
            f"{title:26} {cost.seconds:6.2f} s, {cost.seconds / before.seconds:5.1f} times as long; "
            f"{cost.mib:4.0f} MiB; {cost.read - before.read:+,} bytes read"
        )


if __name__ == "__main__":
    main()
