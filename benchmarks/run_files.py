"""Reading the metric of a wandb run: our reader beside wandb's own ``wandb-core leet inspect``, in one run.

    python benchmarks/run_files.py [REPEATS [STEPS ...]]

The runs have so many steps, 20, 1,000 and 20,000 unless others are named. Both read the same files of the installed
wandb and must agree on the summary. Prints ratios, and what each needs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import wandb

from slurmsweep.metrics import run_file
from slurmsweep.metrics.reported import MetricsFollower
from slurmsweep.state.paths import Layout
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = """
import sys, wandb
run = wandb.init()
run.define_metric("lowest", summary="min")
for step in range(int(sys.argv[1])):
    run.log({"loss": 1 / (step + 1), "val": {"acc": step}, "lowest": abs(step - 50), "odd": float("nan")})
"""
CORE = Path(wandb.__file__).parent / "bin" / "wandb-core"
INSPECT = [str(CORE), "leet", "inspect", "--no-observability", "--summary", "--json"]


def make_run(folder: Path, steps: int) -> tuple[Layout, Path]:
    """Return a sweep's folder with the offline run of one trial."""
    layout = Layout(str(folder / "sweep-abcd1234"))
    Path(layout.attempt((0, 1))).mkdir(parents=True)
    settings = {
        "WANDB_MODE": "offline",
        "WANDB_DIR": layout.trial(0),
        "WANDB_CACHE_DIR": str(folder),
        "WANDB_SILENT": "true",
    }
    subprocess.run([sys.executable, "-c", SCRIPT, str(steps)], env=os.environ | settings, check=True)
    [file] = Path(layout.runs(0)).glob("offline-run-*/run-*.wandb")
    return layout, file


def inspect(file: Path) -> dict:
    done = subprocess.run([*INSPECT, "--run-file", str(file), str(file.parent)], check=True, capture_output=True)
    return json.loads(done.stdout)


def seconds(function: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def compare(steps: int, repeats: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        layout, file = make_run(Path(name), steps)
        size = file.stat().st_size
        ours, theirs = run_file.read(str(file)), inspect(file)
        flat = {key: value for key, value in ours.summary.items() if not key.startswith("_")}
        disagree = [key for key, value in flat.items() if not _same(_reach(theirs["summary"], key), value)]
        whole = seconds(lambda: MetricsFollower(layout, AttemptId(0, 1), {"loss": "minimize"}).read(), repeats)
        follower = MetricsFollower(layout, AttemptId(0, 1), {"loss": "minimize"})
        follower.read()
        again = seconds(follower.read, repeats)
        other = seconds(lambda: inspect(file), repeats)
    print(f"{steps} steps, {size >> 10} KiB; keys of the summary that differ: {len(disagree)}")
    print(f"  our first look {whole:.4f} s, inspect {other / whole:.2g} times as long")
    print(f"  each further look, with nothing new: inspect {other / again:.2g} times as long")


def _reach(summary: dict, name: str) -> object:
    if name in summary:
        return summary[name]
    first, dot, rest = name.partition(".")
    return _reach(summary[first], rest) if dot and isinstance(summary.get(first), dict) else None


def _same(theirs: object, ours: object) -> bool:
    return theirs == ours or (str(theirs).lower() == str(ours).lower())


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    for steps in map(int, sys.argv[2:] or (20, 1000, 20_000)):
        compare(steps, repeats)
    reader = (
        "import sys; import slurmsweep.agents.agent; before = set(sys.modules); import slurmsweep.metrics.reported; "
        "print(len(set(sys.modules) - before))"
    )
    command = [sys.executable, "-c", reader]
    modules = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    size = CORE.stat().st_size >> 20
    print(f"a look of ours: no process, {modules} modules that an agent has not loaded, once")
    print(f"a look of inspect: a process of a {size} MiB program")


if __name__ == "__main__":
    main()
