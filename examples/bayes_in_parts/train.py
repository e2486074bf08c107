"""A small neural network on scikit-learn's digits, epoch by epoch, which goes on from its checkpoint.

Run it alone:  python train.py --lr=0.01
Search:        slurmsweep run sweep.yaml
"""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import slurmsweep as wandb


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--activation", default="relu")
    parser.add_argument("--epochs", type=int, default=9)
    args = parser.parse_args()

    features, labels = load_digits(return_X_y=True)
    x, x_val, y, y_val = train_test_split(features / 16, labels, test_size=0.3, random_state=0)

    # the end of this part of the trial, where it runs in parts; else the end of the trial
    last = int(os.environ.get("SLURMSWEEP_RUNG_STEPS", args.epochs))
    checkpoint = Path(os.environ.get("SLURMSWEEP_CHECKPOINT_DIR", ".")) / "model.pkl"
    if checkpoint.exists():
        done, model = pickle.loads(checkpoint.read_bytes())
    else:
        done = 0
        model = MLPClassifier([args.width], activation=args.activation, learning_rate_init=args.lr, random_state=0)

    with wandb.init(config=vars(args)):
        for epoch in range(done, last):
            model.partial_fit(x, y, classes=range(10))
            wandb.log({"val_accuracy": model.score(x_val, y_val)}, step=epoch)
    checkpoint.write_bytes(pickle.dumps((last, model)))


if __name__ == "__main__":
    main()
