"""A sweep file becomes a sweep on disk: its program, its code, and what it takes from other sweeps."""
