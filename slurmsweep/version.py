"""The version of slurmsweep, which the metadata of the package is made from."""

from __future__ import annotations

__version__ = "0.1.0"
