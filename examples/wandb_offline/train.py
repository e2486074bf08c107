"""A script as in W&B's documentation. It does not mention slurmsweep, and it needs no internet."""

import math

import wandb

defaults = {"lr": 0.1, "momentum": 0.9, "steps": 20}


def main():
    with wandb.init(project="offline-sweep", config=defaults) as run:
        config = run.config
        position, velocity = 2.0, 0.0
        for _ in range(config.steps):
            gradient = 2 * position + math.sin(5 * position)
            velocity = config.momentum * velocity - config.lr * gradient
            position += velocity
            run.log({"loss": position**2 + (1 - math.cos(5 * position)) / 5})


if __name__ == "__main__":
    main()
