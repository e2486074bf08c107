"""The live view of a sweep on a real Slurm: what it shows of jobs, and what it asks of slurmctld, by its own count."""

from __future__ import annotations

import json
import re
import time
from collections import Counter

import pytest
from cluster.waiting import wait_until
from terminals import Terminal, slurmsweep

pytestmark = pytest.mark.cluster

SCRIPT = """
import os, time
import slurmsweep as wandb
run = wandb.init()
wandb.log({"loss": 1.0 / run.config["x"]})
deadline = time.time() + 400
while run.config["x"] > 1 and not os.path.exists(os.path.join(os.environ["GATE"], "go")) and time.time() < deadline:
    time.sleep(0.2)
"""


def test_a_sweep_is_watched_from_the_queue_to_its_end(cluster, slurm, on_cluster, write_sweep, tmp_path):
    file = write_sweep(SCRIPT, "  x: {values: [1, 2, 3]}", "metric: {name: loss}")
    sweep = on_cluster("create", str(file)).stdout.strip()
    done = on_cluster("submit", sweep, "--time", "10", "--width", "2", GATE=str(tmp_path))
    assert done.returncode == 0, done.stderr

    def two_that_run() -> list[str]:
        trials = json.loads(on_cluster("trials", sweep, "--json").stdout)
        states = Counter(trial["state"] for trial in trials)
        jobs = [trial["job"] for trial in trials if trial["state"] == "running"]
        return jobs if states == {"finished": 1, "running": 2} else []

    jobs = wait_until(two_that_run, "two trials that run")

    shown = Terminal(slurmsweep("watch", sweep), tmp_path, 140, 30, **cluster.environ)
    try:
        shown.see("2 running")
        shown.see("of 10m 00s")  # the limit, as the queue says it
        shown.see("jobs 2 running")
        for job in jobs:  # either of the first two may have taken the trial that ends at once
            shown.see(job)
        shown.see(lambda: re.search(r"queue as of [\d.]+s ago, next in [\d.]+s", shown.text) is not None, "its age")
        calls = rpcs(slurm)
        time_of_looks = time.monotonic()
        seen = set()
        shown.see(lambda: seen.add(shown.text.split("\n")[0][-8:]) or len(seen) >= 25, "some time")  # as the clock goes
        seconds = time.monotonic() - time_of_looks
        asked = rpcs(slurm) - calls
        # the first question after 15 s, the next one after 30 s, then one a minute
        assert asked <= 2 + seconds // 15, (asked, seconds)
        (tmp_path / "go").touch()
        assert shown.end() == 0
        assert "3 finished" in shown.text
        assert b"Traceback" not in shown.bytes
    finally:
        shown.close()


def rpcs(slurm) -> int:
    """Return how often any client asked slurmctld about jobs."""
    by_kind = slurm("sdiag").partition("by message type")[2].partition("by user")[0]
    found = re.findall(r"(REQUEST_JOB_INFO\w*|REQUEST_JOB_USER_INFO)\s+\(\s*\d+\) count:(\d+)", by_kind)
    return sum(int(n) for _, n in found)
