"""W&B sweep files on a plain Slurm cluster, without a server and without internet.

For training scripts: ``import slurmsweep`` (or ``import slurmsweep as wandb``) gives what sweeps use of wandb. The
rest is the ``slurmsweep`` command.
"""

from __future__ import annotations

from typing import Any

#: ``config``, ``run`` and ``summary`` are those of the current run, so they are looked up when they are used.
__all__ = [
    "AlertLevel",
    "Config",
    "Error",
    "Run",
    "Settings",
    "Summary",
    "UsageError",
    "alert",
    "config",
    "define_metric",
    "finish",
    "init",
    "log",
    "log_code",
    "login",
    "mark_preempting",
    "run",
    "save",
    "setup",
    "summary",
    "teardown",
    "termerror",
    "termlog",
    "termwarn",
    "unwatch",
    "watch",
]


def __getattr__(name: str) -> Any:
    """Look names up in the client when they are used: the command line imports this module too, without them."""
    if name == "__version__":
        from importlib.metadata import version

        return version("slurmsweep")
    if name in __all__ or name[:1].isupper():  # of wandb's Image, Table, ... the client knows what to say
        from slurmsweep import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
