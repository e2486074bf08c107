"""Train with the fields of a dataclass as options, by tyro; go on from the newest checkpoint."""

import dataclasses
import json
import os
import pathlib
import time

import tyro
import wandb


@dataclasses.dataclass
class OptimizerConfig:
    """The optimizer."""

    lr: float = 0.1
    """Learning rate."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Coefficients."""


@dataclasses.dataclass
class Config:
    """All options."""

    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    seed: int = 0
    """Of the random numbers."""
    out: pathlib.Path = pathlib.Path("out")
    """Folder of the checkpoint."""


def main(config: Config) -> None:
    """Train a model."""
    config.out.mkdir(parents=True, exist_ok=True)
    checkpoint, step, loss = config.out / "last.json", 0, 64.0
    if checkpoint.exists():
        step, loss = json.loads(checkpoint.read_text())
        print(f"going on from step {step}")
    wandb.init(project="frameworks", config=dataclasses.asdict(config))
    while step < 40:
        time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
        step, loss = step + 1, loss * (1 - config.optimizer.lr)
        wandb.log({"loss": loss, "step": step})
        new = checkpoint.with_suffix(".new")
        new.write_text(json.dumps([step, loss]))
        new.rename(checkpoint)
        print(f"step {step}")
    wandb.finish()
    print(f"trained, loss {loss}")


if __name__ == "__main__":
    main(tyro.cli(Config))
