"""The jobs of a sweep once they are submitted: orders and changes, waiting, and what wakes the supervisor."""
