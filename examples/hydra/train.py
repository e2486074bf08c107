"""Train with a configuration that Hydra composes; go on from the checkpoint in the output folder."""

import json
import logging
import os
import time

import hydra
import wandb
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg: DictConfig) -> None:
    """Train a model."""
    checkpoint = os.path.join(HydraConfig.get().runtime.output_dir, "last.json")
    step, loss = 0, 64.0
    if os.path.exists(checkpoint):
        with open(checkpoint) as file:
            step, loss = json.load(file)
        log.info("going on from step %d", step)
    run = wandb.init(project="examples", config=OmegaConf.to_container(cfg, resolve=True))
    decay = 0.0 if cfg.weight_decay is None else float(cfg.weight_decay)
    log.info("optimizer %s, %d hidden layers, weight decay %s", cfg.optimizer.name, len(cfg.hidden), decay)
    for step in range(step + 1, 41):
        time.sleep(float(os.environ.get("STEP_SECONDS", "0")))  # as a larger model takes it
        loss *= 1 - cfg.optimizer.lr
        run.log({"loss": loss, "step": step})
        with open(f"{checkpoint}.new", "w") as file:
            json.dump([step, loss], file)
        os.rename(f"{checkpoint}.new", checkpoint)
        log.info("step %d", step)
    run.finish()
    log.info("trained, loss %s", loss)


if __name__ == "__main__":
    main()
