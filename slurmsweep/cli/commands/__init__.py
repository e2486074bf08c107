"""One module a command: its help text, its arguments, and what it does."""
