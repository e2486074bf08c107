"""A report of 100, 1,000 and 10,000 trials, beside a page of plotly's with the same charts: bytes, and CPU to make it.

    python benchmarks/report.py [TRIALS ...]

The sweeps have eight parameters (two on a logarithmic axis, three of words, one with a null) and 100 rows of history a
trial; 3 % failed, 2 % crashed, a quarter was stopped early, some values are NaN. They are written straight
into the journal and the folders of the attempts, as agents and the native client would. plotly's page (all curves,
parallel coordinates, parameters against the metric) is made where plotly is installed; it is given the values, and so
reads no files. Ratios hold on other machines; seconds do not.
"""

from __future__ import annotations

import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # a test loads this file by its path
from made_sweeps import owner_in_array, records_of

from slurmsweep import search
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.outcome import STOPPED_EARLY
from slurmsweep.state.store import SweepStore
from slurmsweep.sweepfile.config import check

ROWS = 100
CONFIG: dict[str, Any] = {
    "name": "cifar-lr",
    "description": "learning rate and regularisation of a small network",
    "program": "train.py",
    "method": "random",
    "metric": {"name": "val_loss", "goal": "minimize"},
    "early_terminate": {"type": "hyperband", "min_iter": 10},
    "parameters": {
        "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 0.1},
        "weight_decay": {"distribution": "log_uniform_values", "min": 1e-6, "max": 1e-2},
        "dropout": {"min": 0.0, "max": 0.6},
        "layers": {"distribution": "int_uniform", "min": 2, "max": 8},
        "batch": {"values": [16, 32, 64, 128]},
        "optimizer": {"values": ["sgd", "adam", "lion"]},
        "nesterov": {"values": [True, False]},
        "warmup": {"values": [None, 0, 100, 500]},
    },
}


