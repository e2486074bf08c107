"""The boundary to Slurm: submit arrays, ask about jobs, understand the answers."""
