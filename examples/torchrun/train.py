"""Train with DistributedDataParallel in the processes that torchrun starts; the first one logs and saves."""

import argparse
import os
import time

import torch
import torch.distributed as dist
import wandb
from torch.nn.parallel import DistributedDataParallel


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--out", default=os.environ.get("SLURMSWEEP_CHECKPOINT_DIR", "out"))
    args = parser.parse_args()
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(rank)
    x = torch.randn(8, 4)
    model = DistributedDataParallel(torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    path, first = os.path.join(args.out, "snapshot.pt"), 0
    if os.path.exists(path):
        snapshot = torch.load(path)
        model.module.load_state_dict(snapshot["model"])
        first = snapshot["epoch"] + 1
        if rank == 0:
            print(f"going on from step {first}")
    if rank == 0:
        os.makedirs(args.out, exist_ok=True)
        wandb.init(project="examples", config=vars(args))
    for epoch in range(first, 40):
        time.sleep(float(os.environ.get("STEP_SECONDS", "0")))  # as a larger model takes it
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), x.sum(dim=1, keepdim=True))
        loss.backward()
        optimizer.step()
        if rank == 0:
            wandb.log({"loss": loss.item()})
            torch.save({"model": model.module.state_dict(), "epoch": epoch}, f"{path}.new")
            os.replace(f"{path}.new", path)
            print(f"step {epoch + 1}")
    if rank == 0:
        wandb.finish()
        print(f"trained, loss {loss.item()}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
