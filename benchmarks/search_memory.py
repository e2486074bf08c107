"""Memory of an agent of a `bayes` sweep: the largest resident size up to its first proposals, by number of trials.

    python benchmarks/search_memory.py [TRIALS ...] [--beside CHECKOUT]

The records are written straight into the journal, as agents would have written them: points of six parameters, an end
with metric, lowest and highest value. Processes of their own then propose, as an agent does that starts: without a kept
view (`fold.cache`), and with the one that another process left. The peer is such a process for a sweep of ten trials:
what is more than its size is of the trials. Sizes are the kernel's `VmHWM`, so they depend on no clock; CPU is given
beside them, and with ``--beside`` so are another checkout's figures, and whether its proposals are the same.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from slurmsweep.state.journal import encode
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.owner import Owner
from slurmsweep.state.store import SweepStore
from slurmsweep.sweepfile.config import check

HERE = Path(__file__).resolve().parent.parent

CONFIG = {
    "program": "train.py",
    "method": "bayes",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {
        "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
        "dropout": {"min": 0.0, "max": 0.9},
        "momentum": {"min": 0.5, "max": 0.99},
        "layers": {"min": 1, "max": 12},
        "units": {"values": [16, 32, 64, 128, 256]},
        "optimizer": {"values": ["sgd", "adam", "lion"]},
    },
}

#: What the measured process runs: an agent's proposals, and what they cost it.
AGENT = """
import json, os, re, sys, time
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
from slurmsweep.learning.proposals import Proposer
from slurmsweep.state.store import SweepStore
begun = time.process_time()
proposer = Proposer(SweepStore.open(sys.argv[1]))
proposer.propose()
cpu = time.process_time() - begun
size = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
points = [one.point for one in proposer._proposals.items]
print(json.dumps({"kib": size, "cpu": cpu, "points": points}))
"""


def fill(root: Path, trials: int) -> str:
    """Make a sweep of which so many trials have ended, every twentieth of them without success; return its folder."""
    root.mkdir()
    config = check(CONFIG, "x").config
    store = SweepStore.create(str(root), Manifest("abcd1234", config, None, str(root), "x", time.time(), "0"))
    rng, now, counts = random.Random(1), time.time() - 86400, {"finished": 0, "failed": 0}
    with open(store.journal.path, "ab") as file:
        for number in range(trials):
            owner = Owner(f"node{number % 40}", 1000 + number % 97, 5, "boot", "", f"n{number % 40}", None, str(number))
            token, at = f"{number:016x}", now + number / 2
            point = {
                "lr": 10 ** rng.uniform(-5, 0),
                "dropout": rng.uniform(0, 0.9),
                "momentum": rng.uniform(0.5, 0.99),
                "layers": rng.randint(1, 12),
                "units": rng.choice([16, 32, 64, 128, 256]),
                "optimizer": rng.choice(["sgd", "adam", "lion"]),
            }
            claim = {"op": "claim", "t": number, "a": 1, "k": token, "o": owner.to_json(), "at": at, "p": point}
            head = {"s": 2 * number + 1, "n": number + 1, "c": {**counts, "running": 1}}
            file.write(encode({**claim, "b": [2 * number, number, 0], "h": head}))
            state = "failed" if number % 20 == 7 else "finished"
            counts[state] += 1
            metric = abs(point["dropout"] - 0.3) + abs(point["momentum"] - 0.9) + rng.random() / 10
            out = {"state": state, "exit_code": int(state == "failed"), "metric": metric, "lowest": metric}
            out |= {
                "highest": metric + 1,
                "seconds": 61.5,
                "cpu_seconds": 60.0,
                "max_rss_mb": 300.0,
                "ended": at + 61.5,
            }
            out |= {"cause": "exit 1"} if state == "failed" else {}
            head = {"s": 2 * number + 2, "n": number + 1, "c": counts}
            file.write(encode({"op": "end", "t": number, "a": 1, "k": token, "out": out, "h": head}))
    return store.layout.folder


class Measured(NamedTuple):
    """What a process that proposed had at most in memory, its CPU seconds, and what it proposed."""

    kib: int
    cpu: float
    points: list[dict[str, Any]]


def measured(checkout: Path, folder: str) -> Measured:
    """Return what one process of that checkout needed to propose for the sweep, and what it proposed."""
    environ = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, "-c", AGENT, folder], env=environ, stdout=subprocess.PIPE, text=True, check=True, cwd="/"
    )
    return Measured(**json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="*", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--beside", type=Path, help="another checkout, measured on the same sweeps")
    arguments = parser.parse_args()
    checkouts = [HERE, *([arguments.beside.resolve()] if arguments.beside else [])]
    with tempfile.TemporaryDirectory() as name:
        few = fill(Path(name) / "few", 10)
        least = {checkout: measured(checkout, few).kib for checkout in checkouts}
        print(f"ten trials: {least[HERE] / 1024:.0f} MiB")
        for trials in arguments.trials:
            folder = fill(Path(name) / str(trials), trials)
            proposed = []
            for when in ("nothing kept", "kept view"):
                said = []
                for checkout in checkouts:
                    Path(folder, "fold.cache").unlink(missing_ok=True)
                    if when == "kept view":  # each checkout reads the one that it wrote
                        measured(checkout, folder)
                    found = measured(checkout, folder)
                    proposed.append(found.points)
                    more = (found.kib - least[checkout]) * 1024 / trials
                    said.append(f"{found.kib / 1024:4.0f} MiB, {more:5.0f} bytes a trial, {found.cpu:5.2f} s CPU")
                print(f"{trials:9,} trials, {when:12}  {';  beside: '.join(said)}")
            is_same = all(points == proposed[0] for points in proposed)
            print("           " + ("the proposals are the same" if is_same else f"PROPOSALS DIFFER: {proposed}"))


if __name__ == "__main__":
    main()
