"""Train with Lightning: its Trainer, its ModelCheckpoint and its WandbLogger; go on with ``ckpt_path="last"``."""

import argparse
import os
import time

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from torch.utils.data import DataLoader, TensorDataset


class Regression(L.LightningModule):
    """A linear model."""

    def __init__(self, lr: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        """Return the loss of a batch, and log it."""
        time.sleep(float(os.environ.get("STEP_SECONDS", "0")))  # as a larger model takes it
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.layer(x), y)
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_end(self):
        """Say how far it is."""
        print(f"step {self.current_epoch + 1}")

    def configure_optimizers(self):
        """Return the optimizer."""
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--out", default=os.environ.get("SLURMSWEEP_CHECKPOINT_DIR", "out"))
    args = parser.parse_args()
    L.seed_everything(0)
    x = torch.randn(8, 4)
    data = DataLoader(TensorDataset(x, x.sum(dim=1, keepdim=True)), batch_size=8)
    trainer = L.Trainer(
        max_epochs=40,
        accelerator="cpu",
        logger=WandbLogger(project="examples"),
        callbacks=[ModelCheckpoint(dirpath=args.out, save_last=True)],
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    last = os.path.join(args.out, "last.ckpt")
    if os.path.exists(last):
        print(f"going on from step {torch.load(last, weights_only=False)['epoch'] + 1}")
    trainer.fit(Regression(args.lr), data, ckpt_path=last if os.path.exists(last) else None)
    print(f"trained, loss {trainer.callback_metrics['loss'].item()}")


if __name__ == "__main__":
    main()
