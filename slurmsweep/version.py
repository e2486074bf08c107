"""The version of slurmsweep: the one place, which the package's metadata is made from."""

from __future__ import annotations

__version__ = "0.1.0"
