"""What trials used, and what the next ones should ask for: time, memory, CPUs."""
