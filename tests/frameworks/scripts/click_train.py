"""Train with options of click, as its documentation shows; go on from the newest state that was saved."""

import json
import os
import time

import click
import wandb


@click.command()
@click.option("--lr", type=float, default=0.1, show_default=True, help="Learning rate.")
@click.option("--layers", type=int, default=2, help="Number of layers.")
@click.option("--shuffle/--no-shuffle", default=False, help="Read the data in another order.")
@click.option("--out", type=click.Path(file_okay=False), default="out", help="Folder of the checkpoint.")
def main(lr: float, layers: int, shuffle: bool, out: str) -> None:
    """Train a model."""
    os.makedirs(out, exist_ok=True)
    checkpoint = os.path.join(out, "state.json")
    state = {"step": 0, "loss": 64.0}
    if os.path.exists(checkpoint):
        with open(checkpoint) as file:
            state = json.load(file)
        click.echo(f"going on from step {state['step']}")
    run = wandb.init(project="frameworks", config={"lr": lr, "layers": layers, "shuffle": shuffle})
    while state["step"] < 40:
        time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
        state = {"step": state["step"] + 1, "loss": state["loss"] * (1 - lr)}
        run.log({"loss": state["loss"], "step": state["step"]})
        with open(f"{checkpoint}.new", "w") as file:
            json.dump(state, file)
        os.replace(f"{checkpoint}.new", checkpoint)
        click.echo(f"step {state['step']}")
    run.finish()
    click.echo(f"trained, loss {state['loss']}")


if __name__ == "__main__":
    main()
