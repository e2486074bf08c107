"""Softmax regression on Fisher's irises (1936), with the standard library only.

Run it alone:          python train.py --lr=0.1
Run all combinations:  slurmsweep run sweep.yaml
"""

from __future__ import annotations

import argparse
import csv
import math
import random
from pathlib import Path

import slurmsweep

Flower = tuple[list[float], int]


def load_flowers() -> list[Flower]:
    """Return 150 flowers: four measurements (mean 0, deviation 1), a 1 for the bias, and a species 0 to 2."""
    rows = list(csv.reader(Path(__file__).with_name("iris.csv").open()))[1:]
    species = sorted({row[-1] for row in rows})
    columns = [[float(value) for value in column] for column in list(zip(*rows, strict=True))[:-1]]
    scaled = [standardise(column) for column in columns]
    return [([*values, 1.0], species.index(row[-1])) for *values, row in zip(*scaled, rows, strict=True)]


def standardise(column: list[float]) -> list[float]:
    mean = sum(column) / len(column)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in column) / len(column))
    return [(value - mean) / deviation for value in column]


def softmax(weights: list[list[float]], features: list[float]) -> list[float]:
    scores = [sum(w * x for w, x in zip(row, features, strict=True)) for row in weights]
    exponentials = [math.exp(score - max(scores)) for score in scores]
    return [value / sum(exponentials) for value in exponentials]


def train_epoch(weights: list[list[float]], flowers: list[Flower], lr: float, l2: float) -> float:
    """Make one pass of stochastic gradient descent; return the mean loss."""
    loss = 0.0
    for features, label in flowers:
        probabilities = softmax(weights, features)
        loss -= math.log(max(probabilities[label], 1e-12))
        for k, row in enumerate(weights):
            error = probabilities[k] - (k == label)
            row[:] = [w - lr * (error * x + l2 * w) for w, x in zip(row, features, strict=True)]
    return loss / len(flowers)


def accuracy(weights: list[list[float]], flowers: list[Flower]) -> float:
    hits = 0
    for features, label in flowers:
        probabilities = softmax(weights, features)
        hits += probabilities.index(max(probabilities)) == label
    return hits / len(flowers)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--l2", type=float, default=0.0)
    parser.add_argument("--epochs", type=int, default=30)
    args = parser.parse_args()

    slurmsweep.init(config=args)
    flowers = load_flowers()
    random.Random(0).shuffle(flowers)
    train, validation = flowers[:90], flowers[90:]
    weights = [[0.0] * 5 for _ in range(3)]
    for _ in range(args.epochs):
        loss = train_epoch(weights, train, args.lr, args.l2)
        slurmsweep.log({"loss": loss, "val_accuracy": accuracy(weights, validation)})
    print(f"loss {loss:.3f}, validation accuracy {slurmsweep.summary['val_accuracy']:.3f}")


if __name__ == "__main__":
    main()
