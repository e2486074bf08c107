"""Start trials: check, then observe, decide and apply; wait, and go on where more is to start."""
