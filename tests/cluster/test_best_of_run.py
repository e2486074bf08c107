"""Macros of a command, and the best of a run, on a real Slurm: the best value is of an attempt whose job was lost."""

from __future__ import annotations

import json

import pytest
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

#: Goes on from its checkpoint in the folder that it is given. The first attempt of trial 1 dies with its agent, after the
#: best value of all.
SCRIPT = """
import argparse, json, os, signal
import slurmsweep
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=int)
parser.add_argument("--layers", type=int, nargs="+")
parser.add_argument("--bias", action=argparse.BooleanOptionalAction, default=True)
parser.add_argument("--output_dir")
parser.add_argument("--scratch")
args = parser.parse_args()
assert os.listdir(args.scratch) == [] and args.layers == [64, 32] and args.bias is False
mark = os.path.join(args.output_dir, "epoch.json")
start = json.load(open(mark)) if os.path.exists(mark) else 0
slurmsweep.init()
for epoch, loss in list(enumerate([3, 1, 2, 5]))[start:]:
    slurmsweep.log({"loss": args.x + loss}, step=epoch, commit=True)
    json.dump(epoch + 1, open(mark, "w"))
    if epoch == 1 and args.x == -5 and start == 0:
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()  # its own end comes a moment later
open(os.path.join(args.scratch, "whole"), "w").close()
"""
PARAMETERS = "  x: {values: [0, -5, 10]}\n  layers: {value: [64, 32]}\n  bias: {value: false}"
EXTRA = """metric: {name: loss, goal: minimize}
command: ["${interpreter}", "${program}", "${args:words,flags}", --output_dir, "${trial_dir}", "--scratch=${attempt_dir}"]
slurmsweep: {summary: best}"""


def test_the_best_of_an_attempt_that_was_killed_is_the_trials(cluster, on_cluster, write_sweep, tmp_path):
    file = write_sweep(SCRIPT, PARAMETERS, EXTRA)
    sweep = on_cluster("create", str(file)).stdout.strip()

    def rows() -> list[tuple]:
        found = json.loads(on_cluster("trials", sweep, "--json").stdout)
        return [(row["state"], row["attempt"], row["metric"]) for row in sorted(found, key=lambda row: row["number"])]

    on_cluster("run", sweep)
    wait_until(lambda: rows()[1][0] == "crashed", "the lost trial")
    lost = rows()
    again = on_cluster("run", sweep)

    assert again.returncode == 0, again.stderr
    assert lost == [("finished", 1, 1), ("crashed", 1, -4), ("finished", 1, 11)]
    assert rows() == [("finished", 1, 1), ("finished", 2, -4), ("finished", 1, 11)]
    best = json.loads(on_cluster("best", sweep, "--json").stdout)
    assert (best["number"], best["metric"]) == (1, -4)
    folder = tmp_path / "wandb" / f"sweep-{sweep}" / "trials" / "0"
    kept = sorted(str(path.relative_to(folder)) for path in folder.glob("**/whole"))
    assert kept == ["0/1/files/whole", "1/2/files/whole", "2/1/files/whole"]
    assert on_cluster("check", sweep).returncode == 0
