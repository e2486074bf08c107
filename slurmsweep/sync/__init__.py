"""Upload offline runs to W&B, from where there is internet."""
