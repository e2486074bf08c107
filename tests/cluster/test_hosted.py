"""A sweep of W&B's own on a real Slurm, with the real ``wandb agent`` in each job and a fake of W&B's server."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from cluster.waiting import wait_until
from fake_wandb import API_KEY, serving

pytestmark = pytest.mark.cluster

SWEEP = "ent/proj/wbyz9876"
TRAIN = """
import signal, sys, time
print("trained", sys.argv[1], flush=True)
if sys.argv[1] == "--code=143":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    open("ready", "w").close()
    time.sleep(600)
sys.exit(int(sys.argv[1].removeprefix("--code=")))
"""


def test_slurms_state_is_the_runs_outcome(cluster, slurmsweep, tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)

    def slurm(*argv) -> str:
        environ = os.environ | cluster.environ
        return subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout

    with serving([{"code": 0}, {"code": 3}, {"code": 143}]) as server:
        environ = server.environ() | cluster.environ | {"SLURMSWEEP_STAGGER": "1"}
        done = slurmsweep("submit", SWEEP, "--count", "4", "--time", "5", **environ)
        assert done.returncode == 0, done.stderr
        [job] = [line.split()[3].rstrip(":") for line in done.stderr.splitlines() if "submitted job" in line]
        running = json.loads(slurmsweep("status", SWEEP, "--json", **environ).stdout)
        wait_until((tmp_path / "ready").exists)

        def states() -> dict[str, str]:
            lines = slurm("sacct", "-X", "-n", "-P", "-j", job, "-o", "JobID,State,ExitCode").splitlines()
            return {name: f"{state} {code}" for name, state, code in (line.split("|") for line in lines)}

        wait_until(lambda: sorted(s.split()[0] for s in states().values()) == ["COMPLETED"] * 2 + ["FAILED", "RUNNING"])
        [long_one] = [name for name, state in states().items() if state.startswith("RUNNING")]
        slurm("scancel", "--batch", "--signal=USR1", long_one)  # what Slurm does before the time is up
        wait_until(lambda: not any(state.startswith("RUNNING") for state in states().values()))

    # of exit codes above 128 sacct shows what is above 128, before 25.11
    version = tuple(map(int, slurm("sacct", "--version").split()[1].split(".")[:2]))
    shown = 143 if version >= (25, 11) else 15
    assert Counter(states().values()) == {"COMPLETED 0:0": 2, "FAILED 3:0": 1, f"FAILED {shown}:0": 1}
    assert (running["sweep"], sum(running["jobs"].values())) == (SWEEP, 4)
    after = json.loads(slurmsweep("status", SWEEP, "--json", **cluster.environ).stdout)
    assert (after["jobs"], after["alive"]) == ({"COMPLETED": 2, "FAILED": 2}, 0)
    assert [(row["job"], row["tasks"]) for row in after["submissions"]] == [(job, 4)]
    assert f"{job}: 4 jobs" in slurmsweep("status", SWEEP, **cluster.environ).stdout
    files = [path for path in Path(after["output"]).iterdir() if path.is_file()]
    text = "\n".join(path.read_text() for path in files)
    assert API_KEY not in text
    assert [text.count(f"trained --code={code}\n") for code in (0, 3, 143)] == [1, 1, 1]
    assert text.count("nothing left to do") == 1
    assert server.operations["CreateAgent"] == 4
