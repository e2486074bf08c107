"""W&B sweep files on a plain Slurm cluster, without a server and without internet.

For training scripts: ``import slurmsweep`` (or ``import slurmsweep as wandb``) gives what sweeps use of wandb. The
rest is the ``slurmsweep`` command.
"""

from __future__ import annotations

from typing import Any

#: ``config``, ``run`` and ``summary`` are those of the current run, so they are looked up when they are used.
__all__ = ["Run", "config", "define_metric", "finish", "init", "log", "log_code", "run", "summary"]


def __getattr__(name: str) -> Any:
    """Look names up in the client when they are used: the command line imports this module too, without them."""
    if name == "__version__":
        from importlib.metadata import version

        return version("slurmsweep")
    if name in __all__:
        from slurmsweep import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
