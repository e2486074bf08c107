"""What a sweep asks of slurmctld, by its own count (sdiag): docs/rpc-budget.md says the same for people."""

from __future__ import annotations

import json
import re
import time
from collections import Counter

import pytest
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

TRIALS = 30


@pytest.fixture
def counted(slurm):
    """RPCs so far, by kind, of all there are: what jobs of other tests still ask for is over."""
    wait_until(lambda: not slurm("squeue", "-h", "-t", "PD,R,CG"), "the end of other tests' jobs")
    begun: dict[str, str] = {}

    def counted() -> Counter:
        text = slurm("sdiag")
        since = re.search(r"Data since +(.+)", text)[1]
        if begun.setdefault("since", since) != since:
            pytest.skip("slurmctld began to count anew, as it does at midnight (UTC)")
        by_kind = text.partition("by message type")[2].partition("by user")[0]
        return Counter({kind: int(n) for kind, n in re.findall(r"(\w+)\s+\(\s*\d+\) count:(\d+)", by_kind)})

    return counted


def test_a_sweep_costs_the_controller_one_submission_and_a_handful_of_questions(
    cluster, slurmsweep, write_sweep, counted
):
    file = str(write_sweep("pass", f"  x: {{min: 1, max: {TRIALS}}}"))
    before, start = counted(), time.monotonic()

    done = slurmsweep("run", file, "--backend", "slurm", "--time", "5", "--json", **cluster.environ)

    seconds, spent = time.monotonic() - start, counted() - before
    assert json.loads(done.stdout)["counts"]["finished"] == TRIALS, done.stderr
    assert spent["REQUEST_SUBMIT_BATCH_JOB"] == 1
    # the job's end is Slurm's own affair; an agent asks the controller for nothing, and starts no step
    assert spent["REQUEST_COMPLETE_BATCH_SCRIPT"] <= TRIALS
    assert spent["REQUEST_JOB_STEP_CREATE"] == 0
    # one squeue every 15 s while it waits and one to show the result; the limits are asked for once
    looks = 2 + seconds // 15
    questions = {kind: n for kind, n in spent.items() if kind.startswith("REQUEST_") and "INFO" in kind}
    assert sum(n for kind, n in questions.items() if "JOB_INFO" in kind) <= looks, questions
    assert spent["REQUEST_BUILD_INFO"] <= 1 + looks
    assert sum(questions.values()) <= 1 + 4 * looks, questions


def test_a_look_at_a_sweep_is_one_question(cluster, slurmsweep, write_sweep, counted):
    sweep = slurmsweep("create", str(write_sweep("import time; time.sleep(300)"))).stdout.strip()
    assert slurmsweep("submit", sweep, "--time", "10", **cluster.environ).returncode == 0
    before = counted()

    status = slurmsweep("status", sweep, "--json", **cluster.environ)

    spent = counted() - before
    assert slurmsweep("cancel", sweep, **cluster.environ).returncode == 0
    assert status.returncode == 0
    assert sum(n for kind, n in spent.items() if "JOB_INFO" in kind) == 1, spent


def test_a_round_of_mending_asks_each_thing_once(cluster, slurmsweep, write_sweep, counted):
    sweep = slurmsweep("create", str(write_sweep("pass"))).stdout.strip()
    done = slurmsweep("submit", sweep, "--mend", "--time", "5", "--sbatch", "hold", **cluster.environ)
    assert done.returncode == 0, done.stderr
    before = counted()

    mended = slurmsweep("mend", sweep, **cluster.environ)

    spent = counted() - before
    assert slurmsweep("cancel", sweep, **cluster.environ).returncode == 0
    slurmsweep("mend", sweep, **cluster.environ)  # the end: no supervisor is left
    assert mended.returncode == 0, mended.stderr
    # the jobs, the supervisors by their names; the clock is set once, and the other alarm for this round and the next
    assert sum(n for kind, n in spent.items() if "JOB_INFO" in kind) == 2, spent
    assert spent["REQUEST_UPDATE_JOB"] == 3, spent
    assert sum(n for kind, n in spent.items() if "INFO" in kind) <= 6, spent
