"""Run sweeps that W&B's server holds: its agents in Slurm jobs."""
