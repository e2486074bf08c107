"""A program whose options argparse reads: several words, --flag and --no-flag, dotted names, and a folder for results.

Run it alone:  python train.py --layers 64 32 --no-bias --opt.lr=0.1 --output_dir results
Search:        slurmsweep run sweep.yaml
"""

import argparse
import json
import os

import slurmsweep as wandb


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, nargs="+", default=[8])
    parser.add_argument("--bias", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--opt.lr", type=float, default=0.1, dest="lr")
    parser.add_argument("--opt.wd", type=float, default=0.0, dest="wd")
    parser.add_argument("--output_dir", default="results")
    parser.add_argument("--tag", default="alone")
    args = parser.parse_args()

    os.makedirs(args.output_dir, exist_ok=True)
    with wandb.init():
        loss = 1.0 + 0.1 * len(args.layers) - 0.2 * args.bias
        for step in range(5):
            loss *= 1 - args.lr + args.wd
            wandb.log({"loss": loss}, step=step)
    with open(os.path.join(args.output_dir, "result.json"), "w") as file:
        json.dump({"tag": args.tag, "layers": args.layers, "bias": args.bias, "loss": loss}, file)
    print(f"{args.tag}: layers {args.layers}, bias {args.bias}: loss {loss:.3g}")


if __name__ == "__main__":
    main()
