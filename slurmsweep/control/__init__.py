"""Creating sweeps, starting trials in Slurm or here, and the orders for those that run or wait."""
