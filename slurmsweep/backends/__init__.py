"""Run jobs: one interface for every place that runs trials."""
