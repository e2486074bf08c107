"""W&B sweep files on a plain Slurm cluster, without a server and without internet.

A training script says ``import slurmsweep`` (or ``import slurmsweep as wandb``) for the part of wandb that sweeps use.
Another program creates, runs and reads sweeps by ``sweep``, ``agent`` and ``Api``; people use the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slurmsweep.api.create_sweep import sweep
    from slurmsweep.api.function_agent import agent
    from slurmsweep.api.sweep import Sweep
    from slurmsweep.api.wandb_api import Api

#: All public names, sorted. ``config``, ``run`` and ``summary`` belong to the current run: looked up at each use.
__all__ = [
    "AlertLevel",
    "Api",
    "Config",
    "Error",
    "Run",
    "Settings",
    "Summary",
    "Sweep",
    "UsageError",
    "agent",
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
    "sweep",
    "teardown",
    "termerror",
    "termlog",
    "termwarn",
    "unwatch",
    "watch",
]

#: The names for programs that create, run and read sweeps, each with its module. Training scripts do not load them.
_API = {
    "Api": "slurmsweep.api.wandb_api",
    "agent": "slurmsweep.api.function_agent",
    "Sweep": "slurmsweep.api.sweep",
    "sweep": "slurmsweep.api.create_sweep",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is used, because the command line imports this package, too."""
    if name == "__version__":
        from slurmsweep.version import __version__

        return __version__
    if name in _API:
        from importlib import import_module

        return getattr(import_module(_API[name]), name)
    if name in __all__ or name[:1].isupper():  # the client explains why Image, Table, ... of wandb are missing
        from slurmsweep import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
