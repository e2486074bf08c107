"""What a ``log`` call costs: the native client beside the real wandb, offline, in one run, as ratios and as counts.

    python benchmarks/log_calls.py [CALLS]

Both log the same three values CALLS times (default 100,000), in slices that take turns: both meet the same load.
CPU time is that of the whole process tree, as wandb hands rows to a process of its own; so is memory (Pss), after a
tenth of the calls and after all of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

SLICES = 10

#: Logs a slice of calls for each line it reads, and says when it is done.
SCRIPT = """
import sys
calls = int(sys.argv[1])
run = wandb.init(config={"lr": 0.1})
step = 0
print("ready", flush=True)
for line in sys.stdin:
    for _ in range(calls):
        step += 1
        wandb.log({"loss": 1 / step, "acc": step * 0.5, "epoch": step})
    print("done", flush=True)
run.finish()
"""

CLIENTS = {"native": "import slurmsweep as wandb", "wandb": "import wandb"}


@dataclass
class Client:
    """A script that logs, its process, and what was measured of it."""

    process: subprocess.Popen[str]
    folder: Path
    wall: float = 0.0
    memory: list[float] = field(default_factory=list)


def start(name: str, folder: Path, calls: int) -> Client:
    folder.mkdir()
    (folder / "attempt").mkdir()
    environ = os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(folder)}
    environ["SLURMSWEEP_ATTEMPT_DIR"] = str(folder / "attempt")
    process = subprocess.Popen(
        [sys.executable, "-c", f"{CLIENTS[name]}\n{SCRIPT}", str(calls)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ, cwd=folder,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ready"), f"{name} did not start"
    return Client(process, folder)


def log_slice(client: Client) -> None:
    assert client.process.stdin is not None
    assert client.process.stdout is not None
    begun = time.perf_counter()
    client.process.stdin.write("go\n")
    client.process.stdin.flush()
    assert client.process.stdout.readline() == "done\n"
    client.wall += time.perf_counter() - begun
    client.memory.append(sum(memory_mb(pid) for pid in tree(client.process.pid)))


def end(client: Client) -> float:
    """Close the run; CPU seconds of the script and of all that it waited for, and of wandb's own process before."""
    assert client.process.stdin is not None
    begun = time.perf_counter()
    others = sum(cpu_seconds(pid) for pid in tree(client.process.pid) if pid != client.process.pid)
    client.process.stdin.close()
    _, status, usage = os.wait4(client.process.pid, 0)
    assert status == 0
    client.wall += time.perf_counter() - begun
    return others + usage.ru_utime + usage.ru_stime


def tree(pid: int) -> list[int]:
    """Return a process and all below it. wandb's own is in a session of its own, but a child all the same."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    below = [int(child) for file in children for child in file.read_text().split()]
    return [pid, *(one for child in below for one in tree(child))]


def memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rows(folder: Path) -> int:
    """Rows that the native client left; of wandb's file the agent's own reader counts them."""
    history = folder / "attempt" / "history.jsonl"
    if history.exists():
        return sum(b'"loss"' in line and b"_summary" not in line for line in history.open("rb"))
    from slurmsweep.metrics.run_file import read

    [path] = folder.glob("wandb/offline-run-*/*.wandb")
    return len(read(str(path)).history)


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        clients = {one: start(one, Path(name) / one, calls // SLICES) for one in CLIENTS}
        for _ in range(SLICES):
            for client in clients.values():
                log_slice(client)
        cpu = {one: end(client) for one, client in clients.items()}
        kept = {one: rows(client.folder) for one, client in clients.items()}
        sizes = {one: sum(f.stat().st_size for f in c.folder.rglob("*") if f.is_file()) for one, c in clients.items()}
    native, wandb = clients["native"], clients["wandb"]
    print(f"{calls} calls of log, three values each; rows kept: {kept['native']} native, {kept['wandb']} wandb")
    print(f"time of a call, wandb / native: {wandb.wall / native.wall:.1f} times")
    print(f"CPU of all processes, wandb / native: {cpu['wandb'] / cpu['native']:.1f} times")
    for one, client in clients.items():
        early, late = client.memory[0], client.memory[-1]
        print(f"memory of {one}: {early:.1f} MiB after a tenth of the calls, {late:.1f} MiB after all")
    print(f"bytes on disk: {sizes['native'] // calls} a call native, {sizes['wandb'] // calls} a call wandb")


if __name__ == "__main__":
    main()
