"""Memory of an agent whose search learns: the largest resident size up to its first choice, by number of trials.

    python benchmarks/search_memory.py [TRIALS ...] [--kind bayes|rungs] [--beside CHECKOUT]

The records are written straight into the journal, as agents would have written them. `bayes`: points of six parameters,
an end with metric, lowest and highest value; the agent proposes points. `rungs`: a third of the trials that ended at a
rung have gone on to the next one, of three; the agent lists the trials that may go on.

Processes of their own then choose, as an agent does that starts: without a kept view (`fold.cache`), and with the one
that another process left. The peer is such a process for a sweep of ten trials: what is more than its size is of the
trials. Sizes are the kernel's `VmHWM`, so they depend on no clock; CPU is given beside them, and with ``--beside`` so
are another checkout's figures, and whether it chooses the same.
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
from typing import TYPE_CHECKING, Any, NamedTuple

from made_sweeps import new_sweep, owner, records_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from made_sweeps import Records

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

STEPS = (1, 3, 9)
CONFIG_OF_RUNGS = {**CONFIG, "method": "random", "slurmsweep": {"rungs": {"steps": list(STEPS)}}}

#: How trials end, and what they used.
FINISHED = {"state": "finished", "exit_code": 0}
FAILED = {"state": "failed", "exit_code": 1, "cause": "exit 1"}
USED = {"seconds": 61.5, "cpu_seconds": 60.0, "max_rss_mb": 300.0}

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


#: What it runs of a sweep with rungs: what an agent looks at before it claims a trial.
AGENT_OF_RUNGS = """
import json, re, sys, time
from slurmsweep.learning.rungs import promotions
from slurmsweep.state import view_cache
from slurmsweep.state.store import SweepStore
store = SweepStore.open(sys.argv[1])
begun = time.process_time()
view = view_cache.current(store).refresh()
read = time.process_time()
found = promotions(store.manifest.config, view)
again = time.process_time()
size = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
chosen = [[*one.attempt_id, one.rung] for one in found]
print(json.dumps({"kib": size, "cpu": again - begun, "choosing": again - read, "points": chosen}))
"""


def fill(root: Path, trials: int) -> str:
    """Make a sweep of which so many trials have ended, every twentieth of them without success; return its folder."""
    root.mkdir()
    store = new_sweep(root, CONFIG, None)
    rng, now = random.Random(1), time.time() - 86400
    with records_of(store.journal.path) as records:
        for number in range(trials):
            point = {
                "lr": 10 ** rng.uniform(-5, 0),
                "dropout": rng.uniform(0, 0.9),
                "momentum": rng.uniform(0.5, 0.99),
                "layers": rng.randint(1, 12),
                "units": rng.choice([16, 32, 64, 128, 256]),
                "optimizer": rng.choice(["sgd", "adam", "lion"]),
            }
            at = now + number / 2
            records.claim(number, owner(number, job=str(number)), at, p=point, b=[2 * number, number, 0])
            metric = abs(point["dropout"] - 0.3) + abs(point["momentum"] - 0.9) + rng.random() / 10
            out = FAILED if number % 20 == 7 else FINISHED
            values = {"metric": metric, "lowest": metric, "highest": metric + 1}
            records.end(number, {**out, **values, **USED, "ended": at + 61.5})
    return store.layout.folder


def fill_rungs(root: Path, trials: int) -> str:
    """Make a sweep of which so many trials have ended at one of three rungs, or failed there; return its folder."""
    root.mkdir()
    store = new_sweep(root, CONFIG_OF_RUNGS, None)
    rng, now = random.Random(1), time.time() - 86400
    going_on: dict[int, list[tuple[float, int]]] = {1: [], 2: []}

    def run(records: Records, number: int, attempt: int, at: float) -> None:
        """One attempt, and all that follows from its end."""
        records.claim(number, owner(number, job=f"{number}-{attempt}"), at, attempt=attempt)
        step, fails = STEPS[attempt - 1], rng.random() < 1 / 20
        value, out = rng.random() / step, dict(FAILED)
        if not fails:
            records.write("band", t=number, a=attempt, b=[[step, value]])
            out = FINISHED | {"metric": value} | ({"cause": f"rung {step}"} if step != STEPS[-1] else {})
        records.end(number, {**out, **USED, "ended": at + 61.5}, attempt=attempt)
        if not fails and attempt < len(STEPS):
            rest = going_on[attempt]
            rest.append((value, number))
            if len(rest) == len(STEPS):
                best = min(rest)[1]
                rest.clear()
                records.write("retry", t=[[best, attempt + 1]], why="rung")
                run(records, best, attempt + 1, at + 0.5)

    with records_of(store.journal.path) as records:
        for number in range(trials):
            run(records, number, 1, now + number)
    return store.layout.folder


class Measured(NamedTuple):
    """What a process that chose had at most in memory, its CPU seconds, and what it chose."""

    kib: int
    cpu: float
    points: list[Any]
    choosing: float | None = None


def measured(checkout: Path, folder: str, agent: str) -> Measured:
    """Return what one process of that checkout needed to choose for the sweep, and what it chose."""
    environ = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, "-c", agent, folder], env=environ, stdout=subprocess.PIPE, text=True, check=True, cwd="/"
    )
    return Measured(**json.loads(done.stdout))


#: By kind of sweep, what makes one and what an agent of it does.
KINDS: dict[str, tuple[Callable[[Path, int], str], str]] = {
    "bayes": (fill, AGENT),
    "rungs": (fill_rungs, AGENT_OF_RUNGS),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="*", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--beside", type=Path, help="another checkout, measured on the same sweeps")
    parser.add_argument("--kind", choices=KINDS, default="bayes", help="of the sweep (default: %(default)s)")
    arguments = parser.parse_args()
    make, agent = KINDS[arguments.kind]
    checkouts = [HERE, *([arguments.beside.resolve()] if arguments.beside else [])]
    with tempfile.TemporaryDirectory() as name:
        few = make(Path(name) / "few", 10)
        least = {checkout: measured(checkout, few, agent).kib for checkout in checkouts}
        print(f"ten trials: {least[HERE] / 1024:.0f} MiB")
        for trials in arguments.trials:
            folder = make(Path(name) / str(trials), trials)
            proposed = []
            for when in ("nothing kept", "kept view"):
                said = []
                for checkout in checkouts:
                    Path(folder, "fold.cache").unlink(missing_ok=True)
                    if when == "kept view":  # each checkout reads the one that it wrote
                        measured(checkout, folder, agent)
                    found = measured(checkout, folder, agent)
                    proposed.append(found.points)
                    more = (found.kib - least[checkout]) * 1024 / trials
                    said.append(
                        f"{found.kib / 1024:4.0f} MiB, {more:5.0f} bytes a trial, {found.cpu:5.2f} s CPU"
                        + (f" ({found.choosing:.2f} to choose)" if found.choosing is not None else "")
                    )
                print(f"{trials:9,} trials, {when:12}  {';  beside: '.join(said)}")
            is_same = all(points == proposed[0] for points in proposed)
            print("           " + ("what is chosen is the same" if is_same else f"CHOICES DIFFER: {proposed}"))


if __name__ == "__main__":
    main()
