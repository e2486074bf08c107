"""The distance of x from a number in a file beside this script.

Run it alone:  python train.py --x=2
Search:        slurmsweep run sweep.yaml
"""

from __future__ import annotations

import argparse
from pathlib import Path

import slurmsweep as wandb

parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float, default=2)
arguments = parser.parse_args()

offset = float((Path(__file__).parent / "offset.txt").read_text())
with wandb.init() as run:
    run.log({"loss": (arguments.x - offset) ** 2})
print("version 1")
