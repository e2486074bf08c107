"""A sweep that mends itself on a real Slurm: one of each misfortune. The whole is scripts/bad-weekend."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.bad_weekend import SMALL, live_through
from cluster.misfortune import Lab
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster


def test_everything_goes_wrong_once_and_every_trial_finishes_once(cluster, tmp_path):
    lab = Lab(Path(cluster.environ["SLURM_CONF"]).parents[1])
    nodes = lab.nodes_up()
    said: list[str] = []

    document, problems = live_through(lab, tmp_path, SMALL, said.append)

    assert problems == [], "\n".join(said)
    assert document["rounds"] >= 3
    wait_until(lambda: lab.nodes_up() == nodes, "the node that was killed")
