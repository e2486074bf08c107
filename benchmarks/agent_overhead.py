"""Measure what an agent adds to a trial: beside the bare script and beside ``wandb agent``, as ratios and as counts.

    python benchmarks/agent_overhead.py [REPEATS [REPEATS_OF_WANDB [OTHER_CHECKOUT]]]

With another checkout of this project its agent is measured in the same turns, as for
``docs/decisions/0025-start-up-measured.md``. W&B's agent talks to a fake of its server on this machine, so that no
network is in its time; it takes about 11 seconds a trial. Counts system calls by strace where that is installed.
"""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from beside import Costs, agent, file_calls, make_sweep, modules, take
from fake_wandb import serving
from reconcile import HERE, Bench

if TYPE_CHECKING:
    from fake_wandb import FakeWandb

WANDB_AGENT = ["-m", "wandb", "agent", "--count", "1", "--forward-signals", "ent/proj/wbyz9876"]


def compare(ours: Bench, sweep: str, repeats: int, wandb_repeats: int, other: Bench | None) -> None:
    """Print what each of the agents adds to the bare script, all measured in turn, so that all meet the same load."""
    bare, costs, beside, wandb = Costs(), Costs(), Costs(), Costs()
    folder = ours.folder / "sweep"
    with serving([{"x": 1}] * wandb_repeats) as fake:
        for turn in range(repeats):
            take(ours, bare, [ours.python, "train.py", "--x=1"], folder)
            take(ours, costs, agent(ours, sweep), folder)
            if other:
                take(other, beside, agent(other, sweep), folder)
            if turn < wandb_repeats:
                take(for_wandb(ours, fake), wandb, [ours.python, *WANDB_AGENT], folder)
    assert len(fake.runs) == wandb_repeats, "wandb agent did not run a trial each time"
    script, script_cpu = bare.medians()
    wall, cpu = costs.medians()
    added = wall - script
    print(f"agent around a trivial script / the bare script: {added / script + 1:.1f} times (median of {repeats} each)")
    print(f"CPU time: bare script {1000 * script_cpu:.0f} ms, agent around it {1000 * cpu:.0f} ms")
    if other:
        other_wall, other_cpu = beside.medians()
        print(f"this agent / the other one: wall time {wall / other_wall:.2f}, CPU time {cpu / other_cpu:.2f}")
    if wandb_repeats:
        more = wandb.medians()[0] - script
        print(f"wandb agent around it / the bare script: {more / script + 1:.1f} times (median of {wandb_repeats})")
        print(f"wall time added by wandb agent / wall time added by slurmsweep's: {more / added:.0f} times")


def for_wandb(bench: Bench, fake: FakeWandb) -> Bench:
    """Return the same with the variables of W&B's agent: the fake of its server, and folders of its own."""
    found = copy.copy(bench)
    kept = {f"WANDB_{word}_DIR": str(bench.folder / word.lower()) for word in ("CACHE", "CONFIG", "DATA")}
    found.environ = {**bench.environ, **fake.environ(), **kept}
    return found


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    wandb_repeats = min(repeats, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
    checkouts = [HERE, *(Path(word).absolute() for word in sys.argv[3:4])]
    for checkout in checkouts:  # else an agent may compile its modules each time
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(checkout / "slurmsweep")], check=True)
    with tempfile.TemporaryDirectory() as name:
        ours, *others = (Bench(checkout, Path(name)) for checkout in checkouts)
        folder = ours.folder / "sweep"
        sweep = make_sweep(ours, folder, 1000)
        compare(ours, sweep, repeats, wandb_repeats, others[0] if others else None)
        empty = subprocess.run([sys.executable, "-X", "importtime", "-c", ""], check=True, capture_output=True)
        alone = empty.stderr.count(b"import time:")
        print(f"modules imported by the agent: {modules(ours, folder, sweep)}, by python alone: {alone}")
        if shutil.which("strace"):
            calls = file_calls(ours, folder, sweep)
            kinds = ", ".join(f"{count} {kind}" for kind, count in calls.most_common())
            print(f"system calls of the agent on files of the sweep, claim to outcome: {calls.total()} ({kinds})")


if __name__ == "__main__":
    main()
