"""Find out whether a folder is fit for sweeps, and a cluster for slurmsweep."""
