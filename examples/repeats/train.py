"""A small neural network on scikit-learn's digits; the seed draws the first weights and the order of the images.

Run it alone:  python train.py --lr=0.03 --seed=1
Search:        slurmsweep run sweep.yaml
"""

from __future__ import annotations

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import slurmsweep as wandb


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.03)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    features, labels = load_digits(return_X_y=True)
    x, x_val, y, y_val = train_test_split(features / 16, labels, test_size=0.3, random_state=0)
    model = MLPClassifier([args.width], learning_rate_init=args.lr, random_state=args.seed)

    with wandb.init(config=vars(args)):
        for epoch in range(5):
            model.partial_fit(x, y, classes=range(10))
            wandb.log({"val_accuracy": model.score(x_val, y_val)}, step=epoch)


if __name__ == "__main__":
    main()
