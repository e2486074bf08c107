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

from scale import Cost, cost_of, make

from slurmsweep.state.journal import encode
from slurmsweep.state.owner import Owner

RUNNING, FAILED_EVERY, LOGS = 100, 33, 300

#: Commands that look, and how often each is run.
LOOKS = {("status",): 2, ("watch", "--once"): 2, ("report", "-o", "report.html"): 1}


def fill(root: Path, trials: int) -> str:
    """Make a sweep of that many trials, of which all have started; return its folder."""
    root.mkdir()
    store, now, rng = make(root, trials), time.time() - 86400, random.Random(1)
    counts = {"finished": 0, "failed": 0}
    with open(store.journal.path, "ab") as file:
        for number in range(trials):
            node = f"n{number % 40}"
            owner = Owner(f"node{number % 40}", 1000, 5, "boot", "", node)
            begun, token = now + 80000 * number / trials, f"{number:016x}"
            head = {"s": 2 * number + 1, "n": number + 1, "c": {**counts, "running": 1}}
            file.write(
                encode({"op": "claim", "t": number, "a": 1, "k": token, "o": owner.to_json(), "at": begun, "h": head})
            )
            if number >= trials - RUNNING:
                os.makedirs(store.layout.attempt((number, 1)))
                Path(store.layout.history((number, 1))).write_text(
                    "".join(f'{{"_step": {step}, "loss": {rng.random()}}}\n' for step in range(100))
                )
                continue
            state = "failed" if number % FAILED_EVERY == 5 else "finished"
            counts[state] += 1
            out = {
                "state": state,
                "cause": "exit 1" if state == "failed" else "",
                "exit_code": int(state == "failed"),
                "metric": rng.random(),
                "seconds": 61.5,
                "ended": begun + 61.5,
                "by": "agent",
            }
            if state == "failed" and counts["failed"] <= LOGS:
                os.makedirs(store.layout.attempt((number, 1)))
                Path(store.layout.log((number, 1))).write_text(f"ValueError: {number} is too large\n")
            head = {"s": 2 * number + 2, "n": number + 1, "c": counts}
            file.write(encode({"op": "end", "t": number, "a": 1, "k": token, "out": out, "h": head}))
    return store.layout.folder


def cpu_of(argv: list[str], root: Path) -> tuple[float, Cost]:
    before = os.times()
    cost = cost_of(argv, root)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system, cost


def main() -> None:
    sizes = [int(word) for word in sys.argv[1:]] or [10_000, 1_000_000]
    ours = [sys.executable, "-m", "slurmsweep"]
    with tempfile.TemporaryDirectory() as name:
        least = min(cpu_of([*ours, "ls", "--json"], Path(name))[0] for _ in range(5))
        print(f"ls: {1000 * least:.0f} ms of CPU")
        for trials in sizes:
            folder = fill(Path(name) / str(trials), trials)
            for words, times in LOOKS.items():
                for when in ("the first time", "nothing changed")[:times]:
                    cpu, cost = cpu_of([*ours, *words, folder], Path(name))
                    print(
                        f"{trials:9,} trials  {words[0]:6} {when:15} {1000 * cpu:6.0f} ms of CPU, {cpu / least:5.1f} "
                        f"times; {cost.seconds:5.2f} s; {cost.mib:4.0f} MiB; {cost.read:,} bytes read"
                    )


if __name__ == "__main__":
    main()
