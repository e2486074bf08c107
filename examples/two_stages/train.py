"""A loss with its best point at lr=0.12, wd=0.003: what a training script would log at the end of each epoch."""

from __future__ import annotations

import argparse
import json
import math

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--wd", type=float, default=0.01)
parser.add_argument("--epochs", type=int, default=3)
arguments = parser.parse_args()

distance = math.log10(arguments.lr / 0.12) ** 2 + 0.1 * math.log10(arguments.wd / 0.003) ** 2
for epoch in range(arguments.epochs):
    print("slurmsweep: " + json.dumps({"loss": distance + 1 / (epoch + 1), "step": epoch}), flush=True)
