"""What has become of attempts: asked of Slurm, of processes, and of what agents left; and why it ended so."""
