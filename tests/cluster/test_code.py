"""On a real Slurm: jobs that waited while the code was changed run it as it was; a sweep gets more trials."""

from __future__ import annotations

import json

import pytest
from cluster.waiting import wait_until

SCRIPT = (
    "import helper, sys\nprint('version', helper.VERSION)\nsys.exit(helper.VERSION == 1 and sys.argv[1] == '--x=2')\n"
)


@pytest.fixture
def helper(tmp_path):
    return lambda version: (tmp_path / "helper.py").write_text(f"VERSION = {version}\n")


def logs(on_cluster, sweep: str, number: int) -> str:
    return on_cluster("logs", sweep, str(number)).stdout


def test_trials_that_wait_and_trials_that_run_again_run_the_code_as_it_was(on_cluster, write_sweep, helper):
    helper(1)
    created = on_cluster("create", str(write_sweep(SCRIPT, "  x: {values: [1, 2, 3]}")), "--snapshot")
    assert created.returncode == 0, created.stderr
    sweep = created.stdout.strip()
    assert on_cluster("submit", sweep, "--time", "2", "--sbatch", "hold").returncode == 0
    helper(2)

    assert on_cluster("resume", sweep).returncode == 0

    def ended() -> dict[str, int]:
        counts = json.loads(on_cluster("status", sweep, "--json").stdout)["counts"]
        return {state: counts[state] for state in ("finished", "failed")}

    wait_until(lambda: ended() == {"finished": 2, "failed": 1}, "the end of the three trials")
    assert [logs(on_cluster, sweep, number) for number in range(3)] == ["version 1\n"] * 3

    helper(3)
    done = on_cluster("resubmit", sweep, "--trials", "1", "--wait", "--time", "2")
    row = json.loads(on_cluster("trials", sweep, "--json").stdout)[1]
    assert (row["attempt"], row["cause"]) == (2, "exit 1"), done.stderr
    assert logs(on_cluster, sweep, 1) == "version 1\n"
    assert on_cluster("check", sweep).returncode == 0


def test_a_sweep_that_was_extended_is_submitted_again(on_cluster, write_sweep):
    file = str(write_sweep("", "  x: {min: 0.0, max: 1.0}", "run_cap: 2", method="random"))
    sweep = on_cluster("create", file).stdout.strip()
    assert on_cluster("submit", sweep, "--time", "2", "--wait").returncode == 0

    assert on_cluster("extend", sweep, "--count", "2").returncode == 0
    assert on_cluster("submit", sweep, "--time", "2", "--wait").returncode == 0

    counts = json.loads(on_cluster("status", sweep, "--json").stdout)["counts"]
    assert counts["finished"] == 4
    assert on_cluster("check", sweep).returncode == 0
