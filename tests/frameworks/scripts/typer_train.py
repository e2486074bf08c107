"""Train with options of typer, as its documentation shows; go on from the newest checkpoint."""

import os
import pickle
import time
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
import wandb


class Optimizer(str, Enum):
    sgd = "sgd"
    adam = "adam"


def main(
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 0.1,
    optimizer: Annotated[Optimizer, typer.Option(help="Which one.")] = Optimizer.sgd,
    amp: Annotated[bool, typer.Option("--amp/--no-amp", help="Mixed precision.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the checkpoints.")] = Path("out"),
) -> None:
    """Train a model."""
    out.mkdir(parents=True, exist_ok=True)
    first, loss = 0, 64.0
    checkpoints = sorted(out.glob("step-*.pkl"))
    if checkpoints:
        first, loss = pickle.loads(checkpoints[-1].read_bytes())
        typer.echo(f"going on from step {first}")
    with wandb.init(project="frameworks", config={"lr": lr, "optimizer": optimizer.value, "amp": amp}) as run:
        for step in range(first + 1, 41):
            time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
            loss *= 1 - lr
            run.log({"loss": loss, "step": step})
            new = out / "new"
            new.write_bytes(pickle.dumps((step, loss)))
            new.rename(out / f"step-{step:03}.pkl")
            typer.echo(f"step {step}")
    typer.echo(f"trained, loss {loss}")


if __name__ == "__main__":
    typer.run(main)
