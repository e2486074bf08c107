"""W&B sweep files on a plain Slurm cluster, without a server and without internet.

For training scripts: ``import slurmsweep`` (or ``import slurmsweep as wandb``) gives what sweeps use of wandb. The
rest is the ``slurmsweep`` command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slurmsweep.api.create_sweep import sweep
    from slurmsweep.api.function_agent import agent
    from slurmsweep.api.sweep import Sweep
    from slurmsweep.api.wandb_api import Api

#: ``config``, ``run`` and ``summary`` are those of the current run, so they are looked up when they are used.
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

#: What sweeps are made, run and looked at with from Python: not for training scripts, which do not load it.
_OF_SWEEPS = {
    "Api": "slurmsweep.api.wandb_api",
    "agent": "slurmsweep.api.function_agent",
    "Sweep": "slurmsweep.api.sweep",
    "sweep": "slurmsweep.api.create_sweep",
}


def __getattr__(name: str) -> Any:
    """Look names up where they are when they are used: the command line imports this module too, without them."""
    if name == "__version__":
        from slurmsweep.version import __version__

        return __version__
    if name in _OF_SWEEPS:
        from importlib import import_module

        return getattr(import_module(_OF_SWEEPS[name]), name)
    if name in __all__ or name[:1].isupper():  # of wandb's Image, Table, ... the client knows what to say
        from slurmsweep import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