def make(root: str, trials: int, rows: int = ROWS, sweep_id: str = "abcd1234", **changes: Any) -> SweepStore:
    """Return a sweep whose trials have ended, with what they logged."""
    config = check({**CONFIG, "run_cap": trials, **changes}, "sweep.yaml").config
    begun = 1.75e9
    store = SweepStore.create(root, Manifest(sweep_id, config, trials, root, "sweep.yaml", begun, "0"))
    chance = random.Random(sweep_id)
    free = [begun + 5 * slot for slot in range(16)]
    with records_of(store.journal.path) as records:
        for number in range(trials):
            params = search.parameters(config, number, sweep_id)
            slot = min(range(len(free)), key=free.__getitem__)
            started = free[slot]
            outcome, history = _trial(params, chance, rows)
            free[slot] = started + outcome["seconds"] + 8
            folder = store.layout.attempt((number, 1))
            os.makedirs(folder)
            Path(folder, "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
            if outcome["state"] == "failed":
                text = (
                    f"epoch 3\nHF_TOKEN=hf_abcdef123456\nTraceback (most recent call last):\n"
                    f'  File "{root}/train.py", line 31, in <module>\n    raise ValueError\nValueError: loss is nan\n'
                )
                Path(folder, "output.log").write_text(text)
            node = f"n{slot // 4:03}"
            records.claim(number, owner_in_array(number)._replace(host=node, node=node), started)
            out = {"ended": started + outcome["seconds"], "max_rss_mb": round(900 + 300 * chance.random()), **outcome}
            records.end(number, {**out, "by": "agent"})
    return store


def _trial(params: dict[str, Any], chance: random.Random, rows: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    best = 0.22 + 0.18 * (math.log10(params["lr"]) + 2.6) ** 2 + 0.2 * abs(params["dropout"] - 0.2)
    best += {"sgd": 0.1, "adam": 0.02, "lion": 0.0}[params["optimizer"]] + 0.02 * abs(params["layers"] - 5)
    best *= 1 + 0.05 * chance.random()
    luck = chance.random()
    seen = rows if luck > 0.3 else max(1, int(rows * (0.1 + 0.4 * chance.random())))
    history = []
    for step in range(seen):
        loss = best + 1.8 * math.exp(-step / (6 + 14 * chance.random())) + 0.02 * chance.gauss(0, 1)
        loss = math.nan if luck < 0.01 and step > 4 else loss
        row = {"val_loss": loss, "accuracy": max(0.0, 1 - loss / 3), "train_loss": loss * 0.9, "lr_now": params["lr"]}
        history.append({**row, "_step": step, "_runtime": step * 1.5, "_timestamp": 1.75e9 + step})
    seconds = round(20 + seen * 3 * (1 + params["layers"] / 8) * (0.9 + 0.2 * chance.random()), 1)
    last = history[-1]["val_loss"]
    used = {"seconds": seconds, "cpu_seconds": round(seconds * 0.93, 1)}
    if luck < 0.03:
        return {"state": "failed", "cause": "exit 1", "exit_code": 1, **used}, history
    if luck < 0.05:
        return {"state": "crashed", "cause": "oom", **used}, history
    if luck < 0.3:
        return {"state": "killed", "cause": STOPPED_EARLY, "metric": last, "steps": seen, **used}, history
    return {"state": "finished", "exit_code": 0, "metric": last, "steps": seen, **used}, history


PLOTLY = """
import json, sys
import plotly.graph_objects as go
from plotly.io import to_html
columns, curves, path = json.load(open(sys.argv[1])), json.load(open(sys.argv[2])), sys.argv[3]
loss = columns.pop("val_loss")
lines = [go.Scattergl(y=curve, mode="lines", line={"width": 1}) for curve in curves]
dims = [{"label": name, "values": values} for name, values in columns.items()] + [{"label": "val_loss", "values": loss}]
figures = [go.Figure(go.Parcoords(dimensions=dims, line={"color": loss})), go.Figure(lines)]
figures += [go.Figure(go.Scattergl(x=values, y=loss, mode="markers")) for values in columns.values()]
with open(path, "w") as page:
    for place, figure in enumerate(figures):
        page.write(to_html(figure, include_plotlyjs=not place, full_html=False))
"""


def cpu(command: list[str], folder: str) -> tuple[float, float]:
    """Return CPU seconds and the peak memory in MiB of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command, cwd=folder, check=True, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, after.ru_maxrss / 1024


def main() -> None:
    plotly = subprocess.run([sys.executable, "-c", "import plotly"], check=False, capture_output=True).returncode == 0
    print(f"{'trials':>7} {'page MB':>8} {'CPU s':>7} {'MiB':>6}   {'plotly: bytes':>14} {'CPU':>6}")
    for trials in map(int, sys.argv[1:] or (100, 1_000, 10_000)):
        with tempfile.TemporaryDirectory() as folder:
            store = make(folder, trials)
            begun = time.monotonic()
            seconds, mib = cpu([sys.executable, "-m", "slurmsweep", "report", "abcd1234", "-o", "r.html"], folder)
            wall = time.monotonic() - begun
            size = os.path.getsize(f"{folder}/r.html")
            peer = ""
            if plotly:
                other, spent = _plotly(store, folder)
                peer = f"{other / size:13.1f}x {spent / seconds:5.1f}x"
            print(f"{trials:7} {size / 1e6:8.2f} {seconds:7.1f} {mib:6.0f}   {peer}   ({wall:.1f} s by the clock)")


def _plotly(store: SweepStore, folder: str) -> tuple[int, float]:
    config, columns, curves = store.manifest.config, {}, []
    for number in range(store.manifest.trials or 0):
        with open(store.layout.history((number, 1)), encoding="utf-8") as file:
            curves.append([json.loads(line)["val_loss"] for line in file])
        for name, value in search.parameters(config, number, "abcd1234").items():
            columns.setdefault(name, []).append(value if type(value) in (int, float) else hash(str(value)) % 7)
        columns.setdefault("val_loss", []).append(curves[-1][-1])
    for name, values in (("columns", columns), ("curves", curves)):
        Path(folder, f"{name}.json").write_text(json.dumps(values))
    spent, _ = cpu([sys.executable, "-c", PLOTLY, "columns.json", "curves.json", "plotly.html"], folder)
    return os.path.getsize(f"{folder}/plotly.html"), spent


if __name__ == "__main__":
    main()
