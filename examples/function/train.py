"""Gradient descent with momentum down Rosenbrock's valley (1960): trials that are calls of a function.

In this process:       python train.py
As processes or jobs:  slurmsweep run sweep.yaml --function train:train
"""

from __future__ import annotations

from pathlib import Path

import yaml

import slurmsweep


def train() -> None:
    """Run one trial; its parameters are in the run's configuration."""
    config = slurmsweep.init().config
    x, y, vx, vy = -1.2, 1.0, 0.0, 0.0
    for step in range(config.steps):
        gx = -2 * (1 - x) - 400 * x * (y - x * x)
        gy = 200 * (y - x * x)
        vx = config.momentum * vx - config.lr * gx
        vy = config.momentum * vy - config.lr * gy
        x, y = x + vx, y + vy
        if step % 500 == 499:
            slurmsweep.log({"loss": (1 - x) ** 2 + 100 * (y - x * x) ** 2})
    print(f"lr={config.lr}, momentum={config.momentum}: at ({x:.3f}, {y:.3f}), the lowest point is (1, 1)")


def main() -> None:
    """Create the sweep, run all its trials in this process, and show the best."""
    sweep_id = slurmsweep.sweep(yaml.safe_load(Path(__file__).with_name("sweep.yaml").read_text()))
    slurmsweep.agent(sweep_id, function=train)
    sweep = slurmsweep.Api().sweep(sweep_id)
    best = sweep.best_run()
    if best:
        print(f"best of {sweep.expected_run_count}: {best.config} with a loss of {best.summary['loss']:.3g}")


if __name__ == "__main__":
    main()
