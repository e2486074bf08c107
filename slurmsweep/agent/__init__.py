"""What runs on a compute node: claim a trial, run its command, record the outcome."""
