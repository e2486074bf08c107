"""Tell by their names which files are code or configuration, and which folders are an environment of Python."""

from __future__ import annotations

import os

#: What programs are written in, and what they are configured by.
CODE = (".py", ".pyx", ".ipynb", ".sh", ".r", ".jl", ".c", ".cc", ".cpp", ".cu", ".h", ".rs", ".go", ".lua", ".pl")
CONFIGURATION = (".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".json", ".gin")

#: A folder with one of these is an environment of Python.
_OF_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")


def is_environment(folder: str) -> bool:
    """Return whether a folder is an environment of Python, with packages that were installed."""
    return any(os.path.exists(os.path.join(folder, name)) for name in _OF_ENVIRONMENT)
