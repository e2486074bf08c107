"""Fit a slope, and say which GPUs this trial sees: to a library the first of them is ``cuda:0``."""

from __future__ import annotations

import argparse
import json
import os

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
lr = parser.parse_args().lr

place, gpus = os.environ.get("SLURMSWEEP_SEAT", "0"), os.environ.get("CUDA_VISIBLE_DEVICES", "all there are")
print(f"place {place}, GPUs {gpus}")

slope = 0.0
for step in range(20):
    slope -= lr * 2 * (slope - 3.0)
    print("slurmsweep: " + json.dumps({"loss": (slope - 3.0) ** 2, "step": step}), flush=True)
