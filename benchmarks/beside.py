"""What a trial and a sweep cost with this checkout and with another one, in one run, as counts and ratios.

    python benchmarks/beside.py CHECKOUT [--repeats N]
    SLURM_CONF=... python benchmarks/beside.py CHECKOUT --rpcs [TRIALS]

Of one agent around a trivial script, in turn with the other checkout's and with the same interpreter: wall time and CPU
with all of its children, modules imported, system calls on files of the sweep by kind, from claim to outcome (strace).
With ``--rpcs``, on a cluster where nothing else runs (tests/cluster/up starts one): slurmctld's RPCs, wall time and the
submitting process's CPU for ``slurmsweep run`` of so many trivial trials (default 200).

The scripts agent_overhead.py and rpcs.py compare one checkout with wandb's agent, sbatch and submitit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from reconcile import HERE, Bench
from rpcs import HOUSEKEEPING, SWEEP, cpu_of_children, rpcs


@dataclass
class Costs:
    """What each turn took, of one checkout."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def medians(self) -> tuple[float, float]:
        """Return the medians of wall time and CPU."""
        return statistics.median(self.wall), statistics.median(self.cpu)


def agent(bench: Bench, sweep: str) -> list[str]:
    """Return the command that runs one trial."""
    return [bench.python, "-m", "slurmsweep", "agent", "--count", "1", sweep]


def take(bench: Bench, costs: Costs, argv: list[str], cwd: Path) -> None:
    """Run a program, and note its wall time and the CPU time of it and its children."""
    start, used = time.perf_counter(), cpu_of_children()
    bench.call(*argv, cwd=cwd)
    costs.cpu.append(cpu_of_children() - used)
    costs.wall.append(time.perf_counter() - start)


def make_sweep(bench: Bench, folder: Path, trials: int) -> str:
    """Return a grid of trivial trials in a folder of its own; the sweep's id."""
    folder.mkdir()
    (folder / "train.py").write_text("print('trained')\n")
    (folder / "sweep.yaml").write_text(SWEEP.format(trials))
    return bench.call(bench.python, "-m", "slurmsweep", "create", "sweep.yaml", cwd=folder).strip()


def file_calls(bench: Bench, folder: Path, sweep: str) -> Counter[str]:
    """System calls of an agent that name a file of the sweep, or a descriptor of one."""
    trace = folder / "trace"
    strace = ["strace", "-y", "-o", str(trace), "-e", "trace=file,desc,fsync"]
    bench.call(*strace, *agent(bench, sweep), cwd=folder)
    lines = trace.read_text(errors="replace").splitlines()
    return Counter(line.partition("(")[0] for line in lines if f"sweep-{sweep}" in line)


def modules(bench: Bench, folder: Path, sweep: str) -> int:
    """Modules that an agent imports, those of Python's start included."""
    argv = [bench.python, "-X", "importtime", *agent(bench, sweep)[1:]]
    done = subprocess.run(argv, cwd=folder, env=bench.environ, check=True, capture_output=True)
    return done.stderr.count(b"import time:")


def agents(benches: dict[str, Bench], repeats: int) -> None:
    """Agents of both checkouts in turn, each first in every other turn."""
    folders = {name: bench.folder / name for name, bench in benches.items()}
    sweeps = {name: make_sweep(bench, folders[name], 1000) for name, bench in benches.items()}
    costs = {name: Costs() for name in benches}
    bare = Costs()
    for turn in range(repeats):
        first = next(iter(benches.values()))
        take(first, bare, [first.python, "train.py"], folders["this"])
        for name in list(benches)[:: -1 if turn % 2 else 1]:
            take(benches[name], costs[name], agent(benches[name], sweeps[name]), folders[name])
    show(f"an agent around a trivial script, median of {repeats}", costs)
    less = {name: each.medians()[1] - bare.medians()[1] for name, each in costs.items()}
    print(f"  CPU without the script's own: ratio {less['this'] / less['other']:.2f}")
    counted = {name: modules(bench, folders[name], sweeps[name]) for name, bench in benches.items()}
    print(f"  modules imported: {counted['this']}, the other {counted['other']}")
    if shutil.which("strace"):
        calls = {name: file_calls(bench, folders[name], sweeps[name]) for name, bench in benches.items()}
        show_counts("system calls on files of the sweep", calls)


def sweeps_in_slurm(benches: dict[str, Bench], trials: int) -> None:
    """Two whole sweeps of each checkout on the cluster: this, the other, the other, this."""
    costs, spent = {name: Costs() for name in benches}, {name: Counter[str]() for name in benches}
    for turn, name in enumerate([*benches, *reversed(benches)]):
        bench, folder = benches[name], benches[name].folder / f"turn-{turn}"
        sweep = make_sweep(bench, folder, trials)
        before = rpcs()
        argv = [bench.python, "-m", "slurmsweep", "run", sweep, "--backend", "slurm", "--time", "5", "--wait"]
        take(bench, costs[name], argv, folder)
        time.sleep(3)  # the last jobs' completions
        counts = rpcs() - before
        spent[name] += Counter({kind: n for kind, n in counts.items() if not kind.startswith(HOUSEKEEPING)})
    show(f"slurmsweep run of {trials} trivial trials, twice", costs)
    show_counts("RPCs of both", spent)


def show(title: str, costs: dict[str, Costs]) -> None:
    """Medians, and the ratios of this checkout to the other."""
    print(f"\n{title}")
    for what, ours, theirs in zip(("wall", "cpu"), costs["this"].medians(), costs["other"].medians(), strict=True):
        print(f"  {what:5} {ours:8.3f} s, the other {theirs:8.3f} s, ratio {ours / theirs:.2f}")


def show_counts(title: str, counts: dict[str, Counter[str]]) -> None:
    """Totals, and the kinds that differ."""
    ours, theirs = counts["this"], counts["other"]
    print(f"  {title}: {ours.total()}, the other {theirs.total()}, ratio {ours.total() / theirs.total():.2f}")
    for kind in sorted(ours.keys() | theirs.keys()):
        if ours[kind] != theirs[kind]:
            print(f"    {kind}: {ours[kind]}, the other {theirs[kind]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--rpcs", type=int, nargs="?", const=200, metavar="TRIALS")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        benches = {"this": Bench(HERE, folder), "other": Bench(args.checkout.absolute(), folder)}
        if args.rpcs is None:
            agents(benches, args.repeats)
            return
        for bench in benches.values():
            bench.environ["SLURM_CONF"] = os.environ["SLURM_CONF"]
        sweeps_in_slurm(benches, args.rpcs)


if __name__ == "__main__":
    main()
