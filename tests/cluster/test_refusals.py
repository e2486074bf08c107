"""A real Slurm refuses: the message says which option to change, the exit code is 4, and the sweep is what it was."""

from __future__ import annotations

import json

import pytest
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

#: x=2 is killed at its first attempt, and x=3 fails.
SCRIPT = """\
import os, signal, sys
x, attempt = sys.argv[1][4:], os.environ["SLURMSWEEP_ATTEMPT"]
if attempt == "1" and x == "2": os.kill(os.getpid(), signal.SIGKILL)
sys.exit(3 if attempt == "1" and x == "3" else 0)
"""

#: Options that Slurm refuses, and what its refusal has to say.
REFUSALS = {
    "partition": (("--partition", "nope"), "choose another --partition"),
    "time": (("--time", "9-0"), "ask for less --time"),
    "memory": (("--mem", "9T"), "ask for less --mem"),
    "account": (("--account", "nobody"), "choose another --account"),
    "limit": (("--qos", "none-at-all"), "use a smaller --count"),
}


@pytest.fixture
def no_room(slurm):
    """Return a QOS that lets no user have a job."""
    slurm("sacctmgr", "-iQ", "add", "qos", "none-at-all", "set", "MaxSubmitJobsPerUser=0")
    slurm("sacctmgr", "-iQ", "modify", "user", "root", "set", "qos+=none-at-all")
    yield
    slurm("sacctmgr", "-iQ", "modify", "user", "root", "set", "qos-=none-at-all")
    slurm("sacctmgr", "-iQ", "delete", "qos", "none-at-all")


@pytest.mark.usefixtures("no_room")
def test_what_slurm_refuses_leaves_the_sweep_as_it_was(on_cluster, slurm, slurmsweep, write_sweep):
    def document(*argv) -> dict:
        return json.loads(on_cluster(*argv, "--json").stdout)

    def told() -> tuple:
        trials = [(t["number"], t["state"], t["cause"], t["attempt"]) for t in document("trials", sweep)]
        status = document("status", sweep)
        return trials, status["state"], counts(), status["jobs"], status["mending"]

    def counts() -> dict:
        return {state: n for state, n in document("status", sweep)["counts"].items() if n}

    sweep = slurmsweep("create", str(write_sweep(SCRIPT, "  x: {min: 1, max: 4}"))).stdout.strip()
    slurmsweep("run", sweep, "--backend", "local", "--count", "3")
    on_cluster("stop", sweep)
    before = told()
    assert before[2] == {"finished": 1, "crashed": 1, "failed": 1, "pending": 1}
    wait_until(lambda: slurm("sacctmgr", "-nP", "show", "assoc", "user=root", "format=qos").count("none-at-all"))

    for options, says in REFUSALS.values():
        refused = on_cluster("resubmit", sweep, "--backend", "slurm", *options)
        assert (refused.returncode, says in refused.stderr) == (4, True), refused.stderr
    for name, *more in (("resubmit", "--trials", "1"), ("resubmit", "--mend"), ("run", "--no-wait")):
        refused = on_cluster(name, sweep, "--backend", "slurm", *more, "--partition", "nope")
        assert (refused.returncode, "choose another --partition" in refused.stderr) == (4, True), refused.stderr
    assert told() == before

    again = document("resubmit", sweep, "--backend", "slurm", "--time", "5")
    assert (again["sweep"], again["trials"], again["kept_back"]) == (sweep, 3, 0)
    assert sum(array["trials"] for array in again["arrays"]) == 3
    wait_until(lambda: counts() == {"finished": 4})
    assert document("status", sweep)["state"] == "finished"
    assert on_cluster("check", sweep).returncode == 0
