"""Looking at large sweeps of 10,000 and of a million trials: CPU of `status`, `watch --once` and `report`, beside `ls`.

    python benchmarks/looking.py [TRIALS ...]

The records are written straight into the journal, as agents would have: three trials in a hundred failed, a hundred
run, the rest finished. The first failures have logs, and running trials have histories. Ratios are to the CPU of the
smallest command that reads, `slurmsweep ls` without a sweep.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path

from made_sweeps import owner, records_of
from scale import cost_of, make

RUNNING, FAILED_EVERY, LOGS = 100, 33, 300

#: Commands that look, and how often each is run.
LOOKS = {("status",): 2, ("watch", "--once"): 2, ("report", "-o", "report.html"): 1}


def fill(root: Path, trials: int) -> str:
    """Make a sweep of that many trials, of which all have started; return its folder."""
    root.mkdir()
    store, now, rng, logs = make(root, trials), time.time() - 86400, random.Random(1), 0
    with records_of(store.journal.path) as records:
        for number in range(trials):
            begun = now + 80000 * number / trials
            records.claim(number, owner(number), begun)
            if number >= trials - RUNNING:
                os.makedirs(store.layout.attempt((number, 1)))
                Path(store.layout.history((number, 1))).write_text(
                    "".join(f'{{"_step": {step}, "loss": {rng.random()}}}\n' for step in range(100))
                )
                continue
            fails = number % FAILED_EVERY == 5
            if fails and logs < LOGS:
                logs += 1
                os.makedirs(store.layout.attempt((number, 1)))
                Path(store.layout.log((number, 1))).write_text(f"ValueError: {number} is too large\n")
            out = {"state": "failed", "exit_code": 1, "cause": "exit 1"} if fails else {"state": "finished"}
            out |= {"metric": rng.random(), "seconds": 61.5, "ended": begun + 61.5, "by": "agent"}
            records.end(number, {"exit_code": 0, "cause": "", **out})
    return store.layout.folder


def main() -> None:
    sizes = [int(word) for word in sys.argv[1:]] or [10_000, 1_000_000]
    ours = [sys.executable, "-m", "slurmsweep"]
    with tempfile.TemporaryDirectory() as name:
        least = min(cost_of([*ours, "ls", "--json"], Path(name)).cpu for _ in range(5))
        print(f"ls: {1000 * least:.0f} ms of CPU")
        for trials in sizes:
            folder = fill(Path(name) / str(trials), trials)
            for words, times in LOOKS.items():
                for when in ("the first time", "nothing changed")[:times]:
                    cost = cost_of([*ours, *words, folder], Path(name))
                    print(
                        f"{trials:9,} trials  {words[0]:6} {when:15} {1000 * cost.cpu:6.0f} ms of CPU, "
                        f"{cost.cpu / least:5.1f} times; {cost.seconds:5.2f} s; {cost.mib:4.0f} MiB; "
                        f"{cost.read:,} bytes read"
                    )


if __name__ == "__main__":
    main()
