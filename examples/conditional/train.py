"""Walk down a bowl by one of two optimizers, with the standard library only; only sgd has a momentum.

Run it alone:  python train.py --optimizer=sgd --momentum=0.8
"""

from __future__ import annotations

import argparse
import math

import slurmsweep


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--nesterov", type=lambda text: text == "True", default=False)
    parser.add_argument("--width", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=8)
    args = parser.parse_args()

    slurmsweep.init(config=args)
    at, speed, square = [1.0] * args.width, [0.0] * args.width, [0.0] * args.width
    for step in range(1, 31):
        for axis in range(args.width):
            ahead = args.momentum * speed[axis] if args.nesterov else 0.0
            slope = 2 * (axis + 1) * (at[axis] - args.lr * ahead) / args.width
            square[axis] = 0.99 * square[axis] + 0.01 * slope**2
            speed[axis] = args.momentum * speed[axis] + slope
            scale = math.sqrt(square[axis] / (1 - 0.99**step)) + 1e-8 if args.optimizer == "adam" else 1.0
            at[axis] -= args.lr * speed[axis] / scale
        loss = sum((axis + 1) * x * x for axis, x in enumerate(at)) / args.width + 1 / args.hidden
        slurmsweep.log({"loss": loss})
    print(f"loss {loss:.4f}")


if __name__ == "__main__":
    main()
