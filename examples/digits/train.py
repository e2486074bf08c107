"""A support vector machine on scikit-learn's handwritten digits: reads W&B-style arguments, logs two numbers."""

from __future__ import annotations

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import slurmsweep


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--C", type=float, default=1.0)
    parser.add_argument("--gamma", type=float, default=0.01)
    parser.add_argument("--kernel", default="rbf")
    args = parser.parse_args()

    with slurmsweep.init(config=args) as run:
        images, labels = load_digits(return_X_y=True)
        train_x, val_x, train_y, val_y = train_test_split(
            images, labels, test_size=0.3, random_state=0, stratify=labels
        )
        model = make_pipeline(StandardScaler(), SVC(C=args.C, gamma=args.gamma, kernel=args.kernel))
        model.fit(train_x, train_y)
        run.log({"val_accuracy": model.score(val_x, val_y), "support_vectors": int(model[-1].n_support_.sum())})
        print(f"validation accuracy {run.summary['val_accuracy']:.4f}")


if __name__ == "__main__":
    main()
