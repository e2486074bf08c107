"""What is taken back or removed of a sweep, and only where nothing of it runs."""
