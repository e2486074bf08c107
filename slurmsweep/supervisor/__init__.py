"""Running again what deserves it, by hand or by a sweep that looks after itself."""
