"""The distance of x from 3.

Run it alone:  python train.py --x=2
Search:        slurmsweep run sweep.yaml
"""

from __future__ import annotations

import argparse

import slurmsweep as wandb

parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float, default=2)
arguments = parser.parse_args()

offset = 3
with wandb.init() as run:
    run.log({"loss": (arguments.x - offset) ** 2})
