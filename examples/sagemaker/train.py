"""Train, and save after each epoch: SageMaker's script mode tells a script nothing before it ends it."""

import argparse
import json
import os
from pathlib import Path

import wandb

TARGET = 3.0


def checkpoint() -> Path | None:
    """Return the file of this run: in its trial's folder, else where SageMaker copies from; None outside of a sweep."""
    run = os.environ.get("WANDB_RUN_ID")
    # the folder is one for all jobs that write to the same place in S3
    base = os.environ.get("SLURMSWEEP_CHECKPOINT_DIR") or (run and f"/opt/ml/checkpoints/{run}")
    return Path(base, "state.json") if base else None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    file, state = checkpoint(), {"epoch": 0, "weight": 0.0}
    if file and file.exists():
        state = json.loads(file.read_text())
        print(f"going on from epoch {state['epoch']}")
    with wandb.init(project="sagemaker", config=vars(args)) as run:
        for epoch in range(state["epoch"] + 1, args.epochs + 1):
            error = state["weight"] - TARGET
            state = {"epoch": epoch, "weight": state["weight"] - 2 * args.lr * error}
            run.log({"epoch": epoch, "loss": (state["weight"] - TARGET) ** 2})
            if file:
                file.parent.mkdir(parents=True, exist_ok=True)
                part = file.with_suffix(".part")
                part.write_text(json.dumps(state))
                part.replace(file)


if __name__ == "__main__":
    main()
