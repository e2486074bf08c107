"""Train with the arguments of a function as options, by jsonargparse; go on from the newest checkpoint."""

import json
import os
import time
from typing import Optional

import wandb
from jsonargparse import auto_cli


def train(lr: float = 0.1, hidden: list[int] = [8, 8], momentum: Optional[float] = 0.9, out: str = "out") -> None:
    """Train a model.

    Args:
        lr: learning rate.
        hidden: width of each layer.
        momentum: of the optimizer; null for none.
        out: folder of the checkpoint.
    """
    os.makedirs(out, exist_ok=True)
    checkpoint, step, loss = os.path.join(out, "last.json"), 0, 64.0
    if os.path.exists(checkpoint):
        with open(checkpoint) as file:
            step, loss = json.load(file)
        print(f"going on from step {step}")
    run = wandb.init(project="frameworks", config={"lr": lr, "hidden": hidden, "momentum": momentum})
    for step in range(step + 1, 41):
        time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
        loss *= 1 - lr
        run.log({"loss": loss, "step": step})
        with open(f"{checkpoint}.new", "w") as file:
            json.dump([step, loss], file)
        os.rename(f"{checkpoint}.new", checkpoint)
        print(f"step {step}")
    run.finish()
    print(f"trained, loss {loss}")


if __name__ == "__main__":
    auto_cli(train)
