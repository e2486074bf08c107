"""Measure what an agent adds to a trial: beside the bare script and beside ``wandb agent``, as ratios and as counts.

    python benchmarks/agent_overhead.py [REPEATS [REPEATS_OF_WANDB [OTHER_CHECKOUT]]]

With another checkout of this project its agent is measured in the same turns, as for
``docs/decisions/0025-start-up-measured.md``. W&B's agent talks to a fake of its server on this machine, so that no
network is in its time; it takes about 11 seconds a trial. Counts system calls by strace where that is installed.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fake_wandb import serving

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fake_wandb import FakeWandb

ROOT = Path(__file__).parents[1]
SCRIPT = "print('trained')\n"
SWEEP = "program: train.py\nmethod: grid\nparameters: {x: {min: 1, max: 1000}}\n"
BARE = [sys.executable, "train.py", "--x=1"]
AGENT = [sys.executable, "-m", "slurmsweep", "agent", "--count", "1"]
WANDB_AGENT = [sys.executable, "-m", "wandb", "agent", "--count", "1", "--forward-signals", "ent/proj/wbyz9876"]


def cost_of(command: list[str], folder: Path, environ: Mapping[str, str] | None = None) -> tuple[float, float]:
    """Return the seconds that a command takes, and the CPU seconds (user and system) of all of its processes."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env={**os.environ, **(environ or {})}, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def compare(folder: Path, sweep: str, repeats: int, wandb_repeats: int, other: str | None) -> None:
    """Print what each of the agents adds to the bare script, all measured in turn, so that all meet the same load."""
    bare, agent, beside, wandb = [], [], [], []
    with serving([{"x": 1}] * wandb_repeats) as fake:
        for turn in range(repeats):
            bare.append(cost_of(BARE, folder))
            agent.append(cost_of([*AGENT, sweep], folder))
            if other:
                beside.append(cost_of([*AGENT, sweep], folder, {"PYTHONPATH": other}))
            if turn < wandb_repeats:
                wandb.append(cost_of(WANDB_AGENT, folder, environ_of(fake, folder)))
    assert len(fake.runs) == wandb_repeats, "wandb agent did not run a trial each time"
    script, script_cpu = medians(bare)
    wall, cpu = medians(agent)
    added = wall - script
    print(f"agent around a trivial script / the bare script: {added / script + 1:.1f} times (median of {repeats} each)")
    print(f"CPU time: bare script {1000 * script_cpu:.0f} ms, agent around it {1000 * cpu:.0f} ms")
    if beside:
        other_wall, other_cpu = medians(beside)
        print(f"this agent / the one in {other}: wall time {wall / other_wall:.2f}, CPU time {cpu / other_cpu:.2f}")
    if wandb:
        more = medians(wandb)[0] - script
        print(f"wandb agent around it / the bare script: {more / script + 1:.1f} times (median of {wandb_repeats})")
        print(f"wall time added by wandb agent / wall time added by slurmsweep's: {more / added:.0f} times")


def medians(costs: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(wall for wall, _ in costs), statistics.median(cpu for _, cpu in costs)


def environ_of(fake: FakeWandb, folder: Path) -> dict[str, str]:
    kept = {f"WANDB_{word}_DIR": str(folder / word.lower()) for word in ("CACHE", "CONFIG", "DATA")}
    return {**fake.environ(), **kept}


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
    wandb_repeats = min(repeats, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
    other = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else None
    os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    for checkout in filter(None, [ROOT, other]):  # else an agent may compile its modules each time
        subprocess.run([sys.executable, "-m", "compileall", "-q", os.path.join(checkout, "slurmsweep")], check=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sweep = make_sweep(folder)
        compare(folder, sweep, repeats, wandb_repeats, other)
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
