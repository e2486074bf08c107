"""How trials end on a real Slurm, what is recorded of it, and what they are given when they are run again."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from cluster.misfortune import Lab, Sweep, kill
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

#: Seconds that the children sleep: by them they are known among all processes of this machine.
CHILD = f"3333.{os.getpid()}"

#: Runs until a file of its point's name, or for all, is there; a child in a session of its own must not outlive it.
SCRIPT = f"""\
import os, subprocess, sys, time
name = sys.argv[1].lstrip("-")
subprocess.Popen(["setsid", "sleep", "{CHILD}"])
while not (os.path.exists(name) or os.path.exists("all")):
    time.sleep(0.1)
"""

#: Saves a step in its checkpoint folder when it is told to stop, and needs three.
CHECKPOINTS = """\
import os, signal, sys, time
steps = os.path.join(os.environ["SLURMSWEEP_CHECKPOINT_DIR"], "steps")
done = len(open(steps).read()) if os.path.exists(steps) else 0
def told(number, _):
    open(steps, "a").write(".")
    sys.exit(128 + number)
signal.signal(signal.SIGUSR2, told)
open(os.environ["SLURMSWEEP_ATTEMPT_DIR"] + "/ready", "w").close()
while done < 2:
    time.sleep(0.1)
"""


@pytest.fixture
def lab(cluster):
    return Lab(Path(cluster.environ["SLURM_CONF"]).parents[1])


@pytest.fixture
def on_cluster(cluster, slurmsweep):
    def run(*argv, **environ):
        done = slurmsweep(*argv, **cluster.environ, **environ)
        assert done.returncode == 0, done.stderr
        return done

    return run


def trials(on_cluster, sweep) -> dict[int, dict]:
    return {trial["number"]: trial for trial in json.loads(on_cluster("trials", sweep, "--json").stdout)}


def states(on_cluster, sweep) -> dict:
    counts = json.loads(on_cluster("status", sweep, "--json").stdout)["counts"]
    return {state: n for state, n in counts.items() if n}


def no_orphans() -> bool:
    """Whether nothing is left of the children that the scripts put into sessions of their own."""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):  # it has just ended
            if f"sleep\0{CHILD}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return False
    return True


def test_each_end_has_its_cause_and_what_was_lacking_is_given(lab, on_cluster, write_sweep, tmp_path):
    sweep = on_cluster("create", str(write_sweep(SCRIPT, "  x: {min: 0, max: 6}"))).stdout.strip()
    on_cluster("submit", sweep, "--time", "100", "--mem", "200M", "--sbatch", "no-requeue")
    wait_until(lambda: states(on_cluster, sweep) == {"running": 7}, "seven trials")
    job = {number: trial["job"] for number, trial in trials(on_cluster, sweep).items()}

    lab.run_out_of_memory(job[0])
    lab.run("scancel", "--batch", "--signal=USR1", job[1])  # as Slurm warns before the time limit
    lab.run("scancel", job[2])
    agent = Sweep(tmp_path / "wandb" / f"sweep-{sweep}").running()[3]["pid"]
    [child] = [int(pid) for pid in Path(f"/proc/{agent}/task/{agent}/children").read_text().split()]
    kill(child)
    # a job that ends while it is preempted is PREEMPTED (24.05)
    ending = ("squeue", "-h", "-t", "R,CG", "-j", ",".join(job[number] for number in range(4)))
    wait_until(lambda: not lab.run(*ending, check=False), "the first four ends")
    node = lab.run("squeue", "-h", "-j", job[4], "-o", "%N").strip()
    lab.preempt_on(node, 8, 5)
    wait_until(lambda: states(on_cluster, sweep).get("running", 0) <= 2, "the ends")
    (tmp_path / "all").touch()
    wait_until(lambda: "running" not in states(on_cluster, sweep), "the rest")

    def causes() -> dict:
        on_cluster("reconcile", sweep)
        return {number: trial["cause"] for number, trial in trials(on_cluster, sweep).items()}

    wait_until(lambda: {"oom", "timeout", "cancelled"} <= set(causes().values()), "Slurm's reasons")
    told = causes()
    assert (told[0], told[1], told[2], told[3]) == ("oom", "timeout", "cancelled", "signal 9")
    assert "preempted" in told.values()
    wait_until(no_orphans, "the end of what trials left running")

    plan = json.loads(on_cluster("resubmit", sweep, "--dry-run", "--json", "--time-factor", "3").stdout)
    given = {trial: (group["minutes"], group["mib"]) for group in plan["groups"] for trial in group["trials"]}
    assert (given[0], given[1], given[2]) == ((100, 400), (300, 200), (100, 200)), plan
    on_cluster("resubmit", sweep, "--cause", "timeout", "--time-factor", "3")
    wait_until(lambda: trials(on_cluster, sweep)[1]["state"] == "finished", "the one that was chosen")
    again = trials(on_cluster, sweep)
    assert (again[1]["attempt"], again[2]["attempt"]) == (2, 1)
    assert "TimeLimit=05:00:00" in lab.run("scontrol", "show", "job", again[1]["job"])

    on_cluster("resubmit", sweep)
    wait_until(lambda: states(on_cluster, sweep) == {"finished": 7}, "all")
    assert on_cluster("check", sweep).stdout.startswith("7 trials")


def test_a_job_out_of_time_puts_itself_back_and_goes_on_with_its_checkpoint(lab, on_cluster, write_sweep, tmp_path):
    sweep = on_cluster("create", str(write_sweep(CHECKPOINTS, "  x: {values: [1, 2]}"))).stdout.strip()
    on_cluster("submit", sweep, "--template", "requeue", "--time", "10", SLURMSWEEP_STOP_SIGNAL="USR2")
    for attempt in (1, 2):
        ready = [tmp_path / "wandb" / f"sweep-{sweep}" / "trials" / "0" / n / str(attempt) / "ready" for n in "01"]
        wait_until(lambda ready=ready: all(path.exists() for path in ready), f"attempt {attempt}")
        for trial in trials(on_cluster, sweep).values():
            lab.run("scancel", "--batch", "--signal=USR1", trial["job"])

    wait_until(lambda: states(on_cluster, sweep) == {"finished": 2}, "both")

    ended = trials(on_cluster, sweep)
    assert [trial["attempt"] for trial in ended.values()] == [3, 3]
    assert len({trial["job"] for trial in ended.values()}) == 2
    assert on_cluster("check", sweep).stdout.startswith("2 trials, 6 attempts")
