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
    "CommError",
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
    "ensure_configured",
    "finish",
    "init",
    "join",
    "log",
    "log_code",
    "login",
    "mark_preempting",
    "pin_config_keys",
    "require",
    "run",
    "save",
    "setup",
    "summary",
    "sweep",
    "teardown",
    "termerror",
    "termlog",
    "termsetup",
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

#: The folders and modules of this package.
_PARTS = frozenset((
    "agents", "api", "backends", "cli", "client", "control", "doctor", "errors", "learning", "metrics", "report",
    "search", "sizing", "state", "supervisor", "sweepfile", "sync", "version",
))  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is used, because the command line imports this package, too."""
    if name == "__version__":
        from slurmsweep.version import __version__

        return __version__
    if name in _API:
        from importlib import import_module

        return getattr(import_module(_API[name]), name)
    if name in _PARTS or name.startswith("__"):  # asked for by `from slurmsweep import search`, before it is loaded
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from slurmsweep import client

    try:
        return getattr(client, name)  # it explains, too, why Image, plot, ... of wandb are missing
    except AttributeError as error:
        import sys

        if sys._getframe(1).f_code.co_name == "_handle_fromlist":  # noqa: SLF001 - `from` drops the words of other errors
            raise ImportError(str(error), name=__name__) from None
        raise
