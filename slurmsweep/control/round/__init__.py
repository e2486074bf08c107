"""One round of a sweep: observe, decide, apply. What every command that starts trials does."""
