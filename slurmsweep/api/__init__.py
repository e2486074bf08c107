"""Create, run and look at sweeps from Python: functions as trials, and the look-alike of ``wandb.Api``."""
