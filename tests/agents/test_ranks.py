"""Agents side by side, launched with ranks of their own, keep all trials; ranks inside a trial are still told apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SCRIPT = "import slurmsweep as wandb\nrun = wandb.init()\nrun.log({'loss': run.config['x']})"

#: Starts four processes of a trial with ranks 0 to 3, the last one first, as ``srun`` may do.
LAUNCHER = """
import os, subprocess, sys
if len(sys.argv) == 1:
    for rank in (3, 2, 1, 0):
        subprocess.run([sys.executable, __file__, str(rank)], env=os.environ | {"NAME": str(rank)}, check=True)
else:
    import slurmsweep as wandb
    wandb.init().log({"loss": 10 * int(sys.argv[1])})
"""


@pytest.mark.parametrize("name", ["SLURM_PROCID", "RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"])
def test_agents_with_ranks_keep_their_trials(slurmsweep, write_sweep, tmp_path, name):
    file = write_sweep(SCRIPT, "  x: {values: [1, 2, 3]}", "metric: {name: loss}")
    sweep = slurmsweep("create", str(file)).stdout.strip()
    agents = [
        subprocess.Popen(
            [sys.executable, "-m", "slurmsweep", "agent", sweep],
            cwd=tmp_path, env=os.environ | {name: str(rank)}, stderr=subprocess.DEVNULL,
        )
        for rank in range(3)
    ]  # fmt: skip

    assert [agent.wait(timeout=120) for agent in agents] == [0, 0, 0]
    assert [trial["metric"] for trial in json.loads(slurmsweep("trials", sweep, "--json").stdout)] == [1, 2, 3]


@pytest.mark.parametrize("agents_rank", ["0", "2"])
@pytest.mark.parametrize("name", ["SLURM_PROCID", "RANK"])
def test_a_rank_that_is_set_below_the_agent_counts_also_where_it_equals_the_agents(
    slurmsweep, write_sweep, name, agents_rank
):
    file = write_sweep(
        LAUNCHER.replace("NAME", name), "  x: {value: 1}", "metric: {name: loss}\ncommand: [python, '${program}']"
    )
    sweep = slurmsweep("create", str(file)).stdout.strip()

    assert slurmsweep("agent", sweep, **{name: agents_rank}).returncode == 0

    [trial] = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    assert trial["metric"] == 0
    log = slurmsweep("logs", sweep, "0").stdout.splitlines()
    assert log == [f"slurmsweep: WARNING rank {rank} of this trial keeps nothing; rank 0 does" for rank in (3, 2, 1)]
