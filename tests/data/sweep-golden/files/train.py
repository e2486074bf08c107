"""A trial whose end depends on its number and attempt."""

import os
import signal
import sys
import time

import slurmsweep as wandb

trial, attempt = int(os.environ["SLURMSWEEP_TRIAL"]), int(os.environ["SLURMSWEEP_ATTEMPT"])
with wandb.init() as run:
    for step in range(3):
        wandb.log({"loss": (trial - 9) ** 2 + 0.5 / (step + 1)})
    print("trial", trial, "attempt", attempt, flush=True)
    if trial == 1 and attempt < 3:
        sys.exit(3)
    if trial == 4 and attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if trial == 5 and attempt == 1:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1)
    if trial in (6, 7) and attempt == 1:
        time.sleep(600)
