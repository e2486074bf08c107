"""Claim trials, run them and record their ends: what runs on a compute node."""
