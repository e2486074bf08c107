"""Why trials failed: what their logs say, which failed alike, and what has changed since."""
