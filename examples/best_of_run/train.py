"""Fit noisy points until it overfits: the validation loss falls, and rises again. Keeps the weights of the best epoch.

Run it alone:  python train.py --lr=0.3 --width=36
Search:        slurmsweep run sweep.yaml
"""

from __future__ import annotations

import argparse
import json
import math
import random
from pathlib import Path

import slurmsweep as wandb


def points(count: int, seed: int) -> list[tuple[float, float]]:
    rng = random.Random(seed)
    return [(x, math.sin(3 * x) + rng.gauss(0, 0.6)) for x in (rng.uniform(-1, 1) for _ in range(count))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--width", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--output_dir", default=".")
    args = parser.parse_args()

    train, val, rng = points(12, 1), points(40, 2), random.Random(0)
    waves = [(rng.gauss(0, 6), rng.uniform(0, 2 * math.pi)) for _ in range(args.width)]
    weights, lowest = [0.0] * args.width, math.inf

    def features(x: float) -> list[float]:
        return [math.cos(a * x + b) for a, b in waves]

    def predicted(known: list[float]) -> float:
        return sum(weight * one for weight, one in zip(weights, known, strict=True))

    known = [(features(x), y) for x, y in train]
    wanted = [(features(x), y) for x, y in val]
    with wandb.init():
        for epoch in range(args.epochs):
            errors = [(one, predicted(one) - y) for one, y in known]
            for place in range(args.width):
                weights[place] -= args.lr * sum(error * one[place] for one, error in errors) / len(errors)
            loss = sum((predicted(one) - y) ** 2 for one, y in wanted) / len(wanted)
            wandb.log({"val_loss": loss}, step=epoch)
            if loss < lowest:
                lowest = loss
                Path(args.output_dir, "best.json").write_text(json.dumps({"epoch": epoch, "weights": weights}))


if __name__ == "__main__":
    main()
