"""Train with accelerate, whose tracker is wandb; go on from the newest of the states that it saved."""

import argparse
import os
import time

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration
from torch.utils.data import DataLoader, TensorDataset


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--out", default="out")
    args = parser.parse_args()
    project = ProjectConfiguration(project_dir=args.out, automatic_checkpoint_naming=True, total_limit=3)
    accelerator = Accelerator(log_with="wandb", project_config=project)
    accelerator.init_trackers("frameworks", config=vars(args))
    torch.manual_seed(0)
    x = torch.randn(8, 4)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    data = DataLoader(TensorDataset(x, x.sum(dim=1, keepdim=True)), batch_size=8)
    model, optimizer, data = accelerator.prepare(model, optimizer, data)
    first = 0
    folder = os.path.join(args.out, "checkpoints")
    if os.path.isdir(folder) and os.listdir(folder):
        first = 1 + max(int(name.rpartition("_")[2]) for name in os.listdir(folder))
        accelerator.load_state(os.path.join(folder, f"checkpoint_{first - 1}"))
        accelerator.project_configuration.iteration = first
        accelerator.print(f"going on from step {first}")
    for epoch in range(first, 40):
        for inputs, targets in data:
            time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(inputs), targets)
            accelerator.backward(loss)
            optimizer.step()
        accelerator.log({"loss": loss.item()}, step=epoch)
        accelerator.save_state()
        accelerator.print(f"step {epoch + 1}")
    accelerator.end_training()
    accelerator.print(f"trained, loss {loss.item()}")


if __name__ == "__main__":
    main()
