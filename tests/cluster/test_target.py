"""A sweep that reaches its target on a real Slurm: what runs goes on, what waits is cancelled, supervision ends."""

from __future__ import annotations

import json

import pytest
from cluster.waiting import wait_until

from slurmsweep.agents.agent import record
from slurmsweep.agents.identity import this_process
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId

pytestmark = pytest.mark.cluster

#: Point 3 reaches the target. Each of the others ends when a file of its name, or for all, is there.
SCRIPT = """
import os, time, slurmsweep
run = slurmsweep.init()
x = run.config["x"]
while x > 2 and x != 3 and not os.path.exists("all"):
    time.sleep(0.1)
run.log({"acc": 0.95 if x == 3 else 0.1 * x / 20})
"""
METRIC = "metric: {name: acc, goal: maximize, target: 0.9}"


@pytest.fixture
def queued(slurm):
    """Return the jobs of a sweep that Slurm knows, with their states: its supervisors, too."""

    def ask(sweep: str) -> list[tuple[str, str]]:
        lines = slurm("squeue", "-h", "-a", "-r", "-O", "ArrayTaskID:|,State:|,Name:200").splitlines()
        rows = [[part.strip() for part in line.split("|")] for line in lines]
        return [(task, state) for task, state, name in rows if sweep in name]

    return ask


@pytest.fixture
def made(on_cluster, cluster, write_sweep, monkeypatch, tmp_path):
    """Return a new sweep: its id, and its state's files."""
    monkeypatch.setenv("SLURM_CONF", cluster.environ["SLURM_CONF"])
    done = on_cluster("create", str(write_sweep(SCRIPT, "  x: {min: 1, max: 20}", METRIC)))
    assert done.returncode == 0, done.stderr
    sweep = done.stdout.strip()
    return sweep, SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))


def test_the_third_of_twenty_two_at_a_time_ends_the_sweep_and_its_supervisor(on_cluster, made, queued, tmp_path):
    sweep, store = made
    done = on_cluster("submit", sweep, "--width", "2", "--time", "10", "--mend")
    assert done.returncode == 0, done.stderr

    # no command of ours is called: the agent itself cancels
    wait_until(lambda: store.replay().reached, "the target")
    wait_until(lambda: [row for row in queued(sweep) if row[0].isdecimal() and row[1] == "PENDING"] == [], "the cancel")
    claimed = len(store.replay().trials)
    assert claimed <= 4
    alone = {TrialState.RUNNING: 1} if claimed == 4 else {}
    wait_until(lambda: store.replay().counts() == {TrialState.FINISHED: 3, **alone}, "those that were not told to wait")
    (tmp_path / "all").touch()
    wait_until(lambda: queued(sweep) == [], "the supervisor's end")

    status = json.loads(on_cluster("status", sweep, "--json").stdout)
    assert (status["state"], status["target_reached"]["value"]) == ("finished", 0.95)
    assert {state: n for state, n in status["counts"].items() if n} == {"finished": claimed, "pending": 20 - claimed}
    assert status["mending"]["is_over"]
    assert on_cluster("check", sweep).returncode == 0


def test_a_job_that_was_put_back_goes_on_with_its_trial(on_cluster, made, queued, slurm, tmp_path):
    sweep, store = made
    on_cluster("agent", "--count", "2", sweep)  # points 1 and 2, on this machine
    held = store.claim_attempt(this_process({}), AttemptId(2, 1))  # and point 3, for now
    job = on_cluster("submit", sweep, "--width", "1", "--time", "10").stderr.split("submitted job ")[1].split(":")[0]
    wait_until(lambda: store.replay().counts().get(TrialState.RUNNING) == 2, "point 4, in a job")
    slurm("scontrol", "requeue", f"{job}_0")
    wait_until(lambda: ("0", "PENDING") in queued(sweep), "the job that was put back")

    assert "cancelled" in cancel_as_an_agent(store, held)

    assert [task for task, state in queued(sweep) if state == "PENDING"] == ["0"]
    assert on_cluster("reconcile", sweep).returncode == 0
    assert [task for task, state in queued(sweep) if state == "PENDING"] == ["0"]
    (tmp_path / "all").touch()
    wait_until(lambda: store.replay().trials[3].state is TrialState.FINISHED, "its second attempt")
    assert store.replay().trials[3].newest == 2
    assert on_cluster("check", sweep).returncode == 0


def test_where_the_agent_could_not_the_next_command_cancels_and_no_other_job(on_cluster, made, queued, slurm):
    sweep, store = made
    done = on_cluster("submit", sweep, "--time", "10", "--sbatch", "begin=now+1hour")
    assert done.returncode == 0, done.stderr
    other = slurm("sbatch", "--parsable", "--hold", "--wrap", "true", "--output=/dev/null").strip()

    on_cluster("agent", "--count", "9", sweep)  # on this machine: it is in no job, and asks Slurm for nothing

    assert store.replay().reached.trial == 2
    assert len(queued(sweep)) == 20
    done = on_cluster("run", sweep)
    assert (done.returncode, "nothing to start: the sweep is finished: trial 2" in done.stderr) == (0, True), (
        done.stderr
    )
    assert "cancelled, because no trial is left for them: jobs" in done.stderr
    assert queued(sweep) == []
    assert slurm("squeue", "-h", "-j", other, "-o", "%T").strip() == "PENDING"
    slurm("scancel", other)


def cancel_as_an_agent(store, claim) -> str:
    """Record the end of a trial that reached the target, and do what its agent does in a job."""
    said: list[str] = []
    job = claim._replace(owner=claim.owner._replace(job="1"))
    record(store, job, Outcome(TrialState.FINISHED, exit_code=0, metric=0.95), said.append)
    return said[-1]
