"""Claim trials, run them and record their outcomes: the processes on compute nodes."""
