"""What a real Slurm keeps from users, and what only it knows: bounds without sinfo, ends that no agent recorded."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cluster.misfortune import Lab, Sweep
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

#: The first attempt of the trial x=1 is killed; the others finish.
KILLED_ONCE = """\
import os, signal, sys
if sys.argv[1] == "--x=1" and os.environ["SLURMSWEEP_ATTEMPT"] == "1":
    os.kill(os.getpid(), signal.SIGKILL)
"""

#: Runs until a file is there, and says then that a worker was killed.
WORKER_KILLED = """\
import os, time
while not os.path.exists("go"):
    time.sleep(0.1)
if os.environ["SLURMSWEEP_ATTEMPT"] == "1":
    raise RuntimeError("DataLoader worker (pid 4711) is killed by signal: Killed.")
"""

#: A job that goes on after its agent has ended, until it is ended itself.
GOES_ON = """\
#!/bin/bash
#SBATCH --time=60
#SBATCH --mem=200M
#SBATCH --signal=USR1@60
if [ -e second ]; then exec "$SLURMSWEEP_PYTHON" -m slurmsweep agent --count 1 "$1"; fi
"$SLURMSWEEP_PYTHON" -m slurmsweep agent --count 1 "$1"
while :; do sleep 0.2; done
"""


@pytest.fixture
def denied(on_cluster, tmp_path):
    """Return the command line of a user whom sinfo tells nothing (PrivateData=nodes,partitions)."""
    folder = tmp_path / "denied"
    folder.mkdir()
    (folder / "sinfo").write_text("#!/bin/sh\necho 'slurm_load_node: Access/permission denied' >&2\nexit 1\n")
    (folder / "sinfo").chmod(0o755)

    def run(*argv, code=0):
        done = on_cluster(*argv, PATH=f"{folder}:{os.environ['PATH']}")
        assert done.returncode == code, done.stderr
        return done

    return run


def counts(run, sweep) -> dict:
    document = json.loads(run("status", sweep, "--json").stdout)["counts"]
    return {state: n for state, n in document.items() if n}


def plan_of(run, sweep) -> list[dict]:
    return json.loads(run("resubmit", sweep, "--dry-run", "--json").stdout)["groups"]


def test_without_sinfo_trials_run_again_and_time_is_learnt(denied, write_sweep):
    file = str(write_sweep(KILLED_ONCE, "  x: {min: 0, max: 5}"))
    assert "#SBATCH --time=5\n" in denied("plan", file, "--time", "5").stdout
    sweep = denied("create", file).stdout.strip()

    denied("submit", sweep, "--time", "auto", "--mem", "auto", "--canaries", "3", "--wait", "--json", code=1)
    assert counts(denied, sweep) == {"crashed": 1, "finished": 5}
    denied("efficiency", sweep)
    assert [group["trials"] for group in plan_of(denied, sweep)] == [[1]]
    denied("resubmit", sweep)

    wait_until(lambda: counts(denied, sweep) == {"finished": 6}, "the trial that was killed")
    assert denied("check", sweep).returncode == 0


def test_without_sinfo_a_sweep_mends_itself(denied, write_sweep):
    sweep = denied("create", str(write_sweep(KILLED_ONCE, "  x: {min: 0, max: 2}"))).stdout.strip()

    denied("submit", sweep, "--time", "5", "--mend", "--mend-every", "1")

    wait_until(lambda: counts(denied, sweep) == {"finished": 3}, "all", 300)


def test_the_doctor_says_that_sinfo_says_nothing(denied):
    document = denied("doctor", "--json").stdout

    assert "bounds" in document
    assert "slurm_load_node: Access/permission denied" in document


def test_a_rehearsal_sees_ends_that_no_agent_recorded(cluster, on_cluster, write_sweep, tmp_path):
    sweep = on_cluster("create", str(write_sweep(WORKER_KILLED, "  x: {min: 0, max: 2}"))).stdout.strip()
    on_cluster("submit", sweep, "--sbatch", "no-requeue")
    wait_until(lambda: counts(on_cluster, sweep) == {"running": 3}, "three trials")
    here = Sweep(tmp_path / "wandb" / f"sweep-{sweep}")
    here.kill_agent(1)
    wait_until(lambda: counts(on_cluster, sweep) == {"running": 2, "crashed": 1}, "the end of one")

    rehearsed = plan_of(on_cluster, sweep)
    before = counts(on_cluster, sweep)
    done = on_cluster("resubmit", sweep, "--json")

    assert [(group["trials"], list(group["why"].values())) for group in rehearsed] == [([1], ["signal 9"])]
    assert before == {"running": 2, "crashed": 1}
    assert [array["trials"] for array in json.loads(done.stdout)["arrays"]] == [1]
    (tmp_path / "go").touch()
    wait_until(lambda: counts(on_cluster, sweep) == {"finished": 1, "failed": 2}, "the others")


def test_memory_that_a_worker_lacked_is_the_cause_and_is_given(cluster, on_cluster, write_sweep, tmp_path):
    lab = Lab(Path(cluster.environ["SLURM_CONF"]).parents[1])
    (tmp_path / "on.sbatch").write_text(GOES_ON)
    sweep = on_cluster("create", str(write_sweep(WORKER_KILLED, "  x: {values: [1]}"))).stdout.strip()
    on_cluster("submit", sweep, "--template", str(tmp_path / "on.sbatch"))
    wait_until(lambda: counts(on_cluster, sweep) == {"running": 1}, "the trial")
    (tmp_path / "go").touch()
    wait_until(lambda: counts(on_cluster, sweep) == {"failed": 1}, "its end")
    [trial] = json.loads(on_cluster("trials", sweep, "--json").stdout)
    assert (trial["cause"], trial["exit_code"]) == ("exit 1", 1)

    lab.run_out_of_memory(trial["job"])
    wait_until(lambda: lab.run("sacct", "-nXP", "-j", trial["job"], "-o", "State").strip() == "OUT_OF_MEMORY", "Slurm")
    (tmp_path / "second").touch()

    again = ("resubmit", sweep, "--template", str(tmp_path / "on.sbatch"))
    # while the job is being ended, Slurm's last word is not spoken
    wait_until(
        lambda: lab.run("squeue", "-ht", "all", "-j", trial["job"], "-o", "%T").strip() != "COMPLETING", "its end"
    )
    [group] = json.loads(on_cluster(*again, "--dry-run", "--json").stdout)["groups"]
    assert (group["mib"], group["why"]) == (400, {"0": "oom with 400 MiB"})
    done = on_cluster(*again)
    assert "oom" in done.stderr
    wait_until(lambda: counts(on_cluster, sweep) == {"finished": 1}, "the second attempt")
    shown = json.loads(on_cluster("show", sweep, "0", "--json").stdout)
    first = shown["attempts"][0]
    assert (first["state"], first["cause"]) == ("failed", "oom")
