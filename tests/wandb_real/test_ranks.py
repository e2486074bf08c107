"""Scripts that call the real ``wandb.init`` on every rank: rank 0's run counts, and a warning says what to do."""

from __future__ import annotations

import json
import os

import pytest

from slurmsweep.metrics import ranks

#: Starts itself as two ranks. Rank 1 begins while rank 0's run is open, and ends after it.
SCRIPT = """
import os, subprocess, sys, time
if "RANK" not in os.environ:
    started = [subprocess.Popen([sys.executable, __file__], env=os.environ | {"RANK": rank}) for rank in "01"]
    sys.exit(max(process.wait() for process in started))

def wait_for(name):
    while not os.path.exists(name):
        time.sleep(0.02)

import wandb
rank = int(os.environ["RANK"])
if rank == 1:
    wait_for("open 0")
    second = int(time.time())
    while int(time.time()) == second:  # else both have one folder
        time.sleep(0.02)
run = wandb.init()
open(f"open {rank}", "w").close()
wait_for("open 1")
run.log({"loss": 7 + 100 * rank})
if rank == 1:
    wait_for("ended 0")
    run.log({"loss": 8 + 100 * rank})
run.finish()
open(f"ended {rank}", "w").close()
"""


def test_of_two_ranks_that_write_a_run_rank_0_counts_and_it_is_said(slurmsweep, write_sweep):
    file = write_sweep(SCRIPT, "  x: {value: 1}", "metric: {name: loss}\ncommand: [python, '${program}']")
    sweep = slurmsweep("create", str(file)).stdout.strip()

    assert slurmsweep("agent", sweep).returncode == 0

    [trial] = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    said = "in doubt: 2 processes wrote a wandb run; call wandb.init on rank 0 alone"
    assert (trial["metric"], trial["no_metric"]) == (7, said)
    assert slurmsweep("logs", sweep, "0").stdout.splitlines()[-1] == f"slurmsweep: note: {said}"
    shown = " ".join(slurmsweep("status", sweep).stdout.split())
    assert f"trial 0 finished with a value {said}" in shown


@pytest.fixture
def run(tmp_path):
    """Make a run folder: written by some processes, from one second to another; returns its file."""

    def run(name: str, begun: int, written: int, *pids: int) -> str:
        folder = tmp_path / name
        (folder / "tmp" / "code").mkdir(parents=True)
        (folder / "logs").mkdir()
        (folder / "logs" / "debug.log").write_text("".join(f"[x] Configure stats pid to {pid}\n" for pid in pids))
        (folder / "run-1.wandb").touch()
        os.utime(folder / "tmp" / "code", (begun, begun))
        os.utime(folder / "run-1.wandb", (written, written))
        return str(folder / "run-1.wandb")

    return run


def test_runs_one_after_the_other_are_no_ranks(run):
    train, evaluate = run("b", 100, 110, 7), run("a", 111, 120, 5)

    assert ranks.in_order([train, evaluate]) == [train, evaluate]
    assert ranks.warning([train, evaluate]) == ""


def test_the_first_process_counts_also_where_another_began_its_run_before(run):
    second, first, third = run("a", 100, 130, 11), run("b", 102, 131, 10), run("c", 104, 132, 12)

    assert ranks.in_order([second, first, third])[-1] == first
    assert ranks.warning([second, first, third]).startswith("in doubt: 3 processes wrote a wandb run")


def test_two_processes_in_one_file_are_said(run):
    assert ranks.warning([run("a", 100, 130, 10, 11)]).startswith("in doubt: 2 processes wrote one run")
    assert ranks.warning([run("b", 100, 130, 10, 10)]) == ""
    assert ranks.warning([run("c", 100, 130)]) == ""
